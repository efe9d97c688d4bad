# SPDX-License-Identifier: GPL-2.0-or-later
"""What holds of Linux's memblock alone: its arrays, and what sound kernels do that looks odd.

Mirrors `memblock_double_array()`, `memblock_trim_memory()` and `memblock_merge_regions()` of mm/memblock.c.
What a sound kernel does is a note at most, and the note says why.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from gdb_lmb.allocators.check import Facts, Fault
from gdb_lmb.core.snapshot import RegionList, subtract

LITTLE_ROOM = 3
"""Regions left in an array below which the next addition may double it: one can add three."""


def _real(regions: RegionList) -> bool:
    """Tell whether the list has regions; before June 2024 an empty one has a dummy of size 0."""
    return len(regions) > 0 and not regions.dummy


def count_over_max(facts: Facts) -> Iterator[Fault]:
    """Yield the lists that say they hold more than their array has room for."""
    for regions in facts.snapshot.lists:
        if regions.max is not None and regions.cnt > regions.max:
            yield Fault(f"{regions.name}.cnt is {regions.cnt}, but its array has room for {regions.max}")


def empty_region(facts: Facts) -> Iterator[Fault]:
    """Yield regions of size 0, but for the dummy of an empty list."""
    for regions in facts.snapshot.lists:
        if not _real(regions):
            continue
        for at, (base, size) in enumerate(zip(regions.base, regions.size, strict=True)):
            if not size:
                yield Fault(f"{regions.name}[{at}] is empty", (base,))


def array_unreserved(facts: Facts) -> Iterator[Fault]:
    """Yield doubled arrays that do not lie in reserved memory (those from slab are the page allocator's)."""
    snapshot = facts.snapshot
    if snapshot.phase in ("handed over", "discarded"):
        return
    for array in snapshot.arrays:
        if array.static:
            continue
        if array.base is None:
            yield Fault(f"the array of {array.name} is neither in the kernel nor in its memory", (array.va,))
        elif subtract([(array.base, array.base + array.size)], facts.columns[1].covered()):
            yield Fault(
                f"the array of {array.name} at {array.base:#x} (size {array.size:#x}) is not reserved: "
                "an allocation may overwrite it",
                (array.base,),
            )


def size_stale(facts: Facts) -> Iterator[Fault]:
    """Note a total_size that is not the regions' sum."""
    for regions in facts.snapshot.lists:
        total = sum(regions.size) & facts.snapshot.phys_addr_max
        if regions.total_size != total and regions.cnt == len(regions):
            yield Fault(
                f"{regions.name}.total_size is {regions.total_size:#x}, but its regions sum to {total:#x}: "
                "memblock_trim_memory() does not correct it"
            )


def unmerged(facts: Facts) -> Iterator[Fault]:
    """Note neighbours that could be one region: same flags, same node."""
    for regions in facts.snapshot.lists:
        if not _real(regions):
            continue
        nodes = regions.nid if len(regions.nid) else [0] * len(regions)
        rows = zip(regions.base, regions.size, regions.flags, nodes, range(len(regions)), strict=True)
        for low, high in pairwise(rows):
            if low[0] + low[1] == high[0] and low[2:4] == high[2:4]:
                yield Fault(
                    f"{regions.name}[{low[4]}] and {regions.name}[{high[4]}] touch and could be one region: "
                    "since 6.12 only neighbours of what was added are merged",
                    (low[0], high[0]),
                )


def headroom(facts: Facts) -> Iterator[Fault]:
    """Note an array that is nearly full."""
    for regions in facts.snapshot.lists:
        if regions.max is not None and regions.cnt <= regions.max < regions.cnt + LITTLE_ROOM:
            left = regions.max - regions.cnt
            yield Fault(f"the array of {regions.name} has room for {left} more: the next addition may double it")


def reserved_outside_memory(facts: Facts) -> Iterator[Fault]:
    """Note reservations of what is no memory: the firmware's, or page 0."""
    memory, reserved = facts.columns
    if not _real(memory.regions) or not _real(reserved.regions):
        return
    for base, end in subtract(reserved.covered(), memory.covered()):
        yield Fault(f"reserved [{base:#x}, {end:#x}) is outside memory", (base, end))
