# SPDX-License-Identifier: GPL-2.0-or-later
"""A dump of a guest that gdb has opened as a core: found, and read without gdb.

gdb itself reads what a core lacks from the program's ELF, as data that no guest ever had, and takes the
headers' virtual addresses, which are the guest's only in a dump with paging. So memory is read from the
core's file here, physically, and translated by the guest's own page tables.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import gdb

from gdb_lmb.arches.base import PagedMemory
from gdb_lmb.arches.registry import find
from gdb_lmb.core.errors import InfrastructureError, LayoutError, LmbError, ReadError
from gdb_lmb.core.machine import Function
from gdb_lmb.core.memory import Memory, Meter
from gdb_lmb.core.ranges import Range
from gdb_lmb.formats.core_file import DumpMemory, read_core
from gdb_lmb.machine.base import GdbMachine
from gdb_lmb.machine.code import at_entry, functions_at
from gdb_lmb.machine.gdb_text import ask
from gdb_lmb.machine.live import MAX_PHYSICAL_BYTES

MAX_STACK_BYTES = 2048
"""How much of a dump's stack is searched: the allocator's own calls are not deeper."""

_PAGE_SIZE = 4096


class DumpMachine(GdbMachine):
    """The dump in the file at `path`. In it gdb's unwinder cannot be asked: without paging it finds no stack."""

    can_run = False

    def __init__(self, path: Path) -> None:
        """Read the headers. Raises: `InputError`."""
        self._core = read_core(path)
        self._physical = DumpMemory(self._core)
        self._notes = find(e_machine=self._core.machine)
        self._cpus = () if self._notes is None else self._notes.noted_cpus(self._core)

    @property
    def lacking(self) -> str:
        """Say that the dump may lack memory, and why, where that is known."""
        cut = "" if self._core.cut is None else f", for its file is cut off {self._core.cut}"
        return f"the dump lacks it{cut}"

    def _noted(self) -> dict[str, int] | None:
        """Return the selected CPU's registers by gdb's names from QEMU's notes, None where it left none."""
        thread = gdb.selected_thread()
        # QEMU numbers the CPUs from 1; gdb makes a thread up (LWP 0) where it understands no note.
        number = max(0, thread.ptid[1] - 1) if thread is not None else 0
        return self._cpus[number] if number < len(self._cpus) else None

    def register(self, name: str) -> int | None:
        """Return a register of the selected CPU, out of QEMU's notes first: gdb does not take all of them, or none."""
        noted = self._noted()
        return noted[name] if noted is not None and name in noted else super().register(name)

    def pc(self) -> int:
        """Return the selected CPU's program counter."""
        noted = self._noted()
        return super().pc() if noted is None else noted["pc"]

    def physical(self, meter: Meter | None = None) -> contextlib.AbstractContextManager[Memory]:
        """Return what reads physical addresses: it costs no request."""
        return contextlib.nullcontext(self._physical)

    def _paged(self) -> PagedMemory | None:
        """Return the selected CPU's virtual memory by its page tables, None where the dump does not tell of them."""
        noted = self._noted()
        return None if noted is None or self._notes is None else self._notes.paged_memory(self._physical, noted.get)

    def virtual(self) -> Memory:
        """Return a reader of the selected CPU's virtual addresses. Raises: `LayoutError` where there can be none."""
        paged = self._paged()
        if paged is not None:
            return paged
        if self._core.has_mappings:
            return DumpMemory(self._core, virtual=True)
        raise LayoutError(
            f"{self._core.path} does not tell how its CPUs translate addresses: dump again with paging (-p)"
        )

    def translate(self, va: int) -> int | None:
        """Return the physical address of `va` by the page tables in force, None where it is not mapped."""
        paged = self._paged()
        try:
            return None if paged is None else paged.to_physical(va)[0]
        except ReadError:
            return None

    def ram(self) -> list[Range]:
        """Return the ranges that the dump holds."""
        return self._physical.ranges()

    def ram_end(self) -> int:
        """Return where the dump's memory ends."""
        return min(MAX_PHYSICAL_BYTES, self._physical.end)

    def functions_on_stack(self, moved: int = 0, memory: Memory | None = None) -> list[Function]:
        """Return the functions that return addresses on the stack lead to."""
        here = self.pc() + moved
        found = [] if at_entry(here) else functions_at(here)
        for word in self._words(memory):
            # A call is no function's first instruction, and a call that does not return may be its last.
            found += functions_at(word - 1 + moved)
        return found

    def _words(self, translated: Memory | None) -> list[int]:
        """Return the link register and the words from the stack pointer up, as many as are mapped and in the dump."""
        arch = self.architecture
        if arch is None:
            return []
        size, cpu = arch.word_bytes, arch.cpu_state(self.register)
        # A function that calls none may have its return address nowhere else.
        links = [] if cpu.link is None else [cpu.link]
        if cpu.sp is None:
            return links
        try:
            memory = self.virtual()
        except LmbError:
            if translated is None:
                return links
            memory = translated
        for length in (MAX_STACK_BYTES, -cpu.sp % _PAGE_SIZE):
            try:
                raw = memory.read(cpu.sp, min(MAX_STACK_BYTES, length))
            except ReadError:
                continue
            return links + [
                int.from_bytes(raw[at : at + size], self.byte_order) for at in range(0, len(raw) - size + 1, size)
            ]
        return links


_OPENED: dict[tuple[str, int, int, int], DumpMachine] = {}
"""The one dump that is open, by its file: headers are read once."""


def opened_dump(inferior: gdb.Inferior) -> DumpMachine:
    """Return the dump that gdb has open in `inferior`. Raises: `LmbError` where it cannot be read."""
    path = _path(inferior)
    try:
        status = path.stat()
    except OSError as error:
        raise InfrastructureError(f"cannot read the dump {path}: {error.strerror}") from None
    key = (str(path), status.st_ino, status.st_mtime_ns, status.st_size)
    if key not in _OPENED:
        opened = DumpMachine(path)
        _OPENED.clear()
        _OPENED[key] = opened
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
