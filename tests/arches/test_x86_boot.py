# SPDX-License-Identifier: GPL-2.0-or-later
"""x86-64's boot without a guest: where its CPU has the kernel, what the decompressor leaves, what QEMU boots."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gdb_lmb.arches.base import Cpu
from gdb_lmb.arches.linux import LinuxArchitecture, linux_architecture
from gdb_lmb.core.address import Linear, Phase, Placement
from gdb_lmb.core.errors import LayoutError, NotReadyError
from gdb_lmb.core.machine import Variable
from gdb_lmb.core.memory import BytesMemory
from gdb_lmb.formats.elf import Note, read_headers
from gdb_lmb.programs.base import take_snapshot
from gdb_lmb.programs.linux import place
from gdb_lmb.programs.linux.kernel import Kernel, find_kernel
from gdb_lmb.programs.linux.place import locate
from tests.helpers.linux import BASE, DIRECT, MAP, MEMBLOCK, MEMBLOCK_AT, PHYSICAL_MOVE, SIZE, TEXT, VIRTUAL_MOVE, linux
from tests.helpers.machine import BytesMachine, small_elf

X86 = linux_architecture("x86_64")
PLACE = Placement(PHYSICAL_MOVE, VIRTUAL_MOVE, (TEXT, TEXT + SIZE), base_va=MAP)
COMPRESSED = "^the kernel is still compressed at this stop: continue, or use lmb-attach --wait$"


@pytest.fixture(autouse=True)
def no_memory_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "_LAST", {})


def found(machine: BytesMachine) -> Kernel:
    kernel = find_kernel(machine)
    assert kernel is not None
    return kernel


def put(machine: BytesMachine, at: int, data: bytes, base: int = BASE) -> None:
    held = machine.memory[base]
    machine.memory[base] = held[:at] + data + held[at + len(data) :]


def test_general_registers_are_the_decompressors() -> None:
    def general(pc: int, cr0: int) -> int:
        return len(X86.cpu_state({"pc": pc, "cr0": cr0, "rax": 1}.get).general)

    assert [general(0x1000, 1 << 31), general(1 << 63, 1 << 31), general(0x1000, 1)] == [15, 0, 0]


def test_where_a_cpu_has_the_kernel(tmp_path: Path) -> None:
    machine = linux(tmp_path)
    kernel = found(machine)
    with machine.physical() as memory:
        assert list(X86.running_at(kernel, memory, Cpu(None), ())) == []
    # The first address past those of images is a module's.
    machine.registers["pc"] = MAP + (1 << 30)
    assert locate(machine, kernel)[0].physical == PHYSICAL_MOVE
    # `trim_bios_range()` of arch/x86/kernel/setup.c: the first page, and 640 KiB to 1 MiB.
    assert X86.firmware_edits == ((0, 0x1000), (0xA_0000, 0x10_0000))
    # What is no RAM is not searched.
    machine.registers, machine.ranges = {}, [(0, BASE)]
    with pytest.raises(NotReadyError, match="no kernel of the build"):
        locate(machine, kernel)


def test_what_qemu_has_loaded_and_nothing_has_run(tmp_path: Path) -> None:
    machine = linux(tmp_path)
    machine.registers = {"pc": 0xFFF0, "cs": 0xF000, "cr0": 0x10}
    machine.memory = {0x100_0000: (tmp_path / "vmlinux").read_bytes()[64 + 2 * 56 :], 0: bytes(0x10_0000)}
    placed = locate(machine, found(machine))[0]
    assert (placed.physical, placed.virtual) == (0, 0)
    # What lies behind the lists is no part of them.
    put(machine, MEMBLOCK_AT + MEMBLOCK.size, b"\7", 0x100_0000)
    assert locate(machine, found(machine))[0] == placed
    # One that has run was left by another boot: it has other lists, or other pointers.
    for at in (MEMBLOCK_AT + MEMBLOCK.size - 1, MEMBLOCK_AT + MEMBLOCK.fields["reserved.cnt"].offset):
        ran = replace(machine, memory=dict(machine.memory))
        put(ran, at, b"\7", 0x100_0000)
        with pytest.raises(NotReadyError):
            locate(ran, found(ran))


def test_how_much_code_tells(tmp_path: Path) -> None:
    machine = linux(tmp_path)
    kernel, at = found(machine), 0x9FC0
    raw, code = (tmp_path / "vmlinux").read_bytes(), bytes(range(64))
    (tmp_path / "vmlinux").write_bytes(raw[: 0xB0 + at] + code + raw[0xB0 + at + 64 :])

    def told(there: bytes, pc: int) -> list[tuple[int, int | None]]:
        memory = BytesMemory({BASE: bytes(at) + there})
        return list(X86.running_at(kernel, memory, Cpu(BASE + pc, paging=True, user=False), ()))

    # The last 64 bytes of the code, and of RAM.
    assert told(code, at) == [(PHYSICAL_MOVE, None)] and told(code, at + 1) == told(code[1:], at) == []
    # A quarter of it may be another than in the file.
    assert told(b"\xff" * 16 + code[16:], at) == [(PHYSICAL_MOVE, None)] and told(b"\xff" * 17 + code[17:], at) == []


def test_every_place_of_an_image(tmp_path: Path) -> None:
    # Its build id is linked at 0x1000110, and it is moved by steps of 2 MiB.
    kernel = found(linux(tmp_path))
    assert list(X86.anywhere(kernel, [(0x10_0000, 0x80_0000), (0x100_0110, 0x140_0111)])) == [
        -0xE0_0000, -0xC0_0000, -0xA0_0000, 0, 0x20_0000, 0x40_0000,
    ]  # fmt: skip


def test_pointers_tell_how_far_it_was_moved(tmp_path: Path) -> None:
    machine = linux(tmp_path)
    machine.registers = {}
    for name in ("memory.name", "memory.regions", "reserved.name"):
        at = MEMBLOCK_AT + MEMBLOCK.fields[name].offset
        put(machine, at, struct.pack("<Q", struct.unpack_from("<Q", machine.memory[BASE], at)[0] + 0x10))
    assert locate(machine, found(machine))[0].virtual == VIRTUAL_MOVE, "by steps of 2 MiB alone"
    machine = linux(tmp_path)
    del machine.variables["page_offset_base"]
    assert locate(machine, found(machine))[0].linear == ()
    machine.variables["memblock"] = replace(machine.variables["memblock"], address=TEXT + SIZE)
    machine.registers = {}
    (tmp_path / "vmlinux").write_bytes((tmp_path / "vmlinux").read_bytes() + b"\0")
    with pytest.raises(LayoutError, match=r"vmlinux does not hold the data of `memblock`$"):
        locate(machine, found(machine))


@pytest.mark.parametrize(("move", "relocated"), [(0, True), ((1 << 30) - (2 << 20), True), (1 << 30, False)])
def test_how_far_it_may_be_moved(tmp_path: Path, move: int, relocated: bool) -> None:
    # By less than `KERNEL_IMAGE_SIZE` of arch/x86/include/asm/page_64_types.h, 1 GiB.
    machine = linux(tmp_path)
    machine.registers = {}
    for name in ("memory.name", "memory.regions", "reserved.name", "reserved.regions"):
        at = MEMBLOCK_AT + MEMBLOCK.fields[name].offset
        pointer = struct.unpack_from("<Q", machine.memory[BASE], at)[0]
        put(machine, at, struct.pack("<Q", pointer - VIRTUAL_MOVE + move))
    if relocated:
        placed = locate(machine, found(machine))[0]
        # 64 TiB of direct map: Documentation/arch/x86/x86_64/mm.rst.
        assert placed.virtual == move and placed.linear == (Linear(DIRECT, 64 << 40, 0),)
    else:
        with pytest.raises(NotReadyError, match=r"not relocated yet: continue a little$"):
            locate(machine, found(machine))


def test_limits_of_allocations(tmp_path: Path) -> None:
    machine = linux(tmp_path)
    put(machine, 0x5300, struct.pack("<Q", 0x8000))
    machine.variables["max_pfn_mapped"] = Variable(TEXT + 0x5300, 8, machine.variables["memblock"].program)
    snapshot: Any = take_snapshot(machine)
    assert snapshot.storage.limits == {(1 << 64) - 1, 1 << 20, 0x800_0000}


def test_before_the_kernel_runs(tmp_path: Path) -> None:
    kernel = found(linux(tmp_path))
    # Its code is in [0, 0x1000) and [0x9000, 0xa000) of the image.
    for at, inside in ((-1, False), (0, True), (0xFFF, True), (0x1000, False), (0x8FFF, False), (0x9FFF, True)):
        cpu = Cpu(BASE + at, paging=True, user=False)
        if inside:
            X86.require_running(kernel, PLACE, cpu)
            assert X86.early_phase(kernel, PLACE, cpu) is Phase.IDENTITY
        for ask in (X86.require_running, X86.early_phase) if not inside else ():
            with pytest.raises(NotReadyError, match=COMPRESSED):
                ask(kernel, PLACE, cpu)
        assert X86.before_kernel(cpu) and not X86.before_kernel(replace(cpu, user=True))
    assert X86.before_kernel(Cpu((1 << 47) - 1, paging=True, user=False))
    for pc in (None, 1 << 47, TEXT + VIRTUAL_MOVE):
        X86.require_running(kernel, PLACE, Cpu(pc, paging=True))
        assert not X86.before_kernel(Cpu(pc, paging=True, user=False)) and X86.arrived(Cpu(pc))
    assert X86.early_phase(kernel, PLACE, Cpu(1 << 47, paging=True)) is None
    assert X86.early_phase(kernel, PLACE, Cpu(0, paging=False)) is Phase.UNMAPPED
    machine = linux(tmp_path)
    with machine.physical() as memory:
        assert X86.way_point(kernel, PLACE, memory, Cpu(0x1000), machine) == BASE


def test_the_decompressors_stack_tells_where_it_unpacks_to(tmp_path: Path) -> None:
    machine = linux(tmp_path)
    kernel = found(machine)
    stack = bytes(0x3FF8) + struct.pack("<Q", BASE)
    machine.memory[0x610_0000] = stack
    with machine.physical() as memory:

        def way_point(*general: int | None, sp: int | None = 0x610_0000) -> int | None:
            cpu = Cpu(0x700_0000, sp, paging=True, user=False, general=general)
            return X86.way_point(kernel, None, memory, cpu, machine)

        assert [way_point(1), way_point(1, sp=None), way_point(1, sp=0x610_0008), way_point(None)] == [
            BASE, None, None, None,
        ]  # fmt: skip
        assert way_point(BASE, sp=0x610_0008) == BASE
    # It is there as soon as its ELF header is, as far as its entry; where sections are differs from file to file.
    head = (tmp_path / "vmlinux").read_bytes()[:32]
    for begun, target in ((head + b"\xff" * 8, BASE), (head[:31] + b"\xfe" * 9, None)):
        machine.memory = {BASE: begun}
        with machine.physical() as memory:
            assert way_point(BASE, sp=None) == target
    # Nothing is unpacked to 0, or to where no physical address is.
    machine.memory = dict.fromkeys((0, 1 << 51, 1 << 52), (tmp_path / "vmlinux").read_bytes())
    with machine.physical() as memory:
        assert way_point(1 << 51, sp=None) == 1 << 51
        assert way_point(0, 1, sp=None) is way_point(1 << 52, sp=None) is None


def test_what_it_is_sure_to_come_by(tmp_path: Path) -> None:
    """The image as it is unpacked, not one that has run and that another boot has left."""
    machine, other = linux(tmp_path), 0x200_0000
    kernel, raw = found(machine), (tmp_path / "vmlinux").read_bytes()

    def points(*general: int, at: int = 0, byte: bytes = b"") -> tuple[int, ...]:
        image = raw[0xB0:]
        memory = BytesMemory({BASE: image[:at] + byte + image[at + len(byte) :], other: raw})
        return X86.quick_way_points(kernel, memory, Cpu(0x700_0000, paging=True, user=False, general=general))

    assert points(BASE) == points(BASE, other) == (BASE,) and points(other, BASE) == (other,) and points(1) == ()
    # Relocation changes pointers; counts and sizes, from the first list's name to the second one's array, only a boot.
    name = MEMBLOCK_AT + MEMBLOCK.fields["memory.name"].offset
    for at, fresh in ((-1, True), (7, True), (8, False), (31, False), (32, True), (47, True), (48, True)):
        assert points(BASE, at=name + at, byte=b"\x81") == ((BASE,) if fresh else ())


def test_what_an_architecture_need_not_tell(tmp_path: Path) -> None:
    kernel, cpu, machine = found(linux(tmp_path)), Cpu(None), BytesMachine()
    base = LinuxArchitecture
    with machine.physical() as memory:
        assert list(base.running_at(X86, kernel, memory, cpu, ())) == []
        assert base.quick_way_points(X86, kernel, memory, cpu) == base.linked_way_points(X86, kernel) == ()
        assert base.before_kernel(X86, cpu) is base.arrived(X86, cpu) is False
        with pytest.raises(LayoutError, match=r"^how stacks are laid out on x86_64 is not known$"):
            base.frames(X86, kernel, 0, cpu, {}, machine, memory)


@pytest.mark.parametrize(("size", "cpus"), [(432, 1), (431, 0)])
def test_a_dumps_notes_of_cpus(size: int, cpus: int) -> None:
    # `QEMUCPUState` of 432 bytes, before it had kernel_gs_base: version, size, 18 registers, segments, cr0 to cr4.
    state = struct.pack("<2I18QI", 1, 432, *range(1, 19), 0x33).ljust(392, b"\0") + struct.pack("<5Q", 9, 8, 7, 6, 5)
    core: Any = SimpleNamespace(notes=[Note(b"CORE", 1, bytes(336), 0), Note(b"QEMU", 0, state[:size], 0)])
    noted = X86.noted_cpus(core)
    assert len(noted) == cpus
    for one in noted:
        assert [one[name] for name in ("rax", "esp", "pc", "eflags", "cs", "cr0", "cr3", "cr4", "efer")] == [
            1, 7, 17, 18, 0x33, 9, 6, 5, 1 << 10,
        ]  # fmt: skip


def test_what_qemu_boots_of_an_elf(tmp_path: Path) -> None:
    why = "QEMU boots an x86 ELF by its PVH note, and this one has none (CONFIG_PVH=y makes it)"
    elf = read_headers(small_elf(tmp_path / "vmlinux", TEXT, 0x100_0000, bytes(0x1000), 0x100))
    header = struct.pack("<3I", 0x1BADB002, 3, -(0x1BADB002 + 3) & 0xFFFFFFFF)
    raw = elf.path.read_bytes()
    assert X86.why_not_bootable(elf) == X86.why_not_bootable(replace(elf, bits=32)) == why
    for at, length, found in (
        (0x200, 0, True), (0x202, 0, False), (0x1000, 0x1031, True), (0x1000, 0x1030, False), (8140, 0x4000, True),
        (8144, 0x4000, False),
    ):  # fmt: skip
        whole = (raw[:at].ljust(at, b"\0") + header).ljust(length or len(raw), b"\0")
        elf.path.write_bytes(whole)
        assert X86.why_not_bootable(replace(elf, bits=32)) == (None if found else why)
        assert X86.why_not_bootable(elf) == why, "multiboot is for 32 bits"
    # A header whose sum is not 0 is none.
    elf.path.write_bytes(raw[:0x200] + header[:8] + bytes(4) + raw[0x20C:])
    assert X86.why_not_bootable(replace(elf, bits=32)) == why
    pvh = struct.pack("<III", 4, 4, 18) + b"Xen\0" + struct.pack("<I", 0x100_0000)
    elf.path.write_bytes(raw[: 0xB0 + 0x100] + pvh.ljust(36, b"\0") + raw[0xB0 + 0x124 :])
    assert X86.why_not_bootable(elf) is None
