# SPDX-License-Identifier: GPL-2.0-or-later
"""An architecture is one package: one that only this file defines, 32 bits and big-endian, and all that it must do.

Its kernels have their addresses in the middle of the address space, which a constant maps; its hardware walks no page
tables. Return addresses lie on the stack, `phys_addr_t` has 64 bits. Every expected value is written by hand.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from gdb_lmb.allocators.base import check
from gdb_lmb.allocators.lmb.decode import decode as decode_lmb
from gdb_lmb.allocators.lmb.program import LmbProgram
from gdb_lmb.arches import registry
from gdb_lmb.arches.base import CallFrame, Convention, Cpu, Parameter
from gdb_lmb.arches.linux import LinuxArchitecture, linux_architecture
from gdb_lmb.core.address import KernelImage, Linear, Phase, Placement, TranslatedMemory
from gdb_lmb.core.errors import LayoutError, NotReadyError, ReadError
from gdb_lmb.core.machine import Machine, Variable
from gdb_lmb.core.memory import BoundedMemory, BytesMemory, Memory
from gdb_lmb.core.ranges import Range
from gdb_lmb.programs.base import address_map, take_snapshot
from gdb_lmb.programs.linux import kernel as linux_kernel
from gdb_lmb.programs.linux import place
from gdb_lmb.programs.linux.kernel import find_kernel
from gdb_lmb.programs.linux.place import boot_phase, locate
from tests.helpers.image import c_struct
from tests.helpers.machine import BytesMachine

KERNEL, RAM = 0x2000_0000, 0x0800_0000
"""Where kernels' addresses begin, and the physical address that the constant map has there."""

CONVENTION = Convention(
    word=4, arguments=("g4", "g5", "g6", "g7"), result=("g2", "g3"), sp="g15", stack=8, even_pairs=True
)


class MadeUp(LinuxArchitecture):
    """Kernels are placed by their loader at a multiple of 1 MiB and never move virtually."""

    entry = "_start"
    missing = "its loader has not come to it"
    variables = ("ram_base",)

    def base_va(self, image: Range) -> int:
        return KERNEL

    def anywhere(self, kernel: KernelImage, ram: Sequence[Range]) -> Iterator[int]:
        for base, end in ram:
            yield from range(base, end, 1 << 20)

    def settle(
        self, kernel: KernelImage, image: Placement, virtual: int | None, memory: BoundedMemory, cpu: Cpu
    ) -> Placement:
        # The kernel's own copy of where RAM begins: an `unsigned long`.
        start = self.word_at(memory, image.to_physical(kernel.symbols["ram_base"]))
        return replace(image, linear=(Linear(KERNEL, 1 << 29, start),))

    def require_running(self, kernel: KernelImage, placement: Placement, cpu: Cpu) -> None:
        if not self.is_kernel_address(cpu.pc):
            raise NotReadyError("the loader runs")

    def early_phase(self, kernel: KernelImage, placement: Placement, cpu: Cpu) -> Phase | None:
        self.require_running(kernel, placement, cpu)
        return None

    def first_instruction(self, kernel: KernelImage, placement: Placement) -> int:
        return kernel.entry

    def way_point(
        self, kernel: KernelImage, placement: Placement | None, memory: Memory, cpu: Cpu, machine: Machine
    ) -> int | None:
        return None


MADE_UP = MadeUp(
    name="made-up", uname="madeup", e_machine=0x7777, bits=32, byte_order="big", gdb=("madeup",), cross="madeup-",
    qemu="qemu-system-madeup", qemu_package="none", kernel_start=KERNEL, cache_bytes=16, convention=CONVENTION,
)  # fmt: skip


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_LOADED", {})
    monkeypatch.setattr(place, "_LAST", {})
    monkeypatch.setattr(linux_kernel, "_KERNELS", {})
    registry.register(MADE_UP)


def test_it_is_found_by_each_of_its_names() -> None:
    assert registry.named("made-up") is registry.named("madeup") is MADE_UP
    assert registry.find(e_machine=0x7777, bits=32, byte_order="big") is registry.find(e_machine=0x7777) is MADE_UP
    assert registry.of_gdb("madeup:v1", 32, "big") is linux_architecture("madeup") is MADE_UP
    assert registry.of_gdb("madeup:v1", 64, "big") is registry.find(e_machine=0x7777, byte_order="little") is None


def test_without_registering_it_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_LOADED", {})
    assert registry.find(e_machine=0x7777) is None
    with pytest.raises(LayoutError, match="not on madeup"):
        linux_architecture("madeup")


def test_its_registers_by_role() -> None:
    cpu = MADE_UP.cpu_state({"pc": 0x2000_0040, "g15": 0x2010_0000}.get)
    assert (cpu.pc, cpu.sp, cpu.link, cpu.paging, cpu.user, cpu.tables) == (
        0x2000_0040,
        0x2010_0000,
        None,
        None,
        None,
        (),
    )
    assert MADE_UP.is_kernel_address(0x2000_0000) and not MADE_UP.is_kernel_address(0x1FFF_FFFF)
    assert MADE_UP.paged_memory(BytesMemory({}), {"pc": 0}.get) is None


# -- a Linux kernel ----------------------------------------------------------------------------------------------------

BUILD_ID = bytes(range(20))
# Linked at KERNEL + 0x1000; its loader has put it 3 MiB into RAM.
TEXT, LOADED, SIZE = 0x2000_1000, 0x0830_1000, 0x8000
NOTE_AT, MEMBLOCK_AT, MEMORY_AT, RESERVED_AT = 0x100, 0x1000, 0x2000, 0x4000
RAM_AT, PAGES_AT, RESIZE_AT, NAMES_AT = 0x6000, 0x6008, 0x6010, 0x6020
REGION = c_struct("memblock_region", [("base", 8), ("size", 8), ("flags", 4)])
TYPE = c_struct("memblock_type", [("cnt", 4), ("max", 4), ("total_size", 8), ("regions", 4), ("name", 4)])
MEMBLOCK = c_struct("memblock", [("bottom_up", 1), ("current_limit", 8), ("memory", TYPE), ("reserved", TYPE)])


def kernel_bytes() -> bytes:
    pieces = {
        NOTE_AT: struct.pack(">III", 4, len(BUILD_ID), 3) + b"GNU\0" + BUILD_ID,
        MEMBLOCK_AT: struct.pack(
            ">BxxxxxxxQ" "IIQII" "IIQII",
            0, 0xFFFF_FFFF_FFFF_FFFF,
            2, 128, 0x0480_0000, 0x2000_3000, 0x2000_7020,
            1, 128, 0x8000, 0x2000_5000, 0x2000_7028,
        ),
        MEMORY_AT: struct.pack(">QQIxxxx", 0x0800_0000, 0x0400_0000, 0)
        + struct.pack(">QQIxxxx", 0x1_0000_0000, 0x0080_0000, 4),
        RESERVED_AT: struct.pack(">QQIxxxx", 0x0830_1000, 0x8000, 0),
        RAM_AT: struct.pack(">I", RAM),
        # A word that reads as nought by 32 bits only, and an int.
        PAGES_AT: struct.pack(">II", 0, 0xFFFF_FFFF),
        RESIZE_AT: struct.pack(">I", 1),
        NAMES_AT: b"memory\0\0reserved\0",
    }  # fmt: skip
    out = bytearray(SIZE)
    for at, piece in pieces.items():
        out[at : at + len(piece)] = piece
    return bytes(out)


def guest(folder: Path, pc: int = TEXT + 0x40) -> BytesMachine:
    """Return the made-up machine with the kernel loaded, and gdb's symbols of it."""
    content, elf = kernel_bytes(), folder / "vmlinux"
    # Elf32_Ehdr, then Elf32_Phdr: p_type, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_flags, p_align
    elf.write_bytes(
        b"\x7fELF\x01\x02\x01" + bytes(9)
        + struct.pack(">HHIIIIIHHHHHH", 2, 0x7777, 1, TEXT, 52, 0, 0, 52, 32, 2, 40, 0, 0)
        + struct.pack(">IIIIIIII", 1, 116, TEXT, 0x1000, SIZE, SIZE, 7, 1)
        + struct.pack(">IIIIIIII", 4, 116 + NOTE_AT, TEXT + NOTE_AT, 0x1100, 36, 36, 4, 4)
        + content
    )  # fmt: skip
    sizes = {"memblock": (MEMBLOCK_AT, 64), "memblock_memory_init_regions": (MEMORY_AT, 128 * 24),
             "memblock_reserved_init_regions": (RESERVED_AT, 128 * 24), "ram_base": (RAM_AT, 4),
             "_totalram_pages": (PAGES_AT, 4), "memblock_can_resize": (RESIZE_AT, 4)}  # fmt: skip
    labels = {"_text": 0, "_start": 0, "_etext": 0x1000, "__start_notes": NOTE_AT, "_end": SIZE}
    return BytesMachine(
        arch="madeup", byte_order="big", bits=32,
        variables={name: Variable(TEXT + at, size, elf) for name, (at, size) in sizes.items()},
        labels={name: TEXT + at for name, at in labels.items()},
        structs={("memblock", ""): MEMBLOCK, ("memblock", "memory"): TYPE, ("memblock", "memory.regions"): REGION},
        enums={("memblock", "memory.regions.flags"): {0: "MEMBLOCK_NONE", 4: "MEMBLOCK_NOMAP"}},
        registers={"pc": pc, "g15": 0x2000_8FF0},
        memory={LOADED: content},
        ranges=[(RAM, RAM + (16 << 20))],
    )  # fmt: skip


def test_its_linux_is_found_and_translated_without_page_tables(tmp_path: Path) -> None:
    machine = guest(tmp_path)
    kernel = find_kernel(machine)
    assert kernel is not None and kernel.arch is MADE_UP
    placement, moved = locate(machine, kernel)
    assert (placement.physical, placement.virtual, moved) == (0x0830_0000, 0, 0)
    assert placement.to_physical(0x2000_1000) == 0x0830_1000
    assert placement.to_physical(0x2000_8FFF) == 0x0830_8FFF
    # What is not the image is in the constant map.
    assert placement.to_physical(0x2000_9000) == 0x0800_9000
    assert placement.to_physical(0x2ABC_D123) == 0x12BC_D123
    for va in (0x1FFF_FFFF, 0x4000_0000, 0xC000_0000):
        with pytest.raises(ReadError):
            placement.to_physical(va)
    assert address_map(machine).of_symbol(TEXT + MEMORY_AT) == 0x0830_3000
    assert boot_phase(machine, kernel, placement) == (Phase.COMPLETE, False)


def test_a_loader_that_still_runs(tmp_path: Path) -> None:
    machine = guest(tmp_path, pc=0x0810_0000)
    kernel = find_kernel(machine)
    assert kernel is not None
    assert boot_phase(machine, kernel, locate(machine, kernel)[0]) == (None, False)
    with pytest.raises(NotReadyError, match="the loader runs"):
        take_snapshot(machine)


def test_its_memblock_is_decoded(tmp_path: Path) -> None:
    snapshot = take_snapshot(guest(tmp_path))
    assert snapshot is not None
    assert (snapshot.arch, snapshot.byte_order, snapshot.bits, snapshot.phase) == (
        "madeup", "big", 64, "allocator complete",
    )  # fmt: skip
    assert [(r.base, r.size, r.flags) for r in snapshot.memory.regions()] == [
        (0x0800_0000, 0x0400_0000, 0),
        (0x1_0000_0000, 0x0080_0000, 4),
    ]
    assert [(r.base, r.size, r.flags) for r in snapshot.reserved.regions()] == [(0x0830_1000, 0x8000, 0)]
    assert [finding.code for finding in check(snapshot)] == []


# -- what its memory holds ---------------------------------------------------------------------------------------------

CONSTANT_MAP = Placement(0, 0, (0, 0), (Linear(KERNEL, 1 << 29, RAM),), base_va=KERNEL)
LINK = c_struct("list_head", [("next", 4), ("prev", 4)])


def test_it_decodes_an_lmb() -> None:
    region = c_struct("lmb_region", [("link", LINK), ("base", 8), ("size", 8), ("flags", 4)])
    block = c_struct("lmb_block", [("link", LINK), ("base", 8), ("nr", 4), ("entries", 4)])
    kind = c_struct("lmb_type", [("regions", LINK), ("cnt", 4), ("total_size", 8), ("name", 4)])
    lmb = c_struct(
        "lmb",
        [("memory", kind), ("reserved", kind), ("freelist", LINK), ("nr_free", 4), ("blocks", LINK), ("nr_blocks", 4),
         ("block_size", 4), ("current_limit", 8), ("bottom_up", 1), ("may_grow", 1), ("closed", 1)],
    )  # fmt: skip
    assert (region.size, block.size, kind.size, lmb.size) == (32, 24, 32, 112)
    memory = BytesMemory({
        0x0800_1000: struct.pack(
            ">IIIxxxxQIxxxx" "IIIxxxxQIxxxx" "III" "III" "IxxxxQBBBxxxxx",
            0x2000_4000, 0x2000_4000, 1, 0x0400_0000, 0,
            0x2000_4020, 0x2000_4040, 2, 0x0030_2000, 0,
            0x2000_4060, 0x2000_4060, 1,
            0x2000_2000, 0x2000_2000, 1,
            4096, 0xFFFF_FFFF_FFFF_FFFF, 0, 1, 0,
        ),
        0x0800_2000: struct.pack(">IIQII", 0x2000_104C, 0x2000_104C, 0, 4, 0x2000_4000),
        0x0800_4000: b"".join(struct.pack(">IIQQIxxxx", *words) for words in (
            (0x2000_1000, 0x2000_1000, 0x0800_0000, 0x0400_0000, 0),
            (0x2000_4040, 0x2000_1020, 0x0800_0000, 0x0030_0000, 0),
            (0x2000_1020, 0x2000_4020, 0x0A00_0000, 0x2000, 4),
            (0x2000_1040, 0x2000_1040, 0, 0, 0),
        )),
    })  # fmt: skip
    program = LmbProgram("madeup", "big", 0x2000_1000, lmb, region, block, 4096, static_entries=(0x2000_4000, 4))
    snapshot = decode_lmb(program, TranslatedMemory(memory, CONSTANT_MAP))
    assert [(r.base, r.size, r.flags) for r in snapshot.memory.regions()] == [(0x0800_0000, 0x0400_0000, 0)]
    assert [(r.base, r.size, r.flags) for r in snapshot.reserved.regions()] == [
        (0x0800_0000, 0x0030_0000, 0),
        (0x0A00_0000, 0x2000, 4),
    ]
    assert (snapshot.arch, snapshot.byte_order, snapshot.bits, snapshot.page_size) == ("madeup", "big", 64, 4096)
    assert [finding.code for finding in check(snapshot)] == []


# -- how it calls ------------------------------------------------------------------------------------------------------

REGISTERS = {
    "g2": 0x0000_0001, "g3": 0xFFFF_F000, "g4": 0x1111_1111, "g5": 0xDEAD_0001,
    "g6": 0x0000_0002, "g7": 0x3333_4444, "g15": 0x2010_0000,
}  # fmt: skip
# The return address, a word that is the callee's, then arguments: u32, a word to get to a multiple of 8, u64, s16.
STACK = struct.pack(">IIIxxxxQI", 0x2000_1234, 0xDEAD_BEEF, 0x5555_5555, 0x6666_6666_7777_7777, 0xABCD_FFFE)


def frame(convention: Convention = CONVENTION) -> CallFrame:
    return CallFrame(convention, "big", REGISTERS.get, BytesMemory({0x2010_0000: STACK}))


def test_a_call_with_arguments_in_register_pairs_and_on_the_stack() -> None:
    names = (("flags", 4), ("base", 8), ("nid", 4), ("size", 8))
    parameters = [Parameter(name, size) for name, size in names] + [Parameter("node", 2, signed=True)]
    # g5 is passed over: base begins at an even register. The rest has no register left.
    assert frame().arguments(parameters) == {
        "flags": 0x1111_1111,
        "base": 0x0000_0002_3333_4444,
        "nid": 0x5555_5555,
        "size": 0x6666_6666_7777_7777,
        "node": -2,
    }


def test_the_way_back_and_a_result_in_a_pair() -> None:
    assert frame().caller() == (0x2000_1234, 0x2010_0004)
    assert frame().result(Parameter("", 8)) == 0x0000_0001_FFFF_F000
    assert frame().result(Parameter("", 4)) == 1
    assert frame(replace(CONVENTION, link="g5", tags=1)).caller() == (0xDEAD_0000, 0x2010_0000)


def test_a_register_that_gdb_has_not_is_named() -> None:
    with pytest.raises(LayoutError, match="no register g9"):
        frame(replace(CONVENTION, arguments=("g9",))).arguments([Parameter("base", 4)])


# Each ABI's own rules for what does not fit, from its document: registers and offset on the stack of each argument.
Places = list[tuple[tuple[str, ...], int, int]]


@pytest.mark.parametrize(
    ("name", "sizes", "places"),
    [
        # -mregparm=3: u64 after two words goes to the stack, and nothing after it has a register.
        ("i386", (4, 4, 8, 4), [(("eax",), 0, 0), (("edx",), 0, 0), ((), 0, 8), ((), 8, 4)]),
        ("i386", (4, 8, 4), [(("eax",), 0, 0), (("edx", "ecx"), 0, 0), ((), 0, 4)]),
        # AAPCS: pairs begin at r0 or r2, and at multiples of 8 on the stack.
        ("arm", (4, 8, 4, 8), [(("r0",), 0, 0), (("r2", "r3"), 0, 0), ((), 0, 4), ((), 8, 8)]),
        # System V for PowerPC: r3/r4, r5/r6, …
        ("ppc", (4, 8, 8, 8, 4), [
            (("r3",), 0, 0), (("r5", "r6"), 0, 0), (("r7", "r8"), 0, 0), (("r9", "r10"), 0, 0), ((), 0, 4)]),
        # RISC-V: the last register and the first word of the stack.
        ("riscv64", (8,) * 7 + (16, 8), [*(((f"a{n}",), 0, 0) for n in range(7)), (("a7",), 0, 8), ((), 8, 8)]),
        # x86-64: what does not fit leaves the register to the next.
        ("x86-64", (8,) * 5 + (16, 8, 4), [
            *(((name,), 0, 0) for name in ("rdi", "rsi", "rdx", "rcx", "r8")),
            ((), 0, 16), (("r9",), 16, 0), ((), 16, 8)]),
        ("aarch64", (8, 16) + (8,) * 5, [
            (("x0",), 0, 0), (("x2", "x3"), 0, 0), *(((f"x{n}",), 0, 0) for n in range(4, 8)), ((), 0, 8)]),
        ("s390x", (8,) * 6, [*(((f"r{n}",), 0, 0) for n in range(2, 7)), ((), 0, 8)]),
    ],
)  # fmt: skip
def test_what_does_not_fit_into_registers(name: str, sizes: tuple[int, ...], places: Places) -> None:
    assert list(registry.named(name).convention.places(sizes)) == places
