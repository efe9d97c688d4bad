# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts of every check (a row of a table, facts that several checks share), and the checks of regions.

Each row of a table is one rule of what always holds between two operations; its function yields a `Defect` for
each breach: a sentence and the addresses concerned. What cannot apply (no links in a model's snapshot, no firmware
map) yields nothing. Checks never import a model: one mistake must not hide in both. `log-divergence`, the last code,
comes from replaying a guest's log.

The order of a table is the order of the report: damaged structure first, then wrong contents, then what the rest
of the system makes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice, pairwise
from operator import add, le, lt
from typing import TypeVar, cast

from gdb_lmb.core.holes import NEVER_GIVEN
from gdb_lmb.core.ranges import Range, covers, lie_in, subtract, union
from gdb_lmb.core.snapshot import LMB_NOMAP, Defect, Finding, Place, RegionList, Required, Snapshot, column
from gdb_lmb.core.words import FINDING, NOTE

T = TypeVar("T")

MAX_LISTED = {FINDING: 100, NOTE: 8}
"""How many of one code are listed; the rest is counted in one more of the same code."""


@dataclass(frozen=True)
class Check:
    """One row of an allocator's table: a stable code, `finding` or `note`, and what yields the faults."""

    code: str
    severity: str
    run: Callable[[Facts], Iterator[Defect]]

    def findings(self, facts: Facts, everything: bool) -> Iterator[Finding]:
        """Yield what breaks the rule, up to `MAX_LISTED` unless `everything` is asked for."""
        faults = self.run(facts)
        for fault in islice(faults, None if everything else MAX_LISTED[self.severity]):
            yield Finding(self.code, self.severity, fault.what, fault.addresses)
        more = sum(1 for _ in faults)
        if more:
            yield Finding(self.code, self.severity, f"{more} more of this kind, not listed")


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
    """A list's regions with their ends, and whether its neighbours collide, or at least touch."""

    def __init__(self, regions: RegionList, limit: int) -> None:
        self.regions, self.name, self.limit = regions, regions.name, limit
        try:
            self.ends: Sequence[int] = column(map(add, regions.base, regions.size))
        except OverflowError:  # a region ends above 2^64: region-wraps reports it
            self.ends = list(map(add, regions.base, regions.size))
        apart = all(map(le, self.ends, islice(regions.base, 1, None)))
        self.collides = not apart or not all(regions.size) or max(self.ends, default=0) > limit
        self.touches = self.collides or not all(map(lt, self.ends, islice(regions.base, 1, None)))

    def by_base(self) -> Iterable[tuple[int, int, int, int]]:
        """Return (base, end, flags, position) of the regions that are neither empty nor wrap, by base."""
        rows = zip(self.regions.base, self.ends, self.regions.flags, range(len(self.regions)), strict=True)
        return sorted(row for row in rows if row[0] < row[1] <= self.limit) if self.collides else rows

    def covered(self, without_flags: int = 0) -> Iterable[Range]:
        """Yield the bytes covered by regions without the flags, sorted and disjoint, within the address space."""
        rows = zip(self.regions.base, self.ends, self.regions.flags, strict=True)
        if self.collides or without_flags:
            return union((base, min(end, self.limit)) for base, end, flags in rows if not flags & without_flags)
        return zip(self.regions.base, self.ends, strict=True)


# -- checks of regions, for any allocator ------------------------------------------------------------


def unsorted(facts: Facts) -> Iterator[Defect]:
    """Yield regions whose base is below that of the region before them."""
    return (
        Defect(f"{regions.name}[{at}] starts below {regions.name}[{at - 1}]", (low, high))
        for regions in (facts.snapshot.memory, facts.snapshot.reserved)
        if not all(map(lt, regions.base, islice(regions.base, 1, None)))  # mostly sorted: compared in C
        for at, (low, high) in enumerate(pairwise(regions.base), 1)
        if high < low
    )


def overlap(facts: Facts) -> Iterator[Defect]:
    """Yield regions that share bytes with another of their list."""
    for columns in facts.columns:
        reach = (0, -1)
        for base, end, _, at in columns.by_base() if columns.collides else ():
            if base < reach[0]:
                yield Defect(f"{columns.name}[{at}] overlaps {columns.name}[{reach[1]}]", (base, reach[0]))
            reach = max(reach, (end, at))


def empty_region(facts: Facts) -> Iterator[Defect]:
    """Yield regions of size 0, but for the dummy of memblock's empty list."""
    return (
        Defect(f"{regions.name}[{at}] is empty", (regions.base[at],))
        for regions in facts.snapshot.lists
        if not (all(regions.size) or regions.dummy)
        for at, size in enumerate(regions.size)
        if not size
    )


def region_wraps(facts: Facts) -> Iterator[Defect]:
    """Yield regions whose end is above `PHYS_ADDR_MAX`."""
    where = f"goes past the end of the {facts.snapshot.bits}-bit address space"
    return (
        Defect(f"{columns.name}[{at}] {where}", (columns.regions.base[at], end))
        for columns in facts.columns
        if max(columns.ends, default=0) > columns.limit
        for at, end in enumerate(columns.ends)
        if end > columns.limit
    )


def outside_firmware(facts: Facts, *, alone: bool = False) -> Iterator[Defect]:
    """Yield ranges of the memory list that are not RAM in the firmware's map, or as it was edited; nothing without.

    With `alone` RAM is what no entry of another type covers.
    """
    memory, found = facts.columns[0], list[Range]()
    for firmware, edited in (
        (facts.snapshot.firmware, ""),
        (facts.snapshot.firmware_edited, " as the kernel edited it"),
    ):
        ram = firmware.ram(alone=alone) if firmware else []
        if firmware and (memory.collides or not lie_in(memory.regions.base, memory.ends, ram)):
            more = union(subtract(subtract(memory.covered(), ram), found))
            for base, end in more:
                yield Defect(f"memory [{base:#x}, {end:#x}) is not RAM in the firmware map{edited}", (base, end))
            found = union((*found, *more))


def firmware_edited(facts: Facts) -> Iterator[Defect]:
    """Yield where the program uses a map that says otherwise than the firmware's."""
    return iter(facts.snapshot.firmware_edits)


def firmware_unreserved(facts: Facts) -> Iterator[Defect]:
    """Yield memory that the firmware asks to be reserved, or not to be mapped, and that is not.

    Source: `early_init_dt_reserve_memory()` of drivers/of/of_reserved_mem.c (before 6.0 of drivers/of/fdt.c).
    """
    memory, reserved = facts.columns
    for one in facts.snapshot.firmware_reserved:
        place = [(one.base, one.end)]
        mapped = subtract(place, subtract(place, memory.covered(LMB_NOMAP)))
        for base, end in mapped if one.nomap else subtract(mapped, reserved.covered()):
            state = "memory that is mapped, but must not be" if one.nomap else "memory that is not reserved"
            yield Defect(f"[{base:#x}, {end:#x}) of {one.what} is {state}", (base, end))


def firmware_overlap(facts: Facts) -> Iterator[Defect]:
    """Yield ranges that the firmware asks to be reserved for two purposes.

    Source: `__rmem_check_for_overlap()` of drivers/of/of_reserved_mem.c.
    """
    reach: Place | None = None
    # A memory reservation may name what a node names too.
    nodes = (one for one in facts.snapshot.firmware_reserved if not one.until_hand_over)
    for one in sorted(nodes, key=lambda one: (one.base, one.end)):
        if reach is not None and one.base < reach.end and one.what != reach.what:
            base, end = one.base, min(one.end, reach.end)
            yield Defect(f"{one.what} and {reach.what} share [{base:#x}, {end:#x})", (base, end))
        if reach is None or one.end > reach.end:
            reach = one


def reserved_outside_memory(facts: Facts) -> Iterator[Defect]:
    """Yield reserved ranges that are not on the memory list."""
    memory, reserved = facts.columns
    for base, end in union(subtract(reserved.covered(), memory.covered())):
        yield Defect(f"reserved [{base:#x}, {end:#x}) is outside memory", (base, end))


# What of the required places is not in the list, or only with flags `never`: each byte once, with the name of the
# smallest place around it.
def _outside(places: Sequence[Required], columns: Columns, never: int = 0) -> Iterator[tuple[str, int, int]]:
    regions = columns.regions
    if not (regions.walk.complete if regions.walk else len(regions) or not regions.cnt):
        return  # the list is damaged so that not all of it is known: its own finding says so
    if not (never and any(regions.flags)) and covers(
        regions.base, columns.ends, ((place.base, place.end) for place in places)
    ):
        return
    told: list[Range] = []
    smallest_first = sorted(places, key=lambda place: place.end - place.base)
    for place in reversed(smallest_first):
        for base, end in subtract(subtract([(place.base, place.end)], columns.covered(never)), told):
            around = next(one for one in smallest_first if one.base <= base and end <= one.end)
            yield around.what, base, end
        told = union([*told, (place.base, place.end)])


def _common(place: Required, ranges: Iterable[Range]) -> list[Range]:
    whole = [(place.base, place.end)]
    return subtract(whole, subtract(whole, ranges))


def required_unreserved(facts: Facts) -> Iterator[Defect]:
    """Yield what the program must have reserved at this stop, but has not.

    What need not be memory is judged where it is some: no allocation gets other bytes, and arm64's `mem=` takes what is
    above its limit off both lists, even a device tree.

    Source: `setup_arch()` and what it calls (`early_reserve_memory()`, `reserve_brk()`, `reserve_initrd()`) of
    arch/x86/kernel/setup.c, `reserve_real_mode()`; `arm64_memblock_init()`, `memblock_cap_memory_range()`.
    """
    memory = facts.columns[0]
    any_memory = any(True for _ in memory.covered())
    places = [
        replace(place, base=base, end=end)
        for place in facts.snapshot.required
        for base, end in (
            [(place.base, place.end)] if place.memory or not any_memory else _common(place, memory.covered())
        )
    ]
    for what, base, end in _outside(places, facts.columns[1]):
        yield Defect(f"[{base:#x}, {end:#x}) must be reserved, but is not: {what}", (base, end))


def required_not_memory(facts: Facts) -> Iterator[Defect]:
    """Yield what the program uses as memory, but is not on the memory list, or is there as never to be used.

    Source: `e820__memblock_setup()`, `early_init_dt_add_memory_arch()`; `should_skip_region()`.
    """
    snapshot = facts.snapshot
    never = sum(bit for bit, name in snapshot.flag_names.items() if name in NEVER_GIVEN)
    for what, base, end in _outside([one for one in snapshot.required if one.memory], facts.columns[0], never):
        yield Defect(f"[{base:#x}, {end:#x}) must be memory for use, but is not: {what}", (base, end))


def required_overlap(facts: Facts) -> Iterator[Defect]:
    """Yield what two required places both lie in, of those that must lie apart.

    Source: `reserve_initrd()` of arch/x86, `arm64_memblock_init()`: neither compares an initrd with the image.
    """
    rows = sorted((place for place in facts.snapshot.required if place.alone), key=lambda place: place.base)
    reach = rows[:1]
    for place in rows[1:]:
        base, end = place.base, min(place.end, reach[0].end)
        if base < end:
            yield Defect(f"[{base:#x}, {end:#x}) is used twice: {reach[0].what}, {place.what}", (base, end))
        reach = [max(*reach, place, key=lambda one: one.end)]


def defects(facts: Facts, code: str = "storage-corrupt") -> Iterator[Defect]:
    """Yield the damage that the decoder found, of one code."""
    return (defect for defect in facts.snapshot.defects if defect.code == code)
