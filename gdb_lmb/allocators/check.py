# SPDX-License-Identifier: GPL-2.0-or-later
"""What every check is made of: a row of a table, a fault, and the facts that several checks share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from operator import add, lt
from typing import TypeVar, cast

from gdb_lmb.core.ranges import Range, union
from gdb_lmb.core.snapshot import RegionList, Snapshot, column

T = TypeVar("T")


@dataclass(frozen=True)
class Fault:
    """One breach of an invariant: a sentence and the addresses concerned."""

    message: str
    addresses: tuple[int, ...] = ()


@dataclass(frozen=True)
class Check:
    """One row of an allocator's table: a stable code, `finding` or `note`, and what yields the faults."""

    code: str
    severity: str
    run: Callable[[Facts], Iterator[Fault]]


class Facts:
    """A snapshot, and what more than one check needs to know of it, computed once."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._done: dict[object, object] = {}

    def once(self, work: Callable[[Facts], T]) -> T:
        """Return `work(self)`, computed at the first call only."""
        if work not in self._done:
            self._done[work] = work(self)
        return cast(T, self._done[work])

    @cached_property
    def columns(self) -> tuple[Columns, Columns]:
        """Return the memory and the reserved list with the ends of their regions."""
        limit = self.snapshot.phys_addr_max
        return Columns(self.snapshot.memory, limit), Columns(self.snapshot.reserved, limit)


class Columns:
    """A list's regions with their ends, and whether its neighbours collide."""

    def __init__(self, regions: RegionList, limit: int) -> None:
        self.regions = regions
        self.name = regions.name
        self.limit = limit
        self.ends: Sequence[int]
        try:
            self.ends = column(map(add, regions.base, regions.size))
        except OverflowError:  # a region past 2^64, of which region-wraps tells
            self.ends = list(map(add, regions.base, regions.size))
        apart = all(map(lt, self.ends, islice(regions.base, 1, None)))
        self.collides = not apart or not all(regions.size) or max(self.ends, default=0) > limit

    @cached_property
    def sound_sorted(self) -> list[tuple[int, int, int, int]]:
        """Return (base, end, flags, position) of the regions that are neither empty nor wrap, by base."""
        rows = zip(self.regions.base, self.ends, self.regions.flags, range(len(self.regions)), strict=True)
        return sorted(row for row in rows if row[0] < row[1] <= self.limit)

    def covered(self, without_flags: int = 0) -> Iterable[Range]:
        """Yield the bytes covered by regions without the flags, sorted and merged, within the address space."""
        regions = self.regions
        if self.collides or without_flags:
            rows = zip(regions.base, self.ends, regions.flags, strict=True)
            return union((base, min(end, self.limit)) for base, end, flags in rows if not flags & without_flags)
        return zip(regions.base, self.ends, strict=True)
