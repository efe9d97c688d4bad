# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules of the list-based LMB by their numbers, of both revisions of the design, on the model alone.

Expected values are worked out by hand from the design. Regions are (base, size, flags, entry); a block of 4 KiB has
(4096 - 40) / 40 = 101 entries.
"""

from __future__ import annotations

import pytest

from gdb_lmb.allocators.lmb.model import EBUSY, EINVAL, ENOMEM, LmbConfig, LmbModel
from gdb_lmb.allocators.lmb.state import Table
from gdb_lmb.core.errors import InputError

K = 1024
MAX = (1 << 64) - 1
HOTPLUG, MIRROR, NOMAP, BLOCK = 1, 2, 4, 0x80000000


def lmb(revision: int = 2, **config: int) -> LmbModel:
    return LmbModel(LmbConfig(revision=revision, **({"static": 8} | config)))


def rows(table: Table) -> list[tuple[int, int, int, int]]:
    sizes = [end - base for base, end in zip(table.base, table.end, strict=True)]
    return list(zip(table.base, sizes, table.flags, table.entry, strict=True))


def regions(table: Table) -> list[tuple[int, int, int]]:
    return [row[:3] for row in rows(table)]


def grown(revision: int = 2) -> LmbModel:
    """Return 1 MiB of memory in entry 0 of two; the block at its top takes entry 1, [4K, 5K) the block's first."""
    model = lmb(revision, static=2)
    assert (model.add(0, 1024 * K), model.allow_growth(), model.reserve(4 * K, K)) == (0, 0, 0)
    return model


# -- rule 1 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("revision", "flags"), [(1, 0), (2, BLOCK)])
def test_1_a_klimit_page_is_reserved_as_a_block(revision: int, flags: int) -> None:
    assert rows(lmb(revision, klimit=0x5000).reserved) == [(0x5000, 4096, flags, 0)]


@pytest.mark.parametrize(
    ("klimit", "bits", "refused"),
    [
        (0x5000, 64, False), (0x5001, 64, True), (MAX - 0x1FFF, 64, False), (MAX - 0xFFF, 64, True),
        (0xFFFFE000, 32, False), (0xFFFFF000, 32, True),
    ],
)  # fmt: skip
def test_1_klimit_is_a_page_that_ends_below_the_end(klimit: int, bits: int, refused: bool) -> None:
    assert (LmbConfig(klimit=klimit, bits=bits).refusal() is not None) == refused


def test_1_what_a_block_holds() -> None:
    def refusal(block: int, header: int) -> str | None:
        return LmbConfig(block_size=block, header_size=header, entry_size=40).refusal()

    assert refusal(128, 48) is None
    assert refusal(128, 49) == "block size 128 holds no header of 49 and two entries of 40 bytes"
    assert refusal(1, 40) == "block size 1 holds no header of 40 and two entries of 40 bytes"
    assert (
        refusal(0, 40) == "block size 0 is no power of two" and refusal(384, 40) == "block size 384 is no power of two"
    )


def test_1_a_second_init_is_refused() -> None:
    model = lmb()
    before = model.snapshot()
    assert model.init_again() == EBUSY and model.snapshot() == before


# -- rule 3 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["add", "reserve"])
def test_3_a_range_is_cut_at_the_end_of_the_address_space(op: str) -> None:
    model = lmb()
    table = model.memory if op == "add" else model.reserved
    assert getattr(model, op)(MAX - K, MAX) == 0
    assert getattr(model, op)(MAX, 1) == EINVAL
    assert rows(table) == [(MAX - K, K, 0, 0)]
    assert getattr(lmb(1), op)(MAX - K, K + 1) == EINVAL
    assert getattr(lmb(1), op)(MAX - K, K) == 0


def test_3_ram_up_to_the_last_byte_of_32_bits() -> None:
    model = lmb(bits=32)
    assert model.add(0xFFFF0000, 0x10000) == 0
    assert regions(model.memory) == [(0xFFFF0000, 0xFFFF, 0)]


def test_3_what_is_taken_off_is_cut_too() -> None:
    model = lmb()
    assert (model.add(0, MAX), model.reserve(0, 1), model.reserve(MAX - 2 * K, 2 * K)) == (0, 0, 0)
    assert (model.free(MAX - K, MAX), model.remove(4 * K, MAX)) == (0, 0)
    assert (model.free(MAX, 1), model.remove(MAX, 1)) == (EINVAL, EINVAL)
    assert regions(model.reserved) == [(0, 1, 0), (MAX - 2 * K, K, 0)]
    assert regions(model.memory) == [(0, 4 * K, 0)]


def test_3_no_caller_passes_the_flag_of_blocks() -> None:
    model = lmb()
    assert (model.add(0, 64 * K, BLOCK), model.reserve(0, K, BLOCK | 1), model.alloc(K, flags=BLOCK)) == (EINVAL,) * 3
    # Other bits are carried unread; in revision 1 this one is such a bit.
    assert model.add(0, 64 * K, 0x40000000) == 0
    assert lmb(1).add(0, 64 * K, BLOCK) == 0


def test_3_mark_splits_and_merges_at_its_ends() -> None:
    model = lmb()
    assert model.add(0, 16 * K) == 0
    # The lowest part keeps entry 0; the marked one takes 1, the upper one 2.
    assert model.mark(4 * K, 4 * K, NOMAP) == 0
    assert rows(model.memory) == [(0, 4 * K, 0, 0), (4 * K, 4 * K, NOMAP, 1), (8 * K, 8 * K, 0, 2)]
    # [8K, 12K) joins what is marked below, and entry 1 stays: the rest of its region takes entry 2, which it had.
    assert model.mark(8 * K, 4 * K, NOMAP) == 0
    assert rows(model.memory) == [(0, 4 * K, 0, 0), (4 * K, 8 * K, NOMAP, 1), (12 * K, 4 * K, 0, 2)]
    assert model.clear(0, MAX, NOMAP) == 0
    assert rows(model.memory) == [(0, 16 * K, 0, 0)]
    # Entries 1 and 2 were dropped, in ascending order: the higher one is the head.
    assert list(model.free_entries) == [2, 1, 3, 4, 5, 6, 7]


def test_3_mark_takes_the_entry_that_it_dropped() -> None:
    # A f1 [0,1) e0, B f0 [1,2) e1, C f1 [2,3) e2 (KiB), D f0 [3,5) e3: marking [1,4) joins all but D's upper half
    # into A's entry; e1, e2 and e3 are dropped, and D's upper half takes e1, the lowest of them.
    model = lmb()
    for at, size, flags in ((0, 1, 1), (1, 1, 0), (2, 1, 1), (3, 2, 0)):
        assert model.add(at * K, size * K, flags) == 0
    assert model.mark(K, 3 * K, HOTPLUG) == 0
    assert rows(model.memory) == [(0, 4 * K, 1, 0), (4 * K, K, 0, 1)]
    assert list(model.free_entries) == [3, 2, 4, 5, 6, 7]


def test_3_flags_are_set_on_what_there_is_beside_others() -> None:
    model = lmb()
    assert (model.add(0, 4 * K, MIRROR), model.add(8 * K, 4 * K, 0x80)) == (0, 0)
    assert model.mark(2 * K, 8 * K, HOTPLUG) == 0
    assert regions(model.memory) == [
        (0, 2 * K, MIRROR), (2 * K, 2 * K, MIRROR | HOTPLUG), (8 * K, 2 * K, 0x80 | HOTPLUG), (10 * K, 2 * K, 0x80)
    ]  # fmt: skip
    assert model.clear(0, 64 * K, MIRROR) == 0
    assert regions(model.memory)[:2] == [(0, 2 * K, 0), (2 * K, 2 * K, HOTPLUG)]


@pytest.mark.parametrize("op", ["mark", "clear"])
def test_3_refusals_of_a_flag(op: str) -> None:
    model = lmb()
    assert model.add(0, 64 * K) == 0
    call = getattr(model, op)
    for flag in (0, 3, 8, BLOCK, BLOCK | 1):
        assert call(0, K, flag) == EINVAL
    assert (call(0, 0, 1), call(MAX, 1, 1), call(MAX - 1, MAX, 1)) == (EINVAL, EINVAL, 0)
    assert model.free_all() == 15
    assert (call(0, 0, 0), model.enforce_memory_limit(0)) == (EBUSY, EBUSY)


def test_3_a_mark_that_changes_nothing_needs_no_entry() -> None:
    model = lmb(static=3)
    assert (model.add(0, 16 * K, NOMAP), model.add(64 * K, 16 * K)) == (0, 0)
    before = model.snapshot()
    assert (model.mark(4 * K, 4 * K, NOMAP), model.clear(66 * K, K, NOMAP), model.mark(32 * K, K, 1)) == (0, 0, 0)
    assert model.snapshot() == before
    assert model.mark(66 * K, K, NOMAP) == ENOMEM and model.snapshot() == before
    # At a region's end the mark needs one entry, which is one too many.
    assert model.mark(64 * K, K, NOMAP) == ENOMEM


def test_3_a_mark_grows_outside_its_range() -> None:
    # Memory takes entry 0 of two. The mark needs one: the block lies below the range, and takes entry 1.
    model = lmb(static=2)
    assert (model.add(0, 1024 * K), model.allow_growth(), model.mark(512 * K, 512 * K, NOMAP)) == (0, 0, 0)
    assert regions(model.reserved) == [(508 * K, 4 * K, BLOCK)]
    assert rows(model.memory) == [(0, 512 * K, 0, 0), (512 * K, 512 * K, NOMAP, 2)]


@pytest.mark.parametrize(
    ("limit", "cut"),
    [(6 * K, 10 * K), (4 * K, 4 * K), (1, 1), (8 * K, 12 * K), (9 * K, 21 * K), (12 * K - 1, 24 * K - 1),
     (12 * K, None), (MAX, None)],
)  # fmt: skip
def test_3_enforce_limit_cuts_both_lists(limit: int, cut: int | None) -> None:
    # Memory [0, 4K), NOMAP [4K, 8K), [8K, 12K), NOMAP [16K, 20K), [20K, 24K): 12 KiB without NOMAP.
    model = lmb(static=16)
    memory = [(0, 4 * K, 0), (4 * K, 4 * K, NOMAP), (8 * K, 4 * K, 0), (16 * K, 4 * K, NOMAP), (20 * K, 4 * K, 0)]
    reserved = [(2 * K, K, 0), (9 * K, 13 * K, 0), (64 * K, K, 2)]
    for row in memory:
        assert model.add(*row) == 0
    for row in reserved:
        assert model.reserve(*row) == 0
    assert model.enforce_memory_limit(limit) == 0
    for table, listed in ((model.memory, memory), (model.reserved, reserved)):
        assert regions(table) == [
            (base, min(size, (MAX if cut is None else cut) - base), flags)
            for base, size, flags in listed
            if cut is None or base < cut
        ]


def test_3_enforce_limit_pushes_in_order() -> None:
    # Memory e0, e1, e2; reserved e3, e4. Memory's e1 and e2 are dropped first, then e4.
    model = lmb()
    for base in (0, 8 * K, 16 * K):
        assert model.add(base, 4 * K) == 0
    assert (model.reserve(0, K), model.reserve(16 * K, K)) == (0, 0)
    assert model.enforce_memory_limit(2 * K) == 0
    assert (rows(model.memory), rows(model.reserved)) == ([(0, 2 * K, 0, 0)], [(0, K, 0, 3)])
    assert list(model.free_entries) == [4, 2, 1, 5, 6, 7]


def test_3_enforce_limit_is_refused() -> None:
    model = lmb(klimit=0x5000)
    assert model.add(0, 1024 * K) == 0
    before = model.snapshot()
    # The klimit page would go with what lies past the cut (rule 8), but not where the cut is its end.
    assert (model.enforce_memory_limit(0), model.enforce_memory_limit(0x5FFF)) == (EINVAL, EBUSY)
    assert model.snapshot() == before
    assert model.enforce_memory_limit(0x6000) == 0 and regions(model.memory) == [(0, 0x6000, 0)]
    assert model.allow_growth() == 0
    assert (model.enforce_memory_limit(0x6000), model.enforce_memory_limit(0)) == (EBUSY, EINVAL)


def test_3_revision_1_has_no_flags_to_mark() -> None:
    model = lmb(1)
    for call in (lambda: model.mark(0, 1, 1), lambda: model.clear(0, 1, 1), lambda: model.enforce_memory_limit(1)):
        with pytest.raises(InputError, match="revision 1 of the list-based LMB has no mark, clear or enforce_limit"):
            call()


# -- rule 4 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bottom_up", [False, True])
def test_4_hotplug_memory_comes_last(bottom_up: bool) -> None:
    model = lmb()
    assert model.set_bottom_up(bottom_up) == 0
    # Hotplug lies at both ends.
    for base, size, flags in ((0, 16 * K, HOTPLUG), (16 * K, 16 * K, 0), (32 * K, 16 * K, HOTPLUG | MIRROR)):
        assert model.add(base, size, flags) == 0
    assert model.alloc(16 * K) == 16 * K
    assert model.alloc(8 * K) == (4 * K if bottom_up else 40 * K)
    # NOMAP is never given, with HOTPLUG or without.
    assert model.mark(0, 64 * K, NOMAP) == 0
    assert model.alloc(K) == ENOMEM


def test_4_hotplug_within_bounds_and_mirror_as_any() -> None:
    model = lmb()
    assert (model.add(0, 32 * K, MIRROR), model.add(32 * K, 32 * K, HOTPLUG)) == (0, 0)
    # Only hotplug memory has these bounds, or this much behind an address.
    assert (model.alloc(K, min=40 * K), model.alloc(K, 0, 0, 64 * K)) == (63 * K, 31 * K)
    # A region of hotplug memory is no part of one without.
    assert model.alloc(33 * K) == ENOMEM


def test_4_revision_1_searches_hotplug_as_any() -> None:
    model = lmb(1)
    assert (model.add(0, 32 * K), model.add(32 * K, 32 * K, HOTPLUG), model.alloc(K)) == (0, 0, 63 * K)


# -- rule 6 -----------------------------------------------------------------------------------------


def test_6_an_allocation_keeps_the_place_it_has_found() -> None:
    model = lmb(static=2)
    assert (model.add(0, 1024 * K), model.allow_growth()) == (0, 0)
    assert model.alloc(4 * K, 4 * K) == 1020 * K
    # The block lies below, and merges with nothing of other flags.
    assert rows(model.reserved) == [(1016 * K, 4 * K, BLOCK, 1), (1020 * K, 4 * K, 0, 2)]
    old = lmb(1, static=2)
    assert (old.add(0, 1024 * K), old.allow_growth(), old.alloc(4 * K, 4 * K)) == (0, 0, 1016 * K)
    assert rows(old.reserved) == [(1016 * K, 8 * K, 0, 1)]


def test_6_the_last_memory_of_all() -> None:
    # 64 KiB are left and asked for: no block fits beside them, and nothing is lost.
    model = lmb(static=2)
    assert (model.add(4 * K, 64 * K), model.allow_growth()) == (0, 0)
    before = model.snapshot()
    assert model.alloc(64 * K) == ENOMEM and model.snapshot() == before
    assert model.alloc(60 * K) == 8 * K
    assert regions(model.reserved) == [(4 * K, 4 * K, BLOCK), (8 * K, 60 * K, 0)]
    # Revision 1 lost a page to a block.
    old = lmb(1, static=2)
    assert (old.add(4 * K, 64 * K), old.allow_growth(), old.alloc(64 * K)) == (0, 0, ENOMEM)
    assert regions(old.reserved) == [(64 * K, 4 * K, 0)]


def test_6_no_block_lies_in_hotplug_memory() -> None:
    model = lmb(static=3)
    assert (model.add(0, 16 * K), model.add(16 * K, 16 * K, HOTPLUG), model.allow_growth()) == (0, 0, 0)
    assert model.reserve(0, K) == 0
    assert regions(model.reserved) == [(0, K, 0), (12 * K, 4 * K, BLOCK)]
    # Where there is no other memory there is no block.
    model = lmb(static=2)
    assert (model.add(0, 64 * K, HOTPLUG), model.allow_growth(), model.alloc(K)) == (0, 0, ENOMEM)
    assert not model.reserved.base
    old = lmb(1, static=2)
    assert (old.add(0, 64 * K, HOTPLUG), old.allow_growth(), old.reserve(0, K)) == (0, 0, 0)
    assert regions(old.reserved) == [(0, K, 0), (60 * K, 4 * K, 0)]


def test_6_an_addition_and_a_release_grow_outside_their_range() -> None:
    model = lmb(static=2)
    assert (model.add(0, 64 * K), model.allow_growth(), model.add(60 * K, 64 * K, MIRROR)) == (0, 0, 0)
    assert regions(model.reserved) == [(56 * K, 4 * K, BLOCK)]
    # A release that splits a region grows too.
    model = lmb(static=3)
    assert (model.add(0, 64 * K), model.reserve(16 * K, 32 * K), model.allow_growth()) == (0, 0, 0)
    assert model.free(20 * K, K) == 0
    assert regions(model.reserved) == [
        (16 * K, 4 * K, 0), (21 * K, 27 * K, 0), (60 * K, 4 * K, BLOCK)
    ]  # fmt: skip


def test_6_blocks_merge_with_blocks_only() -> None:
    # Blocks of 256 bytes have five entries.
    model = lmb(static=2, block_size=256)
    assert (model.add(0, 64 * K), model.allow_growth()) == (0, 0)
    for at in range(12):
        assert model.reserve(4 * K + 64 * at, 32) == 0
    assert len(model.blocks) == 4
    assert regions(model.reserved)[-1] == (64 * K - 3 * 256, 3 * 256, BLOCK)
    assert model.alloc(256, 256) == 64 * K - 4 * 256
    assert regions(model.reserved)[-2:] == [(64 * K - 4 * 256, 256, 0), (64 * K - 3 * 256, 3 * 256, BLOCK)]


# -- rule 8 -----------------------------------------------------------------------------------------


def test_8_blocks_are_never_taken() -> None:
    model = grown()
    before = model.snapshot()
    inside = (1021 * K, 1)
    assert (model.free(*inside), model.remove(*inside), model.reserve(*inside)) == (EBUSY,) * 3
    assert (model.reserve(0, MAX), model.reserve(1019 * K, K + 1)) == (EBUSY, EBUSY)
    assert (model.mark(*inside, NOMAP), model.mark(*inside, HOTPLUG)) == (EBUSY, EBUSY)
    assert model.snapshot() == before
    # What only touches it is not refused, nor are other flags, nor memory over it.
    assert (model.reserve(1019 * K, K), model.mark(*inside, MIRROR), model.clear(*inside, HOTPLUG)) == (0, 0, 0)
    assert model.add(*inside) == 0
    # The first refusal that applies: -EINVAL is before -EBUSY.
    assert (model.reserve(*inside, BLOCK), model.mark(*inside, 3)) == (EINVAL, EINVAL)


def test_8_a_static_block_is_no_memory_of_its_own() -> None:
    model = lmb()
    assert (model.add(0, 64 * K), model.reserve(0, 64 * K), model.free(0, 64 * K), model.remove(0, 64 * K)) == (0,) * 4


def test_8_revision_1_reserves_over_blocks() -> None:
    model = grown(1)
    assert (model.reserve(1021 * K, 1), model.free(1021 * K, 1)) == (0, EBUSY)


# -- rule 9 -----------------------------------------------------------------------------------------


def test_9_blocks_are_not_given_away() -> None:
    model = grown()
    # 256 pages, less page 0, the one with [4K, 5K), and the block's.
    assert model.free_all() == 253
    assert (model.free_all(), model.mark(0, 1, 1), model.init_again()) == (EBUSY, EBUSY, EBUSY)
