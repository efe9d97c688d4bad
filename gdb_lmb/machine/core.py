# SPDX-License-Identifier: GPL-2.0-or-later
"""A dump of a guest that gdb has opened as a core: found, and read without gdb.

gdb itself reads what a core lacks from the program's ELF, as data that no guest ever had, and takes the
headers' virtual addresses, which are the guest's only in a dump with paging. So memory is read from the
core's file here, physically, and translated by the guest's own page tables.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import gdb

from gdb_lmb.arches.base import Architecture, PagedMemory
from gdb_lmb.arches.registry import of_dump
from gdb_lmb.core.errors import InfrastructureError, LayoutError
from gdb_lmb.core.memory import Memory
from gdb_lmb.formats.core_file import CoreFile, DumpMemory, read_core
from gdb_lmb.machine.gdb_text import ask


@dataclass(frozen=True)
class Dump:
    """An opened dump: its headers, its memory by physical address, and its CPUs' registers that QEMU noted itself."""

    core: CoreFile
    physical: DumpMemory
    arch: Architecture | None
    cpus: tuple[dict[str, int], ...]

    def cpu(self) -> dict[str, int] | None:
        """Return the selected CPU's registers by gdb's names from QEMU's notes, None where it left none."""
        thread = gdb.selected_thread()
        # QEMU numbers the CPUs from 1; gdb makes a thread up (LWP 0) where it understands no note.
        number = max(0, thread.ptid[1] - 1) if thread is not None else 0
        return self.cpus[number] if number < len(self.cpus) else None

    def virtual(self) -> Memory:
        """Return a reader of the selected CPU's virtual addresses. Raises: `LayoutError` where there can be none."""
        paged = self.paged()
        if paged is not None:
            return paged
        if self.core.has_mappings:
            return DumpMemory(self.core, virtual=True)
        raise LayoutError(
            f"{self.core.path} does not tell how its CPUs translate addresses: dump again with paging (-p)"
        )

    def paged(self) -> PagedMemory | None:
        """Return the same by its page tables, None where the dump does not tell where they are."""
        cpu = self.cpu()
        return None if cpu is None or self.arch is None else self.arch.paged_memory(self.physical, cpu.get)


_OPENED: dict[tuple[str, int, int, int], Dump] = {}
"""The one dump that is open, by its file: headers are read once."""


def current_dump() -> Dump | None:
    """Return the dump that gdb has open, None for a live guest. Raises: `LmbError` where it cannot be read."""
    inferior = gdb.selected_inferior()
    if inferior.connection is None or inferior.connection.type != "core":
        return None
    path = _path(inferior)
    try:
        status = path.stat()
    except OSError as error:
        raise InfrastructureError(f"cannot read the dump {path}: {error.strerror}") from None
    key = (str(path), status.st_ino, status.st_mtime_ns, status.st_size)
    if key not in _OPENED:
        core = read_core(path)
        _OPENED.clear()
        arch = of_dump(core.machine)
        _OPENED[key] = Dump(core, DumpMemory(core), arch, () if arch is None else arch.noted_cpus(core))
    return _OPENED[key]


def _path(inferior: gdb.Inferior) -> Path:
    """Return the core's file. Before gdb 18 it is told to people only, under the target's description."""
    if hasattr(inferior, "corefile"):
        return Path(inferior.corefile.filename)
    _, _, rest = ask("info target").partition(f"{inferior.connection.description}:\n")
    found = re.match(r"\s*`(.*)', ", rest)
    if found is None:
        raise InfrastructureError("gdb does not tell which file its core is: `info target` names none")
    return Path(found[1])
