# SPDX-License-Identifier: GPL-2.0-or-later
"""A program with a list-based LMB that runs: what it must have reserved, its addresses, and how a trace reads it."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest

from gdb_lmb.allocators.lmb.storage import storage_of
from gdb_lmb.core.errors import LayoutError, NotReadyError, ReadError, StateError
from gdb_lmb.core.fields import Field, Struct
from gdb_lmb.core.machine import Function, Variable
from gdb_lmb.core.memory import Meter
from gdb_lmb.core.roles import Role
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.programs.bare.program import PROGRAM
from gdb_lmb.programs.base import address_map, guest_variables, image_ranges, model_facts, role_ranges, take_snapshot
from tests.helpers.image import HIGH, OPS
from tests.helpers.linux import linux
from tests.helpers.machine import NOTE, BytesMachine, small_elf
from tests.helpers.small_lmb import BOOT, lmb_model

VA, PHYSICAL, SIZE = HIGH[8], 0x400_0000, 0x8000
NOTE_AT, INFO_AT, LMB_AT = 0x400, 0x600, 0x1000
TABLES = 0x500_0000
INFO = Struct("boot_info", 72, {"initrd.base": Field(0, 8), "initrd.size": Field(8, 8), "boot_data": Field(16, 48),
                                "nr_boot_data": Field(64, 4)}, 8)  # fmt: skip
RANGE = Struct("lmb_range", 16, {"base": Field(0, 8), "size": Field(8, 8)}, 8)
LABELS = {"_image_start": 0, "__init_begin": 0x5000, "__init_end": 0x6000, "__early_page_tables_start": 0x7000,
          "__early_page_tables_end": SIZE, "_image_end": SIZE}  # fmt: skip


def bare(folder: Path) -> BytesMachine:
    """Return the small LMB's guest: its image, the block that it has taken, and page tables outside the image."""
    _, image = lmb_model()
    content = bytearray(SIZE)
    memory, mapped = {}, {VA: PHYSICAL}
    for number, (va, data) in enumerate(image.segments.items()):
        if VA <= va < VA + SIZE:
            content[va - VA : va - VA + len(data)] = data
        else:
            mapped[va] = 0x600_0000 + number * 0x10_0000
            memory[mapped[va]] = bytes(data)
    # 12 GiB: an initrd may lie anywhere.
    struct.pack_into("<9Q", content, INFO_AT, 0x3_0000_0000, 0x12345, 0x9000, 0x1000, 0xA000, 0x20, 0, 0, 2)
    elf = small_elf(folder / "vmlinux", VA, PHYSICAL, bytes(content), NOTE_AT)
    top = struct.pack("<Q", TABLES + 0x1001).ljust(0x1000, b"\0")
    lmb, region, block = image.program.lmb, image.program.region, image.program.block
    return BytesMachine(
        variables={"lmb": Variable(VA + LMB_AT, lmb.size, elf), "boot_info": Variable(VA + INFO_AT, INFO.size, elf)},
        labels={name: VA + at for name, at in LABELS.items()},
        structs={("lmb", ""): lmb, ("struct lmb_region", ""): region, ("struct lmb_block", ""): block,
                 ("boot_info", ""): INFO, ("boot_info", "boot_data"): RANGE},
        registers={"pc": VA + 0x10, "cr0": 1 << 31, "cr3": TABLES, "cr4": 1 << 5, "efer": 1 << 10, "cs": 0x10},
        memory={PHYSICAL: elf.read_bytes()[64 + 2 * 56 :], TABLES: top + bytes(0x1000), **memory},
        mapped=mapped,
        ranges=[(0, 0x800_0000)],
    )  # fmt: skip


def take_whole(machine: BytesMachine) -> Snapshot:
    return PROGRAM.take(machine, with_log=True, meter=None)


def taken(machine: BytesMachine) -> Snapshot:
    snapshot = take_snapshot(machine)
    assert snapshot is not None
    return snapshot


IMAGE = [
    (PHYSICAL, PHYSICAL + 0x5000, "kernel image", True, True),
    (PHYSICAL + 0x6000, PHYSICAL + SIZE, "kernel image", True, True),
    (PHYSICAL + 0x7000, PHYSICAL + SIZE, "kernel image: early page tables", True, True),
]
LEFT = [
    (0x3_0000_0000, 0x3_0001_2345, "initrd", True, True),
    (0x9000, 0xA000, "boot loader's data", False, False),
    (0xA000, 0xA020, "boot loader's data", False, False),
]
TABLE = (TABLES, TABLES + 0x2000, "page tables", True, False)


def required(machine: BytesMachine) -> list[tuple[int, int, str, bool, bool]]:
    return [(one.base, one.end, one.what, one.memory, one.alone) for one in taken(machine).required]


def test_what_must_be_reserved(tmp_path: Path) -> None:
    machine = bare(tmp_path)
    assert required(machine) == [*IMAGE, *LEFT, TABLE]
    # An initrd of no size, and of one that none has, is none.
    for size, more in ((0, []), (1 << 34, [(1 << 34, 2 << 34, *LEFT[0][2:])]), ((1 << 34) + 1, [])):
        held = machine.memory[PHYSICAL]
        machine.memory[PHYSICAL] = held[:INFO_AT] + struct.pack("<QQ", 1 << 34, size) + held[INFO_AT + 16 :]
        assert required(machine) == [*IMAGE, *more, *LEFT[1:], TABLE]
    # Without physical memory the tables are not known, without its file nothing is.
    machine.has_physical = False
    assert TABLE not in required(machine) and required(machine)[:3] == IMAGE
    machine.variables = {name: replace(one, program=None) for name, one in machine.variables.items()}
    assert required(machine) == [] and len(taken(machine).memory) == 3


def test_an_lmb_that_may_not_grow_yet_asks_for_nothing(tmp_path: Path) -> None:
    machine = bare(tmp_path)
    at = LMB_AT + machine.structs["lmb", ""].fields["may_grow"].offset
    held = machine.memory[PHYSICAL]
    machine.memory[PHYSICAL] = held[:at] + b"\0" + held[at + 1 :]
    snapshot = taken(machine)
    assert snapshot.required == () and len(snapshot.memory) == 3


def test_some_members_of_boot_info(tmp_path: Path) -> None:
    machine = bare(tmp_path)
    fields = dict(INFO.fields)
    for lost, left in (("nr_boot_data", LEFT[:1]), ("initrd.size", [])):
        del fields[lost]
        machine.structs["boot_info", ""] = Struct("boot_info", 72, dict(fields), 8)
        assert required(machine) == [*IMAGE, *left, TABLE]
    machine.structs["boot_info", ""] = Struct("boot_info", 72, {**fields, "initrd.size": Field(8, 8)}, 8)
    assert required(machine) == [*IMAGE, LEFT[0], TABLE]
    machine.structs["boot_info", ""] = Struct("boot_info", 16, {name: INFO.fields[name] for name in [*INFO.fields][:2]})
    assert required(machine) == [*IMAGE, LEFT[0], TABLE]
    # The array has room for three, whatever lies behind it.
    machine.structs["boot_info", ""] = Struct("boot_info", 88, INFO.fields, 8)
    machine.variables["boot_info"] = replace(machine.variables["boot_info"], size=88)
    held = machine.memory[PHYSICAL]
    machine.memory[PHYSICAL] = held[: INFO_AT + 64] + struct.pack("<QQ", 4, 0x1000) + held[INFO_AT + 80 :]
    assert required(machine) == [*IMAGE, *LEFT, TABLE]


def test_addresses(tmp_path: Path) -> None:
    machine = bare(tmp_path)
    where = address_map(machine)
    assert where.of_virtual(VA + 0x123) == PHYSICAL + 0x123 and where.of_symbol(VA + SIZE - 1) == PHYSICAL + SIZE - 1
    assert where.symbol(PHYSICAL) == "_image_start" and where.symbol(PHYSICAL - 1) is None
    assert image_ranges(machine) == [(PHYSICAL, PHYSICAL + SIZE)]
    with pytest.raises(ReadError, match=r"^cannot read 1 bytes of guest memory at 0x10: this virtual address is not"):
        where.of_virtual(0x10)
    machine.variables |= {"one": Variable(VA + INFO_AT, 1), "none": Variable(VA + INFO_AT + 2, 0)}
    with guest_variables(machine) as guest:
        assert [guest.word(name) for name in ("one", "none", "gone")] == [0, None, None]
    # Of 1 MiB a variable is read, of more it is not.
    machine.memory[1 << 32], machine.mapped[1 << 40] = bytes((1 << 20) + 1), 1 << 32
    machine.variables |= {"much": Variable(1 << 40, 1 << 20), "more": Variable(1 << 40, (1 << 20) + 1)}
    with guest_variables(machine) as guest:
        assert [guest.word(name) for name in ("much", "more")] == [0, None]
    machine.variables["boot_command_line"] = Variable(VA + SIZE - 1, 1)
    line = [(one.base, one.end) for one in role_ranges(machine) if one.role is Role.COMMAND_LINE]
    assert line == [(PHYSICAL + SIZE - 1, PHYSICAL + SIZE)]
    assert list(PROGRAM.init_code(machine)) == list(range(VA + 0x5000, VA + 0x6000))
    del machine.labels["__init_end"]
    assert list(PROGRAM.init_code(machine)) == [] and model_facts(machine) == {}
    # A kernel whose file is not known lies nowhere.
    lost = linux(tmp_path)
    lost.variables["memblock"] = replace(lost.variables["memblock"], program=None)
    assert image_ranges(lost) == []


def test_a_program_without_an_allocator(tmp_path: Path) -> None:
    machine = bare(tmp_path)
    del machine.variables["lmb"]
    assert not PROGRAM.recognises(machine)
    for ask in (PROGRAM.traced, take_whole):
        with pytest.raises(LayoutError, match=r"^the program has no allocator that is known$"):
            ask(machine)
    assert PROGRAM.where(machine).parts == ()


def test_traced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine, meter = bare(tmp_path), Meter()
    snapshot = take_snapshot(machine, meter=meter)
    assert snapshot is not None
    assert meter.requests > 0 and list(snapshot.memory.ranges()) == [
        (0x1000, 0x9F000), (0x10_0000, 0x200_0000), (0x200_0000, 0x200_1000)
    ]  # fmt: skip
    traced = PROGRAM.traced(machine)
    assert traced.offset == 0 and traced.allocator.name == "lmb-list"
    state = traced.begin()
    assert list(state.memory.ranges()) == list(snapshot.memory.ranges()) == list(traced.read().memory.ranges())
    assert traced.unchanged()
    assert list(traced.model(state).snapshot().reserved.ranges()) == list(snapshot.reserved.ranges())
    with pytest.raises(ReadError, match=rf"at {VA:#x}: its physical address is not known$"):
        traced.physical(VA)
    monkeypatch.setattr(machine, "source", lambda name: "mm/lmb.c")
    monkeypatch.setattr(machine, "functions_on_stack", lambda: [Function("lmb_reserve", "mm/lmb.c")])
    with pytest.raises(StateError, match=r"^the stop is inside lmb_reserve\(\), whose operation would be recorded in"):
        traced.begin()


BANNER = b"Bare 1.0 of the first of April\n\0"


def with_banner(machine: BytesMachine, own: bytes = BANNER, in_guest: bytes = BANNER) -> BytesMachine:
    """Take the build id off, and put a banner there in the file and in the guest."""
    path = machine.variables["lmb"].program
    assert path is not None
    raw = path.read_bytes()
    path.write_bytes(raw.replace(NOTE, own.ljust(len(NOTE), b"\0")))
    at, held = NOTE_AT, machine.memory[PHYSICAL]
    machine.memory[PHYSICAL] = held[:at] + in_guest.ljust(len(NOTE), b"\0") + held[at + len(NOTE) :]
    machine.variables["lmb_banner"] = Variable(VA + NOTE_AT, len(own), path)
    return machine


def test_a_banner_tells_builds_apart(tmp_path: Path) -> None:
    assert required(with_banner(bare(tmp_path)))[:3] == IMAGE
    other = BANNER.replace(b"first", b"other")
    machine = with_banner(bare(tmp_path), in_guest=other)
    path = machine.variables["lmb"].program
    with pytest.raises(LayoutError) as error:
        take_snapshot(machine)
    assert str(error.value) == (
        f"the guest runs another build than {path} ({other[:20].hex()} in the guest, {BANNER[:20].hex()} in the file): "
        "load the vmlinux of the kernel that runs"
    )
    # Nothing tells what a program is that has neither.
    machine = with_banner(bare(tmp_path))
    del machine.variables["lmb_banner"]
    assert required(machine)[:3] == IMAGE
    machine.mapped = {}
    with pytest.raises(
        NotReadyError, match=r"^the kernel is not there yet \(nothing is mapped at 0x[0-9a-f]+\), or it"
    ):
        take_snapshot(machine)


def test_what_is_there_instead(tmp_path: Path) -> None:
    machine = bare(tmp_path)
    machine.mapped = {}
    held = machine.memory[PHYSICAL]
    for there, words in ((bytes(20), "it has nothing there"), (b"\1" * 20, f"it has {'01' * 20} there")):
        machine.memory[PHYSICAL] = held[: NOTE_AT + 16] + there + held[NOTE_AT + 36 :]
        with pytest.raises(LayoutError, match=rf" would be at {PHYSICAL + NOTE_AT + 16:#x} physically: {words}, and "):
            take_snapshot(machine)
    # Of a dump that is said of the memory that it lacks.
    machine.memory[PHYSICAL] = held
    with pytest.raises(NotReadyError, match="the kernel is not there yet: vmlinux is in memory at"):
        take_snapshot(machine)
    machine.lacking, machine.can_run = "the dump lacks it", False
    with pytest.raises(ReadError):
        take_snapshot(machine)


def test_the_log_is_read_where_it_is_asked_for(tmp_path: Path) -> None:
    machine = bare(tmp_path)
    log = lmb_model()[1].program.log
    assert log is not None
    machine.variables["lmb_log"] = Variable(log.va, log.struct.size)
    machine.structs |= {("lmb_log", ""): log.struct, ("lmb_log", "ring"): log.record}
    machine.enums["lmb_log", "ring.op"] = {number: f"LMB_OP_{name.upper()}" for number, name in enumerate(OPS)}
    assert storage_of(taken(machine)).log is None
    operations = storage_of(take_whole(machine)).log
    assert operations is not None and operations.op == ["init", *(one.op for one in BOOT)]
