# SPDX-License-Identifier: GPL-2.0-or-later
"""The terminal of the commands' output, as gdb knows it: width, colours, Unicode.

gdb behind a pipe cannot know what its reader can show: `gdb-lmb`, which starts it so, tells it in `GDB_LMB_TERMINAL`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys

import gdb

from gdb_lmb.report.terminal import Terminal

VARIABLE = "GDB_LMB_TERMINAL"
"""Words, in any order: `tty` for a terminal, `color`, `unicode`. Empty: a file or a pipe in ASCII."""


_STDERR = 2


def terminal() -> Terminal:
    """Return the terminal of the command that runs now."""
    words = None if VARIABLE not in os.environ else os.environ[VARIABLE].split()
    unicode = _unicode(words)
    if _captured() or (words is None and _piped()):
        return Terminal(unicode=unicode)
    shown = _is_terminal() if words is None else "tty" in words
    color = shown and _may_color() if words is None else "color" in words
    width = gdb.parameter("width") if shown else None
    return Terminal(width or None, color and bool(gdb.parameter("style enabled")), unicode)


def _captured() -> bool:
    """Tell whether a program may capture the output: other Python code runs the command with `gdb.execute()`."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
    return not str(frame.f_globals.get("__name__")).startswith("gdb_lmb.")


def _piped() -> bool:
    """Tell whether gdb's `pipe` command gets the output: gdb then writes to a pipe that another process reads."""
    inodes: dict[int, set[str]] = {os.O_RDONLY: set(), os.O_WRONLY: set()}
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  numbers, not files
        with contextlib.suppress(OSError):  # the descriptor of the listing itself is closed by now
            target = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
            if int(name) > _STDERR and target.startswith("pipe:"):
                mode = fcntl.fcntl(int(name), fcntl.F_GETFL) & os.O_ACCMODE
                inodes.setdefault(mode, set()).add(target)
    return bool(inodes[os.O_WRONLY] - inodes[os.O_RDONLY])


def _is_terminal() -> bool:
    """Tell whether gdb's own output is a terminal's, and not redirected by `set logging`."""
    redirected = gdb.parameter("logging enabled") and gdb.parameter("logging redirect")
    return not redirected and os.isatty(1)


def _may_color() -> bool:
    """Tell whether the user's environment lets programs use colours (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


def _unicode(words: list[str] | None) -> bool:
    """Tell whether the output may have more than ASCII: gdb refuses to print what its character set lacks."""
    able = gdb.host_charset().upper().replace("-", "") == "UTF8"
    return able and (words is None or "unicode" in words)
