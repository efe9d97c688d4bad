# SPDX-License-Identifier: GPL-2.0-or-later
"""What the commands' output goes to, asked of gdb: its width, whether it shows colours, and Unicode.

gdb behind a pipe cannot know what its reader shows. `gdb-lmb`, which starts it so, says it in `GDB_LMB_TERMINAL`.
"""

from __future__ import annotations

import os
import sys

import gdb

from gdb_lmb.report.terminal import Terminal

VARIABLE = "GDB_LMB_TERMINAL"
"""Words, in any order: `tty` for a terminal, `color`, `unicode`. Empty: a file or a pipe in ASCII."""


def terminal() -> Terminal:
    """Return how to draw what the command that runs now prints."""
    told = None if VARIABLE not in os.environ else os.environ[VARIABLE].split()
    unicode = _unicode(told)
    if _captured():
        return Terminal(unicode=unicode)
    shown = _is_terminal() if told is None else "tty" in told
    color = shown and _may_color() if told is None else "color" in told
    width = gdb.parameter("width") if shown else None
    return Terminal(width or None, color and bool(gdb.parameter("style enabled")), unicode)


def _captured() -> bool:
    """Tell whether the output may be kept by a program: then other Python code has called us, by `gdb.execute()`."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
    return not str(frame.f_globals.get("__name__")).startswith("gdb_lmb.")


def _is_terminal() -> bool:
    """Tell whether gdb's own output is a terminal's, and not redirected by `set logging`."""
    try:
        redirected = gdb.parameter("logging enabled") and gdb.parameter("logging redirect")
    except RuntimeError:  # before gdb 12 the first has another name
        redirected = False
    return not redirected and os.isatty(1)


def _may_color() -> bool:
    """Tell whether the user's environment lets programs use colours (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


def _unicode(told: list[str] | None) -> bool:
    """Tell whether the output may have more than ASCII: gdb refuses to print what its character set lacks."""
    able = gdb.host_charset().upper().replace("-", "") == "UTF8"
    return able and (told is None or "unicode" in told)
