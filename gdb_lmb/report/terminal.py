# SPDX-License-Identifier: GPL-2.0-or-later
"""How to draw: the width, the colours and the characters of what the text goes to.

The caller of a report passes a `Terminal`, since it knows where the text goes. `PLAIN` is right for a file or a pipe.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

TERMINAL_VARIABLE = "GDB_LMB_TERMINAL"
"""The environment variable in which gdb-lmb tells gdb what shows its output: words, in any order: `tty` for a terminal,
`color`, `unicode`. Empty: a file or a pipe in ASCII."""

COUNT_VARIABLE = "GDB_LMB_COUNT"
"""The environment variable with the path of the file that gets the number of records of a trace."""

DEFAULT_WIDTH = 80
"""Columns of what must have a width, where that is unlimited or not known."""

MIN_WIDTH = 20
"""Nothing is drawn in fewer columns."""

MAX_ROWS = 200
"""Rows of one table that a person reads: a command shows no more of it without --all."""

HEADING, BAD, NOTE, CLEAN = "heading", "bad", "note", "clean"
RESERVED, FREE, IMAGE, KEPT = "reserved", "free", "image", "kept"
"""What colours stand for."""

_SGR = {
    HEADING: "1",
    BAD: "1;31",
    NOTE: "33",
    CLEAN: "32",
    RESERVED: "36",
    FREE: "32",
    IMAGE: "1;35",
    KEPT: "33",
}
"""ECMA-48 "select graphic rendition" parameters: the eight colours that every terminal has."""


def may_color() -> bool:
    """Tell whether the user's environment lets programs use colours (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


def is_utf8(encoding: str | None) -> bool:
    """Tell whether an encoding, by its name, has more than ASCII: all of Unicode."""
    return encoding is not None and encoding.upper().replace("-", "") == "UTF8"


@dataclass(frozen=True)
class Terminal:
    """What text is drawn on: `width` in columns and `rows` of one table (None: unlimited), colours, Unicode."""

    width: int | None = None
    color: bool = False
    unicode: bool = False
    rows: int | None = None

    @property
    def columns(self) -> int:
        """Return the width of what must have one."""
        return DEFAULT_WIDTH if self.width is None else max(self.width, MIN_WIDTH)

    @property
    def ellipsis(self) -> str:
        """Return what stands for what was cut out."""
        return "…" if self.unicode else "..."

    def left_out(self, rows: int) -> int:
        """Return how many of so many rows are not shown."""
        shown = rows if self.rows is None else min(rows, self.rows)
        return rows - shown

    def paint(self, text: str, role: str | None) -> str:
        """Return `text` in the colour of a role; as it is without colours, without a role or where it is empty."""
        return f"\x1b[{_SGR[role]}m{text}\x1b[0m" if self.color and role is not None and text else text

    def cut(self, text: str, width: int) -> str:
        """Return `text` in at most `width` columns, cut in the middle."""
        if len(text) <= width:
            return text
        room = width - len(self.ellipsis)
        if room <= 0:
            return text[:width]
        return text[: room - room // 2] + self.ellipsis + text[len(text) - room // 2 :]


PLAIN = Terminal()
"""Unlimited, without colours, ASCII."""
