# SPDX-License-Identifier: GPL-2.0-or-later
"""What holds of Linux's memblock alone: its arrays, and what sound kernels do that looks odd.

Mirrors `memblock_double_array()`, `memblock_trim_memory()` and `memblock_merge_regions()` of mm/memblock.c.
What a sound kernel does is a note at most, and the note says why.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise

from gdb_lmb.allocators import check as common
from gdb_lmb.allocators.check import Check, Facts
from gdb_lmb.allocators.memblock.storage import storage_of
from gdb_lmb.core.address import PAST_HAND_OVER, Phase
from gdb_lmb.core.ranges import subtract, union
from gdb_lmb.core.snapshot import Defect, RegionList, flag_names
from gdb_lmb.core.words import FINDING, NOTE

# Regions left in an array below which the next addition may double it: one can add three.
_LITTLE_ROOM = 3


# Whether the list has regions; before June 2024 an empty one has a dummy of size 0.
def _real(regions: RegionList) -> bool:
    return len(regions) > 0 and not regions.dummy


def count_over_max(facts: Facts) -> Iterator[Defect]:
    """Yield the lists that say they hold more than their array has room for."""
    return (
        Defect(f"{regions.name}.cnt is {regions.cnt}, but its array has room for {room}")
        for regions, room in _rooms(facts)
        if regions.cnt > room
    )


# Each list whose array is known to have room, as long as `max` says how much or the array itself does.
def _rooms(facts: Facts) -> Iterator[tuple[RegionList, int]]:
    capacities = {array.name: array.capacity for array in storage_of(facts.snapshot).arrays}
    for regions in facts.snapshot.lists:
        room = capacities.get(regions.name, regions.max)
        if room is not None:
            yield regions, room


def bad_max(facts: Facts) -> Iterator[Defect]:
    """Yield a max that is not what the array has room for: the static one's size, doubled as often as it was.

    Source: `INIT_MEMBLOCK_REGIONS`, `memblock_double_array()`.
    """
    for array in storage_of(facts.snapshot).arrays:
        if array.room and array.static and array.max != array.room:
            yield Defect(f"{array.name}.max is {array.max}, but its array has room for {array.room}")
        elif array.room and not array.static:
            times, rest = divmod(array.max, array.room)
            if rest or times & (times - 1) or not times:
                yield Defect(f"{array.name}.max is {array.max}, which is not {array.room} doubled")


def list_empty(facts: Facts) -> Iterator[Defect]:
    """Yield a list without regions at a stop where the kernel has memory, and has reserved itself.

    Source: `setup_arch()`, `arm64_memblock_init()`: both come before the allocator is complete.
    """
    snapshot = facts.snapshot
    if snapshot.phase == Phase.COMPLETE.value or snapshot.phase in PAST_HAND_OVER:
        for regions in (snapshot.memory, snapshot.reserved):
            if regions.name not in snapshot.refused and (not regions.cnt or regions.dummy):
                yield Defect(f"{regions.name} has no regions, though the phase is {snapshot.phase}")


def bad_flags(facts: Facts) -> Iterator[Defect]:
    """Yield regions with flags that the kernel does not have, or has for regions of another list.

    Source: `enum memblock_flags`: those named `MEMBLOCK_RSRV_*` are set in reserved, all others in memory only.
    """
    snapshot = facts.snapshot
    of_reserved = sum(bit for bit, name in snapshot.flag_names.items() if name.startswith("RSRV_"))
    known = {"reserved": of_reserved, "memory": sum(snapshot.flag_names) & ~of_reserved}
    for regions in (snapshot.memory, snapshot.reserved) if snapshot.flag_names else ():
        for at, flags in enumerate(regions.flags):
            wrong = flags & ~known[regions.name]
            if wrong:
                what = flag_names(wrong, snapshot.flag_names)
                yield Defect(f"{regions.name}[{at}] has the flags {what}, which none of {regions.name} has")


def bad_nid(facts: Facts) -> Iterator[Defect]:
    """Yield regions of a node that there cannot be.

    Source: `numa_valid_node()`; `NUMA_NO_NODE` and `MAX_NUMNODES` both mean none. `node_states[N_POSSIBLE]` has all
    nodes until the machine's are known, before a region gets one.
    """
    snapshot = facts.snapshot
    most = snapshot.no_node
    if most is None:
        return
    nodes = storage_of(snapshot).nodes or range(most)
    for regions in snapshot.lists:
        for at, nid in enumerate(regions.nid):
            if nid not in (-1, most) and nid not in nodes:
                yield Defect(f"{regions.name}[{at}] is of node {nid}, which there is not")


def bad_limit(facts: Facts) -> Iterator[Defect]:
    """Yield a current_limit that the kernel never sets, or below which there is no memory; until the hand-over.

    Source: `memblock_set_current_limit()` and its callers; `memblock_find_in_range_node()`.
    """
    snapshot = facts.snapshot
    limit, limits = snapshot.current_limit, storage_of(snapshot).limits
    if snapshot.phase in PAST_HAND_OVER:
        return
    if limits is not None and limit not in limits:
        expected = " or ".join(map(hex, sorted(limits)))
        yield Defect(f"current_limit is {limit:#x}, but {expected} is expected at this stop")
    elif limits is None and _real(snapshot.memory) and limit <= min(snapshot.memory.base):
        yield Defect(f"current_limit is {limit:#x}: all of memory is above it")


def array_unreserved(facts: Facts) -> Iterator[Defect]:
    """Yield doubled arrays that do not lie in reserved memory; those from slab belong to the page allocator.

    Source: `memblock_double_array()`.
    """
    snapshot = facts.snapshot
    told = {at for defect in snapshot.defects if defect.code == "array-pointer" for at in defect.addresses}
    for array in storage_of(snapshot).arrays:
        if array.static or snapshot.phase in PAST_HAND_OVER or array.va in told:
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


# Each list whose total_size is not the sum of its regions, as far as those could be read: with the sum, and whether
# trimming explains it.
def _totals(facts: Facts) -> list[tuple[RegionList, int, bool]]:
    most = storage_of(facts.snapshot).trimmed
    found = []
    for regions in facts.snapshot.lists:
        total = sum(regions.size) & facts.snapshot.phys_addr_max
        more = regions.total_size - total
        if more and regions.cnt == len(regions):
            found.append((regions, total, regions.name == "memory" and more > 0 and (most is None or more <= most)))
    return found


def total_size(facts: Facts) -> Iterator[Defect]:
    """Yield a total_size that is not the sum of its regions, though nothing but trimming leaves it otherwise.

    Trimming cuts less than a page off each end of what was added, of memory only: what is cut off stays in the total,
    wherever the regions have gone since. Source: `memblock_trim_memory()` in every version; `e820__memblock_setup()`.
    """
    return (
        Defect(f"{regions.name}.total_size is {regions.total_size:#x}, but its regions sum to {total:#x}")
        for regions, total, explained in facts.once(_totals)
        if not explained
    )


def size_stale(facts: Facts) -> Iterator[Defect]:
    """Yield a total_size of memory that is more than its regions, as `memblock_trim_memory()` leaves it."""
    return (
        Defect(
            f"{regions.name}.total_size is {regions.total_size:#x}, but its regions sum to {total:#x}: "
            "memblock_trim_memory() does not correct it"
        )
        for regions, total, explained in facts.once(_totals)
        if explained
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
    rooms = ((regions.name, min(regions.max or room, room) - regions.cnt) for regions, room in _rooms(facts))
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
    Check("array-pointer", FINDING, partial(common.defects, code="array-pointer")),
    Check("bad-name", FINDING, partial(common.defects, code="bad-name")),
    Check("outside-firmware", FINDING, common.outside_firmware),
    Check("firmware-unreserved", FINDING, common.firmware_unreserved),
    Check("firmware-overlap", FINDING, common.firmware_overlap),
    Check("count-over-max", FINDING, count_over_max),
    Check("bad-max", FINDING, bad_max),
    Check("list-empty", FINDING, list_empty),
    Check("total-size", FINDING, total_size),
    Check("bad-flags", FINDING, bad_flags),
    Check("bad-nid", FINDING, bad_nid),
    Check("bad-limit", FINDING, bad_limit),
    Check("bad-bottom-up", FINDING, partial(common.defects, code="bad-bottom-up")),
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
