# SPDX-License-Identifier: GPL-2.0-or-later
"""Who reserved what: pieces, trimming, the allocator's own storage, and reservations laid over another's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdb_lmb.allocators.lmb.model import LmbConfig, LmbModel
from gdb_lmb.allocators.lmb.storage import Block
from gdb_lmb.allocators.memblock.storage import MemblockStorage, RegionArray
from gdb_lmb.analysis.owners import History, Owners, Piece, function_of, owner_name, owner_pc
from gdb_lmb.core.operation import Record, Symbol, TraceHeader
from gdb_lmb.core.snapshot import RegionList, Snapshot, column
from tests.helpers.operations import apply, op
from tests.helpers.soak import ROUNDS
from tests.helpers.states import stored

NAMES = {
    1: "memblock_reserve", 2: "memblock_alloc_try_nid", 3: "__memblock_reserve.isra.0",
    4: "early_init_dt_reserve_memory", 10: "setup_arch", 11: "reserve_initrd", 12: "pcpu_embed_first_chunk",
    20: "lmb_alloc", 30: "memblock_like_driver_probe",
    50: "arm64_memblock_init", 51: "arm64_memblock_init",
}  # fmt: skip

# What a compiler has inlined into setup_arch(): the wrapper of a header too.
INLINED = {
    40: Symbol("setup_arch", 40, inlined=("memblock_reserve", "early_reserve_memory")),
    41: Symbol("setup_arch", 41, inlined=("memblock_reserve", "early_reserve_initrd", "early_reserve_memory")),
    43: Symbol("setup_arch", 43, inlined=("memblock_alloc", "early_reserve_brk", "early_reserve_memory")),
    42: Symbol("setup_arch", 42, inlined=("early_reserve_initrd", "early_reserve_memory")),
}


def name(pc: int) -> str | None:
    return NAMES.get(pc)


def look(pc: int) -> Symbol | None:
    assert type(pc) is int  # of no call, nothing is asked
    return INLINED.get(pc) or (Symbol(NAMES[pc], 0) if pc in NAMES else None)


def reserve(seq: int, base: int, end: int, *callers: int) -> Record:
    operation = op("add_range", base, end - base, list="reserved", nid=1024)
    return Record(seq, operation, 0, callers or (1, 10))


def alloc(seq: int, base: int, end: int, *callers: int) -> Record:
    return Record(seq, op("alloc_range_nid", size=end - base, align=64), base, callers or (2, 12))


def free(seq: int, base: int, end: int) -> Record:
    return Record(seq, op("remove_range", base, end - base, list="reserved"), 0)


def follow(*records: Record, initial: Snapshot | None = None, layout: str = "memblock") -> Owners:
    owners = Owners(TraceHeader(layout, "x86_64", "little", 64, 4096, initial=initial))
    for record in records:
        owners.follow(record)
    return owners


def piece_at(owners: Owners, address: int) -> Piece | None:
    return next((piece for piece in owners.pieces() if piece.base <= address < piece.end), None)


def seqs(pieces: list[Piece]) -> list[tuple[int, int, Any]]:
    return [(piece.base, piece.end, piece.record.seq if piece.record else None) for piece in pieces]


def memblock(reserved: list[tuple[int, int]], **changes: Any) -> Snapshot:
    def regions(which: str, rows: list[tuple[int, int]]) -> RegionList:
        sizes = [end - base for base, end in rows]
        return RegionList(
            which, len(rows), sum(sizes), column(base for base, _ in rows), column(sizes), column([0] * len(rows)),
            column(range(len(rows))), max=128, nid=[1024] * len(rows),
        )  # fmt: skip

    state = Snapshot(
        regions("memory", [(0, 1 << 32)]), regions("reserved", reserved), 64, 4096, (1 << 64) - 1, False,
        layout="memblock", storage=MemblockStorage(),
    )  # fmt: skip
    return replace(state, **changes)


# -- who --------------------------------------------------------------------------------------------

CALLERS: list[tuple[tuple[int, ...], str, int | None, str]] = [
    ((1, 10), "memblock", 10, "setup_arch"),
    ((3, 1, 4, 11, 10), "memblock", 11, "reserve_initrd"),
    ((10, 11), "memblock", 10, "setup_arch"),
    # Not the prefix of another layout, nor a name that only looks like one of the allocator's.
    ((20, 10), "lmb-list", 10, "setup_arch"),
    ((20, 10), "memblock", 20, "lmb_alloc"),
    # All inside, nothing known, a program counter that no symbol explains.
    ((1, 2), "memblock", 2, "memblock_alloc_try_nid"),
    ((), "memblock", None, "an unknown caller"),
    ((1, 0xFFFF, 10), "memblock", 0xFFFF, "0xffff"),
]


@pytest.mark.parametrize(("callers", "layout", "pc", "owner"), CALLERS, ids=range(len(CALLERS)))
def test_the_first_caller_outside(callers: tuple[int, ...], layout: str, pc: int | None, owner: str) -> None:
    record = Record(1, op("free_all"), 0, callers)
    assert owner_pc(record, name, layout) == pc
    assert owner_name(record, name, layout) == owner


def test_names_from_a_saved_trace() -> None:
    function = function_of({1: Symbol("memblock_reserve", 7), 2: Symbol("setup_arch", 0)}.get)
    assert (function(1), function(2), function(3)) == ("memblock_reserve", "setup_arch", None)
    assert owner_name(Record(1, op("free_all"), 0, (1, 2)), function, "memblock") == "setup_arch"


# -- pieces -----------------------------------------------------------------------------------------


def test_merging_keeps_the_pieces() -> None:
    owners = follow(reserve(1, 0x1000, 0x2000), alloc(2, 0x2000, 0x2040), reserve(3, 0x2040, 0x3000))
    assert seqs(owners.cover(memblock([(0x1000, 0x3000)]))[0]) == [
        (0x1000, 0x2000, 1), (0x2000, 0x2040, 2), (0x2040, 0x3000, 3),
    ]  # fmt: skip
    piece = piece_at(owners, 0x203F)
    assert piece is not None and (piece.base, piece.end) == (0x2000, 0x2040)
    assert piece_at(owners, 0xFFF) is None and piece_at(owners, 0x3000) is None
    assert seqs(owners.pieces(0x1FF0, 0x2001)) == [(0x1FF0, 0x2000, 1), (0x2000, 0x2001, 2)]


def test_a_range_that_only_touches_a_piece_has_none() -> None:
    owners = follow(reserve(1, 0, 0x800), reserve(2, 0x1000, 0x2000))
    assert seqs(owners.pieces()) == [(0, 0x800, 1), (0x1000, 0x2000, 2)]
    assert owners.pieces(0x2000, 0x3000) == owners.pieces(0x800, 0x1000) == owners.pieces(0x1800, 0x1800) == []


def test_removing_trims_splits_and_drops() -> None:
    owners = follow(
        reserve(1, 0x1000, 0x5000), reserve(2, 0x6000, 0x7000), reserve(3, 0x8000, 0x9000),
        free(4, 0x2000, 0x3000), free(5, 0x4800, 0x8100),
    )  # fmt: skip
    assert seqs(owners.pieces()) == [(0x1000, 0x2000, 1), (0x3000, 0x4800, 1), (0x8100, 0x9000, 3)]


def test_what_is_reserved_twice_stays_with_the_first() -> None:
    owners = follow(reserve(1, 0x2000, 0x3000), reserve(2, 0x4000, 0x5000), reserve(3, 0x1000, 0x6000, 1, 11))
    assert seqs(owners.pieces()) == [
        (0x1000, 0x2000, 3), (0x2000, 0x3000, 1), (0x3000, 0x4000, 3), (0x4000, 0x5000, 2), (0x5000, 0x6000, 3),
    ]  # fmt: skip


def test_what_changes_nothing() -> None:
    owners = follow(
        Record(1, op("add_range", 0, 0x1000, list="memory"), 0),
        Record(2, op("add_range", 0, 0x1000, list="reserved"), -12),
        Record(3, op("alloc_range_nid", size=64), 0),
        Record(4, op("alloc_range_nid", size=64), None),
        Record(5, op("setclr_flag", 0, 0x1000, list="reserved", set=True, flags=16), 0),
        Record(6, op("free_all"), 12),
        Record(7, op("add_range", (1 << 64) - 1, 0x1000, list="reserved"), 0),
    )
    assert owners.pieces() == []


def test_a_size_past_the_end_is_clipped() -> None:
    owners = follow(Record(1, op("add_range", 0x1000, (1 << 64) - 1, list="reserved"), 0))
    assert seqs(owners.pieces()) == [(0x1000, (1 << 64) - 1, 1)]
    owners.follow(Record(2, op("remove_range", 0x2000, (1 << 64) - 1, list="reserved"), 0))
    assert seqs(owners.pieces()) == [(0x1000, 0x2000, 1)]


def test_a_cap_takes_what_lies_outside() -> None:
    owners = follow(reserve(1, 0x1000, 0x9000), Record(2, op("cap_memory_range", 0x2000, 0x3000)))
    assert seqs(owners.pieces()) == [(0x2000, 0x5000, 1)]
    owners.follow(Record(3, op("cap_memory_range", 0x2000, 0)))
    assert seqs(owners.pieces()) == [(0x2000, 0x5000, 1)], "a cap of no bytes is none"


def test_what_was_there_before() -> None:
    owners = follow(reserve(1, 0x2000, 0x4000), initial=memblock([(0x1000, 0x3000)]))
    assert owners.pieces() == [Piece(0x1000, 0x3000, initial=True), Piece(0x3000, 0x4000, reserve(1, 0x2000, 0x4000))]
    dummy = memblock([(0, 0)])
    assert dummy.reserved.dummy and follow(initial=dummy).pieces() == []


@pytest.mark.parametrize("whole", [True, False])
def test_what_the_guests_log_knows_of_before(whole: bool) -> None:
    owners = follow(reserve(1, 0x5000, 0x6000), free(2, 0x1800, 0x2000), initial=memblock([(0x1000, 0x5000)]))
    # The log has the same and more; between 0x2800 and 0x3000, and from 0x4000 on, it knows of nothing.
    owners.learn(follow(reserve(7, 0, 0x2800), reserve(8, 0x3000, 0x4000), reserve(9, 0x5000, 0x6000)), whole=whole)
    found = [(piece.base, piece.end, piece.record.seq if piece.record else None, piece.logged, piece.initial)
             for piece in owners.pieces()]  # fmt: skip
    rest = [(0x2800, 0x3000, None, False, True), (0x4000, 0x5000, None, False, True)]
    assert found == sorted([
        (0x1000, 0x1800, 7, True, False), (0x2000, 0x2800, 7, True, False), (0x3000, 0x4000, 8, True, False),
        (0x5000, 0x6000, 1, False, False), *([] if whole else rest),
    ])  # fmt: skip


def test_the_empty_list_of_before_6_11_has_no_pieces() -> None:
    assert memblock([(0, 0)]).reserved.dummy
    assert follow().cover(memblock([(0, 0)])) == []


def test_the_owner_and_callers_of_a_record() -> None:
    history = History(follow(), look, "test")
    one = reserve(1, 0x1000, 0x2000, 1, 4, 11, 10)
    assert history.owner(one) == 11 and history.callers(one) == (11, 10)
    unknown = replace(one, callers=())
    assert history.owner(unknown) is None and history.callers(unknown) == ()


def test_the_allocators_own_storage() -> None:
    owners = follow(reserve(1, 0x1000, 0x2000), reserve(2, 0x5000, 0x6000))
    array = RegionArray("reserved", 0, 256, False, 6144, 0x2000)
    storage = MemblockStorage(arrays=(array, RegionArray("memory", 0, 128, True, 3072, 0x3000)))
    state = memblock([(0x1000, 0x6000)], storage=storage)
    assert owners.cover(state) == [
        [
            Piece(0x1000, 0x2000, reserve(1, 0x1000, 0x2000)),
            Piece(0x2000, 0x4000, storage="the array of reserved"),
            Piece(0x4000, 0x5000),
            Piece(0x5000, 0x6000, reserve(2, 0x5000, 0x6000)),
        ]
    ]


def test_the_list_based_lmb() -> None:
    records = [
        Record(1, op("init", 0x9000, 4096, flags=64, align=40, min=40, max=101), 0),
        Record(2, op("add", 0, 0x100000), 0),
        Record(3, op("reserve", 0x1000, 0x1000), 0),
        Record(4, op("alloc", size=64), 0xFFFC0),
        Record(5, op("free", 0x1000, 0x800), 0),
        Record(6, op("reserve", 0x1000, 0x1000), -22),
    ]
    owners = follow(*records, layout="lmb-list")
    assert seqs(owners.pieces()) == [(0x1800, 0x2000, 3), (0x9000, 0xA000, 1), (0xFFFC0, 0x100000, 4)]
    model = LmbModel(LmbConfig(static=8))
    apply(model, op("reserve", 0xA000, 0x1000))
    grown = stored(
        model.snapshot(), blocks=(Block(0x9000, 101, False, 4096), Block(0xA000, 101, False, 4096)), free=(), nr_free=0
    )
    assert owners.cover(grown) == [[Piece(0xA000, 0xB000, storage="block 1 of entries")]]


def test_a_limit_may_have_taken_reservations_off() -> None:
    # What lies below the limit stays for certain; the rest is still owned as far as the list has it, until somebody
    # reserves it anew, which then lies over nothing.
    records = [
        Record(1, op("reserve", 0x1000, 0x1000), 0),
        Record(2, op("alloc", size=0x1000), 0x8000),
        Record(3, op("enforce_limit", size=0x9000), -16),
        Record(4, op("reserve", 0x8000, 0x10), 0),
        Record(5, op("enforce_limit", size=0x2000), 0),
    ]
    owners = follow(*records, layout="lmb-list")
    assert seqs(owners.pieces()) == [(0x1000, 0x2000, 1), (0x8000, 0x9000, 2)]
    assert [record.seq for record, _ in owners.overlaps] == [4]
    owners.follow(Record(6, op("reserve", 0x1800, 0x7000), 0))
    assert seqs(owners.pieces()) == [(0x1000, 0x2000, 1), (0x2000, 0x8800, 6), (0x8800, 0x9000, 2)]
    assert [record.seq for record, _ in owners.overlaps] == [4, 6]


# -- one over another -------------------------------------------------------------------------------

OVER: list[tuple[list[Record], list[tuple[str, str, str]]]] = [
    # The kernel rounds up what it reserved itself.
    ([reserve(1, 0x1100, 0x1200), reserve(2, 0x1000, 0x2000)], []),
    # Firmware's first megabyte, by two callers: sound kernels do it.
    ([reserve(1, 0x9F000, 0x100000), reserve(2, 0, 0x100000, 1, 11)],
     [("reserved-twice", "note", "called from reserve_initrd, takes memory that is taken: [0x9f000, 0x100000) was "
                                 "reserved by setup_arch in operation 1")]),
    # An initrd over what somebody was given.
    ([alloc(1, 0x4000, 0x5000), reserve(2, 0x4800, 0x9000, 1, 11)],
     [("reserved-over-allocation", "finding",
       "[0x4800, 0x5000) was allocated to pcpu_embed_first_chunk in operation 1")]),
    # What one was given one may also reserve.
    ([alloc(1, 0x4000, 0x5000), reserve(2, 0, 0x9000, 1, 12)], []),
    # A function that jumps into the allocator as its last act: its caller (10) stands in its place.
    ([alloc(1, 0x98000, 0x9F000, 2, 12, 10), reserve(2, 0, 0x100000, 1, 10)], []),
    ([alloc(1, 0x98000, 0x9F000, 2, 10), reserve(2, 0, 0x100000, 1, 12, 10)], []),
    # An allocator that gives the same twice, even to the same.
    ([alloc(1, 0x4000, 0x5000), alloc(2, 0x4000, 0x5000)],
     [("allocated-twice", "finding", "[0x4000, 0x5000) was allocated to pcpu_embed_first_chunk in operation 1")]),
    ([reserve(1, 0x4000, 0x5000), alloc(2, 0x4fff, 0x5010)],
     [("allocated-twice", "finding", "[0x4fff, 0x5000) was reserved by setup_arch in operation 1")]),
    # Inlined into one function, but two callers: an initrd over the image, and over what was allocated.
    ([reserve(1, 0x1000, 0x9000, 40), reserve(2, 0x8000, 0xA000, 41)],
     [("reserved-twice", "note", "called from early_reserve_initrd, takes memory that is taken: [0x8000, 0x9000) was "
                                 "reserved by early_reserve_memory in operation 1")]),
    ([alloc(1, 0x1000, 0x9000, 43), reserve(2, 0x8000, 0xA000, 41)],
     [("reserved-over-allocation", "finding", "was allocated to early_reserve_brk in operation 1")]),
    # A function and one that it calls, which is inlined into it.
    ([alloc(1, 0x1000, 0x9000, 41), reserve(2, 0x8000, 0xA000, 40)], []),
    ([alloc(1, 0x1000, 0x9000, 40), reserve(2, 0x8000, 0xA000, 41)], []),
    ([alloc(1, 0x1000, 0x9000, 42), reserve(2, 0x8000, 0xA000, 41)], []),
    # Two calls of one function: arm64_memblock_init() reserves the image and the initrd.
    ([reserve(1, 0x1000, 0x9000, 1, 50), reserve(2, 0x8000, 0xA000, 1, 51)],
     [("reserved-twice", "note", "[0x8000, 0x9000) was reserved by arm64_memblock_init in operation 1")]),
    # What was freed in between is free.
    ([alloc(1, 0x4000, 0x5000), free(2, 0x4000, 0x5000), reserve(3, 0x4000, 0x5000, 1, 11)], []),
    # Over two others at once; and by nobody that is known.
    ([reserve(1, 0x1000, 0x2000), reserve(2, 0x2000, 0x3000, 1, 12), reserve(3, 0x1000, 0x3000, 1, 11)],
     [("reserved-twice", "note", "[0x1000, 0x2000) was reserved by setup_arch in operation 1"),
      ("reserved-twice", "note", "[0x2000, 0x3000) was reserved by pcpu_embed_first_chunk in operation 2")]),
    ([reserve(1, 0x1000, 0x2000), replace(reserve(2, 0x1000, 0x2000), callers=())],
     [("reserved-twice", "note", "called from an unknown caller, takes memory that is taken: ")]),
    # One sentence for one pair, however many pieces they share.
    ([reserve(1, 0x1000, 0x9000), free(2, 0x3000, 0x4000), reserve(3, 0, 0xA000, 1, 11)],
     [("reserved-twice", "note", "[0x1000, 0x3000) was reserved by setup_arch in operation 1")]),
]  # fmt: skip


@pytest.mark.parametrize(("records", "expected"), OVER, ids=range(len(OVER)))
def test_one_over_another(records: list[Record], expected: list[tuple[str, str, str]]) -> None:
    findings, unknown = follow(*records).findings(look)
    assert unknown is None
    assert [(f.code, f.severity) for f in findings] == [row[:2] for row in expected]
    for finding, (_, _, text) in zip(findings, expected, strict=True):
        assert text in finding.message and finding.message.startswith("operation ")


def test_over_what_was_there_before() -> None:
    initial = memblock([(0x1000, 0x3000)])
    ((note,), _) = follow(reserve(1, 0x2000, 0x4000), initial=initial).findings(look)
    assert (note.code, note.severity, note.addresses) == ("reserved-twice", "note", (0x2000,))
    assert note.message.endswith("[0x2000, 0x3000) was reserved before the trace began")
    ((finding,), _) = follow(alloc(1, 0x2000, 0x2040), initial=initial).findings(look)
    assert (finding.code, finding.severity) == ("allocated-twice", "finding")


def test_many_overlaps_are_counted() -> None:
    records = [reserve(1, 0, 0x1000), *(reserve(seq, 0, 0x1000, 1, 11) for seq in range(2, 1103))]
    findings, _ = follow(*records).findings(look)
    assert len(findings) == 1001 and findings[-1].message == "101 more reservations lie over another"


HARMLESS = [reserve(1, 0, 0x1000), *(reserve(seq, 0, 0x1000, 1, 11) for seq in range(2, 2002))]
# One may reserve by its address what it was given.
OWN = [alloc(1, 0x1000, 0x2000), *(reserve(seq, 0x1000, 0x2000, 1, 12) for seq in range(2, 2002))]
BEHIND: list[tuple[list[Record], str, str]] = [
    (HARMLESS, "allocated-twice", "operation 3001, "), (OWN, "reserved-over-allocation", "operation 3002, "),
    (HARMLESS, "reserved-over-allocation", "operation 3002, "), (OWN, "allocated-twice", "operation 3001, "),
]  # fmt: skip


@pytest.mark.parametrize(("before", "code", "text"), BEHIND, ids=range(len(BEHIND)))
def test_many_harmless_overlaps_hide_no_finding(before: list[Record], code: str, text: str) -> None:
    taken = [reserve(3000, 0x4000, 0x5000), alloc(3001, 0x4000, 0x5000)]
    given = [alloc(3000, 0x4000, 0x5000), reserve(3001, 0x4000, 0x5000, 1, 12), reserve(3002, 0x4000, 0x5000, 1, 11)]
    after = taken if code == "allocated-twice" else given
    findings, unknown = follow(*before, *after).findings(look)
    assert [(f.code, f.message.startswith(text)) for f in findings if f.severity == "finding"] == [(code, True)]
    assert unknown is None


def test_many_of_one_kind_are_counted_and_hide_no_other_owner() -> None:
    findings, _ = follow(*OWN).findings(look)
    assert [finding.message for finding in findings] == ["1000 more reservations lie over another"]
    findings, _ = follow(*OWN, alloc(3000, 0x4000, 0x5000, 2, 11), reserve(3001, 0x4000, 0x5000, 1, 12)).findings(look)
    assert [finding.code for finding in findings] == ["reserved-over-allocation", "reserved-twice"]


def test_more_kinds_than_are_kept_are_not_verified() -> None:
    owners = follow(alloc(1, 0x1000, 0x2000))
    for seq in range(2, 10_005):
        owners.follow(reserve(seq, 0x1000, 0x2000, 1, 12, seq << 32))
    findings, unknown = owners.findings(look)
    assert unknown == "3 more reservations may lie over an allocation of another"
    assert [finding.message for finding in findings] == ["3 more reservations lie over another"]


UNKNOWN: list[tuple[list[Record], str | None]] = [
    # x86's reserve_real_mode() allocates under 1 MiB and last reserves it all: without names two callers.
    ([alloc(1, 0x98000, 0x9F000, 90, 91, 92), reserve(2, 0, 0x100000, 93, 92)],
     "without symbols nothing tells who called operation 2 add_range(list=reserved, base=0x0, size=0x100000, "
     "nid=1024, flags=0x0), over an allocation of another"),
    # One of both is enough; no caller at all is none that is known.
    ([alloc(1, 0x4000, 0x5000), reserve(2, 0x4800, 0x9000, 1, 99)], "operation 2 "),
    ([alloc(1, 0x4000, 0x5000, 99), reserve(2, 0x4800, 0x9000)], "operation 2 "),
    ([alloc(1, 0x4000, 0x5000), Record(2, reserve(2, 0x4800, 0x9000).operation, 0, ())], "operation 2 "),
    ([alloc(1, 0x4000, 0x5000), reserve(2, 0x4000, 0x4800, 98), reserve(3, 0x4800, 0x5000, 99)],
     "and 1 more operation, over an allocation of another"),
    # The very same call needs no name.
    ([alloc(1, 0x4000, 0x5000, 99), reserve(2, 0x4800, 0x9000, 99)], None),
]  # fmt: skip


@pytest.mark.parametrize(("records", "why"), UNKNOWN, ids=range(len(UNKNOWN)))
def test_without_symbols_nobody_is_accused(records: list[Record], why: str | None) -> None:
    findings, unknown = follow(*records).findings(look)
    assert [finding for finding in findings if finding.severity == "finding"] == []
    assert unknown is None if why is None else unknown is not None and why in unknown


def test_what_is_given_twice_needs_no_symbols() -> None:
    records = [alloc(1, 0x4000, 0x5000, 98), alloc(2, 0x4000, 0x5000, 99)]
    findings, unknown = follow(*records).findings(look)
    assert [finding.code for finding in findings] == ["allocated-twice"] and unknown is None


# -- against bytes ----------------------------------------------------------------------------------

STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 63), st.integers(0, 16)), max_size=40)


@pytest.mark.random
@settings(max_examples=100 * ROUNDS)
@given(STEPS)
def test_pieces_are_what_single_bytes_say(steps: list[tuple[bool, int, int]]) -> None:
    owners = follow()
    owner: dict[int, int] = {}
    overlapped = set()
    for seq, (adds, base, size) in enumerate(steps, 1):
        owners.follow(reserve(seq, base, base + size, 1, seq + 100) if adds else free(seq, base, base + size))
        for at in range(base, base + size):
            if not adds:
                owner.pop(at, None)
            elif at in owner:
                overlapped.add((seq, owner[at]))
            else:
                owner[at] = seq
    assert {
        at: piece.record.seq for piece in owners.pieces() if piece.record for at in range(piece.base, piece.end)
    } == owner
    assert {(record.seq, old.record.seq) for record, old in owners.overlaps if old.record} == overlapped
    for at in range(80):
        piece = piece_at(owners, at)
        assert (piece.record.seq if piece and piece.record else None) == owner.get(at)
    # The pieces are as long as can be, and in order.
    for left, right in zip(owners.pieces(), owners.pieces()[1:], strict=False):
        assert left.end <= right.base
