# SPDX-License-Identifier: GPL-2.0-or-later
"""Regions: sorted, disjoint, merged, inside the address space and what the firmware called RAM."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, pairwise
from operator import lt

from gdb_lmb.allocators.check import Facts, Fault
from gdb_lmb.core.snapshot import LMB_NOMAP, lie_in, subtract, union, whole_pages


def unsorted(facts: Facts) -> Iterator[Fault]:
    snapshot = facts.snapshot
    for regions in (snapshot.memory, snapshot.reserved):
        base = regions.base
        if all(map(lt, base, islice(base, 1, None))):
            continue
        for at, (low, high) in enumerate(pairwise(base)):
            if high < low:
                yield Fault(f"{regions.name}[{at + 1}] starts below {regions.name}[{at}]", (low, high))


def overlap(facts: Facts) -> Iterator[Fault]:
    for columns in facts.columns:
        reach = (0, -1)
        for base, end, _, at in columns.sound_sorted if columns.collides else ():
            if base < reach[0]:
                yield Fault(f"{columns.name}[{at}] overlaps {columns.name}[{reach[1]}]", (base, reach[0]))
            reach = max(reach, (end, at))


def unmerged(facts: Facts) -> Iterator[Fault]:
    for columns in facts.columns:
        for low, high in pairwise(columns.sound_sorted if columns.collides else ()):
            if low[1] == high[0] and low[2] == high[2]:
                yield Fault(
                    f"{columns.name}[{low[3]}] and {columns.name}[{high[3]}] touch, have equal flags, "
                    "and are not one region",
                    (low[0], high[0]),
                )


def empty_region(facts: Facts) -> Iterator[Fault]:
    snapshot = facts.snapshot
    for regions in (snapshot.memory, snapshot.reserved):
        if all(regions.size):
            continue
        for at, (base, size) in enumerate(zip(regions.base, regions.size, strict=True)):
            if not size:
                yield Fault(f"{regions.name}[{at}] is empty", (base,))


def region_wraps(facts: Facts) -> Iterator[Fault]:
    for columns in facts.columns:
        if max(columns.ends, default=0) <= columns.limit:
            continue
        for at, end in enumerate(columns.ends):
            if end > columns.limit:
                yield Fault(
                    f"{columns.name}[{at}] goes past the end of the {facts.snapshot.bits}-bit address space",
                    (columns.regions.base[at], end),
                )


def outside_firmware(facts: Facts) -> Iterator[Fault]:
    firmware = facts.snapshot.firmware
    if firmware is None:
        return
    memory, ram = facts.columns[0], firmware.ram()
    if not memory.collides and lie_in(memory.regions.base, memory.ends, ram):
        return
    for base, end in subtract(memory.covered(), ram):
        yield Fault(f"memory [{base:#x}, {end:#x}) is not RAM in the firmware map", (base, end))


def handover_mismatch(facts: Facts) -> Iterator[Fault]:
    snapshot, given = facts.snapshot, facts.snapshot.handover
    if not snapshot.closed and snapshot.handover_nr and snapshot.torn is None:
        yield Fault(f"{snapshot.handover_nr} ranges were handed over, but the allocator is not closed")
    if given is None:
        return
    memory, reserved = facts.columns
    should = whole_pages(subtract(memory.covered(LMB_NOMAP), reserved.covered()), snapshot.page_size)
    if snapshot.handover_nr != len(should):
        yield Fault(f"{snapshot.handover_nr} ranges were handed over, not {len(should)}")
    # A full table holds the lowest ranges: compare those.
    if snapshot.handover_nr > len(given):
        should = should[: len(given)]
    got = union(given)
    for base, end in subtract(got, should):
        yield Fault(f"[{base:#x}, {end:#x}) was handed over, but is reserved or no memory", (base, end))
    for base, end in subtract(should, got):
        yield Fault(f"[{base:#x}, {end:#x}) is free memory, but was not handed over", (base, end))


def reserved_outside_memory(facts: Facts) -> Iterator[Fault]:
    memory, reserved = facts.columns
    for base, end in subtract(reserved.covered(), memory.covered()):
        yield Fault(f"reserved [{base:#x}, {end:#x}) is outside memory", (base, end))
