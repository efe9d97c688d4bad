# SPDX-License-Identifier: GPL-2.0-or-later
"""The firmware map as a Linux kernel keeps it: x86's `e820_table`, elsewhere the flattened device tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gdb_lmb.address import TranslatedMemory
from gdb_lmb.errors import ReadError
from gdb_lmb.layout.devicetree import memory_map
from gdb_lmb.region import FirmwareMap
from gdb_lmb.target.program import lookup
from gdb_lmb.target.types import member_type, struct_of

if TYPE_CHECKING:
    from gdb_lmb.target.linux import Kernel

USUAL_RANGES = 128
"""`E820_MAX_ENTRIES_ZEROPAGE`."""


def read_e820(kernel: Kernel, memory: TranslatedMemory) -> FirmwareMap | None:
    """Return the kernel's own copy of the firmware map, `e820_table`; None where it is not there yet."""
    pointer = lookup("e820_table")
    if pointer is None or not kernel.symbols["e820_table"]:
        return None
    order = kernel.program.byte_order
    kind = pointer.type.strip_typedefs().target().strip_typedefs()
    table = struct_of(kind, "e820_table")
    entry_kind = member_type(kind, "entries").target().strip_typedefs()
    entry = struct_of(entry_kind, "e820_entry")
    try:
        raw = memory.read(kernel.symbols["e820_table"] + memory.placement.virtual, 8)
        at = int.from_bytes(raw, order)
        most = table.fields["entries"].size // entry.size
        start = table.fields["entries"].offset
        # Counter and entries in one request: the zero page has room for 128, and few machines need more.
        head = memory.read(at, start + min(most, USUAL_RANGES) * entry.size)
        nr = min(table.value(head, "nr_entries", order), most)
        if not nr:
            return None
        rows = head[start:] if nr <= USUAL_RANGES else memory.read(at + start, nr * entry.size)
        rows = rows[: nr * entry.size]
    except ReadError:
        return None
    return FirmwareMap(*entry.columns(rows, ("addr", "size", "type"), order))


def read_device_tree(kernel: Kernel, memory: TranslatedMemory) -> FirmwareMap | None:
    """Return what the flattened device tree says about memory, None where the kernel does not use one (yet).

    `initial_boot_params` is an address in a map of its own; `initial_boot_params_pa` (since 6.13, and in
    stable trees) and `__fdt_pointer`, which is freed with init memory, are physical.
    """
    for name in ("initial_boot_params_pa", "__fdt_pointer"):
        if not kernel.in_freed_memory(memory, kernel.symbols[name]):
            at = kernel.word(memory, name)
            if at:
                return memory_map(memory.physical, at)
    return None
