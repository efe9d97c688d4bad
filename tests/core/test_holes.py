# SPDX-License-Identifier: GPL-2.0-or-later
"""The holes, the largest allocations and fragmentation: by hand, and against the C allocator's own search."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from gdb_lmb.allocators.lmb.model import ENOMEM, LmbConfig, LmbModel
from gdb_lmb.core.holes import FreeSpace, bounds, free_space, holes, largest
from gdb_lmb.core.operation import Operation
from gdb_lmb.core.snapshot import Snapshot
from tests.helpers.host import CLmb
from tests.helpers.lmb_random import WEIGHTS, random_operation
from tests.helpers.operations import apply
from tests.helpers.soak import ROUNDS, SEED

K, M, G = 1 << 10, 1 << 20, 1 << 30
HOTPLUG, NOMAP = 1, 4


def state(*operations: tuple[object, ...]) -> Snapshot:
    model = LmbModel(LmbConfig(static=64))
    for op, *arguments in operations:
        assert getattr(model, str(op))(*arguments) == 0
    return model.snapshot()


def test_memory_less_reserved_without_page_0() -> None:
    snapshot = state(("add", 0, 640 * K), ("add", M, 15 * M), ("reserve", 2 * M, K), ("reserve", 16 * M - K, 9 * K))
    assert holes(snapshot) == [(4 * K, 640 * K), (M, 2 * M), (2 * M + K, 16 * M - K)]


def test_touching_memory_of_other_flags_is_two_holes() -> None:
    # An allocation lies in one region of memory, so [4M, 12M) is no hole; NOMAP is none at all.
    snapshot = state(("add", 4 * M, 4 * M), ("add", 8 * M, 4 * M, HOTPLUG), ("add", 12 * M, 4 * M, NOMAP))
    assert holes(snapshot) == [(4 * M, 8 * M), (8 * M, 12 * M)]


def test_flags_are_known_by_name() -> None:
    snapshot = state(("add", 4 * M, 4 * M, 8), ("add", 8 * M, 4 * M, NOMAP), ("add", 16 * M, M))
    assert holes(replace(snapshot, flag_names={8: "DRIVER_MANAGED", 4: "SOMETHING"})) == [
        (8 * M, 12 * M), (16 * M, 17 * M)]  # fmt: skip


def test_bounds_and_limit() -> None:
    snapshot = state(("add", 0, 64 * M), ("set_current_limit", 32 * M))
    assert bounds(snapshot) == (4 * K, 32 * M)
    assert bounds(snapshot, 5, 16 * M) == (4 * K, 16 * M)
    assert bounds(snapshot, 8 * M, 48 * M) == (8 * M, 32 * M)
    assert bounds(snapshot, 40 * M, 0) == (40 * M, 40 * M)
    assert holes(snapshot, 8 * M, 16 * M) == [(8 * M, 16 * M)]
    assert holes(snapshot, 40 * M) == []


def test_largest_is_cut_to_the_alignment() -> None:
    gaps = [(K, 5 * M), (7 * M + K, 12 * M)]
    # Bytewise the first: 5 MiB - 1 KiB against 5 MiB - 1 KiB, of which the lower one is named. Aligned to 2 MiB:
    # [2M, 5M) holds 3 MiB, [8M, 12M) holds 4.
    assert largest(gaps, 1) == (K, 5 * M)
    assert largest(gaps, 4 * K) == (4 * K, 5 * M)
    assert largest(gaps, 2 * M) == (8 * M, 12 * M)
    assert largest(gaps, G) == (0, 0)
    assert largest([], 1) == (0, 0)


def rows(space: FreeSpace) -> list[tuple[int, int, int, int]]:
    return [(fit.align, fit.max, fit.base, fit.size) for fit in space.fits]


def test_free_space_by_alignment_and_limit() -> None:
    snapshot = state(("add", 0, 640 * K), ("add", M, 31 * M), ("set_current_limit", 32 * M), ("reserve", 20 * M, M))
    space = free_space(snapshot, aligns=(4 * K, 2 * M))
    # Holes: [4K, 640K), [1M, 20M), [21M, 32M). 4 GiB cuts nothing off, 16 MiB and 1 MiB do.
    assert rows(space) == [
        (4 * K, 32 * M, M, 19 * M), (2 * M, 32 * M, 2 * M, 18 * M),
        (4 * K, M, 4 * K, 636 * K), (2 * M, M, 0, 0),
        (4 * K, 16 * M, M, 15 * M), (2 * M, 16 * M, 2 * M, 14 * M),
    ]  # fmt: skip
    assert space.total == 636 * K + 19 * M + 11 * M
    assert space.fragmentation == 1 - 19 * M / (636 * K + 30 * M)


def test_limits_that_are_told_of() -> None:
    snapshot = state(("add", 0, 6 * G), ("set_current_limit", 5 * G))
    assert [(fit.max, fit.align) for fit in free_space(snapshot).fits] == [
        (limit, align) for limit in (5 * G, M, 16 * M, 4 * G) for align in (4 * K, 64 * K, 2 * M, G)
    ]


def test_fragmentation_at_its_ends() -> None:
    assert free_space(state(("add", M, M))).fragmentation == 0
    assert free_space(state()).fragmentation == 0 and free_space(state()).total == 0
    quarters = [("reserve", M + n * 256 * K, 4 * K) for n in range(4)]
    assert free_space(state(("add", M, M), *quarters)).fragmentation == 0.75


def test_a_damaged_list_does_no_harm() -> None:
    snapshot = state(("add", 4 * M, 4 * M), ("add", 16 * M, M))
    overlapping = replace(snapshot, memory=replace(snapshot.memory, base=[4 * M, 6 * M], size=[4 * M, 4 * M]))
    assert holes(overlapping) == [(4 * M, 8 * M), (8 * M, 10 * M)]
    inside = replace(
        snapshot, memory=replace(snapshot.memory, base=[4 * M, 5 * M, 7 * M], size=[4 * M, M, 3 * M],
                                 flags=[0] * 3, entry=[0, 1, 2])
    )  # fmt: skip
    assert holes(inside) == [(4 * M, 8 * M), (8 * M, 10 * M)]
    unsorted = replace(snapshot, memory=replace(snapshot.memory, base=[16 * M, 4 * M], size=[M, 4 * M]))
    assert holes(unsorted) == [(4 * M, 8 * M), (16 * M, 17 * M)]


@pytest.mark.random
def test_the_C_allocates_the_largest_and_not_a_byte_more(fixture_build: Path) -> None:
    c = CLmb(fixture_build, 64, False)
    rng = random.Random(7 + SEED)
    fits = nothing = 0
    for run in range(40 * ROUNDS):
        config = c.config(static=64)
        operations = [Operation("add", base=0, size=500 * 4 * K), Operation("allow_growth")]
        operations += [random_operation(rng, 64, WEIGHTS) for _ in range(rng.randrange(10, 60))]
        align, low = rng.choice((1, 64, 4 * K, 64 * K)), rng.choice((0, 100 * K))
        high = rng.choice((0, 1500 * K))

        def replayed(config: LmbConfig = config, operations: list[Operation] = operations) -> LmbModel:
            assert c.start(config) == 0
            model = LmbModel(config)
            for operation in operations:
                assert c.apply(operation) == apply(model, operation)
            return model

        model = replayed()
        if len(model.free_entries) < 3:
            continue  # it would gain a block first, and that takes of the very memory
        base, end = largest(holes(model.snapshot(), low, high), align)
        size = end - base
        assert c.apply(Operation("alloc", size=size + 1, align=align, min=low, max=high)) == ENOMEM
        if size:
            got = c.apply(Operation("alloc", size=size, align=align, min=low, max=high))
            assert got % align == 0 and got >= max(low, 4 * K), f"run {run}"
            fits += 1
        else:
            nothing += 1
    assert fits > 20


def test_a_limit_must_have_a_hole_on_either_side() -> None:
    # One hole, [4K, 32M): both limits cut it. Then a hole that begins at one limit and ends at the other.
    one = state(("add", 0, 32 * M), ("set_current_limit", 32 * M))
    assert [fit.max for fit in free_space(one, aligns=(1,), limits=(16 * M, 64 * M)).fits] == [32 * M, 16 * M]
    between = state(("add", M, 15 * M), ("set_current_limit", 32 * M))
    assert [fit.max for fit in free_space(between, aligns=(1,), limits=(M, 8 * M, 16 * M)).fits] == [32 * M, 8 * M]
