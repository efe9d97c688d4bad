# SPDX-License-Identifier: GPL-2.0-or-later
"""The owner of an address: what the lists, the firmware, what is known to lie there, and a history say.

The address space falls into stretches: each lies in one region of memory or in none, and in one reserved
region or in none. A damaged list is taken in the order of its bases.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from gdb_lmb.allocators.base import allocator
from gdb_lmb.analysis.owners import Owners, Piece
from gdb_lmb.core.address import Phase
from gdb_lmb.core.holes import NEVER_GIVEN
from gdb_lmb.core.ranges import Range
from gdb_lmb.core.snapshot import FirmwareMap, Place, RegionList, Snapshot

RESERVED, FREE, KEPT, NOTHING = "reserved", "free", "never given", "not memory"
GONE = Phase.HANDED_OVER.value
"""What a stretch is; memory that no allocation gets (NOMAP) is kept, what was free at the hand-over is gone."""

MAX_PARTS = 1 << 16
"""Stretches of one answer: more than anybody reads."""


@dataclass(frozen=True)
class Stretch:
    """A run of addresses [base, end) with one state; `memory` and `reserved` are places in the lists, or None."""

    base: int
    end: int
    state: str
    memory: int | None = None
    reserved: int | None = None


@dataclass(frozen=True)
class Part:
    """What is known of [base, end), which lies in one stretch.

    `owners` are the pieces of its reservation that have bytes here, in full; `firmware` the ranges of the map
    (base, end, type) and `places` what else lies here, in full too.
    """

    base: int
    end: int
    stretch: Stretch
    owners: tuple[Piece, ...] = ()
    places: tuple[Place, ...] = ()
    firmware: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True)
class Answer:
    """The parts of a range, and the stretches before and behind it; `more` tells that parts were left out."""

    base: int
    end: int
    parts: tuple[Part, ...]
    below: Stretch | None
    above: Stretch | None
    more: bool


class _Sorted:
    # A list's regions by base, and where each is on the list.

    def __init__(self, regions: RegionList, limit: int) -> None:
        self.rows = sorted(
            (base, base + size, at)
            for at, (base, size) in enumerate(zip(regions.base, regions.size, strict=True))
            if size
        )
        self.limit = limit

    def around(self, address: int) -> tuple[int, int, int | None]:
        """Return the region that holds `address`, or the gap, with the region's place on the list or None."""
        behind = bisect_left(self.rows, (address + 1,))
        past = self.rows[behind][0] if behind < len(self.rows) else self.limit
        base, end, at = self.rows[behind - 1] if behind else (0, 0, 0)
        return (base, min(end, past), at) if address < end else (end, past, None)


class Stretches:
    """The address space of a snapshot as stretches."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.limit = 1 << snapshot.bits
        self._memory = _Sorted(snapshot.memory, self.limit)
        self._reserved = _Sorted(snapshot.reserved, self.limit)
        self._flags = snapshot.memory.flags
        self._free = snapshot.free_word
        self._never = sum(bit for bit, name in snapshot.flag_names.items() if name in NEVER_GIVEN)

    def at(self, address: int) -> Stretch:
        """Return the stretch that holds `address`."""
        low, high, memory = self._memory.around(address)
        base, end, reserved = self._reserved.around(address)
        state = NOTHING if memory is None else KEPT if self._flags[memory] & self._never else self._free
        if reserved is not None:
            state = RESERVED
        return Stretch(max(low, base), min(high, end), state, memory, reserved)

    def between(self, base: int, end: int) -> Iterator[Stretch]:
        """Yield the stretches that have bytes in [base, end), in full."""
        while base < end:
            stretch = self.at(base)
            yield stretch
            base = stretch.end


def answer(snapshot: Snapshot, asked: Range, places: Sequence[Place] = (), owners: Owners | None = None) -> Answer:
    """Return all that is known of the range `asked`; `places` come from elsewhere, those of the allocator are here."""
    stretches = Stretches(snapshot)
    known = sorted((*places, *own_places(snapshot)), key=lambda place: (place.base, -place.end))
    told = snapshot.firmware or FirmwareMap()
    firmware = [(base, base + size, kind) for base, size, kind in zip(told.base, told.size, told.type, strict=True)]
    parts: list[Part] = []
    base, end = asked
    between = stretches.between(base, end)
    for stretch in islice(between, MAX_PARTS):
        low, high = max(stretch.base, base), min(stretch.end, end)
        parts.append(
            Part(
                low,
                high,
                stretch,
                tuple(pieces_in(snapshot, stretch, low, high, owners)),
                tuple(place for place in known if place.base < high and low < place.end),
                tuple(row for row in firmware if row[0] < high and low < row[1]),
            )
        )
    first, last = parts[0].stretch, parts[-1].stretch
    below = stretches.at(first.base - 1) if first.base else None
    above = stretches.at(last.end) if last.end < stretches.limit else None
    return Answer(base, end, tuple(parts), below, above, next(between, None) is not None)


def own_places(snapshot: Snapshot) -> Iterator[Place]:
    """Yield what the allocator itself has in memory, and page 0."""
    yield Place(0, snapshot.page_size, "page 0, which is never allocated")
    yield from allocator(snapshot.layout).own_ranges(snapshot)


def pieces_in(snapshot: Snapshot, stretch: Stretch, low: int, high: int, owners: Owners | None) -> Iterable[Piece]:
    """Return the pieces of a stretch's reservation that have bytes in [low, high), in full; none without owners."""
    if owners is None or stretch.reserved is None:
        return ()
    region = snapshot.reserved[stretch.reserved]
    one = replace(snapshot.reserved, base=[region.base], size=[region.size], flags=[region.flags], entry=[0], nid=())
    pieces = owners.cover(replace(snapshot, reserved=one))[0]
    return (piece for piece in pieces if piece.base < high and low < piece.end)
