# SPDX-License-Identifier: GPL-2.0-or-later
"""Arithmetic of ranges: by hand, and against sets of bytes."""

from __future__ import annotations

import random

from gdb_lmb.core.ranges import Range, covers, lie_in, subtract, union, whole_pages


def bytes_of(ranges: list[Range]) -> set[int]:
    return {at for base, end in ranges for at in range(base, end)}


def as_ranges(found: set[int]) -> list[Range]:
    """Return the longest ranges of a set of bytes, lowest first."""
    starts = sorted(at for at in found if at - 1 not in found)
    ends = sorted(at + 1 for at in found if at + 1 not in found)
    return list(zip(starts, ends, strict=True))


def test_union() -> None:
    assert union([(5, 6), (9, 9), (2, 3), (1, 2), (20, 30), (22, 25), (24, 31)]) == [(1, 3), (5, 6), (20, 31)]
    assert union([]) == union([(4, 4)]) == []


def test_against_sets() -> None:
    rng = random.Random(3)
    for _ in range(500):
        one, other = ([(base, base + rng.randrange(6)) for base in rng.choices(range(30), k=rng.randrange(6))]
                      for _ in range(2))  # fmt: skip
        assert union(one) == as_ranges(bytes_of(one))
        assert bytes_of(subtract(union(one), union(other))) == bytes_of(one) - bytes_of(other)
        assert as_ranges(bytes_of(subtract(union(one), union(other)))) == subtract(union(one), union(other))


def test_in_columns() -> None:
    base, end = [10, 30], [20, 40]
    for low, high, inside in ((10, 20, True), (9, 20, False), (10, 21, False), (30, 31, True), (20, 30, False)):
        assert covers(base, end, [(low, high)]) is inside
    for ranges, inside in (([(10, 40)], True), ([(10, 20), (30, 40)], True), ([(10, 39)], False), ([(11, 40)], False)):
        assert lie_in(base, end, ranges) is inside


def test_whole_pages() -> None:
    assert whole_pages([(0, 0x2000), (0x2001, 0x4FFF), (0x5001, 0x6FFF), (0x7000, 0x8000)], 0x1000) == [
        (0x1000, 0x2000), (0x3000, 0x4000), (0x7000, 0x8000),
    ]  # fmt: skip
