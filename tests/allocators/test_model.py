# SPDX-License-Identifier: GPL-2.0-or-later
"""Hand-made cases of the list-based LMB, run on the model and on the C alike.

Expected values are worked out by hand from the design. Names follow the grammar of the kernel's
memblock simulator: {add,reserve,remove,free}_{simple,disjoint,overlap_top,overlap_bottom,within,twice,
between,near_max}. Each case states regions as (base, size, flags, entry) and the freelist's order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gdb_lmb.allocators.lmb.model import EBUSY, EINVAL, ENOMEM, LmbConfig, LmbModel
from gdb_lmb.core.operation import Operation
from tests.helpers.host import CLmb, model_state
from tests.helpers.operations import apply

K = 1024
MAX = (1 << 64) - 1
BLOCK = 0x80000000
Row = tuple[int, int, int, int]


@dataclass(frozen=True)
class Case:
    """Operations with their results, and the state at the end: one list, and the freelist's first entries."""

    name: str
    steps: list[tuple[Operation, int]]
    regions: list[Row] = field(default_factory=list)
    free: list[int] | None = None
    which: str = "reserved"
    static: int = 8


def add(base: int, size: int, flags: int = 0) -> Operation:
    return Operation("add", base, size, flags)


def remove(base: int, size: int) -> Operation:
    return Operation("remove", base, size)


def reserve(base: int, size: int, flags: int = 0) -> Operation:
    return Operation("reserve", base, size, flags)


def free(base: int, size: int) -> Operation:
    return Operation("free", base, size)


def alloc(size: int, align: int = 0, min: int = 0, max: int = 0, flags: int = 0) -> Operation:
    return Operation("alloc", size=size, align=align, min=min, max=max, flags=flags)


GROW = (Operation("allow_growth"), 0)
RAM = (add(0, 1024 * K), 0)


def ok(*operations: Operation) -> list[tuple[Operation, int]]:
    return [(operation, 0) for operation in operations]


CASES = [
    Case("add_simple", ok(add(4 * K, 8 * K)), [(4 * K, 8 * K, 0, 0)], [1, 2, 3, 4, 5, 6, 7], "memory"),
    Case("add_disjoint", ok(add(0, K), add(4 * K, K)), [(0, K, 0, 0), (4 * K, K, 0, 1)], None, "memory"),
    Case("add_overlap_top", ok(add(4 * K, 4 * K), add(6 * K, 4 * K)), [(4 * K, 6 * K, 0, 0)], None, "memory"),
    Case("add_overlap_bottom", ok(add(4 * K, 4 * K), add(2 * K, 4 * K)), [(2 * K, 6 * K, 0, 0)], None, "memory"),
    Case("add_within", ok(add(4 * K, 4 * K, 1), add(5 * K, K, 2)), [(4 * K, 4 * K, 1, 0)], None, "memory"),
    Case("add_twice",
         ok(add(4 * K, 4 * K), add(4 * K, 4 * K)), [(4 * K, 4 * K, 0, 0)], [1, 2, 3, 4, 5, 6, 7], "memory"),
    # The lower neighbour's entry 0 survives; entry 1 is dropped and becomes the freelist's head.
    Case(
        "add_between",
        ok(add(0, K), add(2 * K, K), add(K, K)),
        [(0, 3 * K, 0, 0)], [1, 2, 3, 4, 5, 6, 7], "memory",
    ),
    Case("add_near_max", ok(add(MAX - K, K)), [(MAX - K, K, 0, 0)], None, "memory"),
    Case("add_past_max", [(add(MAX - K, K + 1), 0), (add(MAX, 1), EINVAL)], [(MAX - K, K, 0, 0)], None, "memory"),
    Case("add_empty", [(add(K, 0), EINVAL)], [], None, "memory"),
    Case("reserve_simple", ok(reserve(4 * K, K, 4)), [(4 * K, K, 4, 0)]),
    Case("reserve_touching_other_flags", ok(reserve(0, K, 1), reserve(K, K)), [(0, K, 1, 0), (K, K, 0, 1)]),
    # An upper new region below an old one: the old one keeps entry 0.
    Case("reserve_before", ok(reserve(4 * K, K), reserve(0, K)), [(0, K, 0, 1), (4 * K, K, 0, 0)]),
    # One operation over five regions. Before: A[0,1) f0 e0, B[2,3) f0 e1, C[4,5) f1 e2, D[6,7) f1 e3,
    # E[8,9) f0 e4 (in KiB). Reserving [1,8) f0 joins A, the hole and B into one region with A's entry and
    # drops B's entry 1; the hole [3,4) joins it too; [5,6) stands between C and D, whose flags keep it
    # apart, and takes the dropped entry 1; [7,8) joins E, which keeps entry 4. Nothing is popped.
    Case(
        "reserve_flags_keep_some_apart",
        ok(reserve(0, K), reserve(2 * K, K), reserve(4 * K, K, 1), reserve(6 * K, K, 1), reserve(8 * K, K),
           reserve(K, 7 * K)),
        [(0, 4 * K, 0, 0), (4 * K, K, 1, 2), (5 * K, K, 0, 1), (6 * K, K, 1, 3), (7 * K, 2 * K, 0, 4)],
        [5, 6, 7],
    ),
    # The dropped entry comes from above the new region: A f1 [0,1) e0, B f1 [2,3) e1, C f0 [4,5) e2,
    # D f0 [6,7) e3. Reserving [1,6) f0: [1,2) stands alone between A and B and takes D's entry 3, which
    # the join of [3,4), C, [5,6) and D into C's entry 2 dropped.
    Case(
        "reserve_takes_entry_dropped_above",
        ok(reserve(0, K, 1), reserve(2 * K, K, 1), reserve(4 * K, K), reserve(6 * K, K), reserve(K, 5 * K)),
        [(0, K, 1, 0), (K, K, 0, 3), (2 * K, K, 1, 1), (3 * K, 4 * K, 0, 2)],
        [4, 5, 6, 7],
    ),
    # Two entries dropped, none needed: pushed in ascending order, so the higher one is the new head.
    Case(
        "reserve_over_three",
        ok(reserve(0, K), reserve(2 * K, K), reserve(4 * K, K), reserve(0, 5 * K)),
        [(0, 5 * K, 0, 0)], [2, 1, 3, 4, 5, 6, 7],
    ),
    Case("free_simple", ok(reserve(0, 4 * K), free(0, 4 * K)), [], [0, 1, 2, 3, 4, 5, 6, 7]),
    Case("free_overlap_top", ok(reserve(0, 4 * K), free(3 * K, 4 * K)), [(0, 3 * K, 0, 0)]),
    Case("free_overlap_bottom", ok(reserve(2 * K, 4 * K), free(0, 3 * K)), [(3 * K, 3 * K, 0, 0)]),
    # A split keeps the entry for the lower part.
    Case(
        "free_within",
        ok(reserve(0, 4 * K, 2), free(K, K)), [(0, K, 2, 0), (2 * K, 2 * K, 2, 1)], [2, 3, 4, 5, 6, 7],
    ),
    Case("free_nothing", ok(reserve(0, K), free(8 * K, K)), [(0, K, 0, 0)]),
    Case("free_twice", ok(reserve(0, K), free(0, K), free(0, K)), []),
    # Drops entries 0, 1, 2 in ascending order: the last pushed comes first.
    Case(
        "free_over_three",
        ok(reserve(0, K), reserve(2 * K, K), reserve(4 * K, K), free(0, 8 * K)), [], [2, 1, 0, 3, 4, 5, 6, 7],
    ),
    Case("remove_within", ok(add(0, 4 * K), remove(K, K)), [(0, K, 0, 0), (2 * K, 2 * K, 0, 1)], None, "memory"),
    # Before growth the last free entry is kept: three entries store two regions.
    Case("keep_last_entry", [*ok(reserve(0, K), reserve(2 * K, K)), (reserve(4 * K, K), ENOMEM)],
         [(0, K, 0, 0), (2 * K, K, 0, 1)], [2], static=3),
    # A merge needs no entry, even then.
    Case("merge_with_last_entry", ok(reserve(0, K), reserve(2 * K, K), reserve(3 * K, K)),
         [(0, K, 0, 0), (2 * K, 2 * K, 0, 1)], [2], static=3),
    # Growth: memory takes entry 0; the first reservation would take entry 1, the last one. So a block is
    # gained first: the highest aligned 4 KiB below 1 MiB, reserved with entry 1; its (4096 - 40) / 40 = 101
    # entries have indexes 2 to 102, and the reservation pops index 2.
    Case(
        "grow_before_last_entry", [RAM, GROW, (reserve(4 * K, K), 0)],
        [(4 * K, K, 0, 2), (1020 * K, 4 * K, BLOCK, 1)], list(range(3, 103)), static=2,
    ),
    # The block must not lie in the range that is being reserved: it goes just below.
    Case(
        "grow_avoids_the_range", [RAM, GROW, (reserve(512 * K, 512 * K), 0)],
        [(508 * K, 4 * K, BLOCK, 1), (512 * K, 512 * K, 0, 2)], list(range(3, 103)), static=2,
    ),
    # lmb_alloc keeps the place that it has found: the block lies below it.
    Case(
        "grow_in_alloc", [RAM, GROW, (alloc(4 * K, 4 * K), 1020 * K)],
        [(1016 * K, 4 * K, BLOCK, 1), (1020 * K, 4 * K, 0, 2)], list(range(3, 103)), static=2,
    ),
    Case(
        "blocks_are_never_freed",
        [RAM, GROW, (reserve(4 * K, K), 0), (free(1021 * K, 1), EBUSY), (remove(0, MAX), EBUSY),
         (reserve(1021 * K, 1), EBUSY)],
        [(4 * K, K, 0, 2), (1020 * K, 4 * K, BLOCK, 1)], static=2,
    ),
    Case("alloc_top_down", [RAM, (alloc(K, 4 * K), 1020 * K)], [(1020 * K, K, 0, 1)]),
    Case("alloc_bottom_up", [RAM, (Operation("set_bottom_up", flags=1), 0), (alloc(K), 4096)], [(4096, K, 0, 1)]),
    Case("alloc_min_max", [RAM, (alloc(K, 0, 8 * K, 10 * K), 9 * K), (alloc(2 * K, 0, 8 * K, 10 * K), ENOMEM)],
         [(9 * K, K, 0, 1)]),
    Case("alloc_limit", [RAM, (Operation("set_limit", base=64 * K), 0), (alloc(K), 63 * K)], [(63 * K, K, 0, 1)]),
    Case("alloc_not_page_0", [(add(0, 4096 + K), 0), (alloc(2 * K), ENOMEM), (alloc(K), 4096)], [(4096, K, 0, 1)]),
    Case("alloc_not_nomap", [(add(0, 64 * K), 0), (add(64 * K, 64 * K, 4), 0), (alloc(K), 63 * K)],
         [(63 * K, K, 0, 2)]),
    # One region of memory must hold it all: HOTPLUG keeps the two halves apart.
    Case("alloc_not_across_regions", [(add(0, 8 * K), 0), (add(8 * K, 8 * K, 1), 0), (alloc(9 * K), ENOMEM)], []),
    Case("alloc_bad_align", [RAM, (alloc(K, 3), EINVAL), (alloc(0), EINVAL)], []),
    # Page 0 and the partly reserved pages stay: [4K, 16K) is reserved from 5K to 9K, so 12K..16K is given.
    Case("free_all", [(add(0, 16 * K), 0), (reserve(5 * K, 4 * K), 0), (Operation("free_all"), 1),
                      (reserve(0, K), EBUSY), (Operation("free_all"), EBUSY), (Operation("allow_growth"), EBUSY)],
         [(5 * K, 4 * K, 0, 1)]),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case, fixture_build: Path) -> None:
    c = CLmb(fixture_build, 64, klimit=False)
    config = c.config(static=case.static)
    model = LmbModel(config)
    assert c.start(config) == 0
    for number, (operation, expected) in enumerate(case.steps):
        assert apply(model, operation) == expected, f"model, step {number}: {operation}"
        assert c.apply(operation) == expected, f"C, step {number}: {operation}"
    table = getattr(model, case.which)
    sizes = [end - base for base, end in zip(table.base, table.end, strict=True)]
    assert list(zip(table.base, sizes, table.flags, table.entry, strict=True)) == case.regions
    if case.free is not None:
        assert list(model.free_entries) == case.free
    assert c.state() == model_state(model)
    snapshot = model.snapshot()
    listed = snapshot.memory if case.which == "memory" else snapshot.reserved
    assert (listed.cnt, listed.total_size) == (len(case.regions), sum(row[1] for row in case.regions))


def test_hand_over_straddling_page_counts_and_page_0_does_not() -> None:
    # Two regions of other flags share the page [4K, 8K); both are memory, so it lies in memory.
    model = LmbModel(LmbConfig(static=8, block_size=4096, entry_size=40, header_size=40))
    assert model.add(0, 6 * K) == 0 and model.add(6 * K, 6 * K, 1) == 0
    assert model.free_all() == 2
    assert model.handover == ((4 * K, 12 * K),)


def test_klimit_page_is_reserved_by_init(fixture_build: Path) -> None:
    c = CLmb(fixture_build, 64, klimit=True)
    config = c.config(klimit=0x200000)
    model = LmbModel(config)
    assert c.start(config) == 0
    # 101 entries; the head, entry 0, stores the page's own reservation.
    assert (model.reserved.base, model.reserved.end, model.reserved.entry) == ([0x200000], [0x201000], [0])
    assert list(model.free_entries) == list(range(1, 101))
    assert model.free(0x200000, 1) == EBUSY
    assert c.apply(free(0x200000, 1)) == EBUSY
    assert c.state() == model_state(model)
