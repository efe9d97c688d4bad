# SPDX-License-Identifier: GPL-2.0-or-later
"""The CPUs in a dump of QEMU's: registers that gdb does not take from it.

Mirrors `QEMUCPUState` of QEMU's target/i386/arch_dump.c, a note of owner "QEMU" for each CPU beside its
`NT_PRSTATUS`. gdb has no control registers of a core, and none at all of a CPU outside long mode.
"""

from __future__ import annotations

import struct

from gdb_lmb.formats.core_file import CoreFile

LONG_MODE = 1 << 10
"""EFER.LMA."""

_NT_PRSTATUS = 1
_LONG_PRSTATUS_BYTES = 336
"""`sizeof(struct elf_prstatus)` of x86-64: QEMU writes it for a CPU in long mode only, whatever the ELF's class."""

_GENERAL = (
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp", *(f"r{number}" for number in range(8, 16)), "pc", "eflags"
)  # fmt: skip
_SEGMENTS = 10
_CONTROL = ("cr0", "cr1", "cr2", "cr3", "cr4")
_STATE = struct.Struct(f"<II{len(_GENERAL)}Q" + _SEGMENTS * "IIIIQ" + f"{len(_CONTROL)}Q")
"""version, size; general registers; cs … idt of selector, limit, flags, padding, base; control registers."""


def noted_cpus(core: CoreFile) -> tuple[dict[str, int], ...]:
    """Return the registers of each CPU in QEMU's order; none where QEMU left no notes of its own."""
    states = [note.data for note in core.notes if note.name == b"QEMU"]
    statuses = [note.data for note in core.notes if note.name == b"CORE" and note.kind == _NT_PRSTATUS]
    if len(states) != len(statuses) or any(len(raw) < _STATE.size for raw in states):
        return ()
    cpus = []
    for raw, status in zip(states, statuses, strict=True):
        values = _STATE.unpack_from(raw)[2:]
        cpu = dict(zip((*_GENERAL, "cs"), values, strict=False)) | dict(
            zip(_CONTROL, values[-len(_CONTROL) :], strict=True)
        )
        cpus.append(cpu | {"esp": cpu["rsp"], "efer": LONG_MODE if len(status) == _LONG_PRSTATUS_BYTES else 0})
    return tuple(cpus)
