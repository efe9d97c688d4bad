# SPDX-License-Identifier: GPL-2.0-or-later
"""arm64's stacks, written by hand after arch/arm64/kernel/entry.S and stacktrace.c: through exceptions to their end."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest

from gdb_lmb.arches.base import Cpu
from gdb_lmb.arches.linux import linux_architecture
from gdb_lmb.core.address import Identity, KernelImage, Phase, Placement
from gdb_lmb.core.errors import LayoutError, NotReadyError, ReadError
from gdb_lmb.core.fields import Field, Struct
from gdb_lmb.core.memory import BytesMemory
from tests.helpers.machine import BytesMachine

ARM64 = linux_architecture("aarch64")
TEXT, MOVE, STACK = 0xFFFF_8000_8000_0000, 0x1_2340_0000, 0xFFFF_8000_9000_0000
CODE = (TEXT + 0x1000, TEXT + 0x3000)
SYMBOLS = {"__entry_text_start": TEXT + 0x2000, "__entry_text_end": TEXT + 0x2100}
KERNEL = KernelImage(Path("vmlinux"), Identity(TEXT, b"id"), (TEXT, TEXT + 0x10000), (CODE,), TEXT, SYMBOLS, (TEXT,),
                     (TEXT, None))  # fmt: skip
# `struct pt_regs`: 34 words, then what is the kernel's own; since 6.13 the record has its kind.
WITH_KIND = Struct(
    "pt_regs",
    320,
    {
        "regs": Field(0, 8), "stackframe.record.fp": Field(296, 8), "stackframe.record.lr": Field(304, 8),
        "stackframe.type": Field(312, 8),
    },
)  # fmt: skip
WITHOUT = Struct("pt_regs", 336, {"regs": Field(0, 8), "stackframe": Field(304, 16)})
EL1, EL0 = 0x3C5, 0x3C0
FINAL, PT_REGS = 1, 2


def at(linked: int) -> int:
    """Return the run-time address of an offset in the image."""
    return TEXT + linked + MOVE


def signed(address: int) -> int:
    """Return a return address as pointer authentication signs it."""
    return address & ~(0xA5 << 56)


def followed(
    words: dict[int, list[int]], *, form: Struct = WITH_KIND, pc: int = at(0x1010), sp: int = STACK,
    link: int | None = None, elr: int | None = None, record: int | None = STACK + 0x10,
) -> list[int]:  # fmt: skip
    """Return the offsets in the image of the calls on a stack; `words` are what lies at offsets of it."""
    memory = bytearray(0x1000)
    for offset, values in words.items():
        struct.pack_into(f"<{len(values)}Q", memory, offset, *values)
    known = {name: value for name, value in (("x29", record), ("ELR_EL1", elr)) if value is not None}
    machine = BytesMachine(arch="aarch64", structs={("struct pt_regs", ""): form})
    stack = BytesMemory({STACK: bytes(memory)})
    return [one - TEXT for one in ARM64.frames(KERNEL, MOVE, Cpu(pc, sp, link), known, machine, stack)]


def regs(x29: int, x30: int, pc: int, state: int) -> list[int]:
    out = [0x1111] * 34
    out[29], out[30], out[32], out[33] = x29, x30, pc, state
    return out


def test_through_an_exception() -> None:
    words = {
        0x10: [STACK + 0x100 + 296, signed(at(0x1100))],
        0x100: regs(STACK + 0x300, signed(at(0x1304)), at(0x1200), EL1),
        0x100 + 296: [0, 0, PT_REGS],
        0x300: [STACK + 0x400, at(0x1400)],
        0x400: [0, 0, FINAL],
    }
    assert followed(words, link=at(0x1044)) == [0x1010, 0x1043, 0x10FF, 0x1200, 0x1303, 0x13FF]
    # From user mode nothing of the kernel's lies further out.
    words[0x100] = regs(STACK + 0x300, at(0x1304), at(0x1200), EL0)
    assert followed(words) == [0x1010, 0x10FF]
    # Registers that lie where the stack has not grown to are none; EL1t and EL2h are the kernel's too.
    for level in (0x3C4, 0x3C9):
        words[0x100] = regs(STACK + 0x300, at(0x1304), at(0x1200), level)
        assert followed(words) == [0x1010, 0x10FF, 0x1200, 0x1303, 0x13FF]
    words[0x210] = words.pop(0x10)
    for sp in (0x101, 0x100 + 296):
        with pytest.raises(LayoutError, match=r"^0x0 on the stack is not in the kernel's code$"):
            followed(words, sp=STACK + sp, record=STACK + 0x210)
    assert followed(words, sp=STACK + 0x100, record=STACK + 0x210) == [0x1010, 0x10FF, 0x1200, 0x1303, 0x13FF]


def test_through_an_exception_of_a_kernel_without_kinds_of_records() -> None:
    words = {
        0x10: [STACK + 0x100 + 304, at(0x1100)],
        0x100: regs(STACK + 0x300, 0, at(0x1200), EL1),
        0x100 + 304: [STACK + 0x300, at(0x1200)],
        0x300: [STACK + 0x400, at(0x1400)],
        0x400: [0, 0, PT_REGS],
    }
    # The exception's record has the interrupted function's own address, no return address.
    assert followed(words, form=WITHOUT) == [0x1010, 0x10FF, 0x1200, 0x13FF]


def test_no_exceptions_where_their_records_are_not_known() -> None:
    words = {0: [STACK + 0xFE0, at(0x1100)], 0xFE0: [STACK + 0xFF0, at(0x1200), 0, 0]}
    form = Struct("pt_regs", 272, {"regs": Field(0, 8)})
    assert followed(words, form=form, sp=STACK - 0x100, record=STACK) == [0x1010, 0x10FF, 0x11FF]


def test_the_first_instructions_of_an_exception() -> None:
    end = {0x10: [0, 0, FINAL]}
    for pc, found in ((0x1FFF, [0x1FFF]), (0x2000, [0x2000, 0x1500]), (0x20FF, [0x20FF, 0x1500]), (0x2100, [0x2100])):
        assert followed(end, pc=at(pc), elr=at(0x1500)) == found
    assert followed(end, pc=at(0x2000)) == [0x2000]


def test_the_ends_of_the_code() -> None:
    end = {0x10: [0, 0, FINAL]}
    for pc, found in ((0xFFF, []), (0x1000, [0x1000]), (0x2FFF, [0x2FFF]), (0x3000, [])):
        assert followed(end, pc=at(pc)) == found
    # A call that never returns may be a function's last instruction.
    assert followed({0x10: [STACK + 0x400, at(0x3000)], 0x400: [0, 0, FINAL]}) == [0x1010, 0x2FFF]


def test_what_cannot_be_followed() -> None:
    with pytest.raises(LayoutError, match=r"^0x1234 on the stack is not in the kernel's code$"):
        followed({0x10: [STACK + 0x400, 0x1234]})
    with pytest.raises(LayoutError, match=r"^the stack has more than 256 frames$"):
        followed({0x10: [STACK + 0x10, at(0x1100)]})
    # A record with one zero is none that ends.
    for words in ([0x10, at(0x1100)], [0, at(0x1100), FINAL]):
        with pytest.raises(ReadError):
            followed({0x10: words})
    with pytest.raises(LayoutError, match=r"^0x0 on the stack is not in the kernel's code$"):
        followed({0x10: [STACK + 0x400, 0, FINAL]})
    with pytest.raises(LayoutError, match=r"^the debugger does not have the registers that a stack is followed by$"):
        followed({}, record=None)
    for cpu in (Cpu(None, STACK), Cpu(at(0x1010), None)):
        machine = BytesMachine(structs={("struct pt_regs", ""): WITH_KIND})
        with pytest.raises(LayoutError, match=r"^the debugger does not have the registers"):
            list(ARM64.frames(KERNEL, MOVE, cpu, {"x29": STACK}, machine, BytesMemory({})))


def test_inside_the_image() -> None:
    place = Placement(0x4020_0000, MOVE, KERNEL.image, base_va=TEXT, settled=False)
    for pc, inside in ((0x401F_FFFF, False), (0x4020_0000, True), (0x4020_FFFF, True), (0x4021_0000, False)):
        cpu = Cpu(pc, paging=False)
        if inside:
            ARM64.require_running(KERNEL, place, cpu)
        else:
            with pytest.raises(NotReadyError, match="this CPU has not got to it"):
                ARM64.require_running(KERNEL, place, cpu)
    ARM64.require_running(KERNEL, replace(place, settled=True), Cpu(None))


def test_where_it_is_and_how_far_its_boot_has_come() -> None:
    """Its own words tell how far it is moved: before they are written, a pointer that is relocated does."""
    names = {"kimage_voffset": TEXT + 0x100, "memstart_addr": TEXT + 0x108, "__primary_switched": TEXT + 0x1800}
    kernel = replace(KERNEL, symbols=SYMBOLS | names, early_pointer=(TEXT + 0x110, TEXT + 0x5000))
    image = Placement(0x4020_0000, 0, KERNEL.image, base_va=TEXT)
    low, high = Cpu(0x4020_1000, paging=False), Cpu(at(0x1010), paging=True)

    def settled(offset: int, pointer: int, cpu: Cpu, image_of: KernelImage = kernel) -> Placement:
        memory = BytesMemory({0x4020_0100: struct.pack("<3Q", offset & (1 << 64) - 1, 0x4000_0000, pointer)})
        return ARM64.settle(image_of, image, None, memory, cpu)

    offset = TEXT + MOVE - 0x4020_0000
    found = settled(offset, 0, low)
    assert (found.physical, found.virtual, found.settled) == (0x4020_0000, MOVE, True) and found.linear
    assert ARM64.early_phase(kernel, found, low) is None and ARM64.first_instruction(kernel, found) == at(0x1800)
    for cpu, phase in ((low, Phase.UNMAPPED), (replace(low, paging=True), Phase.IDENTITY)):
        early = settled(0, TEXT + 0x5000 + MOVE, cpu)
        assert (early.virtual, early.settled) == (MOVE, False) and ARM64.early_phase(kernel, early, cpu) is phase
    assert settled(0, TEXT + 0x5000, high) == replace(image, linear=found.linear)
    with pytest.raises(NotReadyError, match="this CPU has not got to it"):
        ARM64.early_phase(kernel, replace(image, settled=False), Cpu(0x4000_0000, paging=False))
    for damaged in (offset + 0x1000, offset - MOVE - (2 << 20), offset - MOVE - (1 << 63)):
        with pytest.raises(NotReadyError, match=rf"^kimage_voffset is {damaged:#x}, which is damaged$"):
            settled(damaged, 0, low)
    with pytest.raises(NotReadyError, match=r"^the kernel is in memory, but not relocated yet: continue a little$"):
        settled(0, TEXT + 0x5000 - 1, low)
    with pytest.raises(LayoutError, match=r"^vmlinux has no debug information of memblock's first array$"):
        settled(0, 0, low, replace(kernel, early_pointer=(TEXT + 0x110, None)))
    assert ARM64.linked_way_points(kernel) == (TEXT + 0x1800,) and ARM64.linked_way_points(KERNEL) == ()
    assert [ARM64.arrived(cpu) for cpu in (low, high, Cpu(None))] == [False, True, False]
    assert list(ARM64.anywhere(kernel, [(0x4000_1000, 0x4060_0000)])) == [0x4020_0000, 0x4040_0000]
    assert ARM64.base_va(KERNEL.image) == TEXT
