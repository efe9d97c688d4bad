# SPDX-License-Identifier: GPL-2.0-or-later
"""What an allocation may still lie in: the holes, what fits into them, and how scattered they are.

Mirrors the search of mm/memblock.c (`__next_mem_range()`) and rule 4 of the list-based LMB: memory less what
is reserved, each region of memory for itself, without the page at 0 and what is never handed out. What only
some allocations get (hotpluggable or mirrored memory, a node's own) counts as free here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gdb_lmb.core.ranges import Range, subtract, union
from gdb_lmb.core.snapshot import Snapshot

NEVER_GIVEN = ("NOMAP", "DRIVER_MANAGED")  # flags of memory that no allocation gets

# A page, and the large pages of most machines, in bytes.
ALIGNS = (4 << 10, 64 << 10, 2 << 20, 1 << 30)

# What real-mode code, ISA DMA and 32-bit DMA can reach, in bytes.
LIMITS = (1 << 20, 16 << 20, 4 << 30)


@dataclass(frozen=True)
class Fit:
    """The largest allocation aligned to `align` and below `max`; `size` is 0 where there is none."""

    align: int
    max: int
    base: int
    size: int


@dataclass(frozen=True)
class FreeSpace:
    """The holes in [min, max), lowest first, and what they are good for."""

    min: int
    max: int
    holes: tuple[Range, ...]
    fits: tuple[Fit, ...]

    @property
    def total(self) -> int:
        """Return the bytes of all holes."""
        return sum(end - base for base, end in self.holes)

    @property
    def fragmentation(self) -> float:
        """Return the share of the free bytes that lie outside the largest hole: 0 for one hole, near 1 for many."""
        most = max((end - base for base, end in self.holes), default=0)
        return 1 - most / self.total if most else 0.0


def bounds(snapshot: Snapshot, min: int = 0, max: int = 0) -> Range:
    """Return the range that a search looks at; `max` 0 means no bound but the current limit."""
    low = min if min > snapshot.page_size else snapshot.page_size
    high = max if max and max < snapshot.current_limit else snapshot.current_limit
    return low, high if high > low else low


def holes(snapshot: Snapshot, min: int = 0, max: int = 0) -> list[Range]:
    """Return what an allocation in [min, max) may lie in, lowest first; each lies in one region of memory."""
    never = sum(bit for bit, name in snapshot.flag_names.items() if name in NEVER_GIVEN)
    low, high = bounds(snapshot, min, max)
    memory = _clipped(snapshot.memory.ranges(without_flags=never), low, high)
    return subtract(memory, union(snapshot.reserved.ranges()))


def _clipped(ranges: Iterable[Range], low: int, high: int) -> Iterator[Range]:
    # Yield the parts in [low, high), sorted; what a damaged list says twice counts once.
    for base, end in sorted(ranges):
        start = base if base > low else low
        stop = end if end < high else high
        if start < stop:
            yield start, stop
            low = stop


def largest(holes: Iterable[Range], align: int) -> Range:
    """Return the largest range in a hole whose base is a multiple of `align`; (0, 0) where there is none."""
    best = (0, 0)
    for base, end in holes:
        start = -(-base // align) * align
        if end - start > best[1] - best[0]:
            best = (start, end)
    return best


def free_space(
    snapshot: Snapshot,
    *,
    aligns: Sequence[int] = ALIGNS,
    limits: Sequence[int] = LIMITS,
    min: int = 0,
    max: int = 0,
) -> FreeSpace:
    """Return the free space in [min, max), with the largest allocation for each alignment and each limit.

    The first limit is that of the range itself; of `limits` those are taken that have holes on either side.
    """
    low, high = bounds(snapshot, min, max)
    found = holes(snapshot, min, max)
    bottom, top = (found[0][0], found[-1][1]) if found else (low, low)
    fits = []
    for limit in (high, *(limit for limit in limits if bottom < limit < top)):
        below = list(_clipped(found, low, limit))
        for align in aligns:
            base, end = largest(below, align)
            fits.append(Fit(align, limit, base, end - base))
    return FreeSpace(low, high, tuple(found), tuple(fits))
