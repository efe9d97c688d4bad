# SPDX-License-Identifier: GPL-2.0-or-later
"""A model that goes on from a walked state does what the C allocator does, which never stopped."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gdb_lmb.allocators.lmb.model import EBUSY, LmbConfig, LmbModel
from gdb_lmb.allocators.lmb.storage import LMB_BLOCK, Block
from gdb_lmb.core.errors import StateError
from gdb_lmb.core.operation import Operation
from gdb_lmb.core.snapshot import Defect, RegionList, Snapshot, Walk, column
from gdb_lmb.report.jsonio import dumps, snapshot_from, snapshot_json
from tests.helpers.host import CLmb, model_state
from tests.helpers.lmb_random import WEIGHTS, random_operation
from tests.helpers.operations import apply
from tests.helpers.soak import ROUNDS, SEED
from tests.helpers.states import lmb, stored

K = 1024


@pytest.mark.random
@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("klimit", [None, 0x5000], ids=["static", "klimit"])
def test_goes_on_as_the_C_does(fixture_build: Path, bits: int, klimit: int | None) -> None:
    c = CLmb(fixture_build, bits, klimit is not None)
    rng = random.Random(bits + (klimit or 0) + SEED)
    blocks = 0
    for run in range(6 * ROUNDS):
        config = c.config(static=rng.choice((4, 16)), klimit=klimit, block_size=256 << rng.randrange(3))
        assert c.start(config) == 0
        model = LmbModel(config)
        operations = [Operation("add", base=0, size=500 * 4096), Operation("allow_growth")]
        operations += [Operation("set_bottom_up", flags=run & 1)]
        operations += [random_operation(rng, bits, WEIGHTS) for _ in range(400)]
        operations += [Operation("free_all"), Operation("reserve", base=0, size=1)]
        for number, operation in enumerate(operations):
            if number % 7 == run % 7:
                # Through JSON, so that nothing the snapshot does not say can come along.
                model = LmbModel.from_snapshot(snapshot_from(json.loads(dumps(snapshot_json(model.snapshot())))))
            assert apply(model, operation) == c.apply(operation), f"operation {number}: {operation}"
            assert c.state() == model_state(model), f"after operation {number}: {operation}"
        blocks += len(model.blocks)
    assert blocks > 20, "almost no growth happened"


def test_shares_nothing_with_the_state_it_came_from() -> None:
    first = LmbModel(LmbConfig(static=8))
    assert first.add(0, 64 * K) == 0
    snapshot = first.snapshot()
    second = LmbModel.from_snapshot(snapshot)
    assert second.reserve(4 * K, K) == 0
    assert first.snapshot() == snapshot and not first.reserved.base


def test_closed_without_a_table_of_what_was_given() -> None:
    model = LmbModel(LmbConfig(static=8))
    assert model.add(0, 64 * K) == 0 and model.free_all() == 15
    again = LmbModel.from_snapshot(stored(replace(model.snapshot(), handover=None), handover_nr=0))
    assert again.closed and again.reserve(0, K) == EBUSY


def sound() -> Snapshot:
    """Two blocks, regions on both lists: memory [0, 1 MiB), reserved [4K, 5K), [8K, 9K) flags 1, the block."""
    model = LmbModel(LmbConfig(static=3))
    assert model.add(0, 1024 * K) == 0 and model.allow_growth() == 0
    assert model.reserve(4 * K, K) == 0 and model.reserve(8 * K, K, 1) == 0
    return model.snapshot()


def reserved(snapshot: Snapshot, **changes: list[int]) -> Snapshot:
    columns = {name: column(values) for name, values in changes.items()}
    return replace(snapshot, reserved=replace(snapshot.reserved, **columns))


def walked(regions: RegionList, *, complete: bool, mutual: bool) -> RegionList:
    return replace(regions, walk=Walk(0, 0, 0, complete, mutual))


def last_block(snapshot: Snapshot, **changes: int | None) -> Snapshot:
    blocks: tuple[Block, ...] = lmb(snapshot).blocks
    return stored(snapshot, blocks=(*blocks[:-1], replace(blocks[-1], **changes)))


BLOCK = 1020 * K

REFUSED: dict[str, tuple[Callable[[Snapshot], Snapshot], str]] = {
    "torn": (lambda s: replace(s, torn="lmb_add"), "the stop is inside lmb_add, so the lists may"),
    "layout": (lambda s: replace(s, layout="memblock"), "of layout memblock, not a list-based LMB's"),
    "no blocks": (lambda s: stored(s, blocks=()), "no block of entries"),
    "sizes": (lambda s: stored(s, entry_size=None), "does not tell the size of an entry"),
    "block size": (lambda s: stored(s, block_size=3000), "block size 3000 is no power of two"),
    "defect": (lambda s: replace(s, defects=(Defect("block 1 is odd"),)), "block 1 is odd (lmb-check lists all)"),
    "cut off": (lambda s: replace(s, reserved=walked(s.reserved, complete=False, mutual=False)),
                "the reserved list's links are damaged"),
    "one way": (lambda s: replace(s, memory=walked(s.memory, complete=True, mutual=False)),
                "the memory list's links are damaged"),
    "empty": (lambda s: reserved(s, base=[4 * K, 8 * K, BLOCK], size=[K, 0, 4 * K]), "is empty or wraps"),
    "wraps": (lambda s: reserved(s, base=[4 * K, 8 * K, (1 << 64) - K], size=[K, K, K]),
              f"reserved region [{(1 << 64) - K:#x}, {1 << 64:#x}) is empty or wraps"),
    "unsorted": (lambda s: reserved(s, base=[8 * K, 4 * K, BLOCK]), "is out of order, overlaps or is not merged"),
    "overlap": (lambda s: reserved(s, size=[5 * K, K, 4 * K]), "[0x2000, 0x2400) is out of order, overlaps"),
    "unmerged": (lambda s: reserved(s, size=[4 * K, K, 4 * K], flags=[1, 1, 0]), "is not merged"),
    "shared": (lambda s: reserved(s, entry=[1, 1, 2]), "an entry is on no list, or on two"),
    "lost": (lambda s: stored(s, free=lmb(s).free[1:], nr_free=lmb(s).nr_free - 1), "an entry is on no list"),
    "nr_free": (lambda s: stored(s, nr_free=7), "nr_free is 7, but 100 entries are on the freelist"),
    "nr_blocks": (lambda s: stored(s, nr_blocks=3), "nr_blocks is 3, but the chain has 2 blocks"),
    # One entry less than a page holds, and all the rest fits.
    "entries": (lambda s: last_block(stored(s, free=lmb(s).free[:-1], nr_free=99), nr=100), "block 1 has 100 entries"),
    "static": (lambda s: last_block(s, static=True), "block 1 has 101 entries"),
    # Nor is it memory at 0: only the static block has none of its own.
    "no address": (lambda s: last_block(s, base=None, size=None), "block 1 has no physical address"),
    "no block size": (lambda s: stored(s, block_size=None), "does not tell the size of an entry, of a block"),
    "block": (lambda s: last_block(s, base=BLOCK - K), "a block of entries is not reserved"),
    "flag": (lambda s: reserved(s, flags=[0, 1, 0]), "LMB_BLOCK is not the flag of the blocks of entries alone"),
    "flag of another": (lambda s: reserved(s, flags=[LMB_BLOCK, 1, LMB_BLOCK]), "LMB_BLOCK is not the flag of the"),
    "flag of memory": (lambda s: replace(s, memory=replace(s.memory, flags=column([LMB_BLOCK]))), "LMB_BLOCK is not"),
    "revision": (lambda s: stored(s, revision=3), "revision 3 of the list-based LMB is not known: 1 and 2 are"),
}  # fmt: skip


ACCEPTED: dict[str, Callable[[Snapshot], Snapshot]] = {
    "touching, of other flags": lambda s: reserved(s, size=[4 * K, K, 4 * K]),
    "apart, of equal flags": lambda s: reserved(s, flags=[0, 0, LMB_BLOCK]),
    "to the end": lambda s: reserved(
        s, base=[4 * K, BLOCK, 1 << 63], size=[K, 4 * K, (1 << 63) - 1], flags=[0, LMB_BLOCK, 0]
    ),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_goes_on_from_what_is_at_an_edge(name: str) -> None:
    model = LmbModel.from_snapshot(ACCEPTED[name](sound()))
    assert model.config.klimit is None and model.config.static == 3


def test_a_page_after_the_kernel_is_the_first_block() -> None:
    model = LmbModel(LmbConfig(klimit=0x5000))
    assert LmbModel.from_snapshot(model.snapshot()).config.klimit == 0x5000


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_what_it_cannot_stand_on(name: str) -> None:
    LmbModel.from_snapshot(sound())
    damage, message = REFUSED[name]
    with pytest.raises(StateError) as refused:
        LmbModel.from_snapshot(damage(sound()))
    assert message in str(refused.value) and "\n" not in str(refused.value)
