# SPDX-License-Identifier: GPL-2.0-or-later
"""What a Linux kernel must have reserved, what its firmware said, and the ends of what its variables tell of."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from gdb_lmb.arches.x86.boot import X86Linux
from gdb_lmb.core.fields import Field, Struct
from gdb_lmb.core.machine import Variable
from gdb_lmb.core.roles import Role
from gdb_lmb.core.snapshot import Defect, FirmwareReserved, Snapshot
from gdb_lmb.formats.devicetree import USUAL_BYTES
from gdb_lmb.programs.base import role_ranges, take_snapshot
from tests.helpers.dtb import cells, with_reserved_memory
from tests.helpers.linux import (
    BASE,
    DIRECT,
    E820_AT,
    MEMBLOCK,
    MEMBLOCK_AT,
    REGION,
    SIZE,
    TABLES,
    TEXT,
    VIRTUAL_MOVE,
    linux,
)
from tests.helpers.machine import BytesMachine

MORE_AT = 0x5300
"""Where the image has room for more variables."""
FREE = 0x600_0000
"""Where there is a page of RAM with nothing in it."""
STACK_PAGE = (BASE + 0xD000, BASE + 0xE000, "boot stack", True, False)
IMAGE = (BASE, BASE + SIZE, "kernel image", True, True)
LINKED_TABLE = (BASE + 0x7000, BASE + 0x8000, "page tables", True, False)
OTHER_TABLES = (TABLES + 0x1000, TABLES + 0x3000, "page tables", True, True)
ALWAYS = [IMAGE, STACK_PAGE, LINKED_TABLE, OTHER_TABLES]
Row = tuple[int, int, str, bool, bool]


def put(machine: BytesMachine, at: int, data: bytes, base: int = BASE) -> None:
    """Write bytes at an offset of the image, or of what else lies at `base`."""
    held = machine.memory[base]
    machine.memory[base] = held[:at] + data + held[at + len(data) :]


def variables(machine: BytesMachine, **values: int) -> None:
    """Add variables of 8 bytes."""
    moved = machine.labels["_text"] - TEXT
    for number, (name, value) in enumerate(values.items()):
        put(machine, MORE_AT + 8 * number, struct.pack("<Q", value))
        machine.variables[name] = Variable(
            TEXT + moved + MORE_AT + 8 * number, 8, machine.variables["memblock"].program
        )


def taken(machine: BytesMachine) -> Snapshot:
    snapshot = take_snapshot(machine)
    assert snapshot is not None
    return snapshot


def required(machine: BytesMachine) -> list[Row]:
    return [(one.base, one.end, one.what, one.memory, one.alone) for one in taken(machine).required]


def ranges(machine: BytesMachine, role: Role) -> list[tuple[int, int, str]]:
    return [(one.base, one.end, one.source) for one in role_ranges(machine) if one.role is role]


@pytest.mark.parametrize("moved", [0, VIRTUAL_MOVE])
def test_what_must_be_reserved(tmp_path: Path, moved: int) -> None:
    words = {"initrd_start": DIRECT + 0x700_0000, "initrd_end": DIRECT + 0x712_3456,
             "_brk_end": TEXT + VIRTUAL_MOVE + 0xF000}  # fmt: skip
    machine = linux(tmp_path, symbols_moved=moved, words=words)
    machine.registers["rsp"] += 0x128
    put(machine, 0, b"\xd0\x0d\xfe\xed\1\0\x12\x34", base=FREE)
    put(machine, 0, b"\xd0\x0d\xfe\xed\0\0\0\x28")
    trees = {"__fdt_pointer": FREE, "dtb_early_pa": BASE, "initial_boot_params_pa": FREE + 0x800}
    variables(machine, real_mode_header=0, **trees)
    whole: list[Row] = [
        IMAGE, (BASE + 0xE000, BASE + 0xF000, "kernel image: brk", True, False), STACK_PAGE, LINKED_TABLE, OTHER_TABLES,
        (0x700_0000, 0x712_3456, "initrd", True, True), (0, 1 << 20, "the first MiB", False, False),
        (FREE, FREE + 0x100_1234, "device tree", False, True),
        (BASE, BASE + 0x28, "device tree", False, False),
    ]  # fmt: skip
    assert required(machine) == whole
    # The debugger has moved its symbols since: what it told is kept.
    by = VIRTUAL_MOVE // 2
    machine.labels = {name: at + by for name, at in machine.labels.items()}
    machine.variables = {
        name: Variable(one.address + by, one.size, one.program) for name, one in machine.variables.items()
    }
    assert required(machine) == whole


def test_until_linux_5_13_x86_used_the_first_mib(tmp_path: Path) -> None:
    machine = linux(tmp_path)
    variables(machine, real_mode_header=0, reserve_low=0x1_0000)
    assert required(machine) == ALWAYS
    del machine.variables["real_mode_header"]
    assert required(machine) == ALWAYS


@pytest.mark.parametrize(
    ("labels", "image"),
    [
        ({}, [(BASE, BASE + SIZE)]),
        ({"init_pg_dir": 0x3000, "init_pg_end": 0x4000}, [(BASE, BASE + 0x3000), (BASE + 0x4000, BASE + SIZE)]),
        # Where the program lacks one of them it is not known what is freed.
        ({"init_pg_dir": 0x3000}, []),
        ({"__end_of_kernel_reserve": 0xC000}, [(BASE, BASE + 0xC000)]),
    ],
)
def test_parts_of_the_image_that_are_freed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labels: dict[str, int], image: list[tuple[int, int]]
) -> None:
    # As arm64 has them.
    monkeypatch.setattr(X86Linux, "image_freed", ("init_pg_dir", "init_pg_end"))
    machine = linux(tmp_path)
    machine.labels |= {name: TEXT + at for name, at in labels.items()}
    assert [row for row in required(machine) if row[2] == IMAGE[2]] == [(*row, *IMAGE[2:]) for row in image]


def test_an_initrd_that_was_not_looked_at_yet(tmp_path: Path) -> None:
    machine = linux(tmp_path)
    variables(machine, phys_initrd_start=0x700_0000, phys_initrd_size=0x3000)
    machine.structs["boot_params", ""] = Struct(
        "boot_params", 16, {"hdr.ramdisk_image": Field(8, 4), "hdr.ramdisk_size": Field(12, 4)}
    )
    machine.variables["boot_params"] = Variable(TEXT + 0x5100, 16)
    initrd: Row = (0x700_0000, 0x700_3000, "initrd", True, True)
    assert required(machine) == [*ALWAYS, initrd]
    assert ranges(machine, Role.INITRD) == [(0x700_0000, 0x700_3000, "phys_initrd_start")]
    # `boot_params` may tell of the same one, and of another one.
    for base in (0x700_0000, 0x701_0000):
        put(machine, 0x5108, struct.pack("<II", base, 0x3000))
        found = (base, base + 0x3000, "initrd, where the boot loader put it", False, True)
        assert required(machine) == [*ALWAYS, *([initrd] if base != 0x700_0000 else []), found]
    # It is the kernel's now, and then gone.
    put(machine, 0x5038, struct.pack("<QQ", DIRECT + 0x702_0000, DIRECT + 0x702_1000))
    assert required(machine) == [*ALWAYS, (0x702_0000, 0x702_1000, "initrd", True, True)]
    put(machine, 0x5038, bytes(16))
    put(machine, 0x5080, struct.pack("<I", 3))
    assert not ranges(machine, Role.INITRD) and not ranges(machine, Role.LOADED_INITRD)


def with_nodes(machine: BytesMachine, nodes: tuple[int, int]) -> None:
    """Give the two regions of memory their nodes, of 4 that the kernel may have."""
    machine.structs["memblock", "memory.regions"] = Struct(
        REGION.name, 24, {**REGION.fields, "nid": Field(20, 4, True)}, 8
    )
    # 4 nodes of 4 zones, and one row more.
    machine.enums["enum zone_type", ""] = {0: "ZONE_DMA", 1: "ZONE_DMA32", 2: "ZONE_NORMAL", 4: "__MAX_NR_ZONES"}
    machine.structs["struct zonelist", ""] = Struct("zonelist", 17 * 16, {"_zonerefs": Field(0, 17 * 16)})
    machine.structs["struct zonelist", "_zonerefs"] = Struct("zoneref", 16, {"zone_idx": Field(8, 4)})
    for number, node in enumerate(nodes):
        put(machine, 0x3000 + 24 * number + 20, struct.pack("<i", node))


def test_data_of_nodes(tmp_path: Path) -> None:
    machine = linux(tmp_path)
    with_nodes(machine, (0, 2))
    machine.structs["struct pglist_data", ""] = Struct("pglist_data", 0x2B00, {})
    machine.labels["node_data"] = TEXT + MORE_AT
    table = [DIRECT + 0x610_0000, 0, DIRECT + 0x620_0000, DIRECT + 0x630_0000]
    put(machine, MORE_AT, struct.pack("<4Q", *table))
    rows: list[Row] = [(at, at + 0x2B00, "node's data (pg_data_t)", True, True) for at in (0x610_0000, 0x620_0000)]
    assert required(machine) == [*ALWAYS, *rows]
    with_nodes(machine, (-1, 4))  # none of them is a node
    assert required(machine) == ALWAYS
    with_nodes(machine, (0, 0))
    assert required(machine) == [*ALWAYS, rows[0]]
    del machine.labels["node_data"]
    assert [row for row in required(linux_again(machine)) if row[2] == rows[0][2]] == []


def linux_again(machine: BytesMachine) -> BytesMachine:
    """Return the machine with a program that was not seen before."""
    program = machine.variables["memblock"].program
    assert program is not None
    other = program.with_name("vmlinux-again")
    other.write_bytes(program.read_bytes())
    machine.variables = {name: Variable(one.address, one.size, other) for name, one in machine.variables.items()}
    return machine


def test_nodes_that_are_possible(tmp_path: Path) -> None:
    machine = linux(tmp_path)
    variables(machine, node_states=0b11101)
    assert taken(machine).storage is not None and taken(machine).storage.nodes is None, "this kernel has no nodes"
    linux_again(machine)
    with_nodes(machine, (0, 2))
    assert taken(machine).storage.nodes == {0, 2, 3}


def test_nothing_is_required_before_the_first_reservation(tmp_path: Path) -> None:
    machine = linux(tmp_path, words={"memblock_can_resize": 0, "_brk_end": TEXT + VIRTUAL_MOVE + 0xF000})
    assert required(machine)[:2] == [
        (BASE, BASE + SIZE, "kernel image", False, True),
        (BASE + 0xE000, BASE + 0xF000, "kernel image: brk", False, False),
    ]
    for name in ("memory", "reserved"):
        # Kernels before 6.11 begin with one region of no bytes.
        put(machine, MEMBLOCK_AT + MEMBLOCK.fields[f"{name}.cnt"].offset, struct.pack("<QQQ", 1, 128, 0))
        put(machine, {"memory": 0x3000, "reserved": 0x4000}[name], bytes(24))
    assert required(machine) == []
    machine.registers |= {"pc": BASE + 0x20}
    assert taken(machine).required == ()


def test_parts_of_the_image(tmp_path: Path) -> None:
    machine = linux(tmp_path)
    machine.variables["boot_command_line"] = Variable(TEXT + 0x9800, 0x100)
    machine.labels["early_top_pgt"] = TEXT + 0x9000
    machine.variables["early_top_pgt"] = Variable(TEXT + 0x9000, 0x2000)
    assert ranges(machine, Role.COMMAND_LINE) == [(BASE + 0x9800, BASE + 0x9900, "boot_command_line")]
    tables = [(BASE + 0x7000, BASE + 0x8000, "init_top_pgt"), (BASE + 0x9000, BASE + 0xB000, "early_top_pgt")]
    assert ranges(machine, Role.PAGE_TABLES) == tables
    put(machine, 0x5080, struct.pack("<I", 2))  # init memory is freed
    assert not ranges(machine, Role.COMMAND_LINE) and ranges(machine, Role.PAGE_TABLES) == tables[:1]
    for lost in ("init_thread_union", "init_stack"):
        machine = linux_again(linux(tmp_path))
        (machine.variables if lost in machine.variables else machine.labels).pop(lost)
        assert not ranges(machine, Role.STACK)


@pytest.mark.parametrize(("length", "found"), [(0x3FFF, 0x4000), (0x4000, None)])
def test_a_command_line_that_does_not_end(tmp_path: Path, length: int, found: int | None) -> None:
    machine = linux(tmp_path, words={"saved_command_line": DIRECT + FREE})
    machine.memory[FREE] = b"x" * length + b"\0" + b"y" * 0xFFF
    whole = [] if found is None else [(FREE, FREE + found, "saved_command_line")]
    assert ranges(machine, Role.COMMAND_LINE) == whole


@pytest.mark.parametrize(("units", "found"), [(1 << 13, 2), ((1 << 13) + 1, 0)])
def test_more_per_cpu_units_than_any_kernel_has(tmp_path: Path, units: int, found: int) -> None:
    words = {"pcpu_base_addr": DIRECT + 0x700_0000, "pcpu_nr_units": units, "pcpu_unit_offsets": DIRECT + FREE + 0x100,
             "pcpu_first_chunk": DIRECT + FREE}  # fmt: skip
    machine = linux(tmp_path, words=words)
    machine.structs["pcpu_first_chunk", ""] = Struct(
        "pcpu_chunk", 16, {"base_addr": Field(0, 8), "nr_pages": Field(8, 4)}
    )
    head = struct.pack("<QI", DIRECT + 0x700_1000, 1).ljust(0x100, b"\0") + struct.pack("<QQ", 0, 0x8000)
    machine.memory[FREE] = head.ljust(0x2_0000, b"\0")
    rows = [(at, at + 0x2000, "per-CPU area", True, True) for at in (0x700_0000, 0x700_8000)][:found]
    assert [row for row in required(machine) if row[2] == "per-CPU area"] == rows
    assert [row[:2] for row in ranges(machine, Role.PER_CPU)] == [row[:2] for row in rows]


# -- the firmware map -------------------------------------------------------------------------------


def test_edits_of_neighbours_are_one(tmp_path: Path) -> None:
    firmware = [(0, 0x9_FC00, 1), (0x10_0000, 0x10_0000, 1), (0x20_0000, 0x10_0000, 1), (0x30_0000, 0x10_0000, 3)]
    snapshot = taken(linux(tmp_path, firmware=firmware, e820=firmware[:1]))
    assert snapshot.firmware_edits == (
        Defect("[0x100000, 0x300000) is RAM in the firmware map, and not listed as the kernel edited it",
               (0x10_0000, 0x30_0000)),
        Defect("[0x300000, 0x400000) is ACPI tables in the firmware map, and not listed as the kernel edited it",
               (0x30_0000, 0x40_0000)),
    )  # fmt: skip


@pytest.mark.parametrize(("count", "told"), [(131, True), (132, False)])
def test_as_many_ranges_as_there_is_room_for(tmp_path: Path, count: int, told: bool) -> None:
    machine = linux(tmp_path)
    rows = b"".join(struct.pack("<QQI", number << 21, 1 << 20, 1) for number in range(131))
    put(machine, E820_AT, struct.pack("<I", count) + rows)
    firmware = taken(machine).firmware
    assert (firmware is not None) == told
    assert firmware is None or list(firmware.base) == [number << 21 for number in range(131)]


def test_where_the_firmware_map_is(tmp_path: Path) -> None:
    # A pointer that is damaged while memblock is in use moves nothing; after the hand-over the map was moved.
    row = struct.pack("<IQQI", 1, 0x10_0000, 0x20_0000, 1)
    for words, base in (({}, 0), ({"_totalram_pages": 1, "vm_zone_stat": 1, "memblock_memory": TEXT}, 0x10_0000)):
        machine = linux(tmp_path, words=words)
        put(machine, 0x5030, struct.pack("<Q", DIRECT + FREE))
        machine.memory[FREE] = row
        firmware = taken(machine).firmware
        assert firmware is not None and firmware.base[0] == base


def test_what_is_cut_off_where_ram_has_no_whole_pages(tmp_path: Path) -> None:
    machine = linux(tmp_path, e820=[(0x10, 0x9_FBF0, 1), (0x10_0000, 0x7EE_0000, 1)])
    assert taken(machine).storage.trimmed == 0xFF0 + 0xC00
    # The map that the kernel takes memory from tells, where it has edited that.
    machine = linux(tmp_path, firmware=[(0, 0x9_FC00, 1)], e820=[(0, 0x9_F800, 1)])
    assert taken(machine).storage.trimmed == 0x800
    assert taken(linux(tmp_path, e820=[])).storage.trimmed is None


def tree(*uefi: int) -> bytes:
    """Return a device tree with a range of memory, by hand after the Devicetree Specification.

    `uefi` is where UEFI's map is, its size, and that of a descriptor.
    """
    strings = bytearray()

    def node(name: bytes, inner: bytes = b"", **properties: bytes) -> bytes:
        out = struct.pack(">I", 1) + padded(name + b"\0")
        for key, value in properties.items():
            out += struct.pack(">3I", 3, len(value), len(strings)) + padded(value)
            strings.extend(key.encode() + b"\0")
        return out + inner + struct.pack(">I", 2)

    def padded(raw: bytes) -> bytes:
        return raw + bytes(-len(raw) % 4)

    two = struct.pack(">I", 2)
    names = (f"linux,uefi-mmap-{name}" for name in ("start", "size", "desc-size"))
    chosen = node(b"chosen", **{name: cells(value) for name, value in zip(names, uefi, strict=bool(uefi))})
    memory = node(b"memory", device_type=b"memory\0", reg=cells(0x10_0000, 0x20_0000))
    body = node(b"", chosen + memory, **{"#address-cells": two, "#size-cells": two}) + struct.pack(">I", 9)
    at, sizes = 40 + 16, (len(strings), len(body))
    head = struct.pack(">10I", 0xD00DFEED, at + sum(sizes), at, at + len(body), 40, 17, 16, 0, *sizes)
    return head + bytes(16) + body + bytes(strings)


def with_tree(folder: Path, blob: bytes, words: dict[str, int] | None = None, **pointers: int) -> BytesMachine:
    """Return a kernel that has its firmware map from a device tree."""
    machine = linux(folder, words=words)
    del machine.variables["e820_table"]
    machine.memory[FREE] = blob.ljust(USUAL_BYTES, b"\0")
    variables(machine, **pointers)
    return machine


AFTER = {"_totalram_pages": 1, "vm_zone_stat": 1, "memblock_memory": TEXT, "system_state": 2}
"""Words of a kernel that has freed its init memory."""


def test_a_device_tree_tells_of_memory(tmp_path: Path) -> None:
    nodes = [("a@6000000", {"reg": cells(0x600_0000, 0x1000), "no-map": b""}), ("b", {"size": cells(0x1000)})]
    blob = with_reserved_memory(tree(), nodes, ((0x610_0000, 0x1000),))
    asked = (FirmwareReserved(0x610_0000, 0x610_1000, "a memory reservation", until_hand_over=True),
             FirmwareReserved(0x600_0000, 0x600_1000, "/reserved-memory/a@6000000", True))  # fmt: skip
    for pointer in ("initial_boot_params_pa", "__fdt_pointer"):
        snapshot = taken(with_tree(tmp_path, blob, **{pointer: FREE}))
        assert snapshot.firmware is not None and snapshot.firmware.ram() == [(0x10_0000, 0x30_0000)]
        assert snapshot.firmware_reserved == asked and snapshot.uncompared == ()
        assert snapshot.unsettled == ("/reserved-memory/b, whose place the kernel has chosen",)
    # A reservation of a few bytes is given back, and before memory is complete none was made.
    assert taken(with_tree(tmp_path, blob, AFTER, initial_boot_params_pa=FREE)).firmware_reserved == asked[1:]
    early = taken(with_tree(tmp_path, blob, {"memblock_can_resize": 0}, __fdt_pointer=FREE))
    assert (early.phase, early.firmware_reserved, early.unsettled) == ("mapped", (), ())


@pytest.mark.parametrize(
    ("blob", "words", "pointers", "why"),
    [
        (b"\0", {}, {"__fdt_pointer": FREE}, "no device tree can be read"),
        (tree(), {}, {"__fdt_pointer": 0}, "__fdt_pointer is 0"),
        (tree(), {}, {"__fdt_pointer": 1 << 63 | FREE}, "no device tree can be read"),
        (tree(), {}, {"initial_boot_params_pa": 0}, "initial_boot_params_pa is 0"),
        (tree(), {}, {}, "the pointer to the device tree has been freed"),
    ],
)
def test_a_device_tree_that_cannot_be_read(
    tmp_path: Path, blob: bytes, words: dict[str, int], pointers: dict[str, int], why: str
) -> None:
    snapshot = taken(with_tree(tmp_path, blob, words, **pointers))
    assert snapshot.firmware is None
    lacking = (f"the firmware map ({why})",)
    # What has been freed is none of the kernel's to have.
    assert (snapshot.unsettled if not pointers else snapshot.uncompared) == lacking


def test_uefi_tells_of_memory(tmp_path: Path) -> None:
    where = FREE + USUAL_BYTES
    row = struct.pack("<IIQQQQ", 9, 0, 0x40_0000, 0, 0x10, 8)  # ACPI tables
    blob = with_reserved_memory(tree(where, len(row), len(row)), [("a@6000000", {"reg": cells(0x600_0000, 0x1000)})])
    asked = FirmwareReserved(0x600_0000, 0x600_1000, "/reserved-memory/a@6000000")
    machine = with_tree(tmp_path, blob, __fdt_pointer=FREE)
    snapshot = taken(machine)
    assert snapshot.firmware is None and snapshot.firmware_reserved == (asked,)
    assert snapshot.uncompared == ("the firmware map (UEFI's cannot be read)",)
    machine.memory[FREE] += row
    snapshot = taken(machine)
    assert snapshot.firmware is not None and snapshot.firmware.ram() == [(0x40_0000, 0x41_0000)]
    assert snapshot.firmware_reserved == (asked, FirmwareReserved(0x40_0000, 0x41_0000, "UEFI's map (ACPI tables)"))
    # The kernel takes memory from that map in one go, and not yet.
    machine = with_tree(tmp_path, blob, {"memblock_can_resize": 0}, __fdt_pointer=FREE)
    machine.memory[FREE] += row
    snapshot = taken(machine)
    assert (snapshot.firmware, snapshot.uncompared) == (None, ())
    assert snapshot.unsettled == ("the firmware map (UEFI's, before memory is complete)",)
