# SPDX-License-Identifier: GPL-2.0-or-later
"""Making a table fit a width: which of its cells give way, and in which order.

First addresses lose the zeros that all of their column begin with, which loses nothing. Then cells of text are cut in
the middle, the longest first. Where too little would be left of them, they follow their row on lines of their own. At
last columns are left out that say nothing, or nothing that another does not. What identifies a row (its number, base,
end, size) never gives way: a terminal that is too narrow for that breaks the line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from gdb_lmb.report.terminal import Terminal

GUTTER = 2
"""Columns between two columns of a table."""

HEADING_ROOM = 2
"""By how much tabulate makes a column wider than its heading."""

MIN_CUT = 16
"""A column of text is not cut shorter than this."""

IDENTIFYING = ("", "#", "base", "end", "size")
"""Columns that are never left out."""

_ADDRESS = re.compile(r"0x[0-9a-f]+")

Columns = list[list[str]]
"""A table column by column: its heading, then its cells."""


class Fitted(NamedTuple):
    """A table that fits: rows, headings, and what follows each row on lines of its own."""

    rows: list[list[str]]
    headers: list[str]
    below: list[list[str]]


def fitted(
    rows: Sequence[Sequence[object]],
    headers: Sequence[str],
    room: int,
    terminal: Terminal,
    cut: Sequence[str] = (),
    spare: Sequence[str] = (),
) -> Fitted:
    """Return a table that takes at most `room` columns if that can be.

    `cut` names the columns of text, `spare` those that can be left out, the first one first.
    """
    columns: Columns = [[header, *(str(row[at]) for row in rows)] for at, header in enumerate(headers)]
    texts: Columns = []
    if _width(columns) > room:
        columns = [_without_zeros(column) for column in columns]
    if _width(columns) > room and not _cut(columns, cut, room, terminal):
        texts = [column for column in columns if column[0] in cut]
        columns = [column for column in columns if column[0] not in cut]
    empty = [column[0] for column in columns if set(column[1:]) <= {"-"} and column[0] not in IDENTIFYING]
    for name in [*empty, *spare]:
        if _width(columns) <= room:
            break
        columns = [column for column in columns if column[0] != name]
    numbers = range(1, len(rows) + 1)

    def below(at: int) -> list[str]:
        told = (f"{text[0]}: {text[at]}" for text in texts if text[at] != "-")
        return [terminal.cut(line, room - GUTTER) for line in told]

    return Fitted(
        [[column[at] for column in columns] for at in numbers],
        [column[0] for column in columns],
        [below(at) for at in numbers] if texts else [],
    )


def _size(column: Sequence[str]) -> int:
    return max(len(column[0]) + HEADING_ROOM, *map(len, column[1:]), 0)


def _width(columns: Columns) -> int:
    return sum(map(_size, columns)) + GUTTER * (len(columns) - 1)


def _without_zeros(column: list[str]) -> list[str]:
    """Return a column of addresses of equal length with no more digits than the largest one needs."""
    found = [cell for cell in column[1:] if cell != "-"]
    if not found or len(set(map(len, found))) > 1 or not all(map(_ADDRESS.fullmatch, found)):
        return column
    digits = max(len(f"{int(cell, 16):x}") for cell in found)
    return [column[0], *(cell if cell == "-" else f"0x{cell[len(cell) - digits :]}" for cell in column[1:])]


def _cut(columns: Columns, names: Sequence[str], room: int, terminal: Terminal) -> bool:
    """Cut the columns of text, those that are longer than some length to that one; tell whether that is enough."""
    texts = [at for at, column in enumerate(columns) if column[0] in names]
    sizes = {at: _size(columns[at]) for at in texts}
    least = {at: min(sizes[at], max(MIN_CUT, len(columns[at][0]) + HEADING_ROOM)) for at in texts}
    left = room - (_width(columns) - sum(sizes.values()))
    if sum(least.values()) > left:
        return not texts
    ranked = sorted(texts, key=lambda at: sizes[at])
    for rank, at in enumerate(ranked):
        # What the shorter ones do not need, the longer ones get; but each of them gets its least.
        others = sum(least[other] for other in ranked[rank + 1 :])
        size = min(sizes[at], max(least[at], min(left // (len(ranked) - rank), left - others)))
        columns[at] = [terminal.cut(cell, size) for cell in columns[at]]
        left -= size
    return True
