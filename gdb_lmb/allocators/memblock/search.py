# SPDX-License-Identifier: GPL-2.0-or-later
"""The search for free memory: what is on `memory`, not on `reserved`, and may be used.

Mirrors `memblock_find_in_range_node()`, `__memblock_find_range_{top_down,bottom_up}()`,
`__next_mem_range{,_rev}()` and `should_skip_region()`. Results are those of the C, 0 for nothing found;
the walks begin where the window does instead of at the end of the list.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from itertools import chain

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


# What lies between reservations in [start, end) in each region of memory, from below where `up`. Where reservations
# touch, that is an empty range; where one reaches over the edge of memory or of the window, its ends are swapped.
def _between(
    memory: Table, reserved: Table, usable: Usable, start: int, end: int, *, up: bool
) -> Iterator[Iterator[Range]]:
    step = 1 if up else -1
    for m in filter(usable, range(bisect_right(memory.end, start), bisect_left(memory.base, end))[::step]):
        low, high = max(memory.base[m], start), min(memory.end[m], end)
        inside = range(bisect_right(reserved.end, low), bisect_left(reserved.base, high))[::step]
        lows, highs = map(reserved.end.__getitem__, inside), map(reserved.base.__getitem__, inside)
        if up:
            yield zip(chain((low,), lows), chain(highs, (high,)), strict=True)
        else:
            yield zip(chain(lows, (low,)), chain((high,), highs), strict=True)


def find(
    memory: Table, reserved: Table, usable: Usable, start: int, end: int, size: int, align: int, limit: int, *, up: bool
) -> int:
    """Return the base of `size` free bytes in [start, end), aligned to `align`, 0 where there are none.

    `up` asks for the lowest base, else it is the highest; `limit` is PHYS_ADDR_MAX.
    """
    if not size:
        return _nothing(memory, reserved, usable, start, end, align, limit, up=up)
    mask = (align - 1) & limit
    for low, high in chain.from_iterable(_between(memory, reserved, usable, start, end, up=up)):
        # round_up() wraps at the top of the address space: the C then finds 0, which means failure.
        found = ((((low - 1) & limit) | mask) + 1) & limit if up else (high - size) & ~mask
        if low <= found <= high - size:
            return found
    return 0


# Where the C finds 0 bytes: there even an empty gap between reservations, or an end of the window, will do.
def _nothing(
    memory: Table, reserved: Table, usable: Usable, start: int, end: int, align: int, limit: int, *, up: bool
) -> int:
    mask = (align - 1) & limit
    for base, past in free_ranges(memory, reserved, usable, limit, up=up):
        low, high = min(max(base, start), end), min(max(past, start), end)
        found = ((((low - 1) & limit) | mask) + 1) & limit if up else high & ~mask
        if found < high if up else found >= low:
            return found
    return 0


def free_ranges(memory: Table, reserved: Table, usable: Usable, limit: int, *, up: bool = True) -> Iterator[Range]:
    """Yield what `for_each_free_mem_range()` does, in its order: empty gaps between reservations included."""
    edges = {*memory.base, *memory.end}
    for low, high in chain.from_iterable(_between(memory, reserved, usable, 0, limit, up=up)):
        if low < high or (low == high and low not in edges):
            yield low, high
