# SPDX-License-Identifier: GPL-2.0-or-later
"""What x86-64 and i386 have in common: control registers, page tables, dumps, and how they are booted.

Mirrors Documentation/arch/x86/boot.rst of Linux, `load_elf()` and `load_multiboot()` of QEMU's hw/i386, and
`QEMUCPUState` of QEMU's target/i386/arch_dump.c: a note of owner "QEMU" for each CPU of a dump, beside its
`NT_PRSTATUS`. gdb has no control registers of a core, and none at all of a CPU outside long mode.
"""

from __future__ import annotations

import contextlib
import mmap
import re
import struct
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from gdb_lmb.arches.base import Architecture, BootImage, Cpu, ReadRegister, ReadWords, TableForm
from gdb_lmb.arches.x86.paging import CR0_PG, CR4_PAE, X86PagedMemory, table_form
from gdb_lmb.core.errors import InputError
from gdb_lmb.core.memory import Memory
from gdb_lmb.formats.core_file import CoreFile
from gdb_lmb.formats.elf import Elf, first_bytes

_TABLE_ADDRESS = 0x000F_FFFF_FFFF_F000  # the address in CR3; the rest are flags
# `PTI_PGTABLE_SWITCH_BIT` of arch/x86/entry/calling.h: set in CR3 while the user's top table is in use.
_USER_TABLE = 1 << 12
_RPL = 3  # the privilege level in a segment's selector: 3 is user mode
# `XEN_ELFNOTE_PHYS32_ENTRY`: the note by which QEMU finds the entry of an uncompressed kernel.
_XEN_PHYS32_ENTRY = 18
_MULTIBOOT_MAGIC, _MULTIBOOT_BYTES = 0x1BADB002, 8192
_XLF_KERNEL_64 = 1
_GZIP = b"\x1f\x8b\x08"

_LONG_MODE = 1 << 10  # EFER.LMA
_NT_PRSTATUS = 1
# `sizeof(struct elf_prstatus)` of x86-64: QEMU writes it for a CPU in long mode only, whatever the ELF's class.
_LONG_PRSTATUS_BYTES = 336
_CONTROL = ("cr0", "cr3", "cr4", "efer")
_NOTED = (
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp", *(f"r{number}" for number in range(8, 16)), "pc", "eflags",
    "cs", "cr0", "cr1", "cr2", "cr3", "cr4",
)  # fmt: skip
# Without version and size; of cs to idt (selector, limit, flags, padding, base) the first selector only.
_STATE = struct.Struct("<8x18QI236x5Q")


# Of each CPU in QEMU's `info registers`. Source: `x86_cpu_dump_state()` of QEMU's target/i386/cpu-dump.c.
_CPU = re.compile(r"\b[RE]IP=([0-9a-f]+) [RE]FL=([0-9a-f]+) .*?\bHLT=([01])", re.DOTALL)
_IF = 1 << 9
_JUMP_TO_ITSELF = 0xFEEB  # jmp .


class X86(Architecture):
    def is_dead(self, registers: str, words: ReadWords) -> bool:
        # `hlt` with interrupts off, or a jump to itself; a CPU that waits to be started by another is halted likewise.
        cpus = [(int(ip, 16), int(flags, 16) & _IF, halted == "1") for ip, flags, halted in _CPU.findall(registers)]
        if not cpus or any(on or not halted for _, on, halted in cpus[1:]) or cpus[0][1]:
            return False
        code = () if cpus[0][2] else words(cpus[0][0], 1)
        return cpus[0][2] or (bool(code) and code[0] & 0xFFFF == _JUMP_TO_ITSELF)

    def cpu_state(self, register: ReadRegister) -> Cpu:
        cr0, cs, cr3, flags = map(register, ("cr0", "cs", "cr3", "eflags"))
        paging = None if cr0 is None else bool(cr0 & CR0_PG)
        # With page-table isolation the kernel's top table lies before the user's.
        tops = () if cr3 is None or not paging else dict.fromkeys((cr3, cr3 & ~_USER_TABLE))
        walked = (_walked({**{name: register(name) for name in _CONTROL}, "cr3": top}) for top in tops)
        return replace(
            super().cpu_state(register),
            paging=paging,
            tables=(cr3 & _TABLE_ADDRESS,) if paging and cr3 is not None else (),
            paged=tuple(partial(X86PagedMemory, **control) for control in walked if control is not None),
            user=None if cs is None else cs & _RPL == _RPL,
            masked=None if flags is None else not flags & _IF,
        )

    def noted_cpus(self, core: CoreFile) -> tuple[dict[str, int], ...]:
        states = [note.data for note in core.notes if note.name == b"QEMU"]
        statuses = [note.data for note in core.notes if note.name == b"CORE" and note.kind == _NT_PRSTATUS]
        if len(states) != len(statuses) or any(len(raw) < _STATE.size for raw in states):
            return ()
        cpus = [dict(zip(_NOTED, _STATE.unpack_from(raw), strict=True)) for raw in states]
        return tuple(
            cpu | {"esp": cpu["rsp"], "efer": _LONG_MODE if len(status) == _LONG_PRSTATUS_BYTES else 0}
            for cpu, status in zip(cpus, statuses, strict=True)
        )

    def paged_memory(self, physical: Memory, register: ReadRegister) -> X86PagedMemory | None:
        control = _walked({name: register(name) for name in _CONTROL})
        return None if control is None else X86PagedMemory(physical, **control)

    def table_form(self, register: ReadRegister) -> TableForm | None:
        control = _walked({name: register(name) for name in _CONTROL})
        if control is None or not control.pop("cr0") & CR0_PG:
            return None
        return table_form(**control)

    def boot_image(self, head: bytes, data: bytes | mmap.mmap) -> BootImage | None:
        if head[0x202:0x206] != b"HdrS" or head[0x1FE:0x200] != b"\x55\xaa":
            return None
        protocol, text_at = (struct.unpack_from("<H", head, at)[0] for at in (0x206, 0x20E))
        text = head[text_at + 0x200 : text_at + 0x200 + 512].partition(b"\0")[0] if text_at else b""
        name, at = None, None
        if protocol >= 0x20C:  # xloadflags
            name = "x86-64" if struct.unpack_from("<H", head, 0x236)[0] & _XLF_KERNEL_64 else "i386"
        if protocol >= 0x208:  # payload_offset
            start = ((head[0x1F1] or 4) + 1) * 512 + struct.unpack_from("<I", head, 0x248)[0]
            at = start if data[start : start + 3] == _GZIP else None
        return BootImage("bzImage", name, text.decode(errors="replace").strip() or None, at, gzip=at is not None)

    def why_not_bootable(self, elf: Elf) -> str | None:
        # There is an entry where PVH's note is, or a multiboot header in an ELF of 32 bits.
        bootable = elf.bits == 32 and _is_multiboot(elf.path)
        with contextlib.suppress(InputError):
            bootable |= any((note.name, note.kind) == (b"Xen", _XEN_PHYS32_ENTRY) for _, note in elf.loaded_notes())
        if bootable:
            return None
        return "QEMU boots an x86 ELF by its PVH note, and this one has none (CONFIG_PVH=y makes it)"


def _walked(control: Mapping[str, int | None]) -> dict[str, Any] | None:
    # What page tables are walked by, None where a register of it is not known. gdb has no EFER of a CPU whose registers
    # it does not understand: without PAE that is in no long mode.
    cr0, cr3, cr4, efer = (control[name] for name in _CONTROL)
    if cr0 is None or cr3 is None or cr4 is None or (efer is None and cr0 & CR0_PG and cr4 & CR4_PAE):
        return None
    return {"cr0": cr0, "cr3": cr3, "cr4": cr4, "long_mode": efer is not None and bool(efer & _LONG_MODE)}


def _is_multiboot(path: Path) -> bool:
    # As `load_multiboot()` of QEMU looks for its header.
    head = first_bytes(path, _MULTIBOOT_BYTES)
    headers = (struct.unpack_from("<III", head, at) for at in range(0, len(head) - 48, 4))
    return any(header[0] == _MULTIBOOT_MAGIC and not sum(header) & 0xFFFFFFFF for header in headers)
