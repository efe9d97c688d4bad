# SPDX-License-Identifier: GPL-2.0-or-later
"""The geometry of a picture of memory: which parts of an address space are drawn, and what each cell holds.

Nothing here draws. A damaged list is taken as the set of bytes that its regions cover: unsorted, overlapping and
empty regions do no harm, and what wraps is cut at the end of the address space.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from gdb_lmb.core.holes import NEVER_GIVEN
from gdb_lmb.core.ranges import Range, subtract, union
from gdb_lmb.core.snapshot import Snapshot

HOLE_SHARE = 4
"""Holes take at most one part in so many of a picture; the largest ones are left out until that is so."""


class Coverage:
    """A set of bytes: sorted, disjoint ranges below `limit`, and how many bytes of them lie where."""

    def __init__(self, ranges: Iterable[Range], limit: int) -> None:
        """Take ranges in any order."""
        self.ranges = union((base, min(end, limit)) for base, end in ranges if base < limit)
        self._base = [base for base, _ in self.ranges]
        self._before = [0, *accumulate(end - base for base, end in self.ranges)]

    def _below(self, address: int) -> int:
        at = bisect_right(self._base, address) - 1
        if at < 0:
            return 0
        base, end = self.ranges[at]
        return self._before[at] + min(end, address) - base

    def within(self, low: int, high: int) -> int:
        """Return how many bytes of [low, high) are in the set."""
        return self._below(high) - self._below(low)


@dataclass(frozen=True)
class Cell:
    """The bytes of [base, end) by kind.

    `kept` is memory that no allocation gets (NOMAP), `image` the kernel's, `image_reserved` what of that is
    reserved: init memory may be free again, and early in the boot nothing is reserved yet.
    """

    base: int
    end: int
    reserved: int = 0
    free: int = 0
    kept: int = 0
    image: int = 0
    image_reserved: int = 0

    @property
    def size(self) -> int:
        """Return the cell's bytes."""
        return self.end - self.base


class Layers:
    """The ranges of an address space by kind: reserved, free, never given, the kernel's image."""

    def __init__(self, snapshot: Snapshot, image: Iterable[Range] = ()) -> None:
        """Take the lists of `snapshot`, and the ranges that the kernel's image lies in."""
        self.limit = limit = 1 << snapshot.bits
        memory, reserved = snapshot.memory, snapshot.reserved
        never = sum(bit for bit, name in snapshot.flag_names.items() if name in NEVER_GIVEN)
        taken = Coverage(reserved.ranges(), limit)
        given = Coverage(memory.ranges(without_flags=never), limit).ranges
        self.reserved = taken
        self.present = Coverage([*memory.ranges(), *taken.ranges], limit)
        self.free = Coverage(subtract(given, taken.ranges), limit)
        self.kept = Coverage(subtract(subtract(self.present.ranges, taken.ranges), self.free.ranges), limit)
        self.image = Coverage(image, limit)
        loose = subtract(self.image.ranges, taken.ranges)
        self.image_reserved = Coverage(subtract(self.image.ranges, loose), limit)

    @property
    def all(self) -> Range:
        """Return all addresses up to the end of what there is."""
        return 0, self.present.ranges[-1][1] if self.present.ranges else 0

    def cell(self, base: int, end: int) -> Cell:
        """Return what lies in [base, end)."""
        layers = (self.reserved, self.free, self.kept, self.image, self.image_reserved)
        return Cell(base, end, *(layer.within(base, end) for layer in layers))


def drawn(shown: Range, present: Coverage, max_left_out: int) -> tuple[list[Range], list[Range]]:
    """Return what of the range `shown` is drawn, and the holes that are left out, both ascending.

    The largest holes are left out, at most `max_left_out` of them, until the rest takes its share at most.
    """
    low, high = shown
    inside = [(max(base, low), min(end, high)) for base, end in present.ranges if base < high and low < end]
    holes = subtract([shown] if low < high else [], inside)
    drawn_bytes, hole_bytes = high - low, sum(end - base for base, end in holes)
    left_out: list[Range] = []
    for hole in sorted(holes, key=lambda hole: (hole[0] - hole[1], hole)):
        if hole_bytes * HOLE_SHARE <= drawn_bytes or len(left_out) == max_left_out:
            break
        left_out.append(hole)
        drawn_bytes -= hole[1] - hole[0]
        hole_bytes -= hole[1] - hole[0]
    left_out.sort()
    return subtract([shown] if low < high else [], left_out), left_out


def smallest(fits: Callable[[int], bool], low: int, high: int) -> int:
    """Return the smallest number from `low` to `high` that `fits`; larger ones fit too, and `high` is taken to."""
    while low < high:
        middle = (low + high) // 2
        if fits(middle):
            high = middle
        else:
            low = middle + 1
    return low


def cell_size(spans: Sequence[Range], cells: int) -> int:
    """Return the fewest bytes a cell can hold if all `spans` are to fit into so many cells, a whole number each."""
    longest = max(end - base for base, end in spans)
    return smallest(lambda size: sum(-(-(end - base) // size) for base, end in spans) <= cells, 1, longest)


def edges(span: Range, size: int) -> Iterator[Range]:
    """Yield the cells of a span; the last one ends where it does."""
    base, end = span
    while base < end:
        yield base, min(base + size, end)
        base += size
