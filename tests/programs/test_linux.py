# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux without gdb: found by its build id, its phase, its firmware map, its memblock, ranges by role."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from gdb_lmb.allocators.base import check
from gdb_lmb.arches.base import Cpu
from gdb_lmb.core.address import Phase, Placement
from gdb_lmb.core.errors import LayoutError, NotReadyError
from gdb_lmb.core.fields import Field, Struct
from gdb_lmb.core.machine import Variable
from gdb_lmb.core.roles import Role
from gdb_lmb.core.snapshot import Place
from gdb_lmb.core.words import FINDING
from gdb_lmb.programs.base import RoleRange, address_map, find_programs, model_facts, places, role_ranges, take_snapshot
from gdb_lmb.programs.linux import place
from gdb_lmb.programs.linux.kernel import _KERNELS as kernels
from gdb_lmb.programs.linux.kernel import find_kernel, symbols_moved_by
from gdb_lmb.programs.linux.place import boot_phase, locate
from gdb_lmb.report.jsonio import check_json, not_verified, snapshot_from, snapshot_json
from gdb_lmb.report.text import check_text
from tests.helpers.linux import (
    BASE,
    DIRECT,
    E820,
    MAP,
    MEMBLOCK,
    MEMBLOCK_AT,
    MEMORY,
    NAME_AT,
    PHYSICAL_MOVE,
    RESERVED,
    SIZE,
    TABLES,
    TEXT,
    VIRTUAL_MOVE,
    linux,
)
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


PAGING = {"cr0": 1 << 31 | 1, "cr3": TABLES | 0x18, "cr4": 1 << 5, "efer": 1 << 10}
CRASH = (0x200_0000, 0x2FF_FFFF)
ELSEWHERE: list[tuple[str, tuple[int, int], dict[str, int], bool]] = [
    ("the decompressor, mapped one to one", CRASH, {"pc": 0x210_0000, "cs": 0x10, **PAGING}, True),
    ("the last byte, without paging", CRASH, {"pc": 0x2ff_ffff, "cs": 0x10, "cr0": 1}, True),
    ("the first byte, without paging", CRASH, {"pc": 0x200_0000, "cs": 0x10, "cr0": 1}, True),
    ("a byte past it", CRASH, {"pc": 0x300_0000, "cs": 0x10, "cr0": 1}, False),
    ("a byte before it", CRASH, {"pc": 0x1ff_ffff, "cs": 0x10, "cr0": 1}, False),
    ("a program of the crash kernel", CRASH, {"pc": 0x40_0078, "cs": 0x33, **PAGING, "cr3": 0x2ff_f000}, True),
    ("a program, a page table past it", CRASH, {"pc": 0x40_0078, "cs": 0x33, **PAGING, "cr3": 0x300_0000}, False),
    ("a program linked to like addresses", CRASH, {"pc": 0x210_0000, "cs": 0x33, **PAGING}, False),
    ("the crash kernel", CRASH, {"pc": TEXT, "cs": 0x10, **PAGING, "cr3": 0x200_0000 | 0x18}, True),
    ("the kernel that was found", CRASH, {"pc": TEXT + 0x200 + VIRTUAL_MOVE, "cs": 0x10, **PAGING}, False),
    ("a page table, without paging", CRASH, {"pc": 0xfff0, "cs": 0xf000, "cr0": 0x10, "cr3": 0x200_0000}, False),
    ("parked by the firmware", CRASH, {"pc": 0xfff3, "cs": 0xf000, "cr0": 0x10}, False),
    ("without registers", CRASH, {}, False),
    ("all memory reserved", (0, (1 << 64) - 1), {"pc": 0x210_0000, "cs": 0x10, **PAGING}, False),
    ("nothing reserved", (0, 0), {"pc": 0, "cs": 0x10, "cr0": 1}, False),
]  # fmt: skip


@pytest.mark.parametrize(("reserved", "registers", "dead"), [row[1:] for row in ELSEWHERE],
                         ids=[row[0] for row in ELSEWHERE])  # fmt: skip
def test_a_cpu_that_runs_a_crash_kernel(
    tmp_path: Path, reserved: tuple[int, int], registers: dict[str, int], dead: bool
) -> None:
    """The others stay in the kernel that has crashed: what is in its memory is not shown."""
    machine, at = linux(tmp_path), 0x50A0
    machine.variables["crashk_res"] = Variable(TEXT + at, 16, tmp_path / "vmlinux")
    machine.structs["crashk_res", ""] = Struct("resource", 16, {"start": Field(0, 8), "end": Field(8, 8)}, 8)
    image = machine.memory[BASE]
    machine.memory[BASE] = image[:at] + struct.pack("<QQ", *reserved) + image[at + 16 :]
    machine.others = {1: machine.registers, 3: registers}
    kernel = find_kernel(machine)
    assert kernel is not None
    for look in (lambda: locate(machine, kernel), lambda: take_snapshot(machine)):
        if dead:
            with pytest.raises(NotReadyError, match=r"the kernel found has crashed.* with `thread 3`, and continue"):
                look()
        else:
            assert look() is not None


@pytest.mark.parametrize("name", ["memory", "reserved"])
@pytest.mark.parametrize("value", [0, TEXT + NAME_AT + VIRTUAL_MOVE + 0x20_0000, TEXT + NAME_AT, 1 << 63])
def test_a_damaged_pointer_does_not_move_the_kernel(tmp_path: Path, name: str, value: int) -> None:
    machine = linux(tmp_path)
    sound = take_snapshot(machine)
    data = bytearray(machine.memory[BASE])
    struct.pack_into("<Q", data, MEMBLOCK_AT + MEMBLOCK.fields[f"{name}.name"].offset, value)
    machine.memory[BASE] = bytes(data)
    kernel = find_kernel(machine)
    assert kernel is not None and locate(machine, kernel)[0].virtual == VIRTUAL_MOVE
    snapshot = take_snapshot(machine)
    assert snapshot is not None and sound is not None
    assert {found.code for found in check(snapshot)} - {found.code for found in check(sound)} == {"bad-name"}


def test_swapped_lists_do_not_move_the_kernel(tmp_path: Path) -> None:
    machine = linux(tmp_path)
    data = bytearray(machine.memory[BASE])
    first, second = MEMBLOCK_AT + 16, MEMBLOCK_AT + 56
    data[first : first + 40], data[second : second + 40] = data[second : second + 40], data[first : first + 40]
    machine.memory[BASE] = bytes(data)
    kernel = find_kernel(machine)
    assert kernel is not None and locate(machine, kernel)[0].virtual == VIRTUAL_MOVE
    snapshot = take_snapshot(machine)
    assert snapshot is not None
    codes = [found.code for found in check(snapshot) if found.severity == FINDING]
    assert codes == ["array-pointer", "array-pointer", "bad-name", "bad-name"]


def test_another_build_is_not_taken_for_it(tmp_path: Path) -> None:
    machine = linux(tmp_path)
    data = bytearray(machine.memory[BASE])
    data[0x110] ^= 1  # the first byte of the build id
    machine.memory[BASE] = bytes(data)
    kernel = find_kernel(machine)
    assert kernel is not None
    with pytest.raises(
        NotReadyError, match=r"still compressed at this stop, or the guest runs another build: continue, or use lmb-att"
    ):
        locate(machine, kernel)
    machine.lacking, machine.can_run = "the dump lacks it", False
    with pytest.raises(NotReadyError, match=r"another build, or the dump lacks it$"):
        locate(machine, kernel)
    assert address_map(machine).parts == () and role_ranges(machine) == []


def required(machine: BytesMachine) -> list[tuple[int, int]]:
    snapshot = take_snapshot(machine)
    assert snapshot is not None
    return [(one.base, one.end) for one in snapshot.required]


def with_an_older_image(machine: BytesMachine) -> BytesMachine:
    """Put the same image at a lower place, as an earlier boot has left it, with another virtual move."""
    older = bytearray(machine.memory[BASE])
    for name in ("memory.name", "memory.regions", "reserved.name", "reserved.regions"):
        at = MEMBLOCK_AT + MEMBLOCK.fields[name].offset
        struct.pack_into("<Q", older, at, struct.unpack_from("<Q", older, at)[0] - VIRTUAL_MOVE + 0x20_0000)
    machine.memory[BASE - 0x100_0000] = bytes(older)
    return machine


@pytest.mark.parametrize(
    "registers",
    [
        {},
        {"pc": BASE + 0x20},
        {"pc": BASE + 0x20, "cr0": 1},
        {"pc": 0x40_0000, "cs": 0x33},
        # With page-table isolation the top table of user mode follows the kernel's, and has not the kernel in it.
        {"pc": 0x40_0000, "cs": 0x33, "cr3": TABLES + 0x1000},
        # A program counter in no image: in a module.
        {"pc": MAP + 0x4100_0000},
    ],
)
def test_an_older_image_is_never_taken(tmp_path: Path, registers: dict[str, int]) -> None:
    machine = with_an_older_image(linux(tmp_path))
    machine.registers |= registers
    kernel = find_kernel(machine)
    assert kernel is not None
    place._LAST[kernel.own_file] = Placement(PHYSICAL_MOVE - 0x100_0000, 0x20_0000, kernel.image, base_va=MAP)
    placement, _ = locate(machine, kernel)
    assert (placement.physical, placement.virtual) == (PHYSICAL_MOVE, VIRTUAL_MOVE)


OLD_TABLES, OLD_MOVE, IF = 0x580_0000, 0x20_0000, 1 << 9
"""Where the page tables of the older image are, and how far they move it; x86's flag for interrupts."""
STOPPED_AT = TEXT + 0x200
NEW = {"pc": STOPPED_AT + VIRTUAL_MOVE, "cs": 0x10, **PAGING, "eflags": 0}
OLD = {"pc": STOPPED_AT + OLD_MOVE, "cs": 0x10, **PAGING, "cr3": OLD_TABLES, "eflags": 0}
PARKED = {"pc": 0xFFF3, "cs": 0xF000, "cr0": 0x10, "eflags": 0}
LEFT: list[tuple[str, dict[str, int], dict[int, dict[str, int]], bool, int | None]] = [
    # The CPU that is looked at, all CPUs, whether the newer image is in the older's memory for a crash kernel, and
    # which CPU is named instead.
    ("kexec", OLD, {1: {**NEW, "eflags": IF}, 2: OLD}, False, 1),
    ("kexec, the newer in user mode", OLD, {1: {**NEW, "pc": 0x40_0000, "cs": 0x33, "eflags": IF}, 2: OLD}, False, 1),
    ("kexec, unpacking", OLD, {1: {"pc": 0x10_0000, "cs": 0x10, **PAGING, "eflags": 0}, 2: OLD}, False, 1),
    ("kexec on another CPU", OLD, {1: OLD, 2: OLD, 3: {**NEW, "eflags": IF}}, False, 3),
    ("kexec on another CPU, looked at by the first", OLD, {1: OLD, 2: {**NEW, "pc": NEW["pc"] + 1}}, False, 2),
    ("the newer stops too", OLD, {1: NEW, 2: OLD}, False, 1),
    ("the newer stops too, and is looked at", NEW, {1: NEW, 2: OLD}, False, None),
    ("not stopped: it takes interrupts", {**OLD, "eflags": IF}, {1: NEW, 2: {**OLD, "eflags": IF}}, False, None),
    ("not stopped: it is not in hlt", {**OLD, "pc": OLD["pc"] + 1}, {1: NEW, 2: OLD}, False, None),
    ("one kernel, and a CPU that was taken offline", NEW, {1: {**NEW, "eflags": IF}, 2: NEW}, False, None),
    ("one kernel, in user mode", NEW, {1: {**NEW, "pc": 0x40_0000, "cs": 0x33, "eflags": IF}, 2: NEW}, False, None),
    ("one kernel, in a module", NEW, {1: {**NEW, "pc": MAP + 0x4100_0000}, 2: NEW}, False, None),
    ("an early end, others parked by the firmware", NEW, {1: NEW, 2: PARKED, 3: PARKED}, False, None),
    ("an early end, others unknown", NEW, {1: NEW, 2: {}}, False, None),
    ("an early end of another CPU, the first unknown", NEW, {1: {}, 2: NEW}, False, None),
    ("a crash kernel that has stopped too", NEW, {1: OLD, 2: OLD, 3: NEW}, True, None),
]


@pytest.mark.parametrize(("cpu", "cpus", "for_crash", "named"), [row[1:] for row in LEFT], ids=[row[0] for row in LEFT])
def test_a_cpu_that_was_stopped_in_an_older_kernel(
    tmp_path: Path, cpu: dict[str, int], cpus: dict[int, dict[str, int]], for_crash: bool, named: int | None
) -> None:
    machine, at = with_an_older_image(linux(tmp_path)), 0x50A0
    machine.variables["crashk_res"] = Variable(TEXT + at, 16, tmp_path / "vmlinux")
    machine.structs["crashk_res", ""] = Struct("resource", 16, {"start": Field(0, 8), "end": Field(8, 8)}, 8)
    for image, room in ((BASE, (0, 0)), (BASE - 0x100_0000, (BASE, BASE + SIZE - 1) if for_crash else (0, 0))):
        data = bytearray(machine.memory[image])
        data[0x1FF] = 0xF4
        struct.pack_into("<QQ", data, at, *room)
        machine.memory[image] = bytes(data)
    tables = bytearray(machine.memory[TABLES])
    for entry, value in ((511, OLD_TABLES + 0x1000 | 1), (512 + 510, OLD_TABLES + 0x2000 | 1)):
        struct.pack_into("<Q", tables, 8 * entry, value)
    struct.pack_into("<Q", tables, 0x2000 + 8 * ((TEXT + VIRTUAL_MOVE - MAP) >> 21), 0)
    struct.pack_into("<Q", tables, 0x2000 + 8 * ((TEXT + OLD_MOVE - MAP) >> 21), BASE - 0x100_0000 | 0x81)
    machine.memory[OLD_TABLES] = bytes(tables)
    stack = {"rsp": TEXT + 0xD000 + (OLD_MOVE if cpu["pc"] < NEW["pc"] else VIRTUAL_MOVE)}
    machine.registers, machine.others = cpu | stack, cpus
    kernel = find_kernel(machine)
    assert kernel is not None
    for look in (lambda: locate(machine, kernel), lambda: take_snapshot(machine)):
        if named is None:
            assert look() is not None
        else:
            with pytest.raises(NotReadyError, match=f"started another one, and has stopped .* `thread {named}`"):
                look()


@pytest.mark.parametrize(
    ("left", "begun", "sure", "likely"),
    [
        (True, None, (), BASE),  # which may also have been moved only in part
        (False, None, (BASE,), BASE),
        (True, BASE + 0x20_0000, (BASE + 0x20_0000,), BASE),
        (True, BASE - 0x20_0000, (BASE - 0x20_0000,), BASE),
    ],
)
def test_an_image_that_another_kernel_has_left_is_not_waited_for(
    tmp_path: Path, left: bool, begun: int | None, sure: tuple[int, ...], likely: int
) -> None:
    """Neither before nor while the decompressor unpacks: the address of the one left may be in its registers too."""
    machine = linux(tmp_path)
    kernel = find_kernel(machine)
    assert kernel is not None
    if left:
        data = bytearray(machine.memory[BASE])
        struct.pack_into("<Q", data, MEMBLOCK_AT + MEMBLOCK.fields["reserved.cnt"].offset, 7)
        machine.memory[BASE] = bytes(data)
    if begun is not None:
        machine.memory[begun] = (tmp_path / "vmlinux").read_bytes()[:0x1000]
    cpu = Cpu(pc=0x700_0000, paging=True, user=False, general=(None, BASE, begun))
    with machine.physical() as memory:
        assert kernel.arch.quick_way_points(kernel, memory, cpu) == sure
        assert kernel.arch.way_point(kernel, None, memory, cpu, machine) == likely


@pytest.mark.parametrize(
    "registers",
    [
        {"pc": 0xFFF0, "cr0": 1},  # at reset
        {"pc": 0x10_0000},  # in the firmware or the decompressor
        {"pc": TEXT + 0x200 + 0x20_0000},  # where the page tables have nothing
        {"pc": TEXT + 0x200 + VIRTUAL_MOVE, "cr3": 0x600_0000},
        {"pc": TEXT + 0x200 + VIRTUAL_MOVE, "cr3": 0x700_0000},  # no such memory
    ],
)
def test_an_image_that_no_cpu_runs_is_none(tmp_path: Path, registers: dict[str, int]) -> None:
    machine = linux(tmp_path)
    kernel = find_kernel(machine)
    assert kernel is not None
    locate(machine, kernel)
    machine.registers |= registers
    with pytest.raises(NotReadyError, match="reset or has started another kernel since"):
        locate(machine, kernel)


def test_without_registers_ram_tells(tmp_path: Path) -> None:
    machine = linux(tmp_path)
    machine.registers = {}
    kernel = find_kernel(machine)
    assert kernel is not None
    assert locate(machine, kernel)[0].physical == PHYSICAL_MOVE
    snapshot = take_snapshot(machine)
    assert snapshot is not None and "registers that tell which kernel runs: RAM was searched" in snapshot.unsettled
    with pytest.raises(NotReadyError, match=r"^2 kernels of the build of vmlinux are in memory"):
        locate(with_an_older_image(machine), kernel)
    # No place is too high: the machine's RAM is all that counts.
    machine.memory = {0x30_0000_0000 + 0x100_0000: machine.memory[BASE]}
    machine.ranges = [(0, 0x8000_0000), (0x1_0000_0000, 0x32_8000_0000)]
    assert locate(machine, kernel)[0].physical == 0x30_0000_0000


UNTOLD = "registers that tell whether a function of memblock was interrupted"


def test_a_dump_without_registers(tmp_path: Path) -> None:
    # What the kernel's words tell is shown, but nothing tells whether its lists are whole.
    machine = linux(tmp_path)
    machine.registers.clear()
    snapshot = take_snapshot(machine)
    assert snapshot is not None and (snapshot.phase, snapshot.stop) == ("allocator complete", None)
    assert snapshot.uncompared == (UNTOLD,) and not_verified(snapshot, None) == ["uncompared"]
    # Before memory is complete nothing tells the kernel from one that a boot loader has in its buffer.
    machine = linux(tmp_path, words={"memblock_can_resize": 0})
    machine.registers.clear()
    with pytest.raises(NotReadyError, match=r"^vmlinux is in memory, but no registers of a CPU tell whether it runs"):
        take_snapshot(machine)
    # After the hand-over no function changes them.
    machine = linux(tmp_path, words={"_totalram_pages": 1, "vm_zone_stat": 1, "memblock_memory": TEXT})
    machine.registers.clear()
    snapshot = take_snapshot(machine)
    assert snapshot is not None and (snapshot.phase, snapshot.uncompared) == ("handed over", ())


def test_without_a_stack_pointer_nothing_tells_whether_the_lists_are_whole(tmp_path: Path) -> None:
    machine = linux(tmp_path)
    del machine.registers["rsp"]
    snapshot = take_snapshot(machine)
    assert snapshot is not None and snapshot.stop is not None and snapshot.uncompared == (UNTOLD,)


@pytest.mark.parametrize("lost", ["cr3", "cr4", "efer", "pc"])
def test_without_what_page_tables_are_walked_by_ram_tells(tmp_path: Path, lost: str) -> None:
    machine = linux(tmp_path)
    machine.registers["pc"] = MAP + 0x4100_0000  # in a module
    del machine.registers[lost]
    kernel = find_kernel(machine)
    assert kernel is not None
    placement, _ = locate(machine, kernel)
    assert (placement.physical, placement.virtual) == (PHYSICAL_MOVE, VIRTUAL_MOVE)
    snapshot = take_snapshot(machine)
    assert snapshot is not None and "registers that tell which kernel runs: RAM was searched" in snapshot.unsettled


@pytest.mark.parametrize("label", ["_text", "_end", "startup_64"])
def test_a_label_that_every_kernel_has_is_named(tmp_path: Path, label: str) -> None:
    machine = linux(tmp_path)
    del machine.labels[label]
    with pytest.raises(LayoutError, match=rf"vmlinux has no symbol {label}, which every Linux kernel has"):
        find_kernel(machine)


def test_symbols_that_nothing_tells_the_move_of(tmp_path: Path) -> None:
    # A program of another linker script has no such label: it is taken as it was linked, and nowhere else.
    machine = linux(tmp_path)
    del machine.labels["__start_notes"]
    kernel = find_kernel(machine)
    assert kernel is not None and kernel.image == (TEXT, TEXT + SIZE)
    machine = linux(tmp_path, symbols_moved=VIRTUAL_MOVE)
    del machine.labels["__start_notes"]
    kernels.clear()
    with pytest.raises(LayoutError, match="no symbol __start_notes: how far gdb has moved its symbols cannot be told"):
        find_kernel(machine)


def test_a_kernel_without_labels_of_init_memory(tmp_path: Path) -> None:
    machine = linux(tmp_path)
    del machine.labels["__init_begin"]
    assert not ranges(machine, Role.INIT) and ranges(machine, Role.BSS)


@pytest.mark.parametrize(
    ("words", "lost", "phase", "doubt"),
    [
        # One word is missing, the two others agree.
        ({"vm_zone_stat": 5, "slab_state": 4, "memblock_memory": TEXT}, ["_totalram_pages"], "handed over", None),
        ({}, ["_totalram_pages"], "allocator complete", None),
        ({"_totalram_pages": 1, "memblock_memory": TEXT}, ["vm_zone_stat", "slab_state"], "handed over", None),
        ({"vm_zone_stat": 5}, ["_totalram_pages"], "allocator complete",
         "_totalram_pages is not known, vm_zone_stat 0x5, slab_state 0x0"),
        ({"vm_zone_stat": 5}, ["slab_state"], "allocator complete",
         "_totalram_pages 0x0, vm_zone_stat 0x5, slab_state is not known"),
        ({}, ["_totalram_pages", "vm_zone_stat", "slab_state"], "allocator complete",
         "_totalram_pages is not known, vm_zone_stat is not known, slab_state is not known"),
    ],
)  # fmt: skip
def test_words_that_a_kernel_does_not_have(
    tmp_path: Path, words: dict[str, int], lost: list[str], phase: str, doubt: str | None
) -> None:
    machine = linux(tmp_path, words=words)
    for name in lost:
        del machine.variables[name]
    snapshot = take_snapshot(machine)
    assert snapshot is not None and snapshot.phase == phase
    assert snapshot.uncompared == (() if doubt is None else (f"words that agree on the phase ({doubt})",))


def test_after_boot_nothing_is_made_of_words_that_a_kernel_does_not_have(tmp_path: Path) -> None:
    words = {"_totalram_pages": 1, "vm_zone_stat": 1, "slab_state": 4, "system_state": 1}
    # No word tells whether memblock's arrays were freed: those of the image were not.
    machine = linux(tmp_path, words=words)
    machine.labels["memblock_discard"] = TEXT + 0x300
    del machine.variables["memblock_memory"]
    data = bytearray(machine.memory[BASE])
    struct.pack_into("<Q", data, MEMBLOCK_AT + MEMBLOCK.fields["reserved.regions"].offset, DIRECT + 0x600_0000)
    machine.memory[BASE] = bytes(data)
    snapshot = take_snapshot(machine)
    assert snapshot is not None and snapshot.phase == "handed over" and snapshot.memory.cnt == len(snapshot.memory) == 2
    assert snapshot.refused == {"reserved": "its array may have been freed by memblock_discard()"}
    # Nor whether memblock itself was.
    machine = linux(tmp_path, words=words)
    machine.labels |= {"memblock_discard": TEXT + 0x300, "__init_begin": TEXT, "__init_end": TEXT + 0xB000}
    del machine.variables["system_state"]
    with pytest.raises(NotReadyError, match="memblock may have been in init memory that is freed: no system_state"):
        take_snapshot(machine)


def test_a_switch_that_cannot_be_read_is_not_off(tmp_path: Path) -> None:
    machine = linux(tmp_path)
    machine.enums["slab_state", ""] = {0: "DOWN", 4: "UP"}
    assert model_facts(machine)["slab_up"] is False
    machine.variables["slab_state"] = Variable(0x1000, 4, machine.variables["memblock"].program)
    with pytest.raises(LayoutError, match="slab_state cannot be read, which decides what memblock does next"):
        model_facts(machine)


@pytest.mark.parametrize("pc", [TEXT + VIRTUAL_MOVE + 0x200, BASE + 0x20])
def test_a_program_counter_in_the_image_tells_that_it_runs(tmp_path: Path, pc: int) -> None:
    """QEMU's dump of an arm64 machine has general registers, and not those that tell of paging."""
    machine = linux(tmp_path)
    del machine.registers["cr0"]
    machine.registers["pc"] = pc
    for one in (machine, with_an_older_image(machine)):
        kernel, snapshot = find_kernel(one), take_snapshot(one)
        assert kernel is not None and locate(one, kernel)[0].physical == PHYSICAL_MOVE
        assert snapshot is not None and snapshot.unsettled == ()


@pytest.mark.parametrize(
    ("registers", "words", "phase"),
    [
        ({"cr0": 1, "pc": BASE}, {}, Phase.UNMAPPED),
        ({"pc": BASE + 0x20}, {}, Phase.IDENTITY),
        ({}, {"memblock_can_resize": 0}, Phase.MAPPED),
        ({}, {}, Phase.COMPLETE),
        ({}, {"memblock_can_resize": 0, "pcpu_base_addr": DIRECT}, Phase.COMPLETE),
        ({}, {"_totalram_pages": 1, "vm_zone_stat": 1, "memblock_memory": TEXT}, Phase.HANDED_OVER),
        ({}, {"_totalram_pages": 1, "vm_zone_stat": 1, "slab_state": 4, "system_state": 3}, Phase.DISCARDED),
        # One word alone does not tell, and another one that is lost does not hide it.
        ({}, {"_totalram_pages": 1}, Phase.COMPLETE),
        ({}, {"slab_state": 4}, Phase.COMPLETE),
        ({}, {"vm_zone_stat": 1}, Phase.COMPLETE),
        ({}, {"vm_zone_stat": 1, "slab_state": 4, "memblock_memory": TEXT}, Phase.HANDED_OVER),
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


@pytest.mark.parametrize(
    ("words", "doubt"),
    [
        ({"vm_zone_stat": 1}, None),  # in the middle of the hand-over
        ({"vm_zone_stat": 1, "_totalram_pages": 1, "memblock_memory": TEXT}, None),  # before `kmem_cache_init()`
        ({"vm_zone_stat": 1, "_totalram_pages": 1, "slab_state": 4, "memblock_memory": TEXT}, None),
        ({"_totalram_pages": 1}, "_totalram_pages 0x1, vm_zone_stat 0x0, slab_state 0x0"),
        ({"vm_zone_stat": 5, "slab_state": 4, "memblock_memory": TEXT},
         "_totalram_pages 0x0, vm_zone_stat 0x5, slab_state 0x4"),
    ],
)  # fmt: skip
def test_words_that_disagree_on_the_phase(tmp_path: Path, words: dict[str, int], doubt: str | None) -> None:
    snapshot = take_snapshot(linux(tmp_path, words=words))
    assert snapshot is not None
    assert snapshot.uncompared == (() if doubt is None else (f"words that agree on the phase ({doubt})",))
    assert not_verified(snapshot, None) == ([] if doubt is None else ["uncompared"])


FIRMWARE = [(0, 0x9_FC00, 1), (0x10_0000, 0x7EE_0000, 1), (0x7FE_0000, 0x2_0000, 3)]


def test_the_usual_edits_of_the_firmware_map(tmp_path: Path) -> None:
    # The first page is kept, RAM below 1 MiB where the BIOS is is dropped, and a boot loader's data is kept.
    firmware = [*FIRMWARE, (0xA_0000, 0x1000, 1)]
    edited = [(0, 0x1000, 2), (0x1000, 0x9_EC00, 1), (0x10_0000, 0x7ED_0000, 1), (0x7FD_0000, 0x1_0000, 128),
              (0x7FE_0000, 0x2_0000, 3)]  # fmt: skip
    snapshot = take_snapshot(linux(tmp_path, firmware=firmware, e820=edited))
    assert snapshot is not None
    assert snapshot.uncompared == snapshot.unsettled == () and snapshot.firmware_edits == ()
    assert not [f for f in check(snapshot) if "firmware" in f.code]


def test_what_the_command_line_makes_of_the_firmware_map(tmp_path: Path) -> None:
    # "memmap=1M#96M", and memory that the firmware does not have: [112 MiB, ...).
    firmware = [(0, 0x9_FC00, 1), (0x10_0000, 0x6F0_0000, 1)]
    edited = [(0, 0x9_FC00, 1), (0x10_0000, 0x5F0_0000, 1), (0x600_0000, 0x10_0000, 3), (0x610_0000, 0x1EE_0000, 1)]
    snapshot = take_snapshot(linux(tmp_path, firmware=firmware, e820=edited))
    assert snapshot is not None
    assert [(f.code, f.severity, f.message) for f in check(snapshot) if "firmware" in f.code] == [
        ("outside-firmware", "finding", "memory [0x7000000, 0x7fe0000) is not RAM in the firmware map"),
        ("outside-firmware", "finding",
         "memory [0x6000000, 0x6100000) is not RAM in the firmware map as the kernel edited it"),
        ("firmware-edited", "note",
         "[0x6000000, 0x6100000) is RAM in the firmware map, and ACPI tables as the kernel edited it"),
        ("firmware-edited", "note",
         "[0x7000000, 0x7fe0000) is not listed in the firmware map, and RAM as the kernel edited it"),
    ]  # fmt: skip
    assert snapshot_from(snapshot_json(snapshot)).firmware_edited == snapshot.firmware_edited


@pytest.mark.parametrize(
    ("firmware", "e820", "empty"),
    [
        (FIRMWARE, [], "e820_table"),
        ([], FIRMWARE, "e820_table_firmware"),
        ([], [], "e820_table and e820_table_firmware"),
        (None, [], "e820_table"),
    ],
)
def test_a_firmware_map_that_is_gone(
    tmp_path: Path, firmware: list[tuple[int, int, int]] | None, e820: list[tuple[int, int, int]], empty: str
) -> None:
    lacking = f"the firmware map ({empty} cannot be read or has no ranges)"
    snapshot = take_snapshot(linux(tmp_path, firmware=firmware, e820=e820))
    assert snapshot is not None and snapshot.uncompared == (lacking,) and snapshot.unsettled == ()
    findings = [f for f in check(snapshot) if f.severity == "note"]
    assert check_json(snapshot, findings, None)["not_verified"] == ["uncompared"]
    last = check_text(snapshot, findings, None).splitlines()[-1]
    assert last.startswith("lmb-check: NOT verified, ") and last.endswith(f"; not verified against {lacking}")


def test_a_firmware_map_that_is_not_there_yet(tmp_path: Path) -> None:
    machine = linux(tmp_path, e820=[], words={"memblock_can_resize": 0})
    data = bytearray(machine.memory[BASE])
    struct.pack_into("<QQQ", data, MEMBLOCK_AT + 16, 0, 128, 0)
    machine.memory[BASE] = bytes(data)
    snapshot = take_snapshot(machine)
    assert snapshot is not None and snapshot.phase == "mapped" and snapshot.uncompared == ()
    assert not_verified(snapshot, None) == []
    assert check_text(snapshot, check(snapshot), None).splitlines()[-1].endswith(
        "; not at hand at this phase: the firmware map (e820_table cannot be read or has no ranges)"
    )  # fmt: skip


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
    machine.registers["cr3"] = TABLES | 0x1000_0000_0000_0000
    assert (TABLES, TABLES + 0x1000, "page table base register") in ranges(machine, Role.PAGE_TABLES)
    machine.registers |= {"cr0": 1, "pc": BASE}
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
    # It must be reserved, but by a kernel that takes initrds only.
    initrd = (0x1_0000_1000, 0x1_0000_3000)
    assert initrd in required(machine)
    del machine.variables["initrd_start"]
    kernels.clear()  # all is known of a program that was seen before
    assert initrd not in required(machine) and not ranges(machine, Role.INITRD)
    # Without a word that tells whether it was freed it is left out.
    del machine.variables["system_state"]
    assert not ranges(machine, Role.LOADED_INITRD) and not ranges(machine, Role.COMMAND_LINE)


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
    # Five large pages of struct page: the first two lie side by side, the third has no memory behind it, the fourth
    # only behind its first small page; then a piece.
    vmemmap, size = 0xFFFF_EA00_0000_0000, 64
    pages = (4 * (2 << 20) + 0x40_000) // size
    machine = linux(tmp_path)
    machine.structs["struct page", ""] = Struct("page", size, {"flags": Field(0, 8)})
    data = bytearray(machine.memory[BASE])
    struct.pack_into("<QQ", data, 0x5200, vmemmap, pages)
    machine.memory[BASE] = bytes(data)
    machine.variables |= {"vmemmap_base": Variable(TEXT + 0x5200, 8), "max_pfn": Variable(TEXT + 0x5208, 8)}
    # Four levels at 0x600_0000 and on; indices of the address by hand: 0x1d4, 0, 0.
    top, middle, last = bytearray(0x1000), bytearray(0x1000), bytearray(0x1000)
    struct.pack_into("<Q", top, 0x1D4 * 8, 0x600_1000 | 3)
    struct.pack_into("<Q", top, 511 * 8, TABLES + 0x1000 | 3)
    struct.pack_into("<Q", middle, 0, 0x600_2000 | 3)
    struct.pack_into("<5Q", last, 0, 0x100_0083, 0x120_0083, 0, 0x600_3003, 0x700_0083)
    machine.memory[0x600_0000] = bytes(top + middle + last) + struct.pack("<Q", 0x123_4003).ljust(0x1000, b"\0")
    machine.registers |= {"cr3": 0x600_0000, "cr4": 1 << 5, "efer": 1 << 10}
    assert ranges(machine, Role.MEMORY_MAP) == [
        (0x100_0000, 0x140_0000, "vmemmap_base"), (0x123_4000, 0x123_5000, "vmemmap_base"),
        (0x700_0000, 0x704_0000, "vmemmap_base"),
    ]  # fmt: skip
    machine.registers["cr0"] = 1
    assert not ranges(machine, Role.MEMORY_MAP)
    # A number of pages that is none: nothing of it is walked.
    machine.registers["cr0"] = 1 << 31 | 1
    for pages, told in ((1 << 28, 3), ((1 << 28) + 1, 0)):
        struct.pack_into("<QQ", data, 0x5200, vmemmap, pages)
        machine.memory[BASE] = bytes(data)
        assert len(ranges(machine, Role.MEMORY_MAP)) == told
