# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux without gdb: found by its build id, its phase, its firmware map, its memblock, ranges by role."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from gdb_lmb.core.address import Phase
from gdb_lmb.core.errors import NotReadyError
from gdb_lmb.core.fields import Field, Struct
from gdb_lmb.core.machine import Variable
from gdb_lmb.core.snapshot import Place
from gdb_lmb.programs.base import Role, RoleRange, address_map, find_programs, places, role_ranges, take_snapshot
from gdb_lmb.programs.linux import place
from gdb_lmb.programs.linux.kernel import find_kernel, symbols_moved_by
from gdb_lmb.programs.linux.place import boot_phase, locate
from tests.helpers.linux import BASE, DIRECT, E820, MEMORY, PHYSICAL_MOVE, RESERVED, SIZE, TEXT, VIRTUAL_MOVE, linux
from tests.helpers.machine import BytesMachine


@pytest.fixture(autouse=True)
def no_memory_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "_LAST", {})


def ranges(machine: BytesMachine, role: Role) -> list[tuple[int, int, str]]:
    return [(one.base, one.end, one.source) for one in role_ranges(machine) if one.role is role]


@pytest.mark.parametrize("moved", [0, VIRTUAL_MOVE])
def test_place(tmp_path: Path, moved: int) -> None:
    machine = linux(tmp_path, symbols_moved=moved)
    assert [program.name for program in find_programs(machine)] == ["linux"]
    kernel = find_kernel(machine)
    assert kernel is not None and kernel.image == (TEXT, TEXT + SIZE)
    placement, symbols = locate(machine, kernel)
    assert (placement.physical, placement.virtual, symbols) == (PHYSICAL_MOVE, VIRTUAL_MOVE, moved)
    assert symbols_moved_by(machine, kernel) == moved
    where = address_map(machine)
    assert where.of_symbol(TEXT + moved + 0x5000) == BASE + 0x5000
    assert where.of_virtual(DIRECT + 0x1234) == 0x1234
    assert where.symbol(BASE + 0x1008) == "_etext+8"


def test_another_build_is_not_taken_for_it(tmp_path: Path) -> None:
    machine = linux(tmp_path)
    data = bytearray(machine.memory[BASE])
    data[0x110] ^= 1  # the first byte of the build id
    machine.memory[BASE] = bytes(data)
    kernel = find_kernel(machine)
    assert kernel is not None
    with pytest.raises(NotReadyError, match=r"still compressed at this stop, or the guest runs another build$"):
        locate(machine, kernel)
    machine.lacking = "the dump lacks it"
    with pytest.raises(NotReadyError, match=r"another build, or the dump lacks it$"):
        locate(machine, kernel)
    assert address_map(machine).parts == () and role_ranges(machine) == []


@pytest.mark.parametrize(
    ("registers", "words", "phase"),
    [
        ({"cr0": 1, "pc": BASE}, {}, Phase.UNMAPPED),
        ({"pc": BASE + 0x20}, {}, Phase.IDENTITY),
        ({}, {"memblock_can_resize": 0}, Phase.MAPPED),
        ({}, {}, Phase.COMPLETE),
        ({}, {"_totalram_pages": 1, "memblock_memory": TEXT}, Phase.HANDED_OVER),
        ({}, {"_totalram_pages": 1, "system_state": 3}, Phase.DISCARDED),
    ],
)
def test_phase(tmp_path: Path, registers: dict[str, int], words: dict[str, int], phase: Phase) -> None:
    machine = linux(tmp_path, words=words)
    machine.labels["memblock_discard"] = TEXT + 0x300
    machine.registers |= registers
    kernel = find_kernel(machine)
    assert kernel is not None
    placement, _ = locate(machine, kernel)
    assert boot_phase(machine, kernel, placement) == (phase, machine.registers["pc"] == BASE)


def test_snapshot(tmp_path: Path) -> None:
    snapshot = take_snapshot(linux(tmp_path))
    assert snapshot is not None and snapshot.layout == "memblock" and snapshot.phase == "allocator complete"
    assert list(snapshot.memory.ranges()) == [(base, base + size) for base, size, _ in MEMORY]
    assert list(snapshot.reserved.ranges()) == [(base, base + size) for base, size, _ in RESERVED]
    assert snapshot.firmware is not None
    firmware = snapshot.firmware
    assert list(zip(firmware.base, firmware.size, firmware.type, strict=True)) == E820
    assert snapshot.flag_names == {4: "NOMAP"} and snapshot.stop is not None
    # The debugger's symbols are where the kernel was linked, and the name is looked up there.
    assert (snapshot.stop.pc, snapshot.stop.symbol) == (TEXT + VIRTUAL_MOVE + 0x200, "__start_notes+0x100")


def test_image_by_role(tmp_path: Path) -> None:
    machine = linux(
        tmp_path, words={"_brk_start": TEXT + VIRTUAL_MOVE + 0xE000, "_brk_end": TEXT + VIRTUAL_MOVE + 0xF000}
    )
    table = role_ranges(machine)
    assert RoleRange(Role.IMAGE, BASE, BASE + SIZE, "ELF") in table
    assert RoleRange(Role.TEXT, BASE, BASE + 0x1000, "_text") in table
    assert RoleRange(Role.INIT_TEXT, BASE + 0x9000, BASE + 0xA000, "_sinittext", until=Phase.HANDED_OVER) in table
    assert RoleRange(Role.INIT, BASE + 0x9000, BASE + 0xB000, "__init_begin", until=Phase.HANDED_OVER) in table
    assert ranges(machine, Role.BSS) == [(BASE + 0xB000, BASE + 0xC000, "__bss_start")]
    assert ranges(machine, Role.STACK) == [(BASE + 0xC000, BASE + 0xE000, "init_stack")]
    # While it grows, all of it is kept.
    assert ranges(machine, Role.BRK) == [(BASE + 0xE000, BASE + 0x10000, "__brk_base")]
    assert not ranges(machine, Role.RODATA), "this kernel has no labels for it"


def test_brk_after_it_was_reserved(tmp_path: Path) -> None:
    machine = linux(tmp_path, words={"_brk_end": TEXT + VIRTUAL_MOVE + 0xF000})
    assert ranges(machine, Role.BRK) == [(BASE + 0xE000, BASE + 0xF000, "_brk_end")]


def test_page_tables(tmp_path: Path) -> None:
    # CR3 and the label tell of the same table; it is told of once as part of the image.
    machine = linux(tmp_path)
    assert ranges(machine, Role.PAGE_TABLES) == [(BASE + 0x7000, BASE + 0x8000, "init_top_pgt")]
    machine.registers["cr3"] = 0x600_0000 | 0x1000_0000_0000_0000
    assert (0x600_0000, 0x600_1000, "page table base register") in ranges(machine, Role.PAGE_TABLES)
    machine.registers["cr0"] = 1
    assert len(ranges(machine, Role.PAGE_TABLES)) == 1, "without paging CR3 tells nothing"


def test_what_the_boot_loader_left(tmp_path: Path) -> None:
    words = {"initrd_start": DIRECT + 0x700_0000, "initrd_end": DIRECT + 0x712_3456}
    assert ranges(linux(tmp_path, words=words), Role.INITRD) == [(0x700_0000, 0x712_3456, "initrd_start")]
    # Nothing that an initrd could be, and nothing of what has been freed.
    assert not ranges(linux(tmp_path, words=words | {"initrd_start": DIRECT + 0x712_3456}), Role.INITRD)
    assert not ranges(linux(tmp_path, words={"initrd_start": 0x10, "initrd_end": 0x20}), Role.INITRD)


def test_loaded_initrd_and_command_line(tmp_path: Path) -> None:
    machine = linux(tmp_path)
    names = ("hdr.ramdisk_image", "hdr.ramdisk_size", "ext_ramdisk_image", "ext_ramdisk_size", "hdr.cmd_line_ptr",
             "ext_cmd_line_ptr")  # fmt: skip
    fields = {name: Field(4 * at, 4) for at, name in enumerate(names)}
    machine.structs["boot_params", ""] = Struct("boot_params", 24, fields)
    data = bytearray(machine.memory[BASE])
    struct.pack_into("<6I", data, 0x5100, 0x1000, 0x2000, 1, 0, 0x600_0010, 0)
    machine.memory[BASE] = bytes(data)
    machine.variables["boot_params"] = Variable(TEXT + 0x5100, 24)
    machine.memory[0x600_0000] = b"\xff" * 0x10 + b"console=ttyS0 quiet\0" + b"\xff" * 0x100
    assert ranges(machine, Role.LOADED_INITRD) == [
        (0x1_0000_1000, 0x1_0000_3000, "boot_params.hdr.ramdisk_image")
    ]  # fmt: skip
    assert ranges(machine, Role.COMMAND_LINE) == [(0x600_0010, 0x600_0024, "boot_params.hdr.cmd_line_ptr")]
    freed = linux(tmp_path, words={"system_state": 3})
    freed.structs, freed.variables = machine.structs, machine.variables
    assert not ranges(freed, Role.LOADED_INITRD) and not ranges(freed, Role.COMMAND_LINE)


def test_kept_command_line(tmp_path: Path) -> None:
    machine = linux(tmp_path, words={"saved_command_line": DIRECT + 0x600_0000, "saved_command_line_len": 9})
    assert ranges(machine, Role.COMMAND_LINE) == [(0x600_0000, 0x600_000A, "saved_command_line")]


def test_per_cpu_areas(tmp_path: Path) -> None:
    # Two units of 0x2000 bytes, 0x8000 apart: the chunk's dynamic part is the second page.
    words = {"pcpu_base_addr": DIRECT + 0x600_0000, "pcpu_nr_units": 2, "pcpu_unit_offsets": DIRECT + 0x600_0100,
             "pcpu_first_chunk": DIRECT + 0x600_0200}  # fmt: skip
    machine = linux(tmp_path, words=words)
    machine.structs["pcpu_first_chunk", ""] = Struct(
        "pcpu_chunk", 16, {"base_addr": Field(0, 8), "nr_pages": Field(8, 4, True)}
    )
    page = bytearray(0x1000)
    struct.pack_into("<QQ", page, 0x100, 0, 0x8000)
    struct.pack_into("<QI", page, 0x200, DIRECT + 0x600_1000, 1)
    machine.memory[0x600_0000] = bytes(page)
    assert ranges(machine, Role.PER_CPU) == [
        (0x600_0000, 0x600_2000, "pcpu_unit_offsets"), (0x600_8000, 0x600_A000, "pcpu_unit_offsets")
    ]  # fmt: skip


def test_firmware_and_places(tmp_path: Path) -> None:
    machine = linux(tmp_path)
    snapshot = take_snapshot(machine)
    assert snapshot is not None
    table = role_ranges(machine, snapshot.firmware)
    firmware = [one for one in table if one.role is Role.FIRMWARE]
    assert [(one.base, one.end, one.detail) for one in firmware] == [(0x7FE_0000, 0x800_0000, "ACPI tables")]
    shown = places(table)
    assert Place(BASE, BASE + SIZE, "kernel image") in shown and Place(0x7FE_0000, 0x800_0000, "firmware") not in shown


def test_without_physical_memory_the_image_is_not_known(tmp_path: Path) -> None:
    machine = linux(tmp_path)
    machine.has_physical = False
    assert role_ranges(machine) == []


def test_memory_map(tmp_path: Path) -> None:
    # Three large pages of struct page: the first two lie side by side, the third has no memory behind it, then a piece.
    vmemmap, size = 0xFFFF_EA00_0000_0000, 64
    pages = (3 * (2 << 20) + 0x40_000) // size
    machine = linux(tmp_path)
    machine.structs["struct page", ""] = Struct("page", size, {"flags": Field(0, 8)})
    data = bytearray(machine.memory[BASE])
    struct.pack_into("<QQ", data, 0x5200, vmemmap, pages)
    machine.memory[BASE] = bytes(data)
    machine.variables |= {"vmemmap_base": Variable(TEXT + 0x5200, 8), "max_pfn": Variable(TEXT + 0x5208, 8)}
    # Four levels at 0x600_0000 and on; indices of the address by hand: 0x1d4, 0, 0.
    top, middle, last = bytearray(0x1000), bytearray(0x1000), bytearray(0x1000)
    struct.pack_into("<Q", top, 0x1D4 * 8, 0x600_1000 | 3)
    struct.pack_into("<Q", middle, 0, 0x600_2000 | 3)
    for at, entry in enumerate((0x100_0000, 0x120_0000, 0, 0x700_0000)):
        struct.pack_into("<Q", last, 8 * at, entry and entry | 0x83)
    machine.memory[0x600_0000] = bytes(top + middle + last)
    machine.registers |= {"cr3": 0x600_0000, "cr4": 1 << 5, "efer": 1 << 10}
    assert ranges(machine, Role.MEMORY_MAP) == [
        (0x100_0000, 0x140_0000, "vmemmap_base"), (0x700_0000, 0x704_0000, "vmemmap_base")
    ]  # fmt: skip
    machine.registers["cr0"] = 1
    assert not ranges(machine, Role.MEMORY_MAP)
    # A number of pages that is none: nothing of it is walked.
    machine.registers["cr0"] = 1 << 31 | 1
    struct.pack_into("<QQ", data, 0x5200, vmemmap, 1 << 60)
    machine.memory[BASE] = bytes(data)
    assert not ranges(machine, Role.MEMORY_MAP)
