# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts of every check (a row of a table, facts that several checks share), and the checks of regions.

A check yields a `Defect` for each breach of its rule: a sentence and the addresses concerned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, pairwise
from operator import add, lt
from typing import TypeVar, cast

from gdb_lmb.core.ranges import Range, lie_in, subtract, union
from gdb_lmb.core.snapshot import Defect, RegionList, Snapshot, column

T = TypeVar("T")


@dataclass(frozen=True)
class Check:
    """One row of an allocator's table: a stable code, `finding` or `note`, and what yields the faults."""

    code: str
    severity: str
    run: Callable[[Facts], Iterator[Defect]]


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
        except OverflowError:  # a region ends above 2^64: region-wraps reports it
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


# -- checks of regions, for any allocator ------------------------------------------------------------


def unsorted(facts: Facts) -> Iterator[Defect]:
    """Yield regions whose base is below that of the region before them."""
    snapshot = facts.snapshot
    for regions in (snapshot.memory, snapshot.reserved):
        base = regions.base
        if all(map(lt, base, islice(base, 1, None))):
            continue
        for at, (low, high) in enumerate(pairwise(base)):
            if high < low:
                yield Defect(f"{regions.name}[{at + 1}] starts below {regions.name}[{at}]", (low, high))


def overlap(facts: Facts) -> Iterator[Defect]:
    """Yield regions that share bytes with another of their list."""
    for columns in facts.columns:
        reach = (0, -1)
        for base, end, _, at in columns.sound_sorted if columns.collides else ():
            if base < reach[0]:
                yield Defect(f"{columns.name}[{at}] overlaps {columns.name}[{reach[1]}]", (base, reach[0]))
            reach = max(reach, (end, at))


def empty_region(facts: Facts) -> Iterator[Defect]:
    """Yield regions of size 0, but for the dummy of memblock's empty list."""
    for regions in facts.snapshot.lists:
        if all(regions.size) or regions.dummy:
            continue
        for at, (base, size) in enumerate(zip(regions.base, regions.size, strict=True)):
            if not size:
                yield Defect(f"{regions.name}[{at}] is empty", (base,))


def region_wraps(facts: Facts) -> Iterator[Defect]:
    """Yield regions whose end is above `PHYS_ADDR_MAX`."""
    for columns in facts.columns:
        if max(columns.ends, default=0) <= columns.limit:
            continue
        for at, end in enumerate(columns.ends):
            if end > columns.limit:
                yield Defect(
                    f"{columns.name}[{at}] goes past the end of the {facts.snapshot.bits}-bit address space",
                    (columns.regions.base[at], end),
                )


def outside_firmware(facts: Facts) -> Iterator[Defect]:
    """Yield ranges of the memory list that are not RAM in the firmware's map; nothing without a map."""
    firmware = facts.snapshot.firmware
    if firmware is None:
        return
    memory, ram = facts.columns[0], firmware.ram()
    if not memory.collides and lie_in(memory.regions.base, memory.ends, ram):
        return
    for base, end in subtract(memory.covered(), ram):
        yield Defect(f"memory [{base:#x}, {end:#x}) is not RAM in the firmware map", (base, end))


def reserved_outside_memory(facts: Facts) -> Iterator[Defect]:
    """Yield reserved ranges that are not on the memory list."""
    memory, reserved = facts.columns
    for base, end in subtract(reserved.covered(), memory.covered()):
        yield Defect(f"reserved [{base:#x}, {end:#x}) is outside memory", (base, end))


def defects(facts: Facts) -> Iterator[Defect]:
    """Yield the damage that the decoder found."""
    yield from facts.snapshot.defects
