# SPDX-License-Identifier: GPL-2.0-or-later
"""One line on a terminal that says how far long work is, rewritten in place and gone at its end.

It is on stderr, and only where that is a terminal: a file, a pipe and a terminal that obeys nothing get no bytes of it.
rich.progress would take longer to import than all else of a run before gdb starts, and redraws from a thread.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import TextIO

from gdb_lmb.report.terminal import Terminal

INTERVAL_S = 0.1
"""How often the line is written anew at most."""

_ERASE = "\r\x1b[K"


class ProgressLine:
    """The line of one stream; `wanted()` is cheap, for loops that would have to make a text first."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Write to `stream`, else to whatever is stderr at the time."""
        self._stream = stream
        self._shown = False
        self._next = 0.0

    def wanted(self) -> bool:
        """Tell whether a text would be shown now."""
        stream = self._stream or sys.stderr
        try:
            return time.monotonic() >= self._next and stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        except ValueError:  # it is closed
            return False

    def show(self, text: str) -> None:
        """Show a text, unless the last one is too new."""
        if not self.wanted():
            return
        self._next = time.monotonic() + INTERVAL_S
        width = shutil.get_terminal_size().columns - 1  # a full line would make some terminals go on to the next
        self._write(_ERASE + Terminal().cut(text, max(width, 1)))
        self._shown = True

    def clear(self) -> None:
        """Take the line away: something else is about to be written, or the work is over."""
        if self._shown:
            self._shown = False
            self._write(_ERASE)

    def _write(self, text: str) -> None:
        try:
            print(text, end="", file=self._stream or sys.stderr, flush=True)
        except (OSError, ValueError):  # stderr is closed
            self._next = float("inf")


PROGRESS = ProgressLine()
"""The line of this process."""
