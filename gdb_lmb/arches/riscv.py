# SPDX-License-Identifier: GPL-2.0-or-later
"""RISC-V of 64 bits: supervisor mode, whose page tables `satp` points to.

Mirrors its ELF psABI, the privileged architecture's chapter on supervisor mode and
Documentation/arch/riscv/boot-image-header.rst.
"""

from __future__ import annotations

import re
from dataclasses import replace

from gdb_lmb.arches.base import Architecture, Convention, Cpu, ReadRegister, ReadWords, TableForm

_LEVELS = {8: 3, 9: 4, 10: 5}  # satp.MODE: Sv39, Sv48, Sv57
_PPN = (1 << 44) - 1
_TABLE_BYTES = 4096
_VALID, _LEAF_MASK = 0b0001, 0b1111  # an entry that is valid and may neither be read, written nor executed: a table
_ENTRY_ADDRESS = _PPN << 10  # two bits above the address itself

# Of the first CPU in QEMU's `info registers`. Source: `riscv_cpu_dump_state()` of QEMU's target/riscv.
_PC, _STATUS = re.compile(r"\bpc +([0-9a-f]{16})\b"), re.compile(r"\bmstatus +([0-9a-f]{16})\b")
_INTERRUPTS = 0b10  # mstatus.SIE
_WFI = 0x10500073
_NEAR = 4  # instructions on either side of the program counter
# `j` by so many instructions back, and its short form in the lower half of a word.
_BACK = {0xFFDFF06F: 1, 0xFF9FF06F: 2}
_BACK_SHORT = {0xBFF5: 1, 0xBFE5: 2}


class RiscV(Architecture):
    def cpu_state(self, register: ReadRegister) -> Cpu:
        satp = register("satp")
        cpu = super().cpu_state(register)
        if satp is None:
            return cpu
        return replace(cpu, paging=bool(satp >> 60), tables=((satp & _PPN) << 12,) if satp >> 60 else ())

    def table_form(self, register: ReadRegister) -> TableForm | None:
        satp = register("satp")
        levels = None if satp is None else _LEVELS.get(satp >> 60)
        if satp is None or levels is None:
            return None
        return TableForm((satp & _PPN) << 12, (_TABLE_BYTES,) * levels, _LEAF_MASK, _VALID, _ENTRY_ADDRESS, scale=4)

    def is_dead(self, registers: str, words: ReadWords) -> bool:
        # With interrupts masked in a loop of nothing but wfi, one or two as compilers make it.
        pc, status = _PC.search(registers), _STATUS.search(registers)
        if pc is None or status is None or int(status[1], 16) & _INTERRUPTS:
            return False
        code = words(int(pc[1], 16) - 4 * _NEAR, 2 * _NEAR + 1)
        for end, word in enumerate(code[_NEAR:], _NEAR):
            back = _BACK.get(word) or _BACK_SHORT.get(word & 0xFFFF)
            if back is not None:
                return end - back <= _NEAR and all(one == _WFI for one in code[end - back : end])
        return False


ARCHITECTURES = (
    RiscV(
        name="riscv64",
        uname="riscv64",
        e_machine=243,
        bits=64,
        byte_order="little",
        gdb=("riscv",),
        cross="riscv64-linux-gnu-",
        qemu="qemu-system-riscv64",
        qemu_package="qemu-system-riscv64",
        machine="virt",
        native=("riscv64",),
        pe_machine=0x5064,
        image_kind="RISC-V Image",
        built_image="arch/riscv/boot/Image",
        image_magic=rb".{48}RISCV\0\0\0RSC\x05",
        kernel_start=1 << 63,
        convention=Convention(
            word=8,
            arguments=tuple(f"a{number}" for number in range(8)),
            result=("a0", "a1"),
            link="ra",
            overflow="split",
        ),
    ),
)
