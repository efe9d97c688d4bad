# SPDX-License-Identifier: GPL-2.0-or-later
"""Why a kernel's own addresses cannot be read: it is not there yet, or the guest runs another one.

Where the ELF says that the kernel is loaded, physical memory tells, whatever the CPU's paging says.
"""

from __future__ import annotations

from pathlib import Path

from gdb_lmb.core.errors import LayoutError, LmbError, NotReadyError, ReadError
from gdb_lmb.core.image import Identity
from gdb_lmb.core.memory import BoundedMemory
from gdb_lmb.formats.program_file import loaded_parts
from gdb_lmb.machine.core import current_dump
from gdb_lmb.machine.physical import physical_memory
from gdb_lmb.machine.program import architecture, lookup
from gdb_lmb.machine.registers import current_pc, selected_cpu

_CONTINUE = "continue to a place in the kernel"
_LOAD = "load the vmlinux of the kernel that runs"


def explain_unreadable(path: Path, identity: Identity | None, error: ReadError) -> LmbError:
    """Return what is to be said where the program in `path` cannot be read at its own addresses.

    `identity` is where its build can be told by. Of a dump that lacks the memory that is `error` itself.
    """
    paging = _paging()
    found, physical = _in_memory(path, identity)
    if current_dump() is not None and (found is None or paging is not False):
        return error  # its file may lack it for reasons of its own
    state = "paging is off" if paging is False else f"nothing is mapped at {error.address:#x}"
    if identity is None or found is None:
        return NotReadyError(f"the kernel is not there yet ({state}), or it is another one: continue, or {_LOAD}")
    if found == identity.data:
        return NotReadyError(
            f"the kernel is not there yet: {path.name} is in memory at {physical:#x}, but {state} while the CPU is at "
            f"{current_pc():#x}: {_CONTINUE}"
        )
    if paging is not False and lookup("memblock") is None:
        there = f"has {found[:20].hex()} there" if any(found) else "has nothing there"
        return LayoutError(
            f"the guest runs another kernel than {path}, whose build {identity.data[:20].hex()} would be at "
            f"{physical:#x} physically: it {there}, and {state}: {_LOAD}"
        )
    what = "another one or none is" if any(found) else "nothing has been loaded"
    return NotReadyError(
        f"the kernel is not there yet ({state}), or it is another one: {what} where {path.name} is loaded "
        f"({physical:#x} physically): {_CONTINUE}, or {_LOAD}"
    )


def _paging() -> bool | None:
    """Tell whether the selected CPU translates addresses, None where that cannot be told."""
    arch = architecture()
    return None if arch is None else selected_cpu(arch).paging


def _in_memory(path: Path, identity: Identity | None) -> tuple[bytes | None, int]:
    """Return what physical memory holds where the loaded program has its identity, and that address."""
    if identity is None:
        return None, 0
    for part in loaded_parts(path):
        if part.va <= identity.va < part.va + part.size:
            at = identity.va - part.va + part.physical
            try:
                with physical_memory() as physical:
                    return BoundedMemory(physical).read(at, len(identity.data)), at
            except LmbError:
                return None, at
    return None, 0
