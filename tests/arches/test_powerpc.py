# SPDX-License-Identifier: GPL-2.0-or-later
"""PowerPC without gdb: registers by role, a guest that is halted, registers in QEMU's dumps, processors by machine.

Texts and bytes are what QEMU 7.2 wrote of kernels on ppce500 and bamboo.
"""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from gdb_lmb.arches.base import CallFrame, Parameter
from gdb_lmb.arches.registry import named
from gdb_lmb.core.memory import BytesMemory
from gdb_lmb.formats.core_file import CoreFile
from gdb_lmb.formats.elf import Note, read_headers

PPC, PPC64, PPC64LE = map(named, ("ppc", "ppc64", "ppc64le"))


@pytest.mark.parametrize(
    ("name", "registers", "paging", "user"),
    [
        # An e500 and a 440 translate in every mode; gdb has registers of these that no other has.
        ("ppc", {"msr": 0, "mas0": 0, "pid": 0}, True, False),
        ("ppc", {"msr": 0, "mmucr": 0}, True, False),
        ("ppc", {"msr": 1 << 14, "mas0": 0x1001_0000}, True, True),
        # An e5500 comes up in 32-bit mode, in which addresses have 32 bits.
        ("ppc64", {"msr": 0, "mas0": 0}, False, False),
        ("ppc64", {"msr": 0x8000_0000, "mas0": 0}, True, False),
        # All others have a bit for it.
        ("ppc", {"msr": 0x1000}, False, False),
        ("ppc", {"msr": 0x1010}, True, False),
        ("ppc", {"msr": 0x1020}, False, False),
        ("ppc", {"msr": 0x1030, "sdr1": 0}, True, False),
        ("ppc64le", {"msr": 0x8000_0000_0000_0001}, False, False),
        ("ppc64le", {"msr": 0x8000_0000_0000_4033}, True, True),
        ("ppc", {}, None, None),
    ],
)
def test_registers_by_role(name: str, registers: dict[str, int], paging: bool | None, user: bool | None) -> None:
    cpu = named(name).cpu_state({"pc": 0x40_0000, "r1": 0x7000, "lr": 0x40_0100, **registers}.get)
    assert (cpu.pc, cpu.sp, cpu.link, cpu.paging, cpu.user) == (0x40_0000, 0x7000, 0x40_0100, paging, user)


@pytest.mark.parametrize(("name", "above"), [("ppc", 8), ("ppc64", 112), ("ppc64le", 96)])
def test_the_ninth_argument(name: str, above: int) -> None:
    # Behind the back chain and the return address; those of 64 bits have 6 words (ELFv2: 4) and 8 for the registers.
    row = named(name)
    registers = {"r1": 0x1000, "msr": 0, **{f"r{3 + number}": number for number in range(8)}}
    assert row.cpu_state(registers.get).sp == 0x1000
    memory = BytesMemory({0x1000 + above: (8).to_bytes(row.word_bytes, row.byte_order)})
    call = CallFrame(row.convention, row.byte_order, registers.get, memory)
    parameters = [Parameter(str(number), row.word_bytes) for number in range(9)]
    assert call.arguments(parameters) == {str(number): number for number in range(9)}


HALTED = """
CPU#0
NIP c04001d8   LR c04001d8 CTR 00000000 XER 20000000 CPU#0
MSR 00000000 HID0 00000000  HF 24000002 iidx 1 didx 1
TB 00000000 07319123 DECR 4287648594
"""
NOP, WAIT, HERE = 0x6000_0000, 0x7C00_007C, 0x4800_0000
ELSE = 0x3860_0001  # li r3, 1


@pytest.mark.parametrize(
    ("registers", "code", "dead"),
    [
        (HALTED, {0: HERE}, True),
        (HALTED, {0: WAIT, 1: HERE | 0x3FF_FFFC}, True),
        (HALTED, {-1: WAIT, 0: HERE | 0x3FF_FFFC}, True),
        (HALTED, {-1: NOP, 0: NOP, 1: WAIT, 2: HERE | 0x3FF_FFF4}, True),
        (HALTED, {-4: 0x7C21_0B78, -3: 0x7C42_1378, -2: 0x7FFF_FB78, -1: NOP, 0: HERE | 0x3FF_FFF0}, True),
        # A loop that does something, one that is left, a call.
        (HALTED, {-1: ELSE, 0: HERE | 0x3FF_FFFC}, False),
        (HALTED, {0: HERE | 8}, False),
        (HALTED, {**dict.fromkeys(range(-4, 0), NOP), 0: HERE | 0x3FF_FFEC}, False),
        (HALTED, {0: WAIT, 1: ELSE}, False),
        (HALTED, {0: HERE | 1}, False),
        # External or critical interrupts are on; nothing can be read; what is told is not understood.
        (HALTED.replace("MSR 00000000", "MSR 00008000"), {0: HERE}, False),
        (HALTED.replace("MSR 00000000", "MSR 00020000"), {0: HERE}, False),
        (HALTED, {}, False),
        ("CPU#0", {0: HERE}, False),
    ],
)
def test_a_guest_that_nothing_wakes(registers: str, code: dict[int, int], dead: bool) -> None:
    def words(va: int, count: int) -> tuple[int, ...]:
        assert (va, count) == (0xC040_01D8 - 16, 9)
        places = range((va - 0xC040_01D8) // 4, (va - 0xC040_01D8) // 4 + count)
        return tuple(code.get(place, ELSE) for place in places) if code else ()

    assert PPC.is_dead(registers, words) is dead


def test_of_64_bits() -> None:
    told = "NIP c000000000400290   LR c000000000400290 CTR 0000000000000000 XER 0000000000000000 CPU#0\n"
    assert PPC64.is_dead(f"{told}MSR 0000000080000000 HID0 0", lambda va, count: (HERE,) * count)
    assert not PPC64.is_dead(f"{told}MSR 0000000080008000 HID0 0", lambda va, count: (HERE,) * count)


def core(folder: Path, bits: int, order: str, *notes: Note) -> CoreFile:
    ident = b"\x7fELF" + bytes([bits // 32, 2 if order == "big" else 1, 1]) + bytes(9)
    form = f"{'>' if order == 'big' else '<'}HHI{'III' if bits == 32 else 'QQQ'}IHHHHHH"
    sizes = (52, 32, 40) if bits == 32 else (64, 56, 64)
    (folder / "core").write_bytes(
        ident + struct.pack(form, 4, 20, 1, 0, 0, 0, 0, sizes[0], sizes[1], 0, sizes[2], 0, 0)
    )
    elf = read_headers(folder / "core")
    return CoreFile(**vars(elf), notes=notes)


@pytest.mark.parametrize(("name", "size"), [("ppc", 328), ("ppc64", 504), ("ppc64le", 504)])
def test_registers_in_a_dump(tmp_path: Path, name: str, size: int) -> None:
    row = named(name)
    registers = [0x1000 + number for number in range(39)]
    raw = b"".join(value.to_bytes(row.word_bytes, row.byte_order) for value in registers)
    status = (bytes(112) + raw).ljust(size, b"\0")
    notes = [Note(b"CORE", 1, status, 0), Note(b"CORE", 2, bytes(260), 0), Note(b"CORE", 1, status, 0)]
    cpus = row.noted_cpus(core(tmp_path, row.bits, row.byte_order, *notes))
    assert len(cpus) == 2
    assert (cpus[0]["r0"], cpus[0]["r1"], cpus[0]["r31"]) == (0x1000, 0x1001, 0x101F)
    assert (cpus[1]["pc"], cpus[1]["msr"], cpus[1]["ctr"], cpus[1]["lr"]) == (0x1020, 0x1021, 0x1023, 0x1024)
    # One that is too short tells nothing.
    for end, count in ((112 + len(raw), 1), (112 + len(raw) - 1, 0)):
        short = [notes[0]._replace(data=status[:end])]
        assert len(row.noted_cpus(core(tmp_path, row.bits, row.byte_order, *short))) == count


def test_processors_belong_to_machines() -> None:
    assert [PPC64.cpu_on(name) for name in (None, "ppce500", "pseries")] == ["e5500", "e5500", None]
    assert [PPC.cpu_on(name) for name in (None, "bamboo")] == [None, None]
    assert (PPC.machine, PPC64.machine, PPC64LE.machine) == ("ppce500", "ppce500", "pseries")
    assert named("aarch64").cpu_on("sbsa-ref") == named("aarch64").cpu
