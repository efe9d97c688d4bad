# SPDX-License-Identifier: GPL-2.0-or-later
"""The C allocator against the model, operation by operation, the whole state compared each time."""

from __future__ import annotations

import random
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gdb_lmb.allocators.lmb.model import LmbConfig, LmbModel
from gdb_lmb.allocators.lmb.state import EBUSY, EINVAL
from gdb_lmb.core.operation import Operation
from gdb_lmb.core.snapshot import LMB_NOMAP
from tests.helpers.host import CLmb, model_state
from tests.helpers.lmb_random import WEIGHTS, random_operation
from tests.helpers.operations import apply
from tests.helpers.soak import ROUNDS, SEED

# Times the four libraries: well over the 100,000 operations that the design's proof asks for.
OPERATIONS = 30000 * ROUNDS
# A klimit page holds a hundred entries and more: longer runs, or nothing would grow.
PER_RUN = {False: 250, True: 1500}
ALL_FOUR = [(64, False), (64, True), (32, False), (32, True)]


@pytest.fixture(scope="session")
def libraries(fixture_build: Path) -> dict[tuple[int, bool], CLmb]:
    return {(bits, klimit): CLmb(fixture_build, bits, klimit) for bits in (64, 32) for klimit in (False, True)}


def lockstep(c: CLmb, config: LmbConfig, operations: list[Operation]) -> LmbModel:
    """Run operations on both; fail at the first that differs in result or in any part of the state."""
    assert c.start(config) == 0
    model = LmbModel(config)
    assert c.state() == model_state(model), "after lmb_init()"
    for number, operation in enumerate(operations):
        got, expected = c.apply(operation), apply(model, operation)
        assert got == expected, f"operation {number}: {operation} gave {got} in C, {expected} on the model"
        assert c.state() == model_state(model), f"state after operation {number}: {operation}"
    return model


def random_config(rng: random.Random, c: CLmb, klimit: bool) -> LmbConfig:
    smallest = c.header_size + 2 * c.entry_size
    block_size = rng.choice([size for size in (128, 256, 512, 1024, 4096, 16384, 65536) if size >= smallest])
    page = rng.choice((*(rng.randrange(1, 700) * 4096,) * 8, 0, (1 << c.bits) - 8192))
    return c.config(
        static=rng.choice((2, 3, 4, 5, 8, 16, 33, 64)), klimit=page if klimit else None, block_size=block_size
    )


@pytest.mark.random
@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("klimit", [False, True], ids=["static", "klimit"])
def test_random_operations(libraries: dict[tuple[int, bool], CLmb], bits: int, klimit: bool) -> None:
    c = libraries[bits, klimit]
    rng = random.Random(20100324 + bits + klimit + SEED)
    grown = largest = 0
    runs = OPERATIONS // PER_RUN[klimit]
    for _ in range(runs):
        config = random_config(rng, c, klimit)
        operations = [random_operation(rng, bits, WEIGHTS) for _ in range(PER_RUN[klimit] - 3)]
        # Memory to begin with, growth allowed early or late, hand-over at the end and once more after it.
        operations.insert(0, Operation("add", base=rng.randrange(3) * 4096, size=500 * 4096))
        operations.insert(rng.choice((1, 1, 1, 5, 40)), Operation("allow_growth"))
        if rng.random() < 0.5:
            operations.insert(1, Operation("set_bottom_up", flags=1))
        operations += [Operation("free_all"), random_operation(rng, bits, WEIGHTS), Operation("free_all")]
        model = lockstep(c, config, operations)
        grown += len(model.blocks) - 1
        largest = max(largest, len(model.reserved.base), len(model.memory.base))
    # The run must have gone where the rules are: many growths, long lists.
    assert grown > runs, "almost no growth happened"
    assert largest > 20, "the lists stayed short"


@pytest.mark.random
@pytest.mark.parametrize(("bits", "klimit"), ALL_FOUR)
def test_limits(libraries: dict[tuple[int, bool], CLmb], bits: int, klimit: bool) -> None:
    """A limit is for the time before growth is allowed, which is short elsewhere."""
    c, rng, cuts = libraries[bits, klimit], random.Random(bits + klimit + SEED), 0
    weights = {"add": 8, "mark": 8, "clear": 2, "reserve": 8, "remove": 2, "free": 2, "alloc": 2}
    for _ in range(100 * ROUNDS):
        config, operations = random_config(rng, c, klimit), list[Operation]()
        model = LmbModel(config)
        for _ in range(2):
            operations += [random_operation(rng, bits, weights) for _ in range(6)]
            for operation in operations[-6:]:
                apply(model, operation)
            # At a region's end, or anywhere in what is not NOMAP, and a little more.
            rows = zip(model.memory.base, model.memory.end, model.memory.flags, strict=True)
            ends = list(accumulate((end - base for base, end, flags in rows if not flags & LMB_NOMAP), initial=0))
            limit = Operation("enforce_limit", size=rng.choice((*ends, rng.randrange(ends[-1] + 2))))
            before = model.memory.end[-1:]
            apply(model, limit)
            operations.append(limit)
            cuts += model.memory.end[-1:] != before
        lockstep(c, config, operations)
    assert cuts > 10 * ROUNDS


@st.composite
def operation_lists(draw: st.DrawFn) -> list[Operation]:
    """Small numbers, so that touching and overlapping are likely and shrunk cases are readable."""
    number = st.integers(0, 40)
    flags = st.sampled_from((0, 0, 0, 1, 4))

    def operation() -> st.SearchStrategy[Operation]:
        spans = st.tuples(number, st.integers(0, 12), flags)
        pages = spans.map(lambda t: (t[0] * 1024, t[1] * 1024, t[2]))
        ranges = st.one_of(pages, spans.map(lambda t: (t[0] + 0x3000, t[1], t[2])))
        adders = st.builds(lambda op, r: Operation(op, *r), st.sampled_from(("add", "reserve", "reserve")), ranges)
        removers = st.builds(lambda op, r: Operation(op, r[0], r[1]), st.sampled_from(("remove", "free")), ranges)
        allocs = st.builds(
            lambda size, align, low, high, f: Operation("alloc", size=size, align=align, min=low, max=high, flags=f),
            st.integers(0, 9000), st.sampled_from((0, 1, 64, 4096, 6)), st.sampled_from((0, 0x4000)),
            st.sampled_from((0, 0x9000)), flags,
        )  # fmt: skip
        switches = st.sampled_from(
            (Operation("allow_growth"), Operation("set_bottom_up", flags=1), Operation("set_bottom_up"),
             Operation("set_limit", base=0x8000), Operation("set_limit", base=(1 << 32) - 1), Operation("free_all"))
        )  # fmt: skip
        return st.one_of(adders, adders, removers, allocs, switches)

    return draw(st.lists(operation(), max_size=40))


@pytest.mark.random
@settings(max_examples=400 * ROUNDS, suppress_health_check=list(HealthCheck), derandomize=ROUNDS == 1)
@given(
    operations=operation_lists(),
    static=st.integers(2, 12),
    block=st.sampled_from((256, 1024, 4096)),
    bits=st.sampled_from((64, 32)),
    klimit=st.sampled_from((None, None, 0x5000)),
)
def test_property(
    libraries: dict[tuple[int, bool], CLmb],
    operations: list[Operation], static: int, block: int, bits: int, klimit: int | None,
) -> None:  # fmt: skip
    c = libraries[bits, klimit is not None]
    lockstep(c, c.config(static=static, klimit=klimit, block_size=block), operations)


@pytest.mark.parametrize(("bits", "klimit"), ALL_FOUR)
def test_nothing_works_before_init_and_none_comes_after(
    libraries: dict[tuple[int, bool], CLmb], bits: int, klimit: bool
) -> None:
    c, rng = libraries[bits, klimit], random.Random(bits + klimit)
    weights = {**WEIGHTS, "allow_growth": 2, "free_all": 2}
    c.lib.lmb_host_reset()
    c.lib.lmb_host_set_klimit(0x5001)
    for operation in [random_operation(rng, bits, weights) for _ in range(300)]:
        assert c.apply(operation) == EINVAL, operation
        # What was refused has begun nothing: neither the numbers nor the page are good.
        assert c.lib.lmb_host_init(rng.choice((0, 1, 65, (1 << bits) - 1)), 4096) == EINVAL
    config = c.config(static=8, klimit=0x5000 if klimit else None, block_size=256)
    c.lib.lmb_host_set_klimit(0x5000)
    model = LmbModel(config)
    assert c.lib.lmb_host_init(8, 256) == 0
    for operation in [random_operation(rng, bits, weights) for _ in range(300)]:
        assert c.lib.lmb_host_init(rng.choice((0, 8)), rng.choice((0, 256, 4096))) == EBUSY == model.init_again()
        assert c.apply(operation) == apply(model, operation), operation
        assert c.state() == model_state(model), operation


@pytest.mark.parametrize("bits", [64, 32])
def test_klimit_refusals_agree(libraries: dict[tuple[int, bool], CLmb], bits: int) -> None:
    c, end = libraries[bits, True], 1 << bits
    for page in (0, 4096, end - 8192, end - 4096, 1, 4097, end - 8191, end - 1, end // 2, end // 2 + 2048):
        config = c.config(klimit=page)
        assert (config.refusal() is None) == (page % 4096 == 0 and page + 4096 < end)
        assert c.start(config) == (0 if config.refusal() is None else EINVAL), hex(page)


@pytest.mark.random
@pytest.mark.parametrize(
    ("bits", "klimit", "block_size"),
    [(64, False, 4 << 20), (64, True, 4096), (32, False, 16384), (32, True, 4 << 20)],
)
def test_lists_of_thousands(libraries: dict[tuple[int, bool], CLmb], bits: int, klimit: bool, block_size: int) -> None:
    """Results of each operation, and the whole state now and then."""
    c, rng = libraries[bits, klimit], random.Random(bits + block_size + SEED)
    config = c.config(static=64, klimit=0x5000 if klimit else None, block_size=block_size)
    assert c.start(config) == 0
    model = LmbModel(config)
    operations = [Operation("add", size=1 << 28), Operation("allow_growth")]
    for _ in range(5000 * ROUNDS):
        base, size = rng.randrange(1 << 15) << 12, rng.choice((1, 512, 2048, 4096))
        operations.append(rng.choice((
            *(Operation("reserve", base, size, rng.choice((0, 1))),) * 6,
            *(Operation("remove", base + (1 << 27), size),) * 6,
            Operation("free", base, 8 * size), Operation("mark", base, size, 2),
            Operation("alloc", size=size, align=rng.choice((1, 4096)), min=rng.choice((0, base))),
        )))  # fmt: skip
    for number, operation in enumerate(operations):
        got, expected = c.apply(operation), apply(model, operation)
        assert got == expected, f"operation {number}: {operation} gave {got} in C, {expected} on the model"
        if number % 500 == 0:
            assert c.state() == model_state(model), f"state after operation {number}: {operation}"
    assert c.state() == model_state(model)
    assert min(len(model.reserved.base), len(model.memory.base)) > 1000
    assert len(model.blocks) > 1


@pytest.mark.parametrize("block_size", [0, 64, 100, 128, 3000, 4097])
def test_init_refusals_agree(libraries: dict[tuple[int, bool], CLmb], block_size: int) -> None:
    c = libraries[64, False]
    config = c.config(block_size=block_size)
    # 40 byte header and two 40 byte entries: 120 bytes, so 128 is the smallest power of two that does.
    assert (config.refusal() is None) == (block_size == 128)
    assert c.start(config) == (0 if block_size == 128 else -22)
