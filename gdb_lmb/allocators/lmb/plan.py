# SPDX-License-Identifier: GPL-2.0-or-later
"""The list-based LMB's lists as tables, and what an operation will do to one: rules 2, 3 and 5."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass


@dataclass
class Table:
    """One sorted list: parallel columns, `entry` the index of the entry that stores each region."""

    base: list[int]
    end: list[int]
    flags: list[int]
    entry: list[int]

    def touching(self, base: int, end: int) -> tuple[int, int]:
        """Return the slice [i, j) of regions that overlap or touch [base, end)."""
        return bisect_left(self.end, base), bisect_right(self.base, end)

    def overlapping(self, base: int, end: int) -> tuple[int, int]:
        """Return the slice [i, j) of regions that share a byte with [base, end)."""
        return bisect_right(self.end, base), bisect_left(self.base, end)


# base, end, flags and the position (in its table) of the region whose entry it keeps, or None.
Piece = tuple[int, int, int, "int | None"]


@dataclass(frozen=True)
class Plan:
    """What an operation will do to a table: put `pieces` where the slice [i, j) is."""

    table: Table
    i: int
    j: int
    pieces: list[Piece]

    @property
    def need(self) -> int:
        """Return the entries needed from the freelist (rule 5: the net growth)."""
        return max(0, len(self.pieces) - (self.j - self.i))


def plan_add(table: Table, base: int, end: int, flags: int) -> Plan:
    """Plan to add the uncovered pieces of [base, end) and to merge what then touches."""
    i, j = table.touching(base, end)
    raw: list[Piece] = []
    at = base
    for k in range(i, j):
        if at < table.base[k] and at < end:
            raw.append((at, min(table.base[k], end), flags, None))
        raw.append((table.base[k], table.end[k], table.flags[k], k))
        at = max(at, table.end[k])
    if at < end:
        raw.append((at, end, flags, None))
    # Nothing on the list touched with equal flags before, so every join here has a new piece in it.
    pieces: list[Piece] = []
    for piece in raw:
        if pieces and pieces[-1][1] == piece[0] and pieces[-1][2] == piece[2]:
            last = pieces[-1]
            pieces[-1] = (last[0], piece[1], last[2], piece[3] if last[3] is None else last[3])
        else:
            pieces.append(piece)
    return Plan(table, i, j, pieces)


def plan_remove(table: Table, base: int, end: int) -> Plan:
    """Plan to trim, split or drop what overlaps [base, end)."""
    i, j = table.overlapping(base, end)
    pieces: list[Piece] = []
    for k in range(i, j):
        keeper: int | None = k
        if table.base[k] < base:
            pieces.append((table.base[k], base, table.flags[k], keeper))
            keeper = None
        if end < table.end[k]:
            pieces.append((end, table.end[k], table.flags[k], keeper))
    return Plan(table, i, j, pieces)
