# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that nothing can wake any more, by QEMU's words: no guest that may go on is called dead."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gdb_lmb.arches.base import Cpu
from gdb_lmb.arches.registry import named
from gdb_lmb.core.memory import BytesMemory

X86, ARM64 = named("x86-64"), named("aarch64")
ON, OFF = 0x202, 0x1D7  # EFLAGS with interrupts on and off


def cpu(ip: int, flags: int, halted: int) -> str:
    # As QEMU writes it for each CPU.
    return (
        f"\nCPU#0\nRAX=0000000000000000 RBX=0000000000000000\n"
        f"RIP={ip:016x} RFL={flags:08x} [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT={halted}\nES =0018\n"
    )


AT = 0xFFFF_FFFF_8100_00FF
ROWS: list[tuple[list[tuple[int, int]], int | None, bool]] = [
    # The first CPU, then the others; the word at the first one's program counter.
    ([(OFF, 1)], None, True),
    ([(ON, 1)], None, False),
    ([(OFF, 0)], 0x9090_FEEB, True),  # jmp .
    ([(OFF, 0)], 0x9090_FDEB, False),
    ([(OFF, 0)], None, False),
    ([(ON, 0)], 0x9090_FEEB, False),
    # Another CPU that runs, or that an interrupt may wake.
    ([(OFF, 1), (OFF, 1)], None, True),
    ([(OFF, 1), (OFF, 0)], None, False),
    ([(OFF, 1), (ON, 1)], None, False),
    ([(OFF, 0), (OFF, 1)], 0x9090_FEEB, True),
    ([(OFF, 0), (OFF, 1)], 0x9090_9090, False),
    ([(OFF, 1), (OFF, 1), (ON, 0)], None, False),
    ([], None, False),
]


@pytest.mark.parametrize(("cpus", "word", "dead"), ROWS, ids=range(len(ROWS)))
def test_x86(cpus: list[tuple[int, int]], word: int | None, dead: bool) -> None:
    def words(address: int, count: int) -> tuple[int, ...]:
        assert (address, count) == (AT, 1)
        return () if word is None else (word,)

    told = "".join(cpu(AT + at, *row) for at, row in enumerate(cpus))
    assert X86.is_dead(told, words) is dead


B_SELF, NOP, WFE, WFI, YIELD = 0x1400_0000, 0xD503_201F, 0xD503_205F, 0xD503_207F, 0xD503_203F
RET = 0xD65F_03C0


def back(instructions: int) -> int:
    return B_SELF | -instructions & 0x3FF_FFFF


# Nine words around the program counter, which is at the fifth; whether that is a loop of nothing but waiting.
CODE: list[tuple[tuple[int, ...], bool]] = [
    ((RET, RET, RET, RET, B_SELF, RET, RET, RET, RET), True),
    ((RET, RET, RET, RET, WFI, back(1), RET, RET, RET), True),
    ((RET, RET, RET, WFE, back(1), RET, RET, RET, RET), True),
    ((WFE, WFI, YIELD, NOP, back(4), RET, RET, RET, RET), True),
    ((RET, RET, RET, RET, NOP, WFE, WFI, YIELD, back(4)), True),
    ((NOP, NOP, NOP, NOP, NOP, NOP, NOP, NOP, back(8)), True),
    # `cpu_do_idle()`: it returns.
    ((RET, RET, RET, RET, WFI, RET, RET, RET, RET), False),
    # Something else in the loop, before or behind the program counter.
    ((RET, RET, RET, RET, WFI, RET, back(2), RET, RET), False),
    ((RET, RET, RET, RET, back(1), RET, RET, RET, RET), False),
    ((RET, RET, RET, RET, RET, WFI, back(1), RET, RET), False),
    # A loop that begins behind the program counter, one that goes on further up, and one that jumps forward.
    ((RET, RET, RET, RET, WFI, WFI, back(1), RET, RET), False),
    ((NOP, NOP, NOP, NOP, back(5), RET, RET, RET, RET), False),
    ((RET, RET, RET, RET, B_SELF | 1, RET, RET, RET, RET), False),
    # BL, and a conditional branch.
    ((RET, RET, RET, RET, 0x9400_0000, RET, RET, RET, RET), False),
    ((RET, RET, RET, RET, 0x5400_0000, RET, RET, RET, RET), False),
    ((NOP,) * 9, False),
    ((), False),
]


@pytest.mark.parametrize(("code", "dead"), CODE, ids=range(len(CODE)))
def test_arm64(code: tuple[int, ...], dead: bool) -> None:
    def words(address: int, count: int) -> tuple[int, ...]:
        assert (address, count) == (0xFFFF_8000_8000_1000 - 16, 9)
        return code

    # QEMU 11 has 16 digits, those before it 8.
    for state, masked in (("3c5", True), ("305", False), ("345", False), ("385", False)):
        for digits in (8, 16):
            told = f" PC=ffff800080001000 X00=0000000000000000\nPSTATE={state:0>{digits}} ---- EL1h\n"
            assert ARM64.is_dead(told, words) is (dead and masked)
    assert ARM64.is_dead(" PC=ffff800080001000\n", words) is ARM64.is_dead("PSTATE=000003c5\n", words) is False


def test_elsewhere_nothing_tells() -> None:
    assert named("s390x").is_dead("PSW=mask 0002000180000000 addr 0", lambda address, count: ()) is False


def test_a_parked_cpu() -> None:
    # It takes no interrupts, and has just run an instruction that another CPU must end.
    arch, memory = replace(named("arm"), stops=(b"hl", b"wf")), BytesMemory({0x1000: b"..hlwf.."})
    assert [arch.is_stopped(Cpu(0x1000 + at, masked=True), memory) for at in (2, 4, 5, 6, 8)] == [
        False, True, False, True, False,
    ]  # fmt: skip
    for cpu in (Cpu(0x1004, masked=False), Cpu(0x1004, masked=None), Cpu(None, masked=True)):
        assert arch.is_stopped(cpu, memory) is False
    assert named("arm").is_stopped(Cpu(0x1004, masked=True), memory) is False
