# SPDX-License-Identifier: GPL-2.0-or-later
"""Arithmetic of half-open ranges of physical addresses, in bytes."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

Range = tuple[int, int]  # a half-open physical range: base and end

_NO_HOLE: Range = (1 << 128, 1 << 128)  # a hole past every address: what follows the last one


def union(ranges: Iterable[Range]) -> list[Range]:
    """Return sorted ranges covering the same bytes, touching ones joined; empty ones vanish."""
    out: list[Range] = []
    for base, end in sorted(ranges):
        if out and base <= out[-1][1]:
            if end > out[-1][1]:
                out[-1] = (out[-1][0], end)
        elif base < end:
            out.append((base, end))
    return out


def subtract(ranges: Iterable[Range], holes: Iterable[Range]) -> list[Range]:
    """Return what of `ranges` is not in `holes`; both sorted and disjoint, so is the result.

    Both are read once and nothing of them is kept: columns can be passed as `zip(base, end)`.
    """
    out: list[Range] = []
    rest = iter(holes)
    hole_base, hole_end = next(rest, _NO_HOLE)
    for base, end in ranges:
        while hole_end <= base:
            hole_base, hole_end = next(rest, _NO_HOLE)
        while hole_base < end:
            if hole_base > base:
                out.append((base, hole_base))
            base = hole_end
            if base >= end:
                break
            hole_base, hole_end = next(rest, _NO_HOLE)
        if base < end:
            out.append((base, end))
    return out


def covers(base: Sequence[int], end: Sequence[int], ranges: Iterable[Range]) -> bool:
    """Tell whether each of a few ranges lies in one region of sorted, disjoint columns."""
    places = ((bisect_right(base, low) - 1, high) for low, high in ranges)
    return all(at >= 0 and high <= end[at] for at, high in places)


def lie_in(base: Sequence[int], end: Sequence[int], ranges: Iterable[Range]) -> bool:
    """Tell whether every region of sorted, disjoint columns lies in one of a few disjoint ranges."""
    return len(base) == sum(max(0, bisect_right(end, high) - bisect_left(base, low)) for low, high in ranges)


def whole_pages(ranges: Iterable[Range], page_size: int) -> list[Range]:
    """Return the whole pages inside each of `ranges`, page 0 left out."""
    pages = ((max(-(-base // page_size), 1) * page_size, end // page_size * page_size) for base, end in ranges)
    return [(first, last) for first, last in pages if first < last]
