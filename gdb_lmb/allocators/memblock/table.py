# SPDX-License-Identifier: GPL-2.0-or-later
"""One list of memblock as sorted columns: splitting, filling gaps, merging, removing.

Mirrors `struct memblock_type` and what `mm/memblock.c` does to one: `memblock_isolate_range()` past the
doubling, the insertions of `memblock_add_range()`, `memblock_merge_regions()`, `memblock_remove_region()`.
Nothing here searches for memory or doubles an array.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import sub

from gdb_lmb.core.errors import StateError
from gdb_lmb.core.snapshot import RegionList, column

Row = tuple[int, int, int, int]
"""A region on its way into a table: base, end, flags, nid."""


@dataclass
class Table:
    """A list: regions by column, `max` and where its array lies.

    `array_base` is the array's physical address, None where that is not known (static, or from the slab);
    `in_slab` mirrors `memblock_{memory,reserved}_in_slab`. `scattered` tells that regions which would merge
    may lie side by side: only then must a merge look at all of them. `dummy_nid` is the `nid` of the region
    that means empty.
    """

    name: str
    max: int
    array_base: int | None = None
    array_va: int | None = None
    static: bool = True
    in_slab: bool = False
    base: list[int] = field(default_factory=list)
    end: list[int] = field(default_factory=list)
    flags: list[int] = field(default_factory=list)
    nid: list[int] = field(default_factory=list)
    total_size: int = 0
    dummy_nid: int = 0
    scattered: bool = False

    def view(self, *, dummy: bool, nodes: bool, limit: int) -> RegionList:
        """Return the table as a list of a snapshot.

        `dummy` tells that empty is shown as one region of size 0, `nodes` that regions have a node; `limit` is
        PHYS_ADDR_MAX.
        """
        base, end, flags, nid = self.base, self.end, self.flags, self.nid
        if dummy and not base:
            base, end, flags, nid = [0], [0], [0], [self.dummy_nid]
        return RegionList(
            name=self.name,
            cnt=len(base),
            total_size=self.total_size & limit,
            base=column(base),
            size=column(map(sub, end, base)),
            flags=column(flags),
            entry=column(range(len(base))),
            max=self.max,
            nid=array("q", nid) if nodes else (),
        )

    def load(self, regions: RegionList) -> None:
        """Take a walked list over. Raises: `StateError` for one that no memblock has."""
        if regions.max is None or regions.cnt != len(regions) or regions.cnt > regions.max:
            raise StateError(f"{regions.name} has {len(regions)} regions, but cnt {regions.cnt} and max {regions.max}")
        self.max, self.total_size = regions.max, regions.total_size
        if regions.dummy:
            self.dummy_nid = regions.nid[0] if len(regions.nid) else 0
            return
        last = 0
        for base, size in zip(regions.base, regions.size, strict=True):
            if base < last or not size:
                raise StateError(f"{regions.name} is damaged at {base:#x}: its regions are not sorted or overlap")
            last = base + size
        self.base = [*regions.base]
        self.end = [base + size for base, size in zip(regions.base, regions.size, strict=True)]
        self.flags = [*regions.flags]
        self.nid = [*regions.nid] if len(regions.nid) else [0] * len(regions)
        self.scattered = True

    def gaps(self, base: int, end: int) -> int:
        """Return how many regions it takes to cover what of [base, end) is not on the list."""
        i, j = bisect_right(self.end, base), bisect_left(self.base, end)
        count, at = 0, base
        for k in range(i, j):
            if at < self.base[k]:
                count += 1
            at = self.end[k]
        return count + (at < end)

    def fill(self, base: int, end: int, flags: int, nid: int) -> None:
        """Cover what of [base, end) is not on the list; merge from before the first new piece to after the last."""
        i, j = bisect_right(self.end, base), bisect_left(self.base, end)
        rows: list[Row] = []
        first = last = -1
        at = base
        for k in range(i, j + 1):
            upper = self.base[k] if k < j else end
            if at < upper:
                first = len(rows) if first < 0 else first
                last = len(rows)
                rows.append((at, upper, flags, nid))
                self.total_size += upper - at
            if k < j:
                rows.append((self.base[k], self.end[k], self.flags[k], self.nid[k]))
                at = self.end[k]
        if first < 0:
            return
        if first == 0 and i:
            i -= 1
            rows.insert(0, (self.base[i], self.end[i], self.flags[i], self.nid[i]))
            first, last = 1, last + 1
        if last == len(rows) - 1 and j < len(self.base):
            rows.append((self.base[j], self.end[j], self.flags[j], self.nid[j]))
            j += 1
        self._put(i, j, _merged(rows, first - 1, last + 1))

    def isolate(self, base: int, end: int) -> tuple[int, int]:
        """Split what crosses `base` or `end`; return the slice of regions inside, (0, 0) where none is."""
        i = bisect_right(self.end, base)
        if i < len(self.base) and self.base[i] < base:
            self._split(i, base)
            i += 1
        j = bisect_left(self.base, end)
        if j > i and self.end[j - 1] > end:
            self._split(j - 1, end)
        return (i, j) if j > i else (0, 0)

    def merge(self, i: int, j: int) -> None:
        """Merge from the region before `i` to the one at `j`, as far as they are there."""
        i, j = max(i - 1, 0), min(j + 1, len(self.base))
        if j - i > 1:
            rows = list(zip(self.base[i:j], self.end[i:j], self.flags[i:j], self.nid[i:j], strict=True))
            merged = _merged(rows, 0, len(rows) - 1)
            if len(merged) != len(rows):
                self._put(i, j, merged)

    def remove(self, i: int, j: int, empty_nid: int) -> None:
        """Take the regions [i, j) off the list; `empty_nid` is what the dummy gets where none is left."""
        if i < j:
            self.total_size -= sum(self.end[i:j]) - sum(self.base[i:j])
            self._put(i, j, ())
            if not self.base:
                self.dummy_nid = empty_nid

    def _split(self, i: int, at: int) -> None:
        self.base.insert(i + 1, at)
        self.end.insert(i, at)
        self.flags.insert(i, self.flags[i])
        self.nid.insert(i, self.nid[i])

    def _put(self, i: int, j: int, rows: Iterable[Row]) -> None:
        columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
        self.base[i:j], self.end[i:j], self.flags[i:j], self.nid[i:j] = columns


def _merged(rows: list[Row], first: int, last: int) -> list[Row]:
    """Join each of rows[first..last] with its neighbour where they touch and are alike."""
    out: list[Row] = []
    for at, row in enumerate(rows):
        if out and first < at <= last and out[-1][1:] == (row[0], *row[2:]):
            out[-1] = (out[-1][0], *row[1:])
        else:
            out.append(row)
    return out
