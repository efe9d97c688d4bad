# SPDX-License-Identifier: GPL-2.0-or-later
"""What gdb prints of its own accord, told from what commands print."""

from __future__ import annotations

from collections.abc import Callable


class WithoutInterrupt:
    """Passes console output on, but for what gdb prints of a stop that we have asked for: its signal and its place."""

    def __init__(self, sink: Callable[[str], None]) -> None:
        """Pass it on to `sink`; one of these is for one interrupt."""
        self._sink = sink
        self._told = False

    def __call__(self, text: str) -> None:
        """Take the next piece of output."""
        # "Program received signal SIGINT, Interrupt." comes in pieces; a frame and a line of source follow. What our
        # commands say of the stop does not belong to it.
        self._told = self._told or text.startswith(("\nProgram", "\nThread "))
        if not self._told or text.startswith("lmb-"):
            self._sink(text)
