# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose an address is, on states and histories made by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from gdb_lmb.allocators.lmb.model import LmbConfig, LmbModel
from gdb_lmb.analysis.owners import History, Owners
from gdb_lmb.analysis.who import FREE, KEPT, NOTHING, RESERVED, Stretch, Stretches, answer
from gdb_lmb.core.operation import Record, TraceHeader
from gdb_lmb.core.snapshot import FirmwareMap, Place
from gdb_lmb.report.terminal import Terminal
from gdb_lmb.report.who import Known, owner_text, owners_json, owners_lines, piece_json, who_json, who_text
from tests.helpers.operations import op
from tests.helpers.owned import IMAGE, INITRD, LMB, RECORDS, SYMBOLS, K, M, past
from tests.helpers.owned import owned_state as state


def test_stretches_cover_the_address_space() -> None:
    stretches = Stretches(state())
    assert [(s.base, s.end, s.state) for s in stretches.between(0, 1 << 64)] == [
        (0, M, FREE), (M, 2 * M + 64 * K, RESERVED), (2 * M + 64 * K, 8 * M, FREE), (8 * M, 9 * M, KEPT),
        (9 * M, 16 * M - 4 * K, FREE), (16 * M - 4 * K, 16 * M, RESERVED), (16 * M, 1 << 64, NOTHING),
    ]  # fmt: skip
    assert stretches.at(M) == Stretch(M, 2 * M + 64 * K, RESERVED, 0, 0)
    assert stretches.at(M - 1) == Stretch(0, M, FREE, 0, None)


def test_reserved_outside_of_memory_is_reserved() -> None:
    model = LmbModel(LmbConfig(static=16, bits=32))
    assert model.add(M, M) == model.reserve(2 * M - K, 2 * K) == 0
    stretches = Stretches(model.snapshot())
    assert [(s.base, s.end, s.state, s.memory) for s in stretches.between(0, 1 << 32)] == [
        (0, M, NOTHING, None),
        (M, 2 * M - K, FREE, 0), (2 * M - K, 2 * M, RESERVED, 0), (2 * M, 2 * M + K, RESERVED, None),
        (2 * M + K, 1 << 32, NOTHING, None),
    ]  # fmt: skip


def test_a_damaged_list_ends_too() -> None:
    snapshot = state()
    overlap = replace(snapshot.memory, base=[0, 4 * K, 8 * K], size=[M, 0, 2 * M], flags=[0, 0, 0])
    found = list(Stretches(replace(snapshot, memory=overlap)).between(0, 1 << 64))
    assert found[0].base == 0 and found[-1].end == 1 << 64
    assert all(a.end == b.base for a, b in pairwise(found))
    # A region of no bytes is nowhere.
    empty = replace(snapshot.memory, base=[0, 20 * M], size=[M, 0], flags=[0, 0])
    nothing = replace(snapshot.reserved, base=[], size=[], flags=[], entry=[])
    found = list(Stretches(replace(snapshot, memory=empty, reserved=nothing)).between(0, 1 << 64))
    assert [(s.base, s.end, s.state) for s in found] == [(0, M, FREE), (M, 1 << 64, NOTHING)]


def test_only_what_is_never_given_is_kept() -> None:
    memory = replace(state().memory, flags=[1, 4, 2])
    found = Stretches(replace(state(), memory=memory))
    assert [found.at(at).state for at in (0, 8 * M, 10 * M)] == [FREE, KEPT, FREE]


def test_what_ends_where_another_begins_is_not_in_it() -> None:
    places = [Place(3 * M, 4 * M, "before"), Place(4 * M, 5 * M, "in"), Place(5 * M, 6 * M, "behind")]
    rows = [(3 * M, M, 1), (4 * M, M, 2), (5 * M, M, 20)]
    firmware = FirmwareMap(*map(list, zip(*rows, strict=True)))
    (part,) = answer(replace(state(), firmware=firmware), (4 * M, 5 * M), places).parts
    assert [place.what for place in part.places] == ["in"]
    assert part.firmware == ((4 * M, 5 * M, 2),)
    # Three reservations by one caller each, which are one region.
    records = [Record(at, op("reserve", base=at * M, size=M), 0, (IMAGE,)) for at in (1, 2, 3)]
    model = LmbModel(LmbConfig(static=16))
    assert model.add(0, 8 * M) == model.reserve(M, 3 * M) == 0
    owners = Owners(TraceHeader("lmb-list", "x86_64", "little", 64, 4096), records)
    (part,) = answer(model.snapshot(), (2 * M, 3 * M), (), owners).parts
    assert [(piece.base, piece.end) for piece in part.owners] == [(2 * M, 3 * M)]


def test_what_lies_below_and_the_allocators_own() -> None:
    model = LmbModel(LmbConfig(static=3))
    # The allocation keeps the place that it has found, and the block goes below it.
    assert [model.add(0, M), model.allow_growth(), model.reserve(4 * K, K), model.alloc(1, 1)] == [0, 0, 0, M - 1]
    found = answer(model.snapshot(), (M - 8 * K, M - 4 * K))
    assert found.below is not None and (found.below.base, found.below.end) == (5 * K, M - 8 * K)
    assert [place.what for place in found.parts[0].places] == ["block 1 of entries"]
    assert answer(state(), (0, 1)).below is None
    # One byte below.
    byte = replace(state().reserved, base=[3 * M], size=[1], flags=[0], entry=[3])
    found = answer(replace(state(), reserved=byte), (3 * M + 1, 4 * M))
    assert found.below == Stretch(3 * M, 3 * M + 1, RESERVED, 0, 0)


def test_who_with_a_history() -> None:
    known = Known(state(), past(), {M + 4: "main+4"}.get)
    places = [
        Place(M, 2 * M, "kernel image"),
        Place(M, M + 8 * K, "kernel image: text"),
        Place(3 * M, 4 * M, "elsewhere"),
    ]
    found = answer(known.snapshot, (M + 4, M + 5), places, known.history and known.history.owners)
    assert who_text(found, known).splitlines() == [
        "0x100004: reserved",
        "  reserved  [0x100000, 0x210000), region 0, entry 0:3",
        "  memory    [0x0, 0x800000), region 0, entry 0:0",
        "  firmware  [0x0, 0x1000000) RAM",
        "  is        [0x100000, 0x200000) kernel image",
        "  is        [0x100000, 0x102000) kernel image: text",
        "  symbol    main+4",
        "  owner     [0x100000, 0x200000) reserve_image+0x30",
        "  when      operation 2, reserve(base=0x100000, size=0x100000, flags=0x0), early",
        "  from      0x4040",
        "  below     free [0x0, 0x100000)",
        "  above     free [0x210000, 0x800000)",
        "  history   the trace of this test",
    ]


def test_a_range_is_told_part_by_part_and_piece_by_piece() -> None:
    known = Known(state(), past(), lambda at: None)
    found = answer(known.snapshot, (2 * M - K, 9 * M + 1), (), known.history and known.history.owners)
    data = who_json(found, known)
    assert data["schema"] == "gdb-lmb/who/1" and (data["base"], data["size"]) == ("0x1ffc00", hex(7 * M + K + 1))
    assert [(p["base"], p["size"], p["state"]) for p in data["parts"]] == [
        ("0x1ffc00", hex(64 * K + K), "reserved"), ("0x210000", hex(6 * M - 64 * K), "free"),
        ("0x800000", hex(M), "never given"), ("0x900000", "0x1", "free"),
    ]  # fmt: skip
    owners = data["parts"][0]["owners"]
    assert [(o["base"], o["size"], o["owner"], o["seq"]) for o in owners] == [
        ("0x100000", hex(M), "reserve_image+0x30", 2),
        ("0x200000", hex(64 * K), "reserve_initrd+0x20 (main.c:77)", 3),
    ]
    assert [caller["pc"] for caller in owners[0]["callers"]] == ["0x3030", "0x4040"], "from the owner on outwards"
    assert data["parts"][2]["memory"] == {"index": 1, "base": "0x800000", "size": "0x100000", "flags": 4}
    assert data["below"] == {"base": "0x0", "size": "0x100000", "state": "free"}
    assert data["above"] == {"base": hex(16 * M - 4 * K), "size": "0x1000", "state": "reserved"}


def test_without_a_history() -> None:
    known = Known(state(), None, lambda at: None)
    text = who_text(answer(known.snapshot, (0, 1)), known)
    assert "[0x0, 0x1000) page 0, which is never allocated" in text and "history" not in text
    text = who_text(answer(known.snapshot, (M, M + 1)), known)
    assert "owner" not in text and "history   none: who reserved it is not known" in text
    data = who_json(answer(known.snapshot, (M, M + 1)), known)
    assert data["history"] is None and data["parts"][0]["owners"] == []


def test_the_ends_of_the_address_space() -> None:
    known = Known(state(), None, lambda at: None)
    found = answer(known.snapshot, ((1 << 64) - 1, 1 << 64))
    assert found.above is None and found.below is not None and found.below.state == RESERVED
    assert "above     the end of the address space" in who_text(found, known)


def test_owners_of_all_that_is_reserved() -> None:
    snapshot = state()
    pieces = past().owners.cover(snapshot)
    assert [[(p.base, p.end) for p in region] for region in pieces] == [
        [(M, 2 * M), (2 * M, 2 * M + 64 * K)], [(16 * M - 4 * K, 16 * M)]
    ]  # fmt: skip
    lines = owners_lines(snapshot, past())
    assert lines[0] == "owners of what is reserved, by the trace of this test:"
    assert lines[-1].split()[-2:] == ["4", "0x5050"], "an address where no symbol is known"
    data = owners_json(snapshot, past())
    assert data is not None and [piece["seq"] for piece in data["reserved"][0]] == [2, 3]
    assert owners_json(snapshot, None) is None and "not known" in owners_lines(snapshot, None)[0]


def test_a_part_without_a_phase_and_what_is_left_out() -> None:
    known = Known(state(), past(), lambda at: None)
    found = answer(known.snapshot, (2 * M, 4 * M), (), past().owners)
    lines = who_text(replace(found, more=True), known, Terminal(rows=1)).splitlines()
    assert lines[5] == "  when      operation 3, reserve(base=0x200000, size=0x10000, flags=0x0)"
    assert lines[0] == "[0x200000, 0x210000): reserved" and lines[6:] == [
        "  ... and 1 more: --all shows them",
        "... and more, not shown",
        "  below     free [0x0, 0x100000)",
        "  above     never given [0x800000, 0x900000)",
        "  history   the trace of this test",
    ]


def test_three_callers_behind_the_owner_are_told() -> None:
    records = [replace(record, callers=(LMB, IMAGE, 1, 2, 3, 4)) for record in RECORDS[:2]]
    made = replace(past(), owners=Owners(TraceHeader("lmb-list", "x86_64", "little", 64, 4096), records))
    found = answer(state(), (M, M + 1), (), made.owners)
    lines = who_text(found, Known(state(), made, lambda at: None)).splitlines()
    assert [line.split()[1] for line in lines if line.startswith("  from ")] == ["0x1", "0x2", "0x3"]


def test_the_json_of_a_piece() -> None:
    known = Known(state(), replace(past(), note="a\nnote"), {0: "start"}.get)
    (first, second), (top,) = past().owners.cover(known.snapshot)
    assert piece_json(first, past()) == {
        "base": "0x100000", "size": "0x100000", "owner": "reserve_image+0x30", "seq": 2,
        "call": "reserve(base=0x100000, size=0x100000, flags=0x0)", "phase": "early",
        "callers": [{"pc": "0x3030", "function": "reserve_image", "offset": 0x30, "file": None, "line": None},
                    {"pc": "0x4040"}],
    }  # fmt: skip
    assert piece_json(second, past())["phase"] is None
    assert piece_json(second, past())["callers"] == [
        {"pc": "0x2020", "function": "reserve_initrd", "offset": 0x20, "file": "main.c", "line": 77}
    ]
    own = replace(top, record=None, storage="block 1 of entries")
    assert piece_json(own, past()) == {
        "base": "0xfff000", "size": "0x1000", "owner": "the allocator itself: block 1 of entries",
    }  # fmt: skip
    unknown = replace(own, storage=None)
    assert owner_text(unknown, past()) == "nobody that the history tells of"
    assert owner_text(replace(unknown, initial=True), past()) == "reserved before the history begins"
    data = who_json(answer(known.snapshot, (0, M)), known)
    assert data["below"] is None and data["parts"][0]["symbol"] == "start" and data["note"] == "a\\nnote"
    told = [owners_json(known.snapshot, history) for history in (known.history, past())]
    assert [one and one["note"] for one in told] == ["a\\nnote", None]


def test_growth_is_the_allocators_own() -> None:
    # The block below the allocation at the top of RAM came by growth, which no record tells of.
    model = LmbModel(LmbConfig(static=3))
    records = [
        Record(1, op("add", base=0, size=M), model.add(0, M), (IMAGE,)),
        Record(2, op("allow_growth"), model.allow_growth(), (IMAGE,)),
        Record(3, op("reserve", base=4 * K, size=K), model.reserve(4 * K, K), (IMAGE,)),
        Record(4, op("alloc", size=4 * K, align=4 * K), model.alloc(4 * K, 4 * K), (INITRD,)),
    ]
    assert records[3].result == M - 4 * K
    made = History(Owners(TraceHeader("lmb-list", "x", "little", 64, 4096), records), SYMBOLS.get, "t")
    lines = owners_lines(model.snapshot(), made)
    assert lines[-2].endswith("-  the allocator itself: block 1 of entries")
    assert lines[-1].split()[3:5] == ["4", "KiB"]
    block = model.snapshot().reserved.base[1]
    found = answer(model.snapshot(), (block, block + 1), (), made.owners)
    told = who_text(found, Known(model.snapshot(), made, lambda at: None)).splitlines()
    (owner,) = [line for line in told if line.startswith("  owner ")]
    assert owner.endswith(" the allocator itself: block 1 of entries") and not any("  when " in line for line in told)
    assert lines[-1].split()[5:] == ["4", "reserve_initrd+0x20", "(main.c:77)"]
