# SPDX-License-Identifier: GPL-2.0-or-later
"""The model of memblock at its edges: full arrays, ends of the address space, nothing asked for.

Expected values were worked out by hand from mm/memblock.c.
"""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from gdb_lmb.allocators.memblock.behavior import MemblockBehavior, MemblockConfig
from gdb_lmb.allocators.memblock.model import MemblockModel
from gdb_lmb.allocators.memblock.resume import from_snapshot, predict_memblock, resume
from gdb_lmb.core.errors import GuestPanicError, InputError, StateError, UsageError
from tests.helpers.linux_behaviors import LINUX_6_1, LINUX_6_12
from tests.helpers.states import memblock

K, M = 1 << 10, 1 << 20
MAX = (1 << 64) - 1
NO_NODE = 1024
ENOMEM = -12
BOTH = pytest.mark.parametrize("behavior", [LINUX_6_1, LINUX_6_12], ids=["6.1", "6.12"])

Rows = list[tuple[int, int, int]]


def model_of(
    memory: Rows,
    reserved: Rows = (),
    behavior: MemblockBehavior = LINUX_6_12,
    **config: int | None,  # type: ignore[assignment]
) -> MemblockModel:
    """Regions by base, size and flags, each list's in this order."""
    model = MemblockModel(MemblockConfig(behavior, **config))  # type: ignore[arg-type]
    for name, rows in (("memory", memory), ("reserved", reserved)):
        for base, size, flags in rows:
            assert model.add_range(name, base, size, 0 if name == "memory" else NO_NODE, flags) == 0
    return model


def rows(model: MemblockModel, name: str = "reserved") -> Rows:
    regions = getattr(model.snapshot(), name)
    return list(zip(regions.base, regions.size, regions.flags, strict=True))


# Four pages of [1M, 2M), which do not merge: the array of four is full.
FULL: Rows = [(M + 0x1000 * at, 0x1000, 16 * (at % 2)) for at in range(4)]


# -- additions and removals -----------------------------------------------------------------------------


def test_the_total_of_an_empty_list_begins_anew() -> None:
    model = model_of([(0x1000, 0x1800, 0)])
    model.trim_memory(0x1000)
    model.remove_range("memory", 0, MAX)
    assert model.memory.total_size == 0x800
    model.add_range("memory", 0x5000, 0x1000, 0)
    assert model.memory.total_size == 0x1000
    model.remove_range("memory", 0x5000, 0x400)
    assert model.memory.total_size == 0xC00


def test_a_range_that_the_new_array_lies_in() -> None:
    # Above the range there is nothing, and below address 0 neither: then the search is for any place.
    model = model_of([(M, M, 0)], FULL, reserved_max=4)
    model.allow_resize()
    assert model.add_range("reserved", 0, 2 * M, NO_NODE) == 0
    assert rows(model) == [
        (0, M + 0x1000, 0), (M + 0x1000, 0x1000, 16), (M + 0x2000, 0x1000, 0), (M + 0x3000, 0x1000, 16),
        (M + 0x4000, M - 0x4000, 0),
    ]  # fmt: skip
    assert model.reserved.total_size == 2 * M


def test_an_array_within_the_range_may_take_one_place_too_many() -> None:
    # Three gaps, the last of which the new array splits: five regions and four more are nine, the array has room for 8.
    apart = [(M, 0x1000, 0), *((M + 0x8000 + 0x1000 * at, 0x1000, 16 * (at % 2)) for at in range(3))]
    model = model_of([(M, M, 0)], apart, reserved_max=4)
    model.allow_resize()
    with pytest.raises(GuestPanicError, match=r"^BUG in memblock_insert_region\(\)$"):
        model.add_range("reserved", 0, 4 * M, NO_NODE)


def test_regions_without_nodes_merge_after_a_resume() -> None:
    model = model_of([(M, M, 0)], no_node=None)
    again = from_snapshot(model.snapshot(), MemblockConfig.of(model.snapshot(), LINUX_6_12))
    assert again.add_range("memory", 2 * M, M, 3) == 0
    assert rows(again, "memory") == [(M, 2 * M, 0)]


def test_only_neighbours_of_what_was_added_merge() -> None:
    def cut() -> MemblockModel:
        model = model_of([(M, M, 4)])
        model.cap_memory_range(M + 0x40000, 0x40000)
        return model

    apart = [(M, 0x40000, 4), (M + 0x40000, 0x40000, 4), (M + 0x80000, 0x80000, 4)]
    assert rows(cut(), "memory") == apart
    model = cut()
    assert model.add_range("memory", M - 0x1000, 0x1000, 0) == 0
    assert rows(model, "memory") == [(M - 0x1000, 0x1000, 0), *apart]
    # Kernels that look at everything do so with what a state had before, too.
    state = cut().snapshot()
    old = from_snapshot(state, MemblockConfig.of(state, LINUX_6_1))
    assert old.add_range("memory", 8 * M, 0x1000, 0) == 0
    assert rows(old, "memory") == [(M, M, 4), (8 * M, 0x1000, 0)]


def test_a_dummy_keeps_its_node_where_nothing_is_removed() -> None:
    model = model_of([], behavior=LINUX_6_1)
    assert model.remove_range("memory", 0, 0x1000) == 0
    assert [*model.snapshot().memory.nid] == [0]


def test_what_splits_regions_of_a_full_array() -> None:
    model = model_of([(M, M, 0)], FULL, LINUX_6_1, reserved_max=4)
    assert model.remove_range("reserved", M + 0x400, 0x400) == ENOMEM
    assert model.setclr_flag("reserved", M + 0x400, 0x400, True, 16) == ENOMEM
    assert model.set_node("reserved", M + 0x400, 0x400, 1) == ENOMEM
    assert rows(model) == FULL
    # Nothing lies there, so that no region need be split.
    assert model.remove_range("reserved", MAX, 0x1000) == 0


def test_mirrored_memory_is_what_is_marked() -> None:
    model = model_of([(M, M, 0)], [(M, K, 0)])
    for name, wanted, flags in (("memory", True, 4), ("memory", False, 2), ("reserved", True, 2)):
        assert model.setclr_flag(name, M, K, wanted, flags) == 0 and not model.has_mirror
    assert model.setclr_flag("memory", M, K, True, 2) == 0 and model.has_mirror


# -- trimming and capping -------------------------------------------------------------------------------


@BOTH
def test_trimming(behavior: MemblockBehavior) -> None:
    model = model_of([(0x1001, 0x2FFF, 0), (0x5200, 0x600, 0), (0x7000, 0x1000, 0)], behavior=behavior)
    model.trim_memory(0x1000)
    assert rows(model, "memory") == [(0x2000, 0x2000, 0), (0x7000, 0x1000, 0)]
    high = model_of([(0xFFFFF800, 0x7FF, 0)], behavior=behavior, bits=32)
    with pytest.raises(GuestPanicError, match="rounding wraps: memory is not sorted any more"):
        high.trim_memory(0x1000)


def test_nothing_to_cap() -> None:
    model = model_of([(M, M, 0)], [(M, 0x1000, 0)])
    model.cap_memory_range(0, 0)
    assert rows(model, "memory") == [(M, M, 0)] and rows(model) == [(M, 0x1000, 0)]
    empty = model_of([], [(M, 0x1000, 0)])
    empty.cap_memory_range(8 * M, M)
    assert rows(empty) == [(M, 0x1000, 0)]


# -- allocations ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("up", "min", "max", "expected"),
    [
        # Where 0 bytes are asked for: the end that the search comes to first, rounded.
        (False, 0, 0, 6 * M),
        (True, 0, 0, 2 * M + 0x1000),
        (False, 0, 3 * M + 0x800, 3 * M),
        (True, 3 * M + 0x800, 0, 3 * M + 0x1000),
        (True, 3 * M, 0, 3 * M),
        # The window's beginning, where all memory is below it; upwards it ends there.
        (False, 7 * M, 8 * M, 7 * M),
        (True, 7 * M, 8 * M, 0),
    ],
)
def test_an_allocation_of_nothing(up: bool, min: int, max: int, expected: int) -> None:
    model = model_of([(2 * M + 0x800, 4 * M, 0)])
    model.set_bottom_up(up)
    assert model.alloc_range_nid(0, 0x1000, min, max) == expected
    assert rows(model) == []


def test_no_gap_lies_between_a_reservation_and_the_end_of_memory() -> None:
    model = model_of([(2 * M, 4 * M, 0)], [(5 * M, M, 0)])
    assert model.alloc_range_nid(0, 0x1000) == 5 * M
    # But there is one between two reservations, where nothing is free above.
    model = model_of([(2 * M, 4 * M, 0)], [(2 * M, M, 0), (3 * M, 3 * M, 16)])
    assert model.alloc_range_nid(0, 0x1000) == 3 * M


def test_bounds_that_are_none() -> None:
    model = model_of([(M, M, 0)])
    assert [model.alloc_range_nid(0x1000, 1, 0, most) for most in (0, 1, 2)] == [2 * M - 0x1000, 2 * M - 0x2000, 0]


def test_after_the_discard_no_region_is_left_out() -> None:
    model = model_of([(M, M, 4)], behavior=LINUX_6_1)
    assert model.alloc_range_nid(0x1000, 1) == 0
    model.discard()
    assert model.alloc_range_nid(0x1000, 1) == 2 * M - 0x1000


@BOTH
def test_pages_that_are_whole(behavior: MemblockBehavior) -> None:
    # What is reserved above memory is of no node.
    model = model_of([(0x1001, 0x3FFF, 0), (M, M, 0)], [(0x4000, 0x400, 0), (3 * M, 0x1000, 0)], behavior)
    assert model.free_all() == 2 + 256
    assert [*model.snapshot().reserved.nid] == [0 if behavior.stamps_reserved else NO_NODE, NO_NODE]


# -- doubling -------------------------------------------------------------------------------------------


def test_an_array_from_the_slab() -> None:
    model = model_of([(M, M, 0)], FULL, LINUX_6_1, reserved_max=4)
    model.allow_resize()
    model.slab_up = True
    assert model.add_range("reserved", 8 * M, 0x1000, NO_NODE) == 0
    array = memblock(model.snapshot()).arrays[1]
    assert (array.base, array.max, array.static, model.reserved.in_slab) == (None, 8, False, True)
    assert rows(model) == [*FULL, (8 * M, 0x1000, 0)]


@BOTH
def test_no_memory_for_a_new_array(behavior: MemblockBehavior) -> None:
    def full() -> MemblockModel:
        model = model_of([(M, 0x4000, 0)], FULL, behavior, reserved_max=4)
        model.allow_resize()
        model.set_current_limit(4 * M)
        return model

    model = full()
    assert model.add_range("reserved", 8 * M, 0x1000, NO_NODE) == ENOMEM
    assert rows(model) == FULL and memblock(model.snapshot()).arrays[1].max == 4
    assert predict_memblock(full(), "reserve", base=8 * M, size=0x1000).reason == (
        "the array of reserved is full (4 of 4 regions), and there is no memory to double it below the limit 0x400000"
    )


def test_which_old_array_is_freed() -> None:
    # A static one stays reserved with the kernel that it is in, a doubled one is given back.
    model = model_of([(M, M, 0)], FULL, reserved_max=4)
    model.allow_resize()
    model.reserved.array_base = M
    assert model.add_range("reserved", 8 * M, 0x1000, NO_NODE) == 0
    assert rows(model) == [*FULL, (2 * M - 0x1000, 0x1000, 0), (8 * M, 0x1000, 0)]
    for at in range(3):
        assert model.add_range("reserved", 9 * M + 0x2000 * at, 0x1000, NO_NODE) == 0
    assert rows(model)[4:6] == [(2 * M - 0x2000, 0x1000, 0), (8 * M, 0x1000, 0)]
    # physmem's static one is freed as if it were a doubled one.
    of_s390 = model_of([(M, M, 0)], [(M, 0x1000, 0)], physmem_max=1)
    of_s390.allow_resize()
    of_s390.tables["physmem"].array_base = M
    assert of_s390.add_range("physmem", 0, M) == of_s390.add_range("physmem", 4 * M, M) == 0
    assert rows(of_s390) == [(2 * M - 0x1000, 0x1000, 0)]


def test_a_static_array_that_is_not_reserved_is_overwritten() -> None:
    model = model_of([(M, M, 0)], FULL, reserved_max=4)
    model.allow_resize()
    model.reserved.array_base = 2 * M - 0x1000
    with pytest.raises(GuestPanicError, match="the doubled reserved array at 0x1ff000 overwrites the reserved array"):
        model.add_range("reserved", 8 * M, 0x1000, NO_NODE)


def test_what_lies_in_the_page_behind_a_static_array_is_not_that_array() -> None:
    model = model_of([(M, M, 0)], FULL, reserved_max=4)
    model.allow_resize()
    model.reserved.array_base = 2 * M - 0x1000 - 4 * model.config.region_size
    assert model.add_range("reserved", 8 * M, 0x1000, NO_NODE) == 0
    assert model.reserved.array_base == 2 * M - 0x1000


def test_a_new_array_that_cannot_be_reserved() -> None:
    # One page is free, which memory's array takes; that of reserved would need two.
    pages = [(M + 0x1000 * at, 0x1000, 16 * (at % 2)) for at in range(128)]
    small = [(8 * M + 0x1000 * at, 0x400, 0) for at in range(3)]
    model = model_of([(M, 129 * 0x1000, 0), *small], pages, memory_max=4)
    model.allow_resize()
    with pytest.raises(GuestPanicError, match=r"^BUG in memblock_double_array\(\)$"):
        model.add_range("memory", 16 * M, M, 0)


# -- going on, and asking -------------------------------------------------------------------------------


def test_facts_of_a_state() -> None:
    state = model_of([(M, M, 0)]).snapshot()
    facts = asdict(LINUX_6_12)
    model = resume(state, facts)
    assert (model.config.keep, model.config.no_node) == (False, NO_NODE)
    assert resume(state, {**facts, "nodes": False}).config.no_node is None
    assert resume(state, {**facts, "cache_bytes": 1 << 20}).config.cache_bytes == 1 << 20
    for cache_bytes in (0, 96, 1 << 21):
        with pytest.raises(InputError, match=f'"cache_bytes" is {cache_bytes}; expected a power of two'):
            resume(state, {**facts, "cache_bytes": cache_bytes})
    for most in (0, 1 << 60):
        odd = replace(state, reserved=replace(state.reserved, max=most))
        with pytest.raises(StateError, match=rf"no memblock has an array of {most} regions \(reserved\)"):
            resume(odd, facts)


def test_what_no_caller_can_mean() -> None:
    def asked(op: str, nodes: int = NO_NODE, **given: int) -> int | None:
        return predict_memblock(model_of([(M, M, 0)], no_node=nodes), op, **given).result

    with pytest.raises(UsageError, match="--align 0x3 is no power of two, which memblock expects without looking"):
        asked("alloc", size=K, align=3)
    for nodes in (1, 4):
        with pytest.raises(UsageError, match=f"--nid {nodes + 1}: this kernel numbers its nodes from 0 to {nodes - 1}"):
            asked("alloc", nodes, size=K, nid=nodes + 1)
        assert asked("alloc", nodes, size=K, nid=nodes) == 2 * M - K
    with pytest.raises(UsageError, match="mark is an operation of the list-based LMB: memblock's flags are not asked"):
        asked("mark", base=M, size=K, flags=4)


def test_a_bound_that_is_none_is_not_told() -> None:
    model = model_of([(M, M, 0)])
    model.set_current_limit(4 * M)
    assert predict_memblock(model, "alloc", size=2 * M, max=1).reason == (
        "no memory in [0x1000, 0x400000): the largest allocation possible there is 0x100000 bytes"
    )


def test_a_dummy_is_no_region_that_changes() -> None:
    (change,) = predict_memblock(model_of([], behavior=LINUX_6_1), "add", base=M, size=M, nid=0).changes
    assert change.before == () and [(row.base, row.size) for row in change.after] == [(M, M)]
