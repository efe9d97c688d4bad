# SPDX-License-Identifier: GPL-2.0-or-later
"""One list of memblock as sorted columns: splitting, filling gaps, merging, removing.

Mirrors `struct memblock_type` and what `mm/memblock.c` does to one: `memblock_isolate_range()` past the
doubling, the insertions of `memblock_add_range()`, `memblock_merge_regions()`, `memblock_remove_region()`.
Nothing here searches for memory or doubles an array.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import add, sub

from gdb_lmb.core.errors import StateError
from gdb_lmb.core.ranges import Range
from gdb_lmb.core.snapshot import RegionList, column


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
        nid = [*regions.nid] or [0] * len(regions)
        if regions.dummy:
            self.dummy_nid = nid[0]
            return
        end = [*map(add, regions.base, regions.size)]
        for base, size, before in zip(regions.base, regions.size, [0, *end], strict=False):
            if base < before or not size:
                raise StateError(f"{regions.name} is damaged at {base:#x}: its regions are not sorted or overlap")
        self.base, self.end, self.flags, self.nid = [*regions.base], end, [*regions.flags], nid
        self.scattered = True

    def gaps(self, base: int, end: int) -> list[Range]:
        """Return what of [base, end) is not on the list."""
        i, j = bisect_right(self.end, base), bisect_left(self.base, end)
        if i == j and base < end:
            return [(base, end)]
        edges = zip([base, *self.end[i:j]], [*self.base[i:j], end], strict=True)
        return [(low, high) for low, high in edges if low < high]

    def fill(self, gaps: Sequence[Range], flags: int, nid: int) -> tuple[int, int]:
        """Put regions into some gaps; return the places between which merging must look."""
        first = at = bisect_left(self.base, gaps[0][0])
        for low, high in gaps:
            at = bisect_left(self.base, low, at)
            self.base.insert(at, low)
            self.end.insert(at, high)
            self.flags.insert(at, flags)
            self.nid.insert(at, nid)
            self.total_size += high - low
        return first, at + 1

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
        base, end, flags, nid = self.base, self.end, self.flags, self.nid
        for k in range(min(j, len(base) - 1), max(i - 1, 0), -1):
            if end[k - 1] == base[k] and flags[k - 1] == flags[k] and nid[k - 1] == nid[k]:
                del base[k], end[k - 1], flags[k], nid[k]

    def remove(self, i: int, j: int, empty_nid: int) -> None:
        """Take the regions [i, j) off the list; `empty_nid` is what the dummy gets where none is left."""
        if i < j:
            self.total_size -= sum(self.end[i:j]) - sum(self.base[i:j])
            del self.base[i:j], self.end[i:j], self.flags[i:j], self.nid[i:j]
            if not self.base:
                self.dummy_nid = empty_nid

    def _split(self, i: int, at: int) -> None:
        self.base.insert(i + 1, at)
        self.end.insert(i, at)
        self.flags.insert(i, self.flags[i])
        self.nid.insert(i, self.nid[i])
