# SPDX-License-Identifier: GPL-2.0-or-later
"""The firmware map as a Linux kernel keeps it: x86's `e820_table`, elsewhere the flattened device tree."""

from __future__ import annotations

from gdb_lmb.core.address import TranslatedMemory
from gdb_lmb.core.errors import ReadError
from gdb_lmb.core.machine import Machine
from gdb_lmb.core.snapshot import FirmwareMap
from gdb_lmb.formats.devicetree import memory_map
from gdb_lmb.formats.program_file import bytes_in_file
from gdb_lmb.programs.linux.kernel import Kernel

USUAL_RANGES = 64
"""Ranges read along with their number: more than most machines have, and few enough for one packet."""

E820_TABLE = "e820_table"


def read_firmware_map(machine: Machine, kernel: Kernel, memory: TranslatedMemory) -> FirmwareMap | None:
    """Return what the firmware said about memory, None where the kernel does not know it yet."""
    return _e820(machine, kernel, memory) if E820_TABLE in kernel.symbols else _device_tree(kernel, memory)


def _e820(machine: Machine, kernel: Kernel, memory: TranslatedMemory) -> FirmwareMap | None:
    """Return the kernel's own copy of the firmware map, `e820_table`; None where it is not there yet.

    Before the hand-over the table is where the ELF says: only `e820__reallocate_tables()` moves it, which
    `free_initmem()` calls.
    """
    order = kernel.arch.byte_order
    table, entry = machine.struct(E820_TABLE), machine.struct(E820_TABLE, "entries")
    try:
        early = not kernel.word(memory, "_totalram_pages")
        linked = bytes_in_file(kernel.own_file, kernel.symbols[E820_TABLE], kernel.arch.word_bytes) if early else None
        if linked is not None:
            at = int.from_bytes(linked.data, order) + memory.placement.virtual
        else:
            at = kernel.word(memory, E820_TABLE) or 0
        most = table.fields["entries"].size // entry.size
        start = table.fields["entries"].offset
        try:
            # Counter and entries in one request; only the kernel's late, trimmed copy may end before.
            head = memory.read(at, start + min(most, USUAL_RANGES) * entry.size)
        except ReadError:
            head = memory.read(at, start)
        nr = min(table.value(head, "nr_entries", order), most)
        if not nr:
            return None
        size = nr * entry.size
        rows = head[start : start + size] if start + size <= len(head) else memory.read(at + start, size)
    except ReadError:
        return None
    return FirmwareMap(*entry.columns(rows, ("addr", "size", "type"), order))


def _device_tree(kernel: Kernel, memory: TranslatedMemory) -> FirmwareMap | None:
    """Return what the flattened device tree says about memory, None where the kernel does not use one (yet).

    `initial_boot_params` is an address in a map of its own; `initial_boot_params_pa` (since 6.13, and in
    stable trees) and `__fdt_pointer`, which is freed with init memory, are physical.
    """
    for name in ("initial_boot_params_pa", "__fdt_pointer"):
        if name in kernel.symbols and not kernel.in_freed_memory(memory, kernel.symbols[name]):
            at = kernel.word(memory, name, kernel.program.bits // 8)
            if at:
                return memory_map(memory.physical, at)
    return None
