# SPDX-License-Identifier: GPL-2.0-or-later
"""What holds of the regions of any allocator: sorted, disjoint, inside the address space and the firmware's RAM."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, pairwise
from operator import lt

from gdb_lmb.allocators.check import Facts, Fault
from gdb_lmb.core.ranges import lie_in, subtract


def unsorted(facts: Facts) -> Iterator[Fault]:
    """Yield regions that start below the one before them."""
    snapshot = facts.snapshot
    for regions in (snapshot.memory, snapshot.reserved):
        base = regions.base
        if all(map(lt, base, islice(base, 1, None))):
            continue
        for at, (low, high) in enumerate(pairwise(base)):
            if high < low:
                yield Fault(f"{regions.name}[{at + 1}] starts below {regions.name}[{at}]", (low, high))


def overlap(facts: Facts) -> Iterator[Fault]:
    """Yield regions that share bytes with another of their list."""
    for columns in facts.columns:
        reach = (0, -1)
        for base, end, _, at in columns.sound_sorted if columns.collides else ():
            if base < reach[0]:
                yield Fault(f"{columns.name}[{at}] overlaps {columns.name}[{reach[1]}]", (base, reach[0]))
            reach = max(reach, (end, at))


def empty_region(facts: Facts) -> Iterator[Fault]:
    """Yield regions of size 0, but for the dummy of memblock's empty list."""
    for regions in facts.snapshot.lists:
        if all(regions.size) or regions.dummy:
            continue
        for at, (base, size) in enumerate(zip(regions.base, regions.size, strict=True)):
            if not size:
                yield Fault(f"{regions.name}[{at}] is empty", (base,))


def region_wraps(facts: Facts) -> Iterator[Fault]:
    """Yield regions that end past PHYS_ADDR_MAX."""
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
    """Yield memory that the firmware does not call RAM."""
    firmware = facts.snapshot.firmware
    if firmware is None:
        return
    memory, ram = facts.columns[0], firmware.ram()
    if not memory.collides and lie_in(memory.regions.base, memory.ends, ram):
        return
    for base, end in subtract(memory.covered(), ram):
        yield Fault(f"memory [{base:#x}, {end:#x}) is not RAM in the firmware map", (base, end))


def reserved_outside_memory(facts: Facts) -> Iterator[Fault]:
    """Note reservations of what is not memory."""
    memory, reserved = facts.columns
    for base, end in subtract(reserved.covered(), memory.covered()):
        yield Fault(f"reserved [{base:#x}, {end:#x}) is outside memory", (base, end))


def defects(facts: Facts) -> Iterator[Fault]:
    """Yield what the decoder met that no column can hold."""
    for defect in facts.snapshot.defects:
        yield Fault(defect.what, defect.addresses)
