# SPDX-License-Identifier: GPL-2.0-or-later
"""x86-64's stacks by ORC tables, written by hand after arch/x86/include/asm/orc_types.h and unwind_orc.c."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

import pytest

from gdb_lmb.arches.base import Cpu
from gdb_lmb.arches.linux import linux_architecture
from gdb_lmb.arches.x86.orc import PT_REGS, frames, orc_table
from gdb_lmb.core.address import Identity, KernelImage
from gdb_lmb.core.errors import LayoutError, ReadError
from gdb_lmb.core.machine import Variable
from gdb_lmb.core.memory import BytesMemory
from tests.helpers.machine import BytesMachine

X86 = linux_architecture("x86_64")
TEXT, MOVE, STACK = 0xFFFF_FFFF_8100_0000, 0x1200_0000, 0xFFFF_C900_0001_0000
CODE = ((TEXT + 0x1000, TEXT + 0x3000),)
IPS = TEXT + 0x10_0000
"""Where the table of addresses is linked."""


class Form(NamedTuple):
    """How the fields of an entry lie, and what its types and registers are called."""

    types: dict[str, int]
    registers: dict[str, int]
    ends_at: int | None = None  # the bit of the end, None where that is a type


# Linux 6.4 and later; before it the types began with a call, and the end was bit 11, before 6.0 bit 10.
NEW = Form(
    {"end": 1, "call": 2, "regs": 3, "regs partial": 4},
    {"": 0, "prev": 1, "rdx": 2, "rdi": 3, "rbp": 4, "rsp": 5, "r10": 6, "r13": 7, "bp*": 8, "sp*": 9},
)
OLD = Form({"call": 0, "regs": 1, "regs partial": 2, "end": 0}, NEW.registers, 11)
OTHER = NEW._replace(registers={
    "": 0, "rax": 1, "rdx": 2, "rsp": 3, "rbp": 4, "rdi": 5, "r10": 6, "r13": 7, "prev": 8, "sp*": 9, "bp*": 10
})  # fmt: skip
Entry = tuple[int, str, str, int, str, int]
"""Where it begins; its type; the register and the offset of the frame's end; and those of where rbp is."""


def vmlinux(folder: Path, entries: list[Entry], form: Form = NEW, *, more: int = 0, sections: int = 2) -> Path:
    """Write an ELF with these entries between those of 8 functions that have nothing on the stack.

    `more` are so many entries that no address is of; of `sections` only so many are there.
    """
    usual = [(0x4000 + at, "call", "rsp", 8, "", 0) for at in range(8)]
    # Others that are commoner have something on the stack.
    others: list[Entry] = [(0x5000 + at, "call", "rbp", 16, "", 0) for at in range(10)]
    rows = sorted([*entries, *usual, *others])
    ips = b"".join(struct.pack("<i", TEXT + row[0] - IPS - 4 * at) for at, row in enumerate(rows))
    numbers = [form.types[row[1]] << 8 | form.registers[row[4]] << 4 | form.registers[row[2]] for row in rows]
    if form.ends_at is not None:
        numbers = [bits | (row[1] == "end") << form.ends_at for row, bits in zip(rows, numbers, strict=True)]
    orc = b"".join(struct.pack("<hhH", row[3], row[5], bits) for row, bits in zip(rows, numbers, strict=True))
    orc += bytes(6 * more)
    names = b"\0.orc_unwind_ip\0.orc_unwind\0.shstrtab\0"
    start = 64
    told = [
        struct.pack("<IIQQQQIIQQ", 1, 1, 2, IPS, start, len(ips), 0, 0, 4, 0),
        struct.pack("<IIQQQQIIQQ", 16, 1, 2, IPS + len(ips), start + len(ips), len(orc), 0, 0, 2, 0),
    ][:sections]
    body = ips + orc + names
    told = [bytes(64), *told, struct.pack("<IIQQQQIIQQ", 28, 3, 0, 0, start + len(ips + orc), len(names), 0, 0, 1, 0)]
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, TEXT, 0, start + len(body), 0, 64, 56, 0, 64, len(told), len(told) - 1
    )
    path = folder / "vmlinux"
    path.write_bytes(ident + header + body + b"".join(told))
    orc_table.cache_clear()
    return path


def at(linked: int) -> int:
    """Return the run-time address of an offset in the image."""
    return TEXT + linked + MOVE


def memory(words: dict[int, list[int]]) -> BytesMemory:
    """Return a stack with these words at its offsets."""
    raw = bytearray(0x1000)
    for offset, values in words.items():
        struct.pack_into(f"<{len(values)}Q", raw, offset, *values)
    return BytesMemory({STACK: bytes(raw)})


def followed(path: Path, words: dict[int, list[int]], *, pc: int = 0x1010, **known: int) -> list[int]:
    table = orc_table(path)
    assert table is not None
    registers = {"rsp": STACK, "rbp": 0, **known}
    return [one - TEXT for one in frames(table, CODE, MOVE, at(pc), registers, memory(words))]


# The functions of these tests: each begins at its number.
CALL = (0x1000, "call", "rsp", 8, "", 0)
PUSHED = (0x1100, "call", "rsp", 24, "prev", -16)  # rbp is pushed, and a word more
FRAMED = (0x1200, "call", "rbp", 16, "prev", -16)
SAVED = (0x1300, "call", "rsp", 8, "rbp", -8)  # where rbp points is that of the caller
ALIGNED = (0x1400, "call", "r10", 8, "", 0)
INDIRECT = (0x1500, "call", "bp*", -8, "", 0)  # what lies below rbp points there
SWITCHED = (0x1600, "call", "sp*", 8, "", 0)  # the top of the stack points to another
EXCEPTION = (0x1700, "regs", "rsp", 0, "", 0)
INTERRUPT = (0x1800, "regs partial", "rsp", 16, "", 0)  # two words, then what the CPU has pushed
END = (0x1900, "end", "", 0, "", 0)
ALL = [CALL, PUSHED, FRAMED, SAVED, ALIGNED, INDIRECT, SWITCHED, EXCEPTION, INTERRUPT, END]


def pt_regs(ip: int, cs: int = 0x10, **known: int) -> list[int]:
    """Return a `struct pt_regs`, by hand after arch/x86/include/asm/ptrace.h: the last words are ip, cs, flags, sp."""
    order = ["r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi"]
    return [known.get(name, 0x1111) for name in order] + [0, ip, cs, 2, known.get("rsp", 0), 0x18]


WORDS = {
    0: [at(0x1111)],
    0x10: [STACK + 0x80, at(0x1211)],
    0x80: [STACK + 0xC8, at(0x1301), at(0x1501)],
    0xC0: [STACK + 0x108],
    0x100: [STACK + 0x140],
    0x138: [at(0x1601), STACK + 0x200],
    0x200: [at(0x1701), *pt_regs(at(0x1400), r10=STACK + 0x400)],
    0x400: [at(0x1801), 0, 0, at(0x1900), 0x10, 2, STACK + 0x500, 0x18],
}
FRAMES = [0x1010, 0x1110, 0x1210, 0x1300, 0x1500, 0x1600, 0x1700, 0x1400, 0x1800, 0x1900]


@pytest.mark.parametrize("form", [NEW, OLD, OLD._replace(ends_at=10), OTHER])
def test_every_kind_of_entry(tmp_path: Path, form: Form) -> None:
    path = vmlinux(tmp_path, ALL, form)
    assert followed(path, WORDS) == FRAMES
    # From user mode nothing of the kernel's lies further out.
    assert followed(path, WORDS | {0x200: [at(0x1701), *pt_regs(at(0x1400), cs=0x33)]}) == FRAMES[:7]
    assert followed(path, WORDS | {0x400: [at(0x1801), 0, 0, at(0x1900), 0x33]}) == FRAMES[:9]
    # Where an exception has left rsp and rbp the caller goes on.
    words = {0: pt_regs(at(0x1010), rsp=STACK + 0x300, rbp=STACK + 0x400), 0x300: [at(0x1211)], 0x400: [0, at(0x1901)]}
    assert followed(path, words, pc=0x1700) == [0x1700, 0x1010, 0x1210, 0x1900]
    words = {0x10: [at(0x1010), 0x10, 2, STACK + 0x300, 0x18], 0x300: [at(0x1211)], 0x400: [0, at(0x1901)]}
    assert followed(path, words, pc=0x1800, rbp=STACK + 0x400) == [0x1800, 0x1010, 0x1210, 0x1900]


def test_what_cannot_be_followed(tmp_path: Path) -> None:
    form = NEW._replace(types=NEW.types | {"odd": 7}, registers=NEW.registers | {"odd": 15})
    rows: list[Entry] = [
        *ALL, (0x1A00, "call", "odd", 8, "", 0), (0x1B00, "call", "rsp", 8, "odd", 0), (0x1C00, "odd", "rsp", 8, "", 0),
        (0x1D00, "call", "rdi", 8, "", 0), (0x1E00, "call", "", 0, "", 0),
    ]  # fmt: skip
    path = vmlinux(tmp_path, rows, form)
    nothing = "the kernel's unwind tables "
    for pc, words, text in (
        (0x1010, {0: [0x1234]}, "0x1233 on the stack is not in the kernel's code"),
        (0xFFF, {}, f"{at(0xFFF):#x} on the stack is not in the kernel's code"),
        (0x3000, {}, f"{at(0x3000):#x} on the stack is not in the kernel's code"),
        (0x1010, {0: [at(0x1011)] * 512}, "the stack has more than 256 frames"),
        (0x1A00, {}, f"{nothing}have an unknown register for {TEXT + 0x1A00:#x}"),
        (0x1B00, {}, f"{nothing}have an unknown register for {TEXT + 0x1B00:#x}"),
        (0x1C00, {}, f"{nothing}do not tell what called {TEXT + 0x1C00:#x}"),
        (0x1D00, {}, f"{nothing}do not tell what called {TEXT + 0x1D00:#x}"),
        (0x1E00, {}, f"{nothing}do not tell what called {TEXT + 0x1E00:#x}"),
        (0x1000, {0: [at(0x1001)]}, f"{nothing}do not tell of {TEXT + 0x1000:#x}"),
    ):
        if text.endswith(f"tell of {TEXT + 0x1000:#x}"):
            path = vmlinux(tmp_path, [row for row in ALL if row is not CALL])
        with pytest.raises(LayoutError) as error:
            followed(path, words, pc=pc)
        assert str(error.value) == text
    with pytest.raises(ReadError):
        followed(path, {}, pc=0x1100, rsp=STACK + 0x1000)


@pytest.mark.parametrize(
    ("form", "more", "sections"),
    [
        (NEW, 1, 2), (NEW, 0, 1), (NEW, 0, 0),
        (NEW._replace(types=NEW.types | {"call": 5}), 0, 2),
        (NEW._replace(registers=NEW.registers | {"rsp": 6}), 0, 2),
    ],
)  # fmt: skip
def test_tables_that_are_none(tmp_path: Path, form: Form, more: int, sections: int) -> None:
    assert orc_table(vmlinux(tmp_path, ALL, form, more=more, sections=sections)) is None
    assert orc_table(tmp_path / "none") is None
    table = orc_table(vmlinux(tmp_path, ALL))
    assert table is not None and table.row(TEXT + 0x7000).sp == "rbp", "the last entry is of all that follows"


def kernel(path: Path) -> KernelImage:
    return KernelImage(path, Identity(TEXT, b"id"), (TEXT, TEXT + 0x10000), CODE, TEXT, {}, (TEXT,), (TEXT, None))


def test_what_it_begins_with(tmp_path: Path) -> None:
    known = dict.fromkeys(PT_REGS, 0) | {"rsp": STACK}
    image, machine, cpu = kernel(vmlinux(tmp_path, ALL)), BytesMachine(), Cpu(at(0x1010), STACK)
    assert [one - TEXT for one in X86.frames(image, MOVE, cpu, known, machine, memory(WORDS))][:2] == FRAMES[:2]
    missing = r"^the debugger does not have the registers that a stack is followed by$"
    for lost in (Cpu(None, STACK), cpu):
        registers = known if lost.pc is None else {name: known[name] for name in [*known][1:]}
        with pytest.raises(LayoutError, match=missing):
            list(X86.frames(image, MOVE, lost, registers, machine, memory(WORDS)))
    path = vmlinux(tmp_path, ALL, sections=0)
    with pytest.raises(LayoutError, match=rf"^{path} has no tables for following a stack \(CONFIG_UNWINDER_ORC\)$"):
        list(X86.frames(kernel(path), MOVE, cpu, known, machine, memory(WORDS)))


def test_a_stack_that_an_oops_has_thrown_away_and_that_is_not_in_the_code(tmp_path: Path) -> None:
    image = kernel(vmlinux(tmp_path, ALL))
    machine = BytesMachine(labels={"_text": TEXT, "rewind_stack_and_make_dead": TEXT + 0x3000, "other": TEXT + 0x3100},
                           variables={"exec_summary_regs": Variable(TEXT + 0x8000, 168)})  # fmt: skip
    stack = BytesMemory({at(0x8000): struct.pack("<21Q", *pt_regs(at(0x1910)))})
    known = dict.fromkeys(PT_REGS, 0) | {"rsp": STACK}
    assert [*X86.frames(image, MOVE, Cpu(at(0x3004), STACK), known, machine, stack)] == [TEXT + 0x1910]


@pytest.mark.parametrize("lost", [None, "exec_summary_regs", "_text", "rewind_stack_and_make_dead"])
def test_a_stack_that_an_oops_has_thrown_away(tmp_path: Path, lost: str | None) -> None:
    # The function that nothing has called is followed by the registers of the first oops; symbols are moved by 0x20000.
    image = kernel(vmlinux(tmp_path, [*ALL, (0x1D00, "call", "", 0, "", 0)]))
    labels = {"_text": TEXT + 0x2_0000, "rewind_stack_and_make_dead": TEXT + 0x2_1D00, "other": TEXT + 0x2_1D08}
    variables = {"exec_summary_regs": Variable(TEXT + 0x2_8000, 168)}
    machine = BytesMachine(labels={name: at for name, at in labels.items() if name != lost},
                           variables={name: one for name, one in variables.items() if name != lost})  # fmt: skip
    regs = struct.pack("<21Q", *pt_regs(at(0x1210), rbp=STACK + 0x80, rsp=STACK))
    stack = BytesMemory({STACK: memory({0x80: [0, at(0x1901)]}).read(STACK, 0x1000), at(0x8000): regs})
    known = dict.fromkeys(PT_REGS, 0) | {"rsp": STACK}
    found = []
    try:
        for one in X86.frames(image, MOVE, Cpu(at(0x1D04), STACK), known, machine, stack):
            found.append(one - TEXT)
    except LayoutError as error:
        assert lost is not None and str(error).endswith(f"do not tell what called {TEXT + 0x1D04:#x}")
    assert found == ([0x1D04, 0x1210, 0x1900] if lost is None else [0x1D04])
