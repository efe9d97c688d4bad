# SPDX-License-Identifier: GPL-2.0-or-later
"""The three standard streams of this process: closed ones, and ones that cannot show every character.

Imported before everything else of the command line: it takes the standard library's lightest modules only.
"""

from __future__ import annotations

import codecs
import os
import sys

ERRORS = "gdb-lmb"
"""The name under which `codecs` knows how characters are written that an encoding lacks."""

_PLAIN = {"…": "...", "–": "-", "—": "--", "‘": "'", "’": "'", "“": '"', "”": '"', "→": "->", "×": "x", "µ": "u"}


def plain(error: UnicodeError) -> tuple[str, int]:
    """Return what stands for characters that an encoding lacks: their like in ASCII, or an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(_PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode("ascii") for c in missing), error.end


def open_all() -> bool:
    """Have all three streams open, and able to take any character; return whether stdout was open before.

    What a closed one leaves free would become the number of the next file or socket, into which output then goes.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    was_open = sys.stdout is not None
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    codecs.register_error(ERRORS, plain)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors=ERRORS)  # type: ignore[union-attr]
    return was_open
