# SPDX-License-Identifier: GPL-2.0-or-later
"""The search for free memory: what is on `memory`, not on `reserved`, and may be used.

Mirrors `memblock_find_in_range_node()`, `__memblock_find_range_{top_down,bottom_up}()`,
`__next_mem_range{,_rev}()` and `should_skip_region()`. Results are those of the C, 0 for nothing found;
the walks begin where the window does instead of at the end of the list.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator

from gdb_lmb.allocators.memblock.behavior import MEMBLOCK_DRIVER_MANAGED, MEMBLOCK_HOTPLUG, MEMBLOCK_NOMAP
from gdb_lmb.allocators.memblock.table import Table
from gdb_lmb.core.ranges import Range

Usable = Callable[[int], bool]
"""Tells of the memory region at this place whether the search may look at it."""


def usable_regions(memory: Table, wanted: int, nid: int | None, *, hotplug: bool) -> Usable:
    """Return the opposite of `should_skip_region()`: `wanted` flags, of one node unless `nid` is None.

    `hotplug` tells whether memory that may be removed again is taken.
    """
    looked_at = MEMBLOCK_NOMAP | MEMBLOCK_DRIVER_MANAGED | (0 if hotplug else MEMBLOCK_HOTPLUG) | wanted
    flags, nids = memory.flags, memory.nid
    if nid is None:
        return lambda m: flags[m] & looked_at == wanted
    return lambda m: nids[m] == nid and flags[m] & looked_at == wanted


def find(
    memory: Table, reserved: Table, usable: Usable, start: int, end: int, size: int, align: int, limit: int, *, up: bool
) -> int:
    """Return the base of `size` free bytes in [start, end), 0 where there are none; `up`: the lowest one."""
    if not size:
        return nothing(memory, reserved, usable, start, end, align, limit, up=up)
    return (bottom_up if up else top_down)(memory, reserved, usable, start, end, size, align, limit)


def top_down(
    memory: Table, reserved: Table, usable: Usable, start: int, end: int, size: int, align: int, limit: int
) -> int:
    """Return the highest base in [start, end) of `size` free bytes, rounded down to `align`.

    `size` is not 0; `limit` is PHYS_ADDR_MAX, as for the other searches.
    """
    mask = limit & ~(align - 1)
    for m in range(bisect_left(memory.base, end) - 1, -1, -1):
        if memory.end[m] <= start:
            break
        if not usable(m):
            continue
        low, high = max(memory.base[m], start), min(memory.end[m], end)
        r = bisect_left(reserved.base, high) - 1
        while low < high:
            above = reserved.end[r] if r >= 0 else 0
            gap = above if above > low else low
            if high - gap >= size:
                found = (high - size) & mask
                if found >= gap:
                    return found
            if above <= low:
                break
            high = reserved.base[r]
            r -= 1
    return 0


def bottom_up(
    memory: Table, reserved: Table, usable: Usable, start: int, end: int, size: int, align: int, limit: int
) -> int:
    """Return the lowest base in [start, end) of `size` free bytes, rounded up to `align`."""
    mask = (align - 1) & limit
    for m in range(bisect_right(memory.end, start), len(memory.base)):
        if memory.base[m] >= end:
            break
        if not usable(m):
            continue
        low, high = max(memory.base[m], start), min(memory.end[m], end)
        r = bisect_right(reserved.end, low)
        while low < high:
            below = reserved.base[r] if r < len(reserved.base) else limit
            gap = below if below < high else high
            # round_up() wraps at the top of the address space: the C then finds 0, which means failure.
            found = ((((low - 1) & limit) | mask) + 1) & limit
            if found < gap and gap - found >= size:
                return found
            if below >= high:
                break
            low = reserved.end[r]
            r += 1
    return 0


def nothing(
    memory: Table, reserved: Table, usable: Usable, start: int, end: int, align: int, limit: int, *, up: bool
) -> int:
    """Return where the C finds 0 bytes: there even an empty gap, or an end of the window, will do."""
    ranges = free_ranges(memory, reserved, usable, limit)
    for low, high in ranges if up else reversed([*ranges]):
        low, high = min(max(low, start), end), min(max(high, start), end)
        if up:
            found = ((((low - 1) & limit) | ((align - 1) & limit)) + 1) & limit
            if found < high:
                return found
        else:
            found = high & ~(align - 1)
            if found >= low:
                return found
    return 0


def free_ranges(memory: Table, reserved: Table, usable: Usable, limit: int) -> Iterator[Range]:
    """Yield what `for_each_free_mem_range()` does, in its order: empty gaps between reservations included."""
    nr_reserved = len(reserved.base)
    for m in range(len(memory.base)):
        if not usable(m):
            continue
        low, high = memory.base[m], memory.end[m]
        r = bisect_right(reserved.end, low)
        while True:
            above = reserved.end[r - 1] if r else 0
            below = reserved.base[r] if r < nr_reserved else limit
            if above >= high:
                break
            if low < below:
                yield max(low, above), min(high, below)
            if below >= high:
                break
            r += 1
