# SPDX-License-Identifier: GPL-2.0-or-later
"""What the list-based LMB's model is made of: its configuration, its lists as tables, and plans of changes.

A plan says what an operation will do to one list, before anything is done: rules 2, 3 and 5 of the design.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

EINVAL = -22
EBUSY = -16
ENOMEM = -12


@dataclass(frozen=True)
class LmbConfig:
    """What is fixed when `lmb_init()` runs; sizes in bytes.

    `static` is the number of entries in the initial array; with `klimit` (a physical base, page
    aligned) the initial storage is the page there instead and `static` is not looked at.
    """

    static: int = 64
    klimit: int | None = None
    block_size: int = 4096
    entry_size: int = 40
    header_size: int = 40
    bits: int = 64
    page_size: int = 4096

    @property
    def block_entries(self) -> int:
        """Return the entries of a grown block (rule 1)."""
        return (self.block_size - self.header_size) // self.entry_size

    @property
    def first_entries(self) -> int:
        """Return the entries of block 0 (rule 1)."""
        if self.klimit is None:
            return self.static
        return (self.page_size - self.header_size) // self.entry_size

    def refusal(self) -> str | None:
        """Return why `lmb_init()` gives -EINVAL, or None where it does not (rule 1)."""
        if self.block_size <= 0 or self.block_size & (self.block_size - 1):
            return f"block size {self.block_size} is no power of two"
        if self.block_size < self.header_size + 2 * self.entry_size:
            return (
                f"block size {self.block_size} holds no header of {self.header_size} and two entries of "
                f"{self.entry_size} bytes"
            )
        if self.first_entries < 2:
            return f"the initial storage of {self.first_entries} entries is less than 2"
        return None


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
