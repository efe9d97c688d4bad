# SPDX-License-Identifier: GPL-2.0-or-later
"""PowerPC of 32 and of 64 bits, the embedded kind (Book-E) in the first place.

Mirrors the System V ABI supplement (32 bits), the ELFv1 ABI (64 bits, big-endian) and the ELFv2 ABI (little-endian);
hw/ppc/e500.c, hw/ppc/ppc440_bamboo.c and `PPCElfPrstatus` of target/ppc/arch_dump.c of QEMU.

The MMU of Book-E is never off, and walks no page tables: software fills its TLB. QEMU begins with entries that map
addresses one to one (64 MiB and more on ppce500, all 4 GiB on bamboo), so that an address is mapped does not tell that
its kernel has mapped it. A function's symbol in an ELFv1 file is its descriptor; gdb looks through those of `.opd`.
"""

from __future__ import annotations

import re
import struct
from dataclasses import replace

from gdb_lmb.arches.base import Architecture, Convention, Cpu, ReadRegister, ReadWords
from gdb_lmb.formats.core_file import CoreFile

_PR, _DR, _CM = 1 << 14, 1 << 4, 1 << 31  # of MSR: user mode, data translation; Book-E: computing in 64 bits
_INTERRUPTS = 1 << 15 | 1 << 17  # MSR.EE, and MSR.CE of Book-E
# Registers that gdb has of QEMU's Book-E processors only: of e500 and of 440.
_BOOK_E = ("mas0", "mmucr")

# Of the first CPU in QEMU's `info registers`. Source: `ppc_cpu_dump_state()` of QEMU's target/ppc.
_NIP, _MSR = re.compile(r"\bNIP ([0-9a-f]+)"), re.compile(r"\bMSR ([0-9a-f]+)")
_BRANCH, _BRANCH_MASK = 0x48000000, 0xFC000003  # b, relative, without link
_IDLE = {0x60000000, 0x7C00007C, 0x7C21_0B78, 0x7C42_1378, 0x7FFF_FB78}  # nop, wait, or 1,1,1 and its like
_NEAR = 4  # instructions on either side of the program counter

_NT_PRSTATUS = 1
_REGISTERS_AT = 112  # `pr_reg` of `PPCElfPrstatus`: Linux has it elsewhere in 32 bits, and gdb does not find it
_NOTED = (*(f"r{number}" for number in range(32)), "pc", "msr", "orig_r3", "ctr", "lr", "xer", "cr")


class PowerPC(Architecture):
    def cpu_state(self, register: ReadRegister) -> Cpu:
        msr = register("msr")
        cpu = super().cpu_state(register)
        if msr is None:
            return cpu
        if any(register(name) is not None for name in _BOOK_E):
            # With CM off the upper half of an address is none: no kernel of 64 bits is mapped.
            paging = self.bits == 32 or bool(msr & _CM)
            cpu = replace(cpu, not_paging="addresses have 32 bits")
        else:
            paging = bool(msr & _DR)
        return replace(cpu, paging=paging, user=bool(msr & _PR))

    def is_dead(self, registers: str, words: ReadWords) -> bool:
        # With interrupts masked in a loop of nothing but nop, wait and its like.
        pc, msr = _NIP.search(registers), _MSR.search(registers)
        if pc is None or msr is None or int(msr[1], 16) & _INTERRUPTS:
            return False
        code = words(int(pc[1], 16) - 4 * _NEAR, 2 * _NEAR + 1)
        for end, word in enumerate(code[_NEAR:], _NEAR):
            if word & _BRANCH_MASK == _BRANCH:
                start = end - (-word & 0x3FFFFFF) // 4
                return 0 <= start <= _NEAR and all(idle in _IDLE for idle in code[start:end])
        return False

    def noted_cpus(self, core: CoreFile) -> tuple[dict[str, int], ...]:
        layout = struct.Struct(f"{'<' if core.byte_order == 'little' else '>'}{len(_NOTED)}{'IQ'[core.bits == 64]}")
        states = [note.data for note in core.notes if (note.name, note.kind) == (b"CORE", _NT_PRSTATUS)]
        if any(len(raw) < _REGISTERS_AT + layout.size for raw in states):
            return ()
        return tuple(dict(zip(_NOTED, layout.unpack_from(raw, _REGISTERS_AT), strict=True)) for raw in states)


class PowerPC64(PowerPC):
    def cpu_on(self, machine: str | None) -> str | None:
        # The default of this machine has 32 bits; its other processors of 64 bits are no different to us.
        return "e5500" if machine in (None, self.machine) else None


_PPC = PowerPC(
    name="ppc",
    uname="ppc",
    e_machine=20,
    bits=32,
    byte_order="big",
    gdb=("powerpc", "rs6000"),
    cross="powerpc-linux-gnu-",
    qemu="qemu-system-ppc",
    qemu_package="qemu-system-ppc",
    machine="ppce500",
    native=("ppc64le", "ppc64", "ppc"),
    kernel_start=0xC000_0000,
    cache_bytes=32,
    convention=Convention(
        word=4,
        arguments=tuple(f"r{number}" for number in range(3, 11)),
        result=("r3", "r4"),
        sp="r1",
        link="lr",
        stack=8,
        even_pairs=True,
    ),
)
_PPC64 = PowerPC64(
    name="ppc64",
    uname="ppc64",
    e_machine=21,
    bits=64,
    byte_order="big",
    gdb=_PPC.gdb,
    cross="powerpc64-linux-gnu-",
    qemu="qemu-system-ppc64",
    qemu_package="qemu-system-ppc",
    machine="ppce500",
    native=_PPC.native,
    kernel_start=0xC000_0000_0000_0000,
    cache_bytes=128,
    # Every argument, those in registers too, has a slot in the caller's frame, behind a header of 48 bytes (ELFv2: 32).
    convention=replace(_PPC.convention, word=8, stack=48 + 8 * 8, even_pairs=False, overflow="split"),
)

ARCHITECTURES = (
    _PPC,
    _PPC64,
    PowerPC(
        name="ppc64le",
        uname="ppc64le",
        e_machine=21,
        bits=64,
        byte_order="little",
        gdb=_PPC.gdb,
        cross="powerpc64le-linux-gnu-",
        qemu="qemu-system-ppc64",
        qemu_package="qemu-system-ppc",
        machine="pseries",
        native=_PPC.native,
        kernel_start=_PPC64.kernel_start,
        cache_bytes=128,
        convention=replace(_PPC64.convention, stack=32 + 8 * 8),
    ),
)
