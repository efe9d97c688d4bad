# SPDX-License-Identifier: GPL-2.0-or-later
"""The CPUs in a core file of QEMU's: registers that gdb does not take from it, of x86 only.

Mirrors `QEMUCPUState` of QEMU's target/i386/arch_dump.c, a note of owner "QEMU" for each CPU beside its
`NT_PRSTATUS`. gdb has no control registers of a core, and none at all of a CPU outside long mode.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from gdb_lmb.formats.core_file import CoreFile

_MACHINES = (3, 62)
"""`EM_386`, `EM_X86_64`."""

_NT_PRSTATUS = 1
_LONG_PRSTATUS_BYTES = 336
"""`sizeof(struct elf_prstatus)` of x86-64: QEMU writes it for a CPU in long mode only, whatever the ELF's class."""

_GENERAL, _SEGMENTS, _CONTROL = 18, 10, 5


@dataclass(frozen=True)
class X86Cpu:
    """Registers of one CPU: `pc`, `sp`, CR0, CR3, CR4, is it in long mode (`EFER.LMA`), and in user mode (`CS.RPL`)?"""

    pc: int
    sp: int
    cr0: int
    cr3: int
    cr4: int
    long_mode: bool
    user: bool


def x86_cpus(core: CoreFile) -> tuple[X86Cpu, ...]:
    """Return the CPUs in QEMU's order; none for another machine, or where QEMU left no notes of its own."""
    if core.machine not in _MACHINES:
        return ()
    states = [note.data for note in core.notes if note.name == b"QEMU"]
    statuses = [note.data for note in core.notes if note.name == b"CORE" and note.kind == _NT_PRSTATUS]
    if len(states) != len(statuses):
        return ()
    # version, size; rax … r15, rip, rflags; cs … idt of selector, limit, flags, padding, base; cr0 … cr4
    state = struct.Struct(f"<II{_GENERAL}Q" + _SEGMENTS * "IIIIQ" + f"{_CONTROL}Q")
    if any(len(raw) < state.size for raw in states):
        return ()
    cpus = []
    for raw, status in zip(states, statuses, strict=True):
        values = state.unpack_from(raw)
        general, control = values[2 : 2 + _GENERAL], values[-_CONTROL:]
        # rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8 … r15, rip, rflags
        long_mode = len(status) == _LONG_PRSTATUS_BYTES
        user = values[2 + _GENERAL] & 3 == 3
        cpus.append(X86Cpu(general[16], general[6], control[0], control[3], control[4], long_mode, user))
    return tuple(cpus)
