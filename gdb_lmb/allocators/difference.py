# SPDX-License-Identifier: GPL-2.0-or-later
"""One thing in which two states of an allocator differ: as a sentence, and as rows of a table."""

from __future__ import annotations

from dataclasses import dataclass

from gdb_lmb.core.snapshot import Entry

EXPECTED, FOUND = "-", "+"


@dataclass(frozen=True)
class RegionRow:
    """A region that only one of the states has: `sign` is "-" for the expected one, "+" for the one found.

    `position` is its place in the list; `nid` is None where the kernel knows no nodes, `entry` where regions
    lie in an array. Base and size are bytes.
    """

    sign: str
    list: str
    position: int
    base: int
    size: int
    flags: int
    nid: int | None = None
    entry: Entry | None = None


@dataclass(frozen=True)
class ValueRow:
    """A counter, a switch or a place that is not what it should be, both ways in words."""

    name: str
    expected: str
    found: str


@dataclass(frozen=True)
class Difference:
    """One thing in which two states differ: in words, on which list, at which physical address.

    `regions` and `value` are the same as rows of a table. `redundant` tells that the lists themselves do not
    show it: a counter, the ranges handed over, damage that the walk met.
    """

    message: str
    where: str = ""
    address: int | None = None
    regions: tuple[RegionRow, ...] = ()
    value: ValueRow | None = None
    redundant: bool = False
