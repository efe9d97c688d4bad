# SPDX-License-Identifier: GPL-2.0-or-later
"""What an operation of memblock would do, on states made by hand; expected values from mm/memblock.c by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gdb_lmb.allocators.memblock.behavior import MemblockBehavior, MemblockConfig
from gdb_lmb.allocators.memblock.model import MemblockModel
from gdb_lmb.allocators.memblock.resume import from_snapshot, predict_memblock
from gdb_lmb.allocators.predict import Prediction
from gdb_lmb.core.errors import InputError, StateError
from gdb_lmb.report.prediction import prediction_json, prediction_text
from tests.helpers.linux_behaviors import LINUX_6_1, LINUX_6_12, LINUX_7_3
from tests.helpers.operations import op as operation

K, M = 1 << 10, 1 << 20
NO_NODE = 1024  # MAX_NUMNODES


def model(behavior: MemblockBehavior = LINUX_6_1, **config: int) -> MemblockModel:
    """RAM [0, 16M) of node 0; reserved [1M, 2M)."""
    made = MemblockModel(MemblockConfig(behavior, no_node=NO_NODE, **config))
    assert made.add_range("memory", 0, 16 * M, 0) == 0
    assert made.add_range("reserved", M, M, NO_NODE) == 0
    return made


Rows = list[tuple[int, int, int, "int | None"]]


def rows(found: Prediction) -> list[tuple[str, Rows, Rows]]:
    def plain(side: tuple[object, ...]) -> Rows:
        return [(row.base, row.size, row.flags, row.nid) for row in side]  # type: ignore[attr-defined]

    return [(change.list, plain(change.before), plain(change.after)) for change in found.changes]


def test_alloc_takes_the_top_and_joins() -> None:
    found = predict_memblock(model(), "alloc", size=64 * K, align=64 * K)
    assert found.op == "alloc_range_nid" and found.result == 16 * M - 64 * K
    assert rows(found) == [("reserved", [], [(16 * M - 64 * K, 64 * K, 0, NO_NODE)])]
    again = predict_memblock(model(), "alloc", size=64 * K, align=64 * K, max=M)
    assert again.result == M - 64 * K
    assert rows(again) == [("reserved", [(M, M, 0, NO_NODE)], [(M - 64 * K, M + 64 * K, 0, NO_NODE)])]


def test_from_7_on_allocations_are_marked_and_keep_their_node() -> None:
    # RSRV_KERN is 0x20: so the new region does not join the reservation that it touches.
    found = predict_memblock(model(LINUX_7_3), "alloc", size=64 * K, align=64 * K, max=M, nid=0)
    assert rows(found) == [("reserved", [], [(M - 64 * K, 64 * K, 0x20, 0)])]
    # And a plain reservation has no node: -1 there, MAX_NUMNODES in older kernels.
    assert rows(predict_memblock(model(LINUX_7_3), "reserve", base=4 * M, size=K))[0][2] == [(4 * M, K, 0, -1)]
    assert rows(predict_memblock(model(LINUX_6_12), "reserve", base=4 * M, size=K))[0][2] == [(4 * M, K, 0, NO_NODE)]


CALLS = [
    ("alloc", {"size": 64 * K, "nid": 1},
     "memblock_alloc_range_nid(size=0x10000, align=0x0, min=0x0, max=0x0, nid=1, exact=false)"),
    ("alloc", {"size": K}, "memblock_alloc_range_nid(size=0x400, align=0x0, min=0x0, max=0x0, nid=-1, exact=false)"),
    ("reserve", {"base": M, "size": K},
     "memblock_add_range(list=reserved, base=0x100000, size=0x400, nid=1024, flags=0x0)"),
    ("add", {"base": M, "size": K, "flags": 4, "nid": 0},
     "memblock_add_range(list=memory, base=0x100000, size=0x400, nid=0, flags=0x4)"),
    ("free", {"base": M, "size": K}, "memblock_remove_range(list=reserved, base=0x100000, size=0x400)"),
]  # fmt: skip


@pytest.mark.parametrize(("op", "given", "call"), CALLS, ids=[row[0] for row in CALLS])
def test_a_call_is_written_as_in_a_trace(op: str, given: dict[str, int], call: str) -> None:
    found = predict_memblock(model(), op, **given)
    assert prediction_text(found).startswith(f"{call} ")
    assert call == f"memblock_{operation(found.op, **found.arguments)}"  # type: ignore[arg-type]


def test_ranges() -> None:
    found = predict_memblock(model(), "free", base=M + 64 * K, size=64 * K)
    assert found.result == 0 and rows(found) == [
        ("reserved", [(M, M, 0, NO_NODE)], [(M, 64 * K, 0, NO_NODE), (M + 128 * K, M - 128 * K, 0, NO_NODE)])
    ]
    found = predict_memblock(model(), "remove", base=15 * M, size=M)
    assert rows(found) == [("memory", [(0, 16 * M, 0, 0)], [(0, 15 * M, 0, 0)])]
    found = predict_memblock(model(), "add", base=32 * M, size=M, nid=1, flags=4)
    assert rows(found) == [("memory", [], [(32 * M, M, 4, 1)])]


def full(behavior: MemblockBehavior) -> MemblockModel:
    """Room for four reservations, all taken: [1M, 2M) and three of 1 KiB from 4M on."""
    made = model(behavior, reserved_max=4)
    for number in range(3):
        assert made.add_range("reserved", 4 * M + number * 64 * K, K, NO_NODE) == 0
    return made


def test_doubling() -> None:
    made = full(LINUX_6_12)
    made.can_resize = True
    found = predict_memblock(made, "reserve", base=8 * M, size=K)
    # Eight regions of 24 bytes take a page, above the range that is being reserved: the highest one.
    assert found.result == 0
    assert found.storage["arrays"] == [
        {"list": "reserved", "max": [4, 8], "base": hex(16 * M - 4 * K), "size": hex(192)}
    ]
    assert rows(found) == [
        ("reserved", [], [(8 * M, K, 0, NO_NODE)]),
        ("reserved", [], [(16 * M - 4 * K, 4 * K, 0, NO_NODE)]),
    ]
    assert "the array of reserved doubles from 4 to 8 regions, 192 bytes at 0xfff000" in prediction_text(found)
    data = prediction_json(found, found.before)
    assert data["arrays"] == [{"list": "reserved", "max": [4, 8], "base": "0xfff000", "size": "0xc0"}]


def test_a_full_array_that_may_not_be_doubled() -> None:
    found = predict_memblock(full(LINUX_6_1), "reserve", base=8 * M, size=K)
    assert found.result == -12 and found.changes == ()
    assert found.reason == (
        "the array of reserved is full (4 of 4 regions) and may not be doubled before memblock_allow_resize()"
    )
    found = predict_memblock(full(LINUX_6_12), "reserve", base=8 * M, size=K)
    assert found.result is None and found.reason == "the kernel stops with: memblock: cannot resize reserved array"
    assert "cannot be told: the kernel stops with" in prediction_text(found)
    assert prediction_json(found, found.before)["result"] is None


def test_a_kernel_that_would_overwrite_its_own_lists() -> None:
    # The new array of reserved may lie where memory's is: somebody has freed that one while it is in use.
    made = MemblockModel(MemblockConfig(LINUX_6_12, no_node=NO_NODE, memory_max=4, reserved_max=4))
    assert made.add_range("memory", 0, 16 * M, 0) == 0
    made.can_resize = True
    for base in (38 * M, 36 * M, 34 * M, 32 * M):
        assert made.add_range("memory", base, M, 0) == 0
    array = made.memory.array_base
    assert array is not None and made.remove_range("reserved", array, 4 * K) == 0
    for number in range(4):
        assert made.add_range("reserved", M + number * 64 * K, K, NO_NODE) == 0
    found = predict_memblock(made, "reserve", base=8 * M, size=K)
    assert found.result is None and found.changes == ()
    assert found.reason == (
        f"the kernel overwrites its own lists: the doubled reserved array at {array:#x} overwrites the memory array"
    )


def test_no_memory() -> None:
    found = predict_memblock(model(), "alloc", size=2 * M, align=K, max=3 * M)
    assert found.result == 0
    assert found.reason == "no memory in [0x1000, 0x300000): the largest allocation possible there is 0x100000 bytes"
    assert "fails and returns 0: no memory in" in prediction_text(found)
    assert predict_memblock(model(), "alloc", size=1, min=M, max=2 * M).reason.endswith("nothing is free there")
    hotplug = model()
    hotplug.movable_node = True
    assert hotplug.setclr_flag("memory", 0, 16 * M, True, 1) == 0
    found = predict_memblock(hotplug, "alloc", size=1)
    assert found.result == 0 and "that this allocation may have (node, mirror, hotplug)" in found.reason


def test_the_slab_gives_what_no_list_tells() -> None:
    late = model(LINUX_6_12)
    late.slab_up = True
    found = predict_memblock(late, "alloc", size=64)
    assert found.result is None and "the slab allocator is up" in found.reason


def test_refusals() -> None:
    with pytest.raises(InputError, match="take no flags"):
        predict_memblock(model(), "alloc", size=1, flags=4)
    state = model().snapshot()
    config = MemblockConfig.of(state, LINUX_6_1)
    from_snapshot(state, config)
    with pytest.raises(StateError, match="the stop is inside memblock_add_range"):
        from_snapshot(replace(state, torn="memblock_add_range"), config)
    with pytest.raises(StateError, match="of layout lmb-list"):
        from_snapshot(replace(state, layout="lmb-list"), config)
