# SPDX-License-Identifier: GPL-2.0-or-later
"""From the addresses that gdb and the kernel use to physical ones, and back to a symbol.

A stock kernel's placement is found in physical memory. Of any other program the ELF says where its image
lies, and the page tables that are in force translate the rest: QEMU's monitor walks them, or a dump's reader.
"""

from __future__ import annotations

from dataclasses import dataclass

from gdb_lmb.core.address import Placement
from gdb_lmb.core.errors import LmbError, NotReadyError, ReadError
from gdb_lmb.core.memory import BoundedMemory
from gdb_lmb.formats.program_file import loaded_parts
from gdb_lmb.machine.core import current_dump
from gdb_lmb.machine.physical import physical_memory
from gdb_lmb.machine.program import lookup
from gdb_lmb.machine.program_files import program_file
from gdb_lmb.machine.registers import booting_cpu, selected_cpu
from gdb_lmb.machine.stub import monitor
from gdb_lmb.machine.symbols import linker_symbol
from gdb_lmb.programs.linux import Kernel, find_kernel, symbols_moved_by
from gdb_lmb.programs.place import place


@dataclass(frozen=True)
class Part:
    """A run of the kernel's image: `size` bytes at `physical`, whose symbols gdb has from `symbol_va` on."""

    physical: int
    size: int
    symbol_va: int


class AddressMap:
    """Where the program's image lies, and how else its addresses are translated, at this stop."""

    def __init__(self, parts: tuple[Part, ...], placement: Placement | None = None) -> None:
        """Take the image's parts, and the placement of a kernel that was found by its build id."""
        self.parts = parts
        self._placement = placement

    def of_symbol(self, va: int) -> int:
        """Return the physical address of what gdb has at `va`. Raises: `ReadError` where that is not known."""
        for part in self.parts:
            if part.symbol_va <= va < part.symbol_va + part.size:
                return va - part.symbol_va + part.physical
        return self.of_virtual(va)

    def of_virtual(self, va: int) -> int:
        """Return the physical address of what the kernel has at `va` now. Raises: `ReadError`."""
        if self._placement is not None:
            return self._placement.to_physical(va)
        found = _tables_translate(va)
        if found is not None:
            return found
        for part in self.parts:
            if part.symbol_va <= va < part.symbol_va + part.size:
                return va - part.symbol_va + part.physical
        raise ReadError(va, 1, "this virtual address is not mapped at this stop")

    def symbol(self, physical: int) -> str | None:
        """Return "name+16" of the image's symbol at a physical address, None where there is none."""
        for part in self.parts:
            if part.physical <= physical < part.physical + part.size:
                found = linker_symbol(physical - part.physical + part.symbol_va)
                return None if found is None else f"{found.name}+{found.offset}" if found.offset else found.name
        return None


def address_map() -> AddressMap:
    """Return how addresses are translated at this stop; what is not known yet is left out."""
    kernel = find_kernel()
    if kernel is not None:
        try:
            with booting_cpu():
                cpu = selected_cpu(kernel.arch)
            with physical_memory() as physical:
                return _of_kernel(kernel, place(kernel, BoundedMemory(physical), cpu))
        except NotReadyError:
            return AddressMap(())
    symbol = lookup("lmb")
    path = None if symbol is None else program_file(symbol)
    if path is None:
        return AddressMap(())
    parts = loaded_parts(path)
    return AddressMap(tuple(Part(part.physical, part.size, part.va) for part in parts))


def _of_kernel(kernel: Kernel, placement: Placement) -> AddressMap:
    low, high = kernel.image
    part = Part(placement.to_physical(low + placement.virtual), high - low, low + symbols_moved_by(kernel))
    return AddressMap((part,), placement)


def _tables_translate(va: int) -> int | None:
    """Return what the page tables in force make of a virtual address, None where it is not mapped."""
    dump = current_dump()
    if dump is not None:
        try:
            paged = dump.paged()
            return None if paged is None else paged.to_physical(va)[0]
        except LmbError:
            return None
    # The monitor's answer is of the first CPU; all have the kernel mapped alike.
    mark, _, found = monitor(f"gva2gpa {va:#x}").strip().rpartition("gpa: ")
    try:
        return None if mark else int(found, 16)
    except ValueError:
        return None
