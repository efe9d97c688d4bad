# SPDX-License-Identifier: GPL-2.0-or-later
"""What each allocator tells of a state: what differs, what phase it is in, what JSON it is read from.

`Bare` has nothing but what every allocator must have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gdb_lmb.allocators import json_fields as fields
from gdb_lmb.allocators.base import ALLOCATORS, Allocator, Effect, allocator, check
from gdb_lmb.allocators.difference import Difference, ValueRow
from gdb_lmb.allocators.lmb.checks import CHECKS
from gdb_lmb.allocators.lmb.decode import decode
from gdb_lmb.allocators.lmb.model import LmbConfig, LmbModel
from gdb_lmb.allocators.lmb.program import find_lmb, with_page_size
from gdb_lmb.allocators.lmb.storage import Block, storage_of, with_mapped
from gdb_lmb.allocators.memblock.behavior import MemblockConfig
from gdb_lmb.allocators.memblock.model import MemblockModel
from gdb_lmb.core.errors import InputError, LayoutError, LmbError, StateError
from gdb_lmb.core.fields import Struct
from gdb_lmb.core.machine import Function, Variable
from gdb_lmb.core.memory import BytesMemory
from gdb_lmb.core.operation import Model, Operation, Record
from gdb_lmb.core.snapshot import FirmwareMap, Place, Required, Snapshot, Stop, Storage, column
from gdb_lmb.report.jsonio import snapshot_from, snapshot_json
from gdb_lmb.report.terminal import Terminal
from gdb_lmb.report.text import dump_text
from tests.helpers.image import ABIS, build
from tests.helpers.linux_behaviors import LINUX_6_12
from tests.helpers.machine import BytesMachine, small_elf
from tests.helpers.operations import op
from tests.helpers.small_lmb import lmb_model
from tests.helpers.states import lmb, stored

LMB = allocator("lmb-list")
MAX = (1 << 64) - 1


class Bare(Allocator):
    """An allocator that is known by name."""

    name = "bare"
    title = "bare"
    prefixes = ("bare_",)

    def own_ranges(self, snapshot: Snapshot, *, reserved: bool = False) -> Iterator[Place]:
        yield from ()

    def resume(self, snapshot: Snapshot, facts: Mapping[str, Any]) -> Model:
        raise StateError("there is no model")


class Stack(BytesMachine):
    """A machine whose CPU is in these functions, innermost first."""

    def functions_on_stack(self, *_: Any) -> list[Function]:
        return [Function(name, None) for name in ("memcpy", "bare_add", "bare_boot")]


def test_what_every_allocator_has() -> None:
    bare, state = Bare(), lmb_model()[0].snapshot()
    assert bare.facts_of(None) == bare.facts_in(state) == {}
    assert bare.probe(BytesMachine()) is bare.log(state) is bare.unverified({}) is None
    assert (bare.settled(state), bare.phase_of(replace(state, phase="mapped"))) == (False, "mapped")
    assert (bare.keeps_log, bare.needs_facts, bare.counters_repeat) == (False, False, False)
    assert bare.torn_in(Stack()) == "bare_add" and bare.torn_in(BytesMachine()) is None
    assert bare.bare_storage({}) == Storage()
    arrays = MemblockModel(MemblockConfig(LINUX_6_12, no_node=None))
    assert arrays.add_range("memory", 0x1000, 0x2000) == 0
    data = {**bare.to_json(arrays.snapshot()), "arch": "x", "byte_order": "little", "bits": 64, "page_size": "0x1000"}
    assert [*bare.from_json(data).memory.ranges()] == [(0x1000, 0x3000)]
    assert [section.title.split(":")[0] for section in bare.sections(state, "all", False)] == ["memory", "reserved"]
    for part in ("free", "blocks"):
        with pytest.raises(LmbError, match="bare has no storage of its own to show"):
            [*bare.sections(state, part, False)]
    for refused, why in (
        (lambda: bare.take(BytesMachine(), None, with_log=False, meter=None), "bare is known from files only"),
        (lambda: bare.created_model(op("init"), 4096, {}), "a trace of bare has an initial state"),
        (lambda: bare.predict(state, {}, "alloc"), "bare has no model to ask"),
        (lambda: bare.adapter(None), "bare cannot be traced"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InputError, match=why):
            refused()
    # 0x1f00000 bytes of memory are free but for what is reserved.
    assert bare.missing(state, op("alloc", size=1)).endswith(" that this allocation may have")
    assert bare.missing(state, op("alloc", size=1 << 40)).endswith(f"possible there is {0x1FFB000 - 0x302400:#x} bytes")


def test_a_name_that_is_none_is_cut() -> None:
    for name, told in (("x" * 80, "x" * 80), ("x" * 81, "x" * 80)):
        with pytest.raises(InputError, match=f"^'{told}' is no layout that is known: lmb-list or memblock$"):
            allocator(name)


def test_one_that_is_registered_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = Bare()
    monkeypatch.setitem(ALLOCATORS, "bare", bare)
    assert allocator("bare") is bare


def test_memory_that_may_be_removed_is_memory() -> None:
    # Of the flags HOTPLUG, MIRROR and NOMAP none takes a region off the list.
    model = LmbModel(LmbConfig(static=8))
    for at, flags in enumerate((1, 2, 4)):
        assert model.add(0x100000 * (at + 1), 0x1000, flags) == model.reserve(0x100000 * (at + 1), 0x1000) == 0
    assert check(model.snapshot()) == []


def test_a_firmware_map_that_was_edited() -> None:
    image = lmb_model()[1]
    state = decode(image.program, image)
    assert "as the kernel edited it" not in dump_text(state, "firmware")
    edited = replace(state, firmware_edited=FirmwareMap([0], [0x1000], [1]))
    assert "as the kernel edited it: 1 range" in dump_text(edited, "firmware")


def test_a_long_type_goes_below_on_a_narrow_terminal() -> None:
    image = lmb_model()[1]
    state = replace(decode(image.program, image), firmware=FirmwareMap([0x100000], [0x1000], [12]))
    lines = dump_text(state, "firmware", terminal=Terminal(50)).splitlines()
    assert lines[-2:] == ["    0  0x100000  0x101000   4 KiB", "    type: persistent memory (PRAM)"]


def test_everything_is_listed_where_that_is_asked_for() -> None:
    model = lmb_model()[0]
    for at in range(9):
        assert model.reserve(0x80000000 + 0x2000 * at, 0x1000) == 0
    assert len(check(model.snapshot())) == 9 and len(check(model.snapshot(), everything=True)) == 9
    assert check(model.snapshot())[8].message == "1 more of this kind, not listed"
    assert "0x80010000" in check(model.snapshot(), everything=True)[8].message


def test_what_need_not_be_memory_is_judged_where_it_is() -> None:
    # [0x2000000, 0x2001000) is memory that is not reserved, and nothing is above.
    place = (Required(0x2000800, 0x2002000, "tree", memory=False, alone=False),)
    state = replace(lmb_model()[0].snapshot(), required=place)

    def unreserved(state: Snapshot) -> list[tuple[int, ...]]:
        return [one.addresses for one in check(state) if one.code == "required-unreserved"]

    assert unreserved(state) == [(0x2000800, 0x2001000)]
    empty = replace(state.memory, base=column([]), size=column([]), flags=column([]), entry=column([]), cnt=0)
    assert unreserved(replace(state, memory=replace(empty, total_size=0))) == [(0x2000800, 0x2002000)]


def test_what_is_reserved_with_a_flag_is_reserved() -> None:
    model = LmbModel(LmbConfig(static=8))
    assert model.add(0x100000, 0x100000) == model.reserve(0x100000, 0x1000, 1) == 0
    place = (Required(0x100000, 0x101000, "image", memory=True, alone=False),)
    assert check(replace(model.snapshot(), required=place)) == []


# -- JSON -----------------------------------------------------------------------------------------------


def test_numbers_that_are_none() -> None:
    for text in (5, "12", "", None):
        with pytest.raises(ValueError, match='is no "0x…" string'):
            fields.HEX.read(text)
    assert fields.HEX.read("0x12") == 18
    for number in (0, -1, (1 << 16) + 1):
        with pytest.raises(ValueError, match=f"{number} nodes are more than any kernel has"):
            fields.NO_NODE.read(number)
    assert [fields.NO_NODE.read(number) for number in (1, 1 << 16, None)] == [1, 1 << 16, None]


def test_what_json_may_leave_open() -> None:
    state = replace(lmb_model()[0].snapshot(), stop=Stop(0x1000), torn="lmb_add")
    data = snapshot_json(state)
    assert (data["stop"], data["torn"]) == ({"pc": "0x1000", "symbol": None}, True)
    again = snapshot_from(data)
    assert (again.stop, again.torn) == (Stop(0x1000), "an LMB function")
    assert snapshot_from({**data, "torn": False}).torn is None
    # Older snapshots do not tell.
    del data["flag_names"]
    assert snapshot_from(data).flag_names == {1: "HOTPLUG", 2: "MIRROR", 4: "NOMAP"}


def test_entries_that_there_are_not() -> None:
    data = snapshot_json(lmb_model()[0].snapshot())
    assert snapshot_from(data).reserved.base
    for pair in ([1, 5], [0, -1]):
        data["free"][0] = pair
        with pytest.raises(InputError, match=f"there is no entry {pair[0]}:{pair[1]}"):
            snapshot_from(data)


# -- the list-based LMB ---------------------------------------------------------------------------------


def test_phases() -> None:
    model = LmbModel(LmbConfig(static=8))
    assert model.add(0x1000, 0x10000) == 0
    told = [(LMB.phase_of(model.snapshot()), LMB.settled(model.snapshot()))]
    assert model.allow_growth() == 0
    told.append((LMB.phase_of(model.snapshot()), LMB.settled(model.snapshot())))
    assert model.free_all() == 16
    told.append((LMB.phase_of(model.snapshot()), LMB.settled(model.snapshot())))
    assert told == [("before growth", False), ("growing", True), ("handed over", False)]
    assert LMB.facts_of(model) == LMB.facts_in(model.snapshot()) == {"revision": 2}


def test_the_usual_sizes_are_those_of_64_bits() -> None:
    image = build(LmbModel(LmbConfig(static=8)), ABIS["x86_64"])
    sizes = lmb(LmbModel(LmbConfig(static=8)).snapshot())
    found = lmb(decode(image.program, image))
    assert (sizes.entry_size, sizes.header_size) == (found.entry_size, found.header_size) == (40, 40)


def test_what_an_operation_does_to_lists() -> None:
    model = LmbModel(LmbConfig(static=8))

    def effects(operation: Operation) -> Sequence[Effect]:
        return LMB.effects(Record(1, operation, LMB.apply(model, operation)), MAX, 4096)

    assert effects(op("add", 0x1000, 0x8000)) == (("memory", True, 0x1000, 0x9000),)
    assert effects(op("remove", 0x7000, 0x2000)) == (("memory", False, 0x7000, 0x9000),)
    assert effects(op("reserve", 0x1000, 0x2000)) == (("reserved", True, 0x1000, 0x3000),)
    assert effects(op("free", 0x2000, 0x1000)) == (("reserved", False, 0x2000, 0x3000),)
    assert effects(op("alloc", size=0x1000)) == (("reserved", True, 0x6000, 0x7000),)
    assert effects(op("alloc", size=0x10000)) == effects(op("mark", 0x5000, 0x1000, flags=4)) == ()


def linked(folder: Path) -> BytesMachine:
    """A program of 32 KiB at 0x80000000, in which the LMB lies at 0x80003000."""
    elf = small_elf(folder / "vmlinux", 0x80000000, 0x100000, bytes(0x8000), 0x400)
    lmb_struct, region, block = ABIS["x86_64"].structs()
    return BytesMachine(
        variables={"lmb": Variable(0x80003000, lmb_struct.size, elf), "lmb_page_size": Variable(0x9000, 8)},
        structs={("lmb", ""): lmb_struct, ("struct lmb_region", ""): region, ("struct lmb_block", ""): block},
    )


def test_where_a_programs_image_lies(tmp_path: Path) -> None:
    machine = linked(tmp_path)
    program = find_lmb(machine)
    assert program is not None and program.image == (range(0x80000000, 0x80008000),)
    machine.variables["lmb"] = replace(machine.variables["lmb"], program=None)
    program = find_lmb(machine)
    assert program is not None and program.image == ()


def test_page_sizes_that_are_none(tmp_path: Path) -> None:
    machine = linked(tmp_path)
    program = find_lmb(machine)
    assert program is not None
    for told, taken in ((512, 4096), (1024, 1024), (1 << 20, 1 << 20), (1 << 21, 4096)):
        memory = BytesMemory({0x9000: told.to_bytes(8, "little")})
        assert with_page_size(machine, program, memory).page_size == taken


def differences(expected: Snapshot, found: Snapshot) -> list[Difference]:
    return [*LMB.differences(expected, found)]


def test_what_differs() -> None:
    state = lmb_model()[0].snapshot()
    assert differences(state, state) == []
    blocks = lmb(state).blocks
    assert differences(state, stored(state, blocks=(blocks[0], replace(blocks[1], base=0x1000, nr=6)))) == [
        Difference("block 1 lies at 0x1000 with 6 entries, but at 0x1ffff00 with 5 is expected",
                   value=ValueRow("block 1", "5 entries at 0x1ffff00", "6 entries at 0x1000")),
    ]  # fmt: skip
    assert differences(state, stored(state, blocks=blocks[:1]))[0] == Difference(
        "there are 1 blocks, but 2 are expected", value=ValueRow("block 1", "5 entries at 0x1ffff00", "none")
    )
    one, other = ((0x1000, 0x2000), (0x5000, 0x6000)), ((0x1000, 0x2000), (0x4000, 0x6000))
    want, got = (stored(replace(state, handover=given), handover_nr=2) for given in (one, other))
    row = ValueRow("ranges handed over", "2", "2, or other ones")
    assert differences(want, want) == []
    assert differences(want, got) == [
        Difference("range 1 handed over is [0x4000, 0x6000), but [0x5000, 0x6000) is expected",
                   address=0x4000, value=row, redundant=True),
    ]  # fmt: skip
    assert differences(got, want)[0].address == 0x4000
    assert differences(want, stored(got, handover_nr=3)) == [
        Difference("3 ranges were handed over, but 2 are expected",
                   value=ValueRow("ranges handed over", "2", "3, or other ones"), redundant=True),
    ]  # fmt: skip


def test_which_storage_is_shown() -> None:
    static = dump_text(lmb_model()[0].snapshot(), "blocks")
    klimit = dump_text(LmbModel(LmbConfig(klimit=0x180000)).snapshot(), "blocks")
    assert "static array" in static and "grown" in static and "klimit page" in klimit and "grown  " not in klimit


def test_what_gives_way_on_a_narrow_terminal() -> None:
    image = lmb_model()[1]
    state = decode(image.program, image)
    assert dump_text(state, "blocks", terminal=Terminal(60)).splitlines()[3:] == [
        "    #  base            size    entries",
        "  ---  ---------  ---------  ---------",
        "    0  -                  -          5",
        "    storage: static array",
        "    1  0x1ffff00  256 bytes          5",
        "    storage: grown",
    ]
    assert dump_text(state, "memory", True, terminal=Terminal(60)).splitlines()[-6:] == [
        "    #  base       end           size  entry",
        "  ---  ---------  ---------  -------  -------",
        "    0  0x0001000  0x009f000  632 KiB  0:0",
        "    1  0x0100000  0x2000000   31 MiB  0:1",
        "    2  0x2000000  0x2001000    4 KiB  0:2",
        "    flags: NOMAP",
    ]


def test_where_page_tables_have_blocks() -> None:
    image = build(LmbModel(LmbConfig(klimit=0x180000)), ABIS["x86_64"])
    state = decode(image.program, image)
    header = lmb(state).blocks[0].header_va
    assert lmb(with_mapped(state, lambda va: 0x7000 if va == header else None)).mapped == {0: 0x7000}
    assert lmb(with_mapped(state, lambda va: None)).mapped == {}
    # Of the static array, of the first block that grew, and of none behind that.
    blocks = tuple(Block(base, 5, not base, 256 if base else None, 0x9000 + at)
                   for at, base in enumerate((None, 0x3000, 0x4000)))  # fmt: skip
    assert lmb(with_mapped(stored(state, blocks=blocks), lambda va: va - 0x2000)).mapped == {1: 0x7001}


def test_a_state_of_another_allocator() -> None:
    with pytest.raises(StateError, match="this state is of layout memblock, not a list-based LMB's"):
        storage_of(MemblockModel(MemblockConfig(LINUX_6_12)).snapshot())


def test_members_that_must_be_there() -> None:
    program = lmb_model()[1].program

    def without(struct: Struct, name: str) -> Struct:
        return replace(struct, fields={one: place for one, place in struct.fields.items() if one != name})

    for part, name in (("lmb", "closed"), ("lmb", "freelist.prev"), ("region", "flags"), ("region", "link.next"),
                       ("block", "nr"), ("block", "entries"), ("block", "link.prev")):  # fmt: skip
        with pytest.raises(LayoutError, match=name):
            replace(program, **{part: without(getattr(program, part), name)})


def test_a_codes_severity_is_in_one_place() -> None:
    assert len({row.code for row in CHECKS}) == len(CHECKS)
