# SPDX-License-Identifier: GPL-2.0-or-later
"""What holds of Linux's memblock alone: its arrays, and what sound kernels do that looks odd.

Mirrors `memblock_double_array()`, `memblock_trim_memory()` and `memblock_merge_regions()` of mm/memblock.c.
What a sound kernel does is a note at most, and the note says why.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from gdb_lmb.allocators import check as common
from gdb_lmb.allocators.check import Check, Facts
from gdb_lmb.allocators.memblock.storage import storage_of
from gdb_lmb.core.address import PAST_HAND_OVER, Phase
from gdb_lmb.core.ranges import subtract, union
from gdb_lmb.core.snapshot import Defect, RegionList
from gdb_lmb.core.words import FINDING, NOTE

# Regions left in an array below which the next addition may double it: one can add three.
_LITTLE_ROOM = 3


# Whether the list has regions; before June 2024 an empty one has a dummy of size 0.
def _real(regions: RegionList) -> bool:
    return len(regions) > 0 and not regions.dummy


def count_over_max(facts: Facts) -> Iterator[Defect]:
    """Yield the lists that say they hold more than their array has room for."""
    return (
        Defect(f"{regions.name}.cnt is {regions.cnt}, but its array has room for {regions.max}")
        for regions in facts.snapshot.lists
        if regions.max is not None and regions.cnt > regions.max
    )


def array_unreserved(facts: Facts) -> Iterator[Defect]:
    """Yield doubled arrays that do not lie in reserved memory; those from slab belong to the page allocator.

    Source: `memblock_double_array()`.
    """
    snapshot = facts.snapshot
    for array in storage_of(snapshot).arrays:
        if array.static or snapshot.phase in PAST_HAND_OVER:
            continue
        if array.base is None:
            va = () if array.va is None else (array.va,)
            yield Defect(f"the array of {array.name} is neither in the kernel nor in its memory", va)
        elif subtract([(array.base, array.base + array.size)], facts.columns[1].covered()):
            yield Defect(
                f"the array of {array.name} at {array.base:#x} (size {array.size:#x}) is not reserved: "
                "an allocation may overwrite it",
                (array.base,),
            )


def size_stale(facts: Facts) -> Iterator[Defect]:
    """Yield a total_size that is not the sum of its regions, as `memblock_trim_memory()` leaves it."""
    totals = ((regions, sum(regions.size) & facts.snapshot.phys_addr_max) for regions in facts.snapshot.lists)
    return (
        Defect(
            f"{regions.name}.total_size is {regions.total_size:#x}, but its regions sum to {total:#x}: "
            "memblock_trim_memory() does not correct it"
        )
        for regions, total in totals
        if regions.total_size != total and regions.cnt == len(regions)
    )


def unmerged(facts: Facts) -> Iterator[Defect]:
    """Yield neighbours with equal flags and node that could be one region.

    Source: `memblock_merge_regions()`, since `commit 2fe03412e2e1`.
    """
    for regions in filter(_real, facts.snapshot.lists):
        nodes = regions.nid if len(regions.nid) else [0] * len(regions)
        rows = zip(regions.base, regions.size, regions.flags, nodes, strict=True)
        for at, (low, high) in enumerate(pairwise(rows)):
            if low[0] + low[1] == high[0] and low[2:] == high[2:]:
                yield Defect(
                    f"{regions.name}[{at}] and {regions.name}[{at + 1}] touch and could be one region: "
                    "since 6.12 only neighbours of what was added are merged",
                    (low[0], high[0]),
                )


def headroom(facts: Facts) -> Iterator[Defect]:
    """Yield an array that the next addition may double."""
    rooms = ((regions.name, regions.max - regions.cnt) for regions in facts.snapshot.lists if regions.max is not None)
    return (
        Defect(f"the array of {name} has room for {left} more: the next addition may double it")
        for name, left in rooms
        if 0 <= left < _LITTLE_ROOM
    )


def reserved_outside_memory(facts: Facts) -> Iterator[Defect]:
    """Yield reserved ranges that are not memory (the firmware's, page 0); nothing before memory is added."""
    apply = _real(facts.snapshot.memory) and _real(facts.snapshot.reserved)
    return common.reserved_outside_memory(facts) if apply else iter(())


def memory_unaligned(facts: Facts) -> Iterator[Defect]:
    """Yield ends of memory within a page, when all of it is there: of neighbours with other flags only the outer ends.

    Source: `memblock_trim_memory()`, which `e820__memblock_setup()` calls; `early_init_dt_add_memory_arch()`.
    """
    snapshot = facts.snapshot
    for base, end in union(facts.columns[0].covered()) if snapshot.phase == Phase.COMPLETE.value else ():
        if (base | end) % snapshot.page_size:
            yield Defect(f"memory [{base:#x}, {end:#x}) does not begin and end at a page's bounds", (base, end))


CHECKS: tuple[Check, ...] = (
    Check("unsorted", FINDING, common.unsorted),
    Check("overlap", FINDING, common.overlap),
    Check("region-wraps", FINDING, common.region_wraps),
    Check("storage-corrupt", FINDING, common.defects),
    Check("outside-firmware", FINDING, common.outside_firmware),
    Check("firmware-unreserved", FINDING, common.firmware_unreserved),
    Check("firmware-overlap", FINDING, common.firmware_overlap),
    Check("count-over-max", FINDING, count_over_max),
    Check("empty-region", FINDING, common.empty_region),
    Check("array-unreserved", FINDING, array_unreserved),
    Check("memory-unaligned", FINDING, memory_unaligned),
    Check("required-unreserved", FINDING, common.required_unreserved),
    Check("required-not-memory", FINDING, common.required_not_memory),
    Check("required-overlap", FINDING, common.required_overlap),
    Check("firmware-edited", NOTE, common.firmware_edited),
    Check("size-stale", NOTE, size_stale),
    Check("unmerged", NOTE, unmerged),
    Check("headroom", NOTE, headroom),
    Check("reserved-outside-memory", NOTE, reserved_outside_memory),
)
