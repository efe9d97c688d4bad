# SPDX-License-Identifier: GPL-2.0-or-later
"""A program that lies where its ELF says, without gdb: its allocator, its build, its ranges by role."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from gdb_lmb.allocators.lmb.program import find_lmb, torn_in, with_page_size
from gdb_lmb.core.address import Linear
from gdb_lmb.core.errors import LayoutError, NotReadyError, ReadError
from gdb_lmb.core.fields import Field, Struct
from gdb_lmb.core.machine import Function, Variable
from gdb_lmb.core.memory import BytesMemory
from gdb_lmb.core.roles import Role
from gdb_lmb.programs.bare.program import PROGRAM, LinkedMemory, _ImageMemory
from gdb_lmb.programs.base import address_map, find_programs, role_ranges, take_snapshot
from tests.helpers.image import Abi
from tests.helpers.linux import linux
from tests.helpers.machine import BUILD_ID, NOTE, BytesMachine, small_elf

VA, PHYSICAL, SIZE = 0xFFFF_FFFF_8010_0000, 0x10_0000, 0x8000
"""Where the ELF is linked, and where it is loaded."""
NOTE_AT, INFO_AT, LINE_AT, LMB_AT = 0x400, 0x1000, 0x2000, 0x3000
INFO = Struct("boot_info", 72, {"initrd.base": Field(0, 8), "initrd.size": Field(8, 8), "boot_data": Field(16, 48),
                                "nr_boot_data": Field(64, 4)}, 8)  # fmt: skip
RANGE = Struct("lmb_range", 16, {"base": Field(0, 8), "size": Field(8, 8)}, 8)
LABELS = {"_text": 0, "_etext": 0x800, "__bss_start": 0x5000, "__bss_end": 0x6000, "boot_stack": 0x6000,
          "boot_stack_end": 0x7000, "__early_page_tables_start": 0x7000, "__early_page_tables_end": SIZE}  # fmt: skip


def bare(folder: Path) -> BytesMachine:
    """Return a program with an LMB that is loaded, mapped and running."""
    content = bytearray(SIZE)
    struct.pack_into("<9Q", content, INFO_AT, 0x700_0000, 0x12345, 0x9000, 0x1000, 0xA000, 0x20, 0, 0, 2)
    elf = small_elf(folder / "vmlinux", VA, PHYSICAL, bytes(content), NOTE_AT)
    structs = dict(
        zip((("lmb", ""), ("struct lmb_region", ""), ("struct lmb_block", "")), Abi().structs(), strict=True)
    )
    return BytesMachine(
        variables={"lmb": Variable(VA + LMB_AT, structs["lmb", ""].size, elf),
                   "boot_info": Variable(VA + INFO_AT, INFO.size, elf),
                   "boot_command_line": Variable(VA + LINE_AT, 256, elf)},
        labels={name: VA + at for name, at in LABELS.items()},
        structs={**structs, ("boot_info", ""): INFO, ("boot_info", "boot_data"): RANGE},
        registers={"pc": VA + 0x10, "cr0": 1 << 31, "cs": 0x10},
        memory={PHYSICAL: elf.read_bytes()[64 + 2 * 56 :]},
        mapped={VA: PHYSICAL},
    )  # fmt: skip


def test_found_by_its_allocator(tmp_path: Path) -> None:
    machine = bare(tmp_path)
    assert [program.name for program in find_programs(machine)] == ["bare"]
    where = address_map(machine)
    assert where.of_symbol(VA + 0x123) == PHYSICAL + 0x123 and where.symbol(PHYSICAL + 0x5010) == "__bss_start+16"
    with pytest.raises(ReadError, match="not mapped at this stop"):
        where.of_virtual(VA - 1)
    assert find_programs(BytesMachine()) == [] and take_snapshot(BytesMachine()) is None


def test_its_allocator_has_a_variable_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = linux(tmp_path)
    # gdb takes nothing but text.
    monkeypatch.setattr(machine, "variable", lambda name: machine.variables.get(name.strip()))
    assert machine.variable("memblock") is not None and not PROGRAM.recognises(machine)


def test_ranges_by_role(tmp_path: Path) -> None:
    table = [(one.role, one.base, one.end, one.source) for one in role_ranges(bare(tmp_path))]
    assert table == [
        (Role.IMAGE, PHYSICAL, PHYSICAL + SIZE, "ELF"),
        (Role.TEXT, PHYSICAL, PHYSICAL + 0x800, "_text"),
        (Role.BSS, PHYSICAL + 0x5000, PHYSICAL + 0x6000, "__bss_start"),
        (Role.EARLY_PAGE_TABLES, PHYSICAL + 0x7000, PHYSICAL + 0x8000, "__early_page_tables_start"),
        (Role.STACK, PHYSICAL + 0x6000, PHYSICAL + 0x7000, "boot_stack"),
        (Role.COMMAND_LINE, PHYSICAL + 0x2000, PHYSICAL + 0x2100, "boot_command_line"),
        (Role.INITRD, 0x700_0000, 0x701_2345, "boot_info.initrd"),
        (Role.BOOT_DATA, 0x9000, 0xA000, "boot_info.boot_data[0]"),
        (Role.BOOT_DATA, 0xA000, 0xA020, "boot_info.boot_data[1]"),
    ]


def test_without_physical_memory_only_the_image_is_known(tmp_path: Path) -> None:
    machine = bare(tmp_path)
    machine.has_physical = False
    assert {one.role for one in role_ranges(machine)} == {
        Role.IMAGE, Role.TEXT, Role.BSS, Role.EARLY_PAGE_TABLES, Role.STACK, Role.COMMAND_LINE
    }  # fmt: skip


def test_damaged_count_of_boot_data(tmp_path: Path) -> None:
    machine = bare(tmp_path)
    data = bytearray(machine.memory[PHYSICAL])
    struct.pack_into("<I", data, INFO_AT + 64, 0xFFFF_FFFF)
    machine.memory[PHYSICAL] = bytes(data)
    assert len([one for one in role_ranges(machine) if one.role is Role.BOOT_DATA]) == 2


BUILD = BUILD_ID.hex()


@pytest.mark.parametrize(
    ("found", "error", "words"),
    [
        (bytes(20), NotReadyError, "the kernel is not in memory yet at this stop: continue to a place in it"),
        (b"\x01" * 20, LayoutError, f"another build than .* \\({'01' * 20} in the guest, {BUILD} in the file\\)"),
    ],
)
def test_another_build(tmp_path: Path, found: bytes, error: type[Exception], words: str) -> None:
    machine = bare(tmp_path)
    data = bytearray(machine.memory[PHYSICAL])
    data[NOTE_AT + 16 : NOTE_AT + 36] = found
    machine.memory[PHYSICAL] = bytes(data)
    with pytest.raises(error, match=words):
        take_snapshot(machine)


@pytest.mark.parametrize(
    ("cr0", "in_memory", "words"),
    [
        (0, True, f"vmlinux is in memory at {PHYSICAL + NOTE_AT + 16:#x}, but paging is off while the CPU is at 0x"),
        (1 << 31, True, f"but nothing is mapped at {VA + LMB_AT:#x} while the CPU is at {VA + 0x10:#x}"),
        (0, False, "(paging is off), or it is another one: nothing has been loaded where vmlinux is loaded"),
        (1 << 31, False, "the guest runs another kernel than"),
    ],
)
def test_unreadable(tmp_path: Path, cr0: int, in_memory: bool, words: str) -> None:
    machine = bare(tmp_path)
    machine.registers["cr0"] = cr0
    machine.mapped = {}
    if not in_memory:
        machine.memory[PHYSICAL] = bytes(SIZE)
    with pytest.raises((NotReadyError, LayoutError), match=re.escape(words)):
        take_snapshot(machine)


def test_what_its_file_does_not_explain(tmp_path: Path) -> None:
    machine = bare(tmp_path)
    # It is mapped, by its build id, but LMB is all zeroes yet.
    with pytest.raises(NotReadyError, match=r"^LMB is not initialised at this stop: continue to a place after "):
        take_snapshot(machine)
    # Nothing is mapped, of a file that does not tell where it is loaded, and without any file.
    machine.mapped = {}
    unread = f"^cannot read {machine.structs['lmb', ''].size} bytes of guest memory at {VA + LMB_AT:#x}"
    elf = machine.variables["lmb"].program
    assert elf is not None
    elf.write_bytes(b"")
    with pytest.raises(ReadError, match=unread):
        take_snapshot(machine)
    machine.variables["lmb"] = Variable(VA + LMB_AT, machine.structs["lmb", ""].size)
    with pytest.raises(ReadError, match=unread):
        take_snapshot(machine)


def test_a_dump_that_lacks_the_memory_says_so(tmp_path: Path) -> None:
    machine = bare(tmp_path)
    machine.lacking, machine.can_run = "the dump lacks it", False
    machine.mapped, machine.memory = {}, {}
    with pytest.raises(ReadError, match=f"at {VA + LMB_AT:#x}"):
        take_snapshot(machine)


@pytest.mark.parametrize(("stored", "expected"), [(0x4000, 0x4000), (0x3000, 4096), (0, 4096), (1 << 30, 4096)])
def test_page_size(tmp_path: Path, stored: int, expected: int) -> None:
    machine = bare(tmp_path)
    machine.variables["lmb_page_size"] = Variable(0x9000, 8)
    program = find_lmb(machine)
    assert program is not None
    memory = BytesMemory({0x9000: stored.to_bytes(8, "little")})
    assert with_page_size(machine, program, memory).page_size == expected
    assert with_page_size(machine, program, BytesMemory({})).page_size == 4096


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (["mm/lmb.c"], "f0"), (["kernel/main.c", "mm/lmb_find.c"], "f1"), (["mm/lmbx.c"], None),
        (["mm/lmb_find.h"], None), (["arch/lmb.c", None], None), ([], None),
    ],
)  # fmt: skip
def test_torn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[str | None], name: str | None) -> None:
    machine = bare(tmp_path)
    functions = [Function(f"f{number}", file) for number, file in enumerate(files)]
    monkeypatch.setattr(machine, "source", lambda asked: "mm/lmb.c" if asked == "lmb_init" else None)
    monkeypatch.setattr(machine, "functions_on_stack", lambda: functions)
    assert torn_in(machine) == name


# -- before it has mapped itself ---------------------------------------------------------------------------------------


def unmapped(folder: Path, **registers: int) -> BytesMachine:
    """Return a program with an empty LMB, of a CPU that runs where it is loaded."""
    machine = bare(folder)
    lmb = Abi().structs()[0]
    content = bytearray(machine.memory[PHYSICAL])
    heads = ("memory.regions", "reserved.regions", "freelist", "blocks")
    for name in heads:
        at = LMB_AT + lmb.fields[f"{name}.next"].offset
        struct.pack_into("<QQ", content, at, VA + at, VA + at)
    struct.pack_into("<Q", content, LMB_AT + lmb.fields["block_size"].offset, 4096)
    machine.memory[PHYSICAL] = bytes(content)
    machine.mapped = {}
    machine.ranges = [(0, 1 << 20), (PHYSICAL, PHYSICAL + SIZE)]
    machine.registers = {"pc": PHYSICAL + 0x10, "cs": 0x10, **registers}
    return machine


def close(machine: BytesMachine) -> None:
    """Have the allocator of `unmapped()` look initialised."""
    content = bytearray(machine.memory[PHYSICAL])
    content[LMB_AT + Abi().structs()[0].fields["closed"].offset] = 1
    machine.memory[PHYSICAL] = bytes(content)


class NoMemory:
    """What must not be read."""

    def read(self, address: int, size: int) -> bytes:
        raise AssertionError(f"{address:#x} was read")


@pytest.mark.parametrize("registers", [{"cr0": 0x11}, {"cr0": 1 << 31}, {}])
def test_it_is_read_where_it_is_loaded(tmp_path: Path, registers: dict[str, int]) -> None:
    machine = unmapped(tmp_path, **registers)
    with pytest.raises(NotReadyError, match=r"vmlinux is in memory at 0x100410, but .* while the CPU is at 0x100010"):
        take_snapshot(machine)
    close(machine)
    snapshot = take_snapshot(machine)
    assert snapshot is not None and snapshot.storage.closed and not len(snapshot.memory)


def test_what_the_machine_maps_there_is_not_the_programs(tmp_path: Path) -> None:
    """An MMU that is never off begins with entries that map all addresses to themselves: RAM or no RAM."""
    machine = unmapped(tmp_path, cr0=1 << 31)
    close(machine)
    elsewhere = bytes(SIZE)
    machine.memory[0x10000] = elsewhere
    machine.mapped = {VA: 0x10000}
    assert take_snapshot(machine) is not None
    # Nor are the program's own bytes there, if all of RAM ends before its build id.
    machine.memory[0x10000] = machine.memory[PHYSICAL]
    memory = LinkedMemory(machine, machine.variables["lmb"].program)
    for end, mapped in ((0x10000 + NOTE_AT + 16, False), (0x10000 + NOTE_AT + 17, True)):
        machine.ranges, memory._stop = [(0x8000, end)], None
        assert memory.mapped is mapped
    machine.ranges = [(0, 1 << 20), (PHYSICAL, PHYSICAL + SIZE)]
    # What is no RAM is not read at all.
    machine.memory[1 << 40] = elsewhere
    machine.mapped = {VA: 1 << 40}
    machine.virtual = NoMemory  # type: ignore[assignment, method-assign]
    assert take_snapshot(machine) is not None


def test_another_program_there_is_told(tmp_path: Path) -> None:
    machine = unmapped(tmp_path, cr0=0x11)
    machine.memory[PHYSICAL] = bytes(SIZE)
    with pytest.raises(NotReadyError, match="nothing has been loaded where vmlinux is loaded"):
        take_snapshot(machine)
    # One of the same layout, with an allocator that can be read.
    machine = unmapped(tmp_path, cr0=0x11)
    close(machine)
    content = machine.memory[PHYSICAL]
    machine.memory[PHYSICAL] = content.replace(BUILD_ID, BUILD_ID[::-1])
    with pytest.raises(NotReadyError, match="another one or none is where vmlinux is loaded"):
        take_snapshot(machine)
    # Where nothing tells builds apart, a CPU that does not page still has it where it is loaded.
    machine = unmapped(tmp_path, cr0=0x11)
    close(machine)
    elf = machine.variables["lmb"].program
    assert elf is not None
    elf.write_bytes(elf.read_bytes().replace(NOTE, bytes(len(NOTE))))
    machine.memory[0x10000], machine.mapped = bytes(SIZE), {VA: 0x10000}
    assert LinkedMemory(machine, elf).identity is None and take_snapshot(machine) is not None


def test_each_part_is_read_where_it_is_loaded(tmp_path: Path) -> None:
    machine = unmapped(tmp_path, cr0=0x11)
    memory = LinkedMemory(machine, machine.variables["lmb"].program)
    memory.parts = (Linear(VA, SIZE, PHYSICAL), Linear(VA + 0x10_0000, 0x1000, 0x900_0000))
    machine.memory[0x900_0000] = b"second part"
    assert memory.read(VA + 0x10_0000, 6) == b"second" and memory.read(VA, 4) == machine.memory[PHYSICAL][:4]
    seen = memory.seen_by(machine)
    assert seen.virtual() is memory and seen.translate(VA + 1) == PHYSICAL + 1
    assert seen.translate(VA + 0x10_0001) == 0x900_0001 and seen.translate(0x1000) is None
    # By its own mappings, which need not be as its file says.
    machine.registers["cr0"], machine.mapped = 1 << 31, {VA: PHYSICAL}
    assert LinkedMemory(machine, machine.variables["lmb"].program).seen_by(machine) is machine
    # Physical addresses of the image, read where it is mapped.
    image = _ImageMemory(BytesMemory({VA: b"one", VA + 0x10_0000: b"two"}), memory.parts)
    assert image.read(PHYSICAL, 3) == b"one" and image.read(0x900_0001, 2) == b"wo"
    for outside in (PHYSICAL - 1, PHYSICAL + SIZE, 0x900_1000):
        with pytest.raises(ReadError, match=f"at {outside:#x}: not in the program's image$"):
            image.read(outside, 1)


def test_beyond_its_image_it_is_read_by_the_same_distance(tmp_path: Path) -> None:
    machine = unmapped(tmp_path, cr0=0x11)
    elf = machine.variables["lmb"].program
    memory = LinkedMemory(machine, elf)
    machine.memory[0x20_0000] = b"block"
    assert memory.read(VA + 0x10_0000, 5) == b"block"
    with pytest.raises(ReadError, match=f"{VA + 0x20_0000:#x}"):
        memory.read(VA + 0x20_0000, 5)
    # A map of its own, which is not known; and no address of a kernel's at all.
    with pytest.raises(NotReadyError, match="not known at this stop"):
        memory.read(0xFFFF_8880_0000_0000, 5)
    with pytest.raises(ReadError, match=r"^cannot read 1 bytes of guest memory at 0x1000: this is no address of a ker"):
        memory.read(0x1000, 5)


def test_a_cpu_that_is_elsewhere_reads_by_the_programs_mappings(tmp_path: Path) -> None:
    """In a call of the firmware's, on a stack of its own."""
    machine = unmapped(tmp_path, cr0=1 << 31)
    close(machine)
    machine.mapped = {VA: PHYSICAL}
    machine.has_physical = False
    assert take_snapshot(machine) is not None
