# SPDX-License-Identifier: GPL-2.0-or-later
"""In what two states differ, in words: the freelist's places, and lists behind one that is not true any more."""

from __future__ import annotations

from dataclasses import replace

from gdb_lmb.analysis.compare import compare, diff, differences
from gdb_lmb.core.snapshot import Snapshot, column
from tests.helpers.small_lmb import lmb_model
from tests.helpers.states import lmb, stored


def state() -> Snapshot:
    return lmb_model()[0].snapshot()


def with_free(*indexes: int) -> Snapshot:
    return stored(state(), free=column(indexes))


def test_the_freelists_first_difference_by_its_place() -> None:
    # 1:2, 1:3 and 1:4 are free: indexes 7, 8 and 9.
    assert list(lmb(state()).free) == [7, 8, 9] and compare(state(), state()) is None
    told = compare(state(), with_free(7, 9, 8))
    assert told is not None and told.message == "the freelist has entry 1:4 at place 1, but entry 1:3 is expected"
    values = diff(state(), with_free(7, 9, 8)).values
    assert [(row.name, row.expected, row.found) for row in values] == [("freelist[1]", "entry 1:3", "entry 1:4")]
    less, more = compare(state(), with_free(7, 8)), compare(with_free(7, 8), state())
    assert less is not None and less.message == "the freelist has 2 entries, but 3 are expected"
    assert more is not None and more.message == "the freelist has 3 entries, but 2 are expected"


def test_a_list_behind_a_refused_one_is_compared() -> None:
    found = with_free(7, 9, 8)
    base = column([0x100000, 0x300000, 0x1FFB000, 0x1FFFE00])
    found = replace(found, refused={"memory": "gone"}, memory=replace(found.memory, base=column([]), size=column([]),
                    flags=column([]), entry=column([])), reserved=replace(found.reserved, base=base))  # fmt: skip
    told = [one.message for one in differences(state(), found)]
    assert told == [
        "reserved[3] is [0x1fffe00, 0x1ffff00) flags 0x0, but [0x1ffff00, 0x2000000) flags 0x0 is expected",
        "the freelist has entry 1:4 at place 1, but entry 1:3 is expected",
    ]


def test_a_region_in_another_entry() -> None:
    # What was taken for the block is in the last entry of the array, and the block's first has what came next.
    assert list(state().reserved.entry) == [3, 6, 5, 4]
    found = replace(state(), reserved=replace(state().reserved, entry=column([3, 6, 4, 5])))
    (told,) = differences(state(), found)
    assert told.message == ("reserved[2] at 0x1ffb000 is stored in another entry than expected (index 4, not 5)")
    assert told.address == 0x1FFB000
