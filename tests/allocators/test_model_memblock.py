# SPDX-License-Identifier: GPL-2.0-or-later
"""The model of memblock against values written by hand, in the words of the kernel's simulator.

`add_*` and `reserve_*` name how a second range lies to a first one. What differs between kernels has a
test of its own for each difference.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest

from gdb_lmb.allocators.memblock.behavior import (
    FLAG_NAMES,
    MemblockBehavior,
    MemblockConfig,
    behavior_of,
    unknown_parts,
)
from gdb_lmb.allocators.memblock.model import MemblockModel
from gdb_lmb.allocators.memblock.resume import from_snapshot
from gdb_lmb.core.errors import GuestPanicError, StateError
from tests.helpers.linux_behaviors import LINUX_6_1, LINUX_6_12, LINUX_7_3
from tests.helpers.states import memblock

BEHAVIORS = {"6.1": LINUX_6_1, "6.12": LINUX_6_12, "7.3": LINUX_7_3}
ALL = pytest.mark.parametrize("behavior", list(BEHAVIORS.values()), ids=list(BEHAVIORS))
NO_NODE = 1024
MIB = 1 << 20
MAX = (1 << 64) - 1

Rows = list[tuple[int, ...]]


def model_of(behavior: MemblockBehavior = LINUX_6_12, **settings: int) -> MemblockModel:
    return MemblockModel(MemblockConfig(behavior, **settings))


def rows(model: MemblockModel, name: str) -> Rows:
    """Return (base, size, flags, nid) of each region of a list."""
    regions = getattr(model.snapshot(), name)
    return list(zip(regions.base, regions.size, regions.flags, regions.nid, strict=True))


def spans(model: MemblockModel, name: str) -> Rows:
    return [row[:2] for row in rows(model, name)]


# First range, second range, what is then on the list: base and size, as drawn in the simulator's basic_api.c.
CASES = {
    "simple": ((0x4000, 0x1000), (0x4000, 0), [(0x4000, 0x1000)]),
    "disjoint": ((0x1000, 0x800), (0x4000, 0x200), [(0x1000, 0x800), (0x4000, 0x200)]),
    "overlap_top": ((0x4000, 0x2000), (0x3000, 0x1800), [(0x3000, 0x3000)]),
    "overlap_bottom": ((0x4000, 0x2000), (0x5000, 0x3000), [(0x4000, 0x4000)]),
    "within": ((0x4000, 0x4000), (0x5000, 0x100), [(0x4000, 0x4000)]),
    "twice": ((0x4000, 0x1000), (0x4000, 0x1000), [(0x4000, 0x1000)]),
    "near_max": ((0x4000, 0x1000), (MAX - 0x200, 0x10000), [(0x4000, 0x1000), (MAX - 0x200, 0x200)]),
}


@ALL
@pytest.mark.parametrize("list", ["memory", "reserved"])
@pytest.mark.parametrize("case", CASES)
def test_add(behavior: MemblockBehavior, list: str, case: str) -> None:
    model = model_of(behavior)
    first, second, expected = CASES[case]
    assert model.add_range(list, *first) == model.add_range(list, *second) == 0
    regions = getattr(model.snapshot(), list)
    assert spans(model, list) == expected
    assert (regions.cnt, regions.max) == (len(expected), 128)
    assert regions.total_size == sum(size for _, size in expected)


@ALL
def test_add_between(behavior: MemblockBehavior) -> None:
    model = model_of(behavior)
    for base in (0x1000, 0x3000, 0x2000):
        model.add_range("reserved", base, 0x1000)
    assert spans(model, "reserved") == [(0x1000, 0x3000)]


@ALL
def test_add_leaves_what_is_there_as_it_is(behavior: MemblockBehavior) -> None:
    model = model_of(behavior)
    model.add_range("memory", 0x2000, 0x1000, 1, 4)
    model.add_range("memory", 0x1000, 0x3000, 0, 0)
    assert rows(model, "memory") == [(0x1000, 0x1000, 0, 0), (0x2000, 0x1000, 4, 1), (0x3000, 0x1000, 0, 0)]


@ALL
def test_neighbours_that_differ_stay_apart(behavior: MemblockBehavior) -> None:
    model = model_of(behavior)
    for base, nid, flags in ((0x1000, 0, 0), (0x2000, 1, 0), (0x3000, 1, 2), (0x4000, 1, 2)):
        model.add_range("memory", base, 0x1000, nid, flags)
    assert spans(model, "memory") == [(0x1000, 0x1000), (0x2000, 0x1000), (0x3000, 0x2000)]


REMOVALS = {
    "simple": ((0x4000, 0x1000), (0x4000, 0x1000), []),
    "absent": ((0x4000, 0x1000), (0x8000, 0x1000), [(0x4000, 0x1000)]),
    "overlap_top": ((0x4000, 0x4000), (0x3000, 0x3000), [(0x6000, 0x2000)]),
    "overlap_bottom": ((0x4000, 0x4000), (0x6000, 0x4000), [(0x4000, 0x2000)]),
    "within": ((0x4000, 0x4000), (0x5000, 0x1000), [(0x4000, 0x1000), (0x6000, 0x2000)]),
}


@ALL
@pytest.mark.parametrize("case", [case for case in REMOVALS if case != "simple"])
def test_remove(behavior: MemblockBehavior, case: str) -> None:
    model = model_of(behavior)
    first, second, expected = REMOVALS[case]
    model.add_range("reserved", *first)
    assert model.remove_range("reserved", *second) == 0
    assert spans(model, "reserved") == expected


def test_empty_is_a_dummy_until_6_11() -> None:
    old, new = model_of(LINUX_6_1), model_of(LINUX_6_12)
    assert rows(old, "memory") == [(0, 0, 0, 0)] and rows(new, "memory") == []
    for model in (old, new):
        model.add_range("memory", 0x1000, 0x1000, 3, 1)
        model.remove_range("memory", 0, MAX)
    # Emptied again, the dummy has no node any more.
    assert rows(old, "memory") == [(0, 0, 0, NO_NODE)] and old.snapshot().memory.cnt == 1
    assert rows(new, "memory") == [] and new.snapshot().memory.cnt == 0


def test_merging_looks_at_everything_until_6_3() -> None:
    after = {}
    for name, behavior in BEHAVIORS.items():
        model = model_of(behavior)
        model.add_range("memory", 0x100000, 0x100000, 0, 4)
        model.cap_memory_range(0x140000, 0x40000)  # cuts a NOMAP region in three, keeps all
        model.add_range("memory", 0x800000, 0x1000, 0, 0)
        after[name] = spans(model, "memory")
    apart = [(0x100000, 0x40000), (0x140000, 0x40000), (0x180000, 0x80000), (0x800000, 0x1000)]
    assert after == {"6.1": [(0x100000, 0x100000), (0x800000, 0x1000)], "6.12": apart, "7.3": apart}


@ALL
def test_marks_split_and_merge(behavior: MemblockBehavior) -> None:
    model = model_of(behavior)
    model.add_range("memory", 0x1000, 0x5000, 0)
    assert model.setclr_flag("memory", 0x2000, 0x1000, True, 4) == 0
    assert rows(model, "memory") == [(0x1000, 0x1000, 0, 0), (0x2000, 0x1000, 4, 0), (0x3000, 0x3000, 0, 0)]
    model.setclr_flag("memory", 0x2000, 0x1000, False, 4)
    assert rows(model, "memory") == [(0x1000, 0x5000, 0, 0)]
    assert model.snapshot().memory.total_size == 0x5000


@ALL
def test_set_node(behavior: MemblockBehavior) -> None:
    model = model_of(behavior)
    model.add_range("memory", 0x1000, 0x4000, NO_NODE)
    model.set_node("memory", 0x2000, 0x1000, 1)
    assert rows(model, "memory") == [(0x1000, 0x1000, 0, NO_NODE), (0x2000, 0x1000, 0, 1), (0x3000, 0x2000, 0, NO_NODE)]
    alone = MemblockModel(MemblockConfig(behavior, no_node=None))
    alone.add_range("memory", 0x1000, 0x4000, 5)
    assert alone.set_node("memory", 0x2000, 0x1000, 1) == 0
    assert len(alone.snapshot().memory) == 1 and alone.snapshot().memory.nid == ()


@ALL
def test_trimming_leaves_total_size_stale(behavior: MemblockBehavior) -> None:
    """QEMU's `pc` shows it: 0x9fc00 bytes below the BIOS and 0x7fee0000 above, and 0xc00 too many counted."""
    model = model_of(behavior)
    model.add_range("memory", 0x1000, 0x9EC00)
    model.add_range("memory", 0x100000, 0x7FEE0000)
    model.trim_memory(0x1000)
    assert spans(model, "memory") == [(0x1000, 0x9E000), (0x100000, 0x7FEE0000)]
    assert model.snapshot().memory.total_size == 0x7FF7EC00


@ALL
def test_cap(behavior: MemblockBehavior) -> None:
    model = model_of(behavior)
    model.add_range("memory", 0x10000, 0x10000)
    model.add_range("memory", 0x40000, 0x1000, -1, 4)
    for base in (0x10000, 0x1F000):
        model.add_range("reserved", base, 0x1000)
    model.cap_memory_range(0x10000, 0x8000)
    assert spans(model, "memory") == [(0x10000, 0x8000), (0x40000, 0x1000)], "NOMAP memory stays"
    assert spans(model, "reserved") == [(0x10000, 0x1000)]


@ALL
@pytest.mark.parametrize(("up", "expected"), [(False, 0x5FE000), (True, 0x201000)])
def test_alloc(behavior: MemblockBehavior, up: bool, expected: int) -> None:
    model = model_of(behavior)
    model.add_range("memory", 2 * MIB, 4 * MIB, 0)
    model.add_range("reserved", 2 * MIB, 0x1000)
    model.add_range("reserved", 6 * MIB - 0x800, 0x800)
    model.set_bottom_up(up)
    assert model.alloc_range_nid(0x1800, 0x1000) == expected
    own = (0x20, -1) if behavior.marks_kernel else (0, NO_NODE)
    assert (expected, 0x1800, *own) in rows(model, "reserved")
    assert model.alloc_range_nid(8 * MIB) == 0
    model.set_current_limit(3 * MIB)
    low = model.alloc_range_nid(0x1000)
    assert low and low < 3 * MIB
    assert model.alloc_range_nid(0x1000, 1, 4 * MIB, MAX) == (4 * MIB if up else 6 * MIB - 0x3000)


@ALL
def test_alloc_node_fallback(behavior: MemblockBehavior) -> None:
    model = model_of(behavior)
    model.add_range("memory", 1 * MIB, MIB, 0)
    model.add_range("memory", 2 * MIB, MIB, 1)
    assert model.alloc_range_nid(MIB, 1, nid=0) == MIB
    assert model.alloc_range_nid(0x1000, 1, nid=0, exact=True) == 0
    assert model.alloc_range_nid(0x1000, 1, nid=0) == 3 * MIB - 0x1000
    if behavior.marks_kernel:
        # The first keeps the wanted node, the fallback says that it was none.
        assert rows(model, "reserved") == [(MIB, MIB, 0x20, 0), (3 * MIB - 0x1000, 0x1000, 0x20, -1)]


@ALL
def test_alloc_mirror_and_what_is_left_out(behavior: MemblockBehavior) -> None:
    model = model_of(behavior)
    for n, flags in enumerate((2, 0, 1, 4, 8), 1):
        model.add_range("memory", n * MIB, MIB, 0, flags)
    model.has_mirror = True
    assert model.alloc_range_nid(MIB, 1) == MIB, "mirrored memory first"
    model.movable_node = True
    assert model.alloc_range_nid(MIB, 1) == 2 * MIB, "neither HOTPLUG, NOMAP nor DRIVER_MANAGED"
    assert model.alloc_range_nid(MIB, 1) == 0
    model.movable_node = False
    assert model.alloc_range_nid(MIB, 1) == 3 * MIB


def test_an_impossible_node() -> None:
    found = {}
    for name, behavior in BEHAVIORS.items():
        model = model_of(behavior)
        model.add_range("memory", MIB, MIB, 0)
        found[name] = [model.alloc_range_nid(0x1000, 1, nid=nid, exact=True) for nid in (NO_NODE, NO_NODE + 1)]
    # MAX_NUMNODES has always meant any node; what lies past it meant one that nothing has.
    both = [2 * MIB - 0x1000, 2 * MIB - 0x2000]
    assert found == {"6.1": [both[0], 0], "6.12": both, "7.3": both}


def full(behavior: MemblockBehavior) -> MemblockModel:
    """Return a model whose reserved list is full: 4 regions of 4."""
    model = model_of(behavior, reserved_max=4)
    model.add_range("memory", MIB, 16 * MIB, 0)
    for n in range(4):
        model.add_range("reserved", MIB + 0x2000 * n, 0x1000, NO_NODE)
    return model


def test_a_full_array_that_may_not_grow() -> None:
    old = full(LINUX_6_1)
    before = rows(old, "reserved")
    assert old.add_range("reserved", 8 * MIB, 0x1000) == -12
    assert rows(old, "reserved") == before
    with pytest.raises(GuestPanicError, match="memblock: cannot resize reserved array"):
        full(LINUX_6_12).add_range("reserved", 8 * MIB, 0x1000)


@ALL
def test_doubling_reserves_the_new_array(behavior: MemblockBehavior) -> None:
    model = full(behavior)
    model.allow_resize()
    assert model.add_range("reserved", 17 * MIB - 0x1000, 0x1000, NO_NODE) == 0
    # The area to be reserved is avoided: [new_area_end, limit) has nothing, so the page below it is taken.
    array = 17 * MIB - 0x2000
    reserved = memblock(model.snapshot()).arrays[1]
    assert (reserved.base, reserved.max, reserved.static) == (array, 8, False)
    own = (0x20, -1) if behavior.marks_kernel else (0, NO_NODE)
    merged = [(array, 0x2000, 0, NO_NODE)]
    apart = [(array, 0x1000, *own), (array + 0x1000, 0x1000, 0, NO_NODE)]
    assert rows(model, "reserved")[4:] == (apart if behavior.marks_kernel else merged)


@ALL
def test_the_second_doubling_frees_the_first_array(behavior: MemblockBehavior) -> None:
    model = full(behavior)
    model.allow_resize()
    for n in range(4, 12):
        model.add_range("reserved", MIB + 0x2000 * n, 0x1000, NO_NODE)
    array = memblock(model.snapshot()).arrays[1]
    assert (array.max, array.base) == (16, 17 * MIB - 0x2000)
    assert (17 * MIB - 0x1000, 0x1000) not in spans(model, "reserved"), "the first array's page is free again"


def test_doubling_overwrites_an_array_that_was_freed() -> None:
    model = full(LINUX_6_12)
    model.allow_resize()
    model.add_range("reserved", 8 * MIB, 0x1000)
    model.remove_range("reserved", 17 * MIB - 0x1000, 0x1000)
    with pytest.raises(GuestPanicError, match="overwrites the reserved array") as caught:
        for n in range(16):
            model.add_range("reserved", 9 * MIB + 0x2000 * n, 0x1000)
    assert caught.value.overwrites


def test_late_allocation() -> None:
    for behavior, expected in ((LINUX_6_1, 2 * MIB - 0x1000), (LINUX_6_12, None), (LINUX_7_3, None)):
        model = model_of(behavior)
        model.add_range("memory", MIB, MIB, 0)
        model.slab_up = True
        assert model.alloc_range_nid(0x1000, 1) == expected


@ALL
def test_free_all(behavior: MemblockBehavior) -> None:
    model = model_of(behavior)
    model.add_range("memory", MIB, MIB, 0, 1)
    model.add_range("memory", 2 * MIB, MIB, 1)
    model.add_range("memory", 4 * MIB, MIB, 1, 4)
    model.add_range("reserved", MIB + 0x800, 0x1000, NO_NODE)
    model.add_range("reserved", 2 * MIB - 0x1000, 0x2000, NO_NODE)
    # 512 pages in both regions, less the two that the first touches and the two of the second.
    assert model.free_all() == 508
    assert rows(model, "memory")[0] == (MIB, MIB, 0, 0), "HOTPLUG is cleared"
    stamped = [(MIB + 0x800, 0x1000, 0, 0), (2 * MIB - 0x1000, 0x1000, 0, 0), (2 * MIB, 0x1000, 0, 1)]
    as_before = [(MIB + 0x800, 0x1000, 0, NO_NODE), (2 * MIB - 0x1000, 0x2000, 0, NO_NODE)]
    assert rows(model, "reserved") == (stamped if behavior.stamps_reserved else as_before)


def test_scratch_only() -> None:
    model = model_of(LINUX_7_3)
    model.add_range("memory", MIB, 2 * MIB, 0)
    model.setclr_flag("memory", MIB, MIB, True, 0x40)
    model.kho_scratch_only = True
    assert model.alloc_range_nid(0x1000, 1) == 2 * MIB - 0x1000
    model.free_all()
    assert model.alloc_range_nid(0x1000, 1) == 3 * MIB - 0x1000


def test_generation_of() -> None:
    flags = ["MEMBLOCK_HOTPLUG", "MEMBLOCK_MIRROR", "MEMBLOCK_NOMAP", "MEMBLOCK_DRIVER_MANAGED"]
    old = behavior_of(flag_names=flags, initial_cnt=1, merge_parameters=1, has_free_late=True, bootmem_parameters=2)
    assert old == LINUX_6_1
    middle = behavior_of(
        flag_names=[*flags, "RSRV_NOINIT"], initial_cnt=0, merge_parameters=3, has_free_late=True, bootmem_parameters=3
    )
    assert middle == LINUX_6_12
    new = behavior_of(
        flag_names=[*flags, "RSRV_NOINIT", "RSRV_KERN", "KHO_SCRATCH"], initial_cnt=0, merge_parameters=3,
        has_free_late=False,
    )  # fmt: skip
    assert new == LINUX_7_3
    # A kernel of 6.6 with a dummy still, and with what stable took back from 6.10.
    assert behavior_of(
        flag_names=flags, initial_cnt=1, merge_parameters=3, has_free_late=True, bootmem_parameters=3,
        max_numnodes_text=False,
    ) == replace(LINUX_6_1, merges_all=False, stamps_reserved=True, strict_nid=False)  # fmt: skip


@ALL
def test_going_on_from_a_snapshot(behavior: MemblockBehavior) -> None:
    model = full(behavior)
    model.allow_resize()
    model.add_range("reserved", 8 * MIB, 0x1000, NO_NODE)
    snapshot = model.snapshot()
    twin = from_snapshot(snapshot, MemblockConfig.of(snapshot, behavior))
    twin.can_resize = True
    assert twin.snapshot() == replace(snapshot, arch=twin.snapshot().arch)
    for n in range(10):
        for each in (model, twin):
            each.add_range("reserved", 9 * MIB + 0x2000 * n, 0x1000, NO_NODE)
    assert twin.snapshot() == model.snapshot()
    copy = deepcopy(model)
    copy.remove_range("reserved", 0, MAX)
    assert len(model.snapshot().reserved) > 10


def test_a_damaged_snapshot_is_refused() -> None:
    model = full(LINUX_6_12)
    snapshot = model.snapshot()
    with pytest.raises(StateError, match="inside memblock_add_range"):
        torn = replace(snapshot, torn="memblock_add_range")
        from_snapshot(torn, MemblockConfig.of(snapshot, LINUX_6_12))
    for wrong in (
        replace(snapshot.reserved, base=[*snapshot.reserved.base][::-1]),
        replace(snapshot.reserved, cnt=3),
        replace(snapshot.reserved, max=2),
    ):
        with pytest.raises(StateError, match="reserved"):
            from_snapshot(replace(snapshot, reserved=wrong), MemblockConfig.of(snapshot, LINUX_6_12))


@pytest.mark.parametrize(("behavior", "slab", "freed"), [
    (LINUX_7_3, False, True), (LINUX_7_3, True, False), (LINUX_6_12, False, False),
])  # fmt: skip
def test_discard_gives_doubled_arrays_back(behavior: MemblockBehavior, slab: bool, freed: bool) -> None:
    """memblock_discard(): memblock_phys_free() since 7.1, which edits the list until slab is up; pages before."""
    model = MemblockModel(MemblockConfig(behavior, no_node=None, memory_max=8, reserved_max=4))
    assert model.add_range("memory", 0, 0x1000000, 0) == 0
    model.allow_resize()
    for at in range(5):
        assert model.add_range("reserved", 0x100000 + 0x2000 * at, 0x1000, 0) == 0
    array = model.reserved.array_base
    assert array is not None and array in model.reserved.base
    for at in range(8):  # the memory list has its ninth region then
        assert model.add_range("memory", 0x2000000 + 0x2000 * at, 0x1000, 0) == 0
    other = model.memory.array_base
    assert other is not None and other != array and other in model.reserved.base
    model.slab_up = slab
    model.discard()
    assert [base in model.reserved.base for base in (array, other, 0x100000)] == [not freed, not freed, True]


KNOWN_MEMBERS = ("bottom_up", "current_limit", "memory.cnt", "reserved.name", "base", "size", "flags", "nid")
UNKNOWN: list[tuple[dict[int, str], tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = [
    (FLAG_NAMES, KNOWN_MEMBERS, ("memblock_add", "__memblock_reserve", "reserve_mem", "any_helper"), ()),
    # 0x80 is claimed by more than one series; a flag that debug information does not name is no unknown one.
    ({1: "HOTPLUG", 0x80: "RSRV_OTHER"}, KNOWN_MEMBERS, (), ("the flag RSRV_OTHER (0x80)",)),
    ({0x100: "RSRV_KERN"}, KNOWN_MEMBERS, (), ("the flag RSRV_KERN (0x100)",)),
    ({}, (*KNOWN_MEMBERS, "node_mask", "memory.lock"), (), ("the member memory.lock", "the member node_mask")),
    ({}, KNOWN_MEMBERS, ("memblock_add", "memblock_skip_region", "__memblock_x"),
     ("the function __memblock_x()", "the function memblock_skip_region()")),
]  # fmt: skip


@pytest.mark.parametrize(("flags", "members", "functions", "expected"), UNKNOWN, ids=range(len(UNKNOWN)))
def test_what_no_known_generation_has(
    flags: dict[int, str], members: tuple[str, ...], functions: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert unknown_parts(flags, members, functions) == expected
