# SPDX-License-Identifier: GPL-2.0-or-later
"""What an operation would do: results, changes, entries and reasons, worked out by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from gdb_lmb.allocators.lmb.model import EBUSY, EINVAL, ENOMEM, LmbConfig, LmbModel
from gdb_lmb.allocators.lmb.predict import predict_lmb
from gdb_lmb.allocators.predict import Change, Prediction, Row
from gdb_lmb.core.errors import StateError, UsageError
from gdb_lmb.core.snapshot import Snapshot

K = 1024
MAX = (1 << 64) - 1
BLOCK = 0x80000000


def state(*operations: tuple[object, ...], static: int = 16, block: int = 4096) -> Snapshot:
    model = LmbModel(LmbConfig(static=static, block_size=block))
    for op, *arguments in operations:
        assert getattr(model, str(op))(*arguments) >= 0
    return model.snapshot()


RAM = ("add", 0, 1024 * K)
TWO = (RAM, ("reserve", 8 * K, 4 * K), ("reserve", 16 * K, 4 * K, 2))
Rows = list[tuple[int, ...]]


@dataclass(frozen=True)
class Case:
    """A question and its answer: `changes` are (list, before, after) with regions as (base, size[, flags])."""

    name: str
    operations: tuple[tuple[object, ...], ...]
    op: str
    given: dict[str, int]
    result: int
    changes: list[tuple[str, Rows, Rows]]
    popped: int = 0
    pushed: int = 0
    gained: tuple[int, ...] = ()
    reason: str | None = None
    static: int = 16


CASES = [
    Case("alloc_top_down", TWO, "alloc", {"size": 4 * K, "align": 4 * K}, 1020 * K,
         [("reserved", [], [(1020 * K, 4 * K)])], popped=1),
    Case("alloc_bottom_up", (*TWO, ("set_bottom_up", True)), "alloc", {"size": 4 * K}, 4 * K,
         # It touches the region at 8K, which has equal flags and keeps its entry.
         [("reserved", [(8 * K, 4 * K)], [(4 * K, 8 * K)])]),
    Case("alloc_flags_keep_apart", TWO, "alloc", {"size": 4 * K, "min": 12 * K, "max": 16 * K, "flags": 1}, 12 * K,
         [("reserved", [], [(12 * K, 4 * K, 1)])], popped=1),
    Case("reserve_joins_two", (*TWO, ("reserve", 24 * K, K)), "reserve", {"base": 12 * K, "size": 12 * K}, 0,
         # [8K,12K) and the new [12K,16K) join; [16K,20K) has other flags; the new [20K,24K) joins [24K,25K).
         [("reserved", [(8 * K, 4 * K)], [(8 * K, 8 * K)]), ("reserved", [(24 * K, K)], [(20 * K, 5 * K)])]),
    Case("reserve_over_two", (RAM, ("reserve", 8 * K, K), ("reserve", 12 * K, K)), "reserve",
         {"base": 4 * K, "size": 64 * K}, 0,
         [("reserved", [(8 * K, K), (12 * K, K)], [(4 * K, 64 * K)])], pushed=1),
    Case("reserve_what_is_reserved", TWO, "reserve", {"base": 8 * K, "size": K, "flags": 4}, 0, []),
    Case("free_within", TWO, "free", {"base": 9 * K, "size": K}, 0,
         [("reserved", [(8 * K, 4 * K)], [(8 * K, K), (10 * K, 2 * K)])], popped=1),
    Case("free_all_of_one", TWO, "free", {"base": 0, "size": 14 * K}, 0,
         [("reserved", [(8 * K, 4 * K)], [])], pushed=1),
    Case("add_disjoint", TWO, "add", {"base": 2048 * K, "size": K, "flags": 1}, 0,
         [("memory", [], [(2048 * K, K, 1)])], popped=1),
    Case("remove_within", TWO, "remove", {"base": 512 * K, "size": K}, 0,
         [("memory", [(0, 1024 * K)], [(0, 512 * K), (513 * K, 511 * K)])], popped=1),
    # Memory takes entry 0 and [4K,5K) entry 1; entry 2 is the last. So a block is gained first at the top, which
    # takes that entry, and then the reservation takes one of the block's 101. An allocation keeps the place at the top.
    Case("reserve_grows", (RAM, ("allow_growth",), ("reserve", 4 * K, K)), "reserve", {"base": 8 * K, "size": K}, 0,
         [("reserved", [], [(8 * K, K)]), ("reserved", [], [(1020 * K, 4 * K, BLOCK)])],
         popped=2, gained=(1020 * K,), static=3),
    Case("alloc_grows", (RAM, ("allow_growth",), ("reserve", 4 * K, K)), "alloc", {"size": 4 * K}, 1020 * K,
         [("reserved", [], [(1016 * K, 4 * K, BLOCK), (1020 * K, 4 * K)])],
         popped=2, gained=(1016 * K,), static=3),
    # Of what is free on either side of the range the upper part is searched first.
    Case("reserve_grows_above", (RAM, ("allow_growth",), ("reserve", 4 * K, K)), "reserve",
         {"base": 512 * K, "size": K}, 0,
         [("reserved", [], [(512 * K, K)]), ("reserved", [], [(1020 * K, 4 * K, BLOCK)])],
         popped=2, gained=(1020 * K,), static=3),
    Case("reserve_grows_below", (RAM, ("allow_growth",), ("reserve", 4 * K, K), ("set_bottom_up", True)), "reserve",
         {"base": 512 * K, "size": K}, 0,
         [("reserved", [], [(8 * K, 4 * K, BLOCK)]), ("reserved", [], [(512 * K, K)])],
         popped=2, gained=(8 * K,), static=3),
    Case("reserve_all_of_a_region", TWO, "reserve", {"base": 16 * K, "size": 4 * K}, 0, []),
    # [0,1M) becomes three regions: two entries, of which the last free one is none.
    Case("mark_within", TWO, "mark", {"base": 64 * K, "size": K, "flags": 4}, 0,
         [("memory", [(0, 1024 * K)], [(0, 64 * K), (64 * K, K, 4), (65 * K, 959 * K)])], popped=2),
    Case("clear_what_is_not_set", TWO, "clear", {"base": 64 * K, "size": K, "flags": 4}, 0, []),
    Case("to_the_end", TWO, "reserve", {"base": MAX - K, "size": MAX}, 0, [("reserved", [], [(MAX - K, K)])],
         popped=1),
    # Refusals and failures.
    Case("size_0", TWO, "alloc", {"size": 0}, EINVAL, [], reason="size is 0"),
    Case("past_the_end", TWO, "reserve", {"base": MAX, "size": K}, EINVAL, [],
         reason="no byte lies at PHYS_ADDR_MAX 0xffffffffffffffff"),
    Case("two_flags", TWO, "mark", {"base": 0, "size": K, "flags": 5}, EINVAL, [],
         reason="flags 0x5 is not one of HOTPLUG, MIRROR and NOMAP"),
    Case("flag_of_blocks", TWO, "reserve", {"base": 0, "size": K, "flags": BLOCK}, EINVAL, [],
         reason="BLOCK is the flag of the allocator's own blocks of entries"),
    Case("align", TWO, "alloc", {"size": K, "align": 3 * K}, EINVAL, [], reason="align 0xc00 is no power of two"),
    Case("closed", (*TWO, ("free_all",)), "add", {"base": 0, "size": K}, EBUSY, [],
         reason="the allocator is closed: lmb_free_all() has handed memory over"),
    Case("block", (RAM, ("allow_growth",), ("reserve", 4 * K, K), ("reserve", 8 * K, K)), "remove",
         {"base": 0, "size": 1021 * K}, EBUSY, [], static=3,
         reason="block 1 of entries lies at [0xff000, 0x100000): never freed"),
    Case("reserve_over_a_block", (RAM, ("allow_growth",), ("reserve", 4 * K, K), ("reserve", 8 * K, K)), "reserve",
         {"base": 1020 * K, "size": 1}, EBUSY, [], static=3,
         reason="block 1 of entries lies at [0xff000, 0x100000): it stays as it is"),
    Case("no_room_beside_the_place", (("add", 4 * K, 8 * K), ("allow_growth",)), "alloc", {"size": 8 * K}, ENOMEM, [],
         static=2,
         reason="it needs a block of entries, and there is no memory for 0x1000 bytes aligned to that outside the "
                "place it has found below the limit 0xffffffffffffffff"),
    # [20K, 22K) is free and aligned: 2 KiB would fit, not a byte more.
    Case("no_memory", TWO, "alloc", {"size": 2 * K + 1, "align": 4 * K, "min": 18 * K, "max": 22 * K}, ENOMEM, [],
         reason="no memory in [0x4800, 0x5800): the largest allocation possible there is 0x800 bytes"),
    Case("nothing_free", TWO, "alloc", {"size": 1, "min": 16 * K, "max": 20 * K}, ENOMEM, [],
         reason="no memory in [0x4000, 0x5000): nothing is free there"),
    Case("min_above_limit", TWO, "alloc", {"size": 1, "min": 20 * K, "max": 16 * K}, ENOMEM, [],
         reason="no memory in [0x5000, 0x5000): nothing is free there"),
    Case("no_growth_yet", (RAM, ("reserve", 4 * K, K)), "reserve", {"base": 8 * K, "size": K}, ENOMEM, [], static=3,
         reason="it needs an entry, the last free one is kept, and growth is not allowed before lmb_allow_growth()"),
    Case("no_room_for_a_block", (RAM, ("allow_growth",), ("reserve", 4 * K, 1020 * K)), "reserve",
         {"base": 2048 * K, "size": K}, ENOMEM, [], static=3,
         reason="it needs a block of entries, and there is no memory for 0x1000 bytes aligned to that outside the "
                "range below the limit 0xffffffffffffffff"),
]  # fmt: skip


def regions(rows: tuple[Row, ...]) -> Rows:
    return [(row.base, row.size, row.flags) for row in rows]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    snapshot = state(*case.operations, static=case.static)
    untouched = state(*case.operations, static=case.static)
    found = predict_lmb(snapshot, case.op, **case.given)
    assert (found.result, found.reason) == (case.result, case.reason)
    assert [(change.list, regions(change.before), regions(change.after)) for change in found.changes] == [
        (name, [(*row, 0)[:3] for row in before], [(*row, 0)[:3] for row in after])
        for name, before, after in case.changes
    ]
    entries, blocks = found.storage["entries"], found.storage["blocks"]
    assert (entries["popped"], entries["pushed"]) == (case.popped, case.pushed)
    assert tuple(int(block["base"], 16) for block in blocks) == case.gained
    before, after = entries["free"]
    assert after - before == case.pushed - case.popped + sum(block["entries"] for block in blocks)
    assert snapshot == untouched


def test_a_growth_before_a_failure_stays() -> None:
    # Blocks of 128 bytes have two entries, of which one stores the first block. The mark needs two: a second block
    # is gained, which would do, but there is room for one only, as the rest of memory is the operation's range.
    snapshot = state(("add", 4 * K, 8 * K), ("allow_growth",), ("reserve", 4 * K, 4 * K - 128, 1), static=3, block=128)
    found: Prediction = predict_lmb(snapshot, "mark", base=8 * K, size=4 * K - 1, flags=1)
    assert found.result == ENOMEM
    assert [block["base"] for block in found.storage["blocks"]] == [hex(8 * K - 128)]
    assert found.changes == (Change("reserved", (), (Row(8 * K - 128, 128, BLOCK),)),)
    assert found.reason == (
        "it needs a block of entries, and there is no memory for 0x80 bytes aligned to that outside the range below "
        "the limit 0xffffffffffffffff"
    )


def test_reasons_of_revision_1() -> None:
    model = LmbModel(LmbConfig(static=2, revision=1))
    assert model.add(4 * K, 2 * K) == model.allow_growth() == 0

    def reason(op: str, **given: int) -> str | None:
        return predict_lmb(model.snapshot(), op, **given).reason

    # The last byte of the address space is none of a region's, so that a range ends there at most.
    assert reason("reserve", base=MAX - K, size=K + 1) == f"the range ends at {MAX + 1:#x}, past PHYS_ADDR_MAX {MAX:#x}"
    assert reason("alloc", size=MAX, align=3) == "align 0x3 is no power of two"
    assert reason("alloc", size=2 * K) == (
        f"it needs a block of entries, and there is no memory for 0x1000 bytes aligned to that below the limit {MAX:#x}"
    )


def test_there_are_no_nodes() -> None:
    with pytest.raises(UsageError, match="the list-based LMB knows no nodes: leave --nid out"):
        predict_lmb(state(*TWO), "alloc", size=K, nid=0)


def test_torn_is_refused() -> None:
    with pytest.raises(StateError, match="the stop is inside lmb_free, so the lists may be between two states"):
        predict_lmb(replace(state(*TWO), torn="lmb_free"), "alloc", size=1)
