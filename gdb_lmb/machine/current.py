# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine of gdb's selected inferior, a live guest or a dump of one; which of them, only this file asks.

gdb itself reads what a core lacks from the program's ELF, as data that no guest ever had, and takes the
headers' virtual addresses, which are the guest's only in a dump with paging. So a dump's memory is read from the
core's file here, physically, and translated by the guest's own page tables.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import gdb

from gdb_lmb.arches.base import PagedMemory
from gdb_lmb.arches.registry import find
from gdb_lmb.core.errors import InfrastructureError, LayoutError, LmbError, ReadError
from gdb_lmb.core.machine import Function
from gdb_lmb.core.memory import Memory, Meter, RamOnly
from gdb_lmb.core.ranges import Range, union
from gdb_lmb.formats.core_file import DumpMemory, read_core
from gdb_lmb.machine.base import GdbMachine
from gdb_lmb.machine.gdb_text import ask
from gdb_lmb.machine.memory import GdbMemory, monitor, physical_memory
from gdb_lmb.machine.symbols import at_entry, functions_at

# How much of a dump's stack is searched: the allocator's own calls are not deeper.
_MAX_STACK_BYTES = 2048

_PAGE_SIZE = 4096
# RAM and what is read like it. The memory of a PCI device has another priority, and may move.
_RAM = re.compile(r"^ *([0-9a-f]{16})-([0-9a-f]{16}) \(prio 0, (?:nv-)?(?:ram|rom)\)", re.MULTILINE)


def current() -> AnyMachine:
    """Return the machine of the selected inferior. Raises: `LmbError` for a dump that cannot be read."""
    inferior = gdb.selected_inferior()
    is_dump = inferior.connection is not None and inferior.connection.type == "core"
    return opened_dump(inferior) if is_dump else _LIVE


class LiveMachine(GdbMachine):
    """A guest that can be let run, through QEMU's gdbstub; QEMU's monitor is asked through it too."""

    can_run = True
    lacking = None

    def require_stopped(self) -> None:
        super().require_stopped()
        # gdb keeps the registers of a stop; `monitor system_reset` changes them, and it does not see that.
        if "(prelaunch)" in (monitor("info status") or ()):
            ask("maintenance flush register-cache")

    @contextlib.contextmanager
    def physical(self, meter: Meter | None = None) -> Iterator[Memory]:
        """Return what reads physical addresses in RAM. Raises: `LayoutError` where the target cannot."""
        with physical_memory(meter) as memory:
            yield RamOnly(memory, self.ram(), self._ram_now)

    def virtual(self) -> Memory:
        return GdbMemory()

    def translate(self, va: int) -> int | None:
        # The monitor's answer is of the first CPU; all have the kernel mapped alike.
        answer = monitor(f"gva2gpa {va:#x}")
        if answer is None:
            return None
        mark, _, found = answer.strip().rpartition("gpa: ")
        try:
            return None if mark else int(found, 16)
        except ValueError:
            return None

    def ram(self) -> list[Range]:
        """Return the ranges of RAM by QEMU's own word. Raises: `LayoutError`."""
        return _ram(gdb.selected_inferior().connection_num)

    def _ram_now(self) -> list[Range]:
        _ram.cache_clear()
        return self.ram()


@functools.lru_cache(maxsize=1)
def _ram(_connection: int | None) -> list[Range]:
    told = monitor("info mtree -f")
    for view in () if told is None else told.split("FlatView #"):
        found = [(int(low, 16), int(high, 16) + 1) for low, high in _RAM.findall(view)]
        if 'AS "memory"' in view and found:
            return union(found)
    raise LayoutError("QEMU does not tell where the guest's RAM is: its monitor has no `info mtree -f`")


_LIVE = LiveMachine()


class DumpMachine(GdbMachine):
    """The dump in the file at `path`, whose headers are read. Raises: `InputError`.

    gdb's unwinder cannot be asked in it: without paging it finds no stack.
    """

    can_run = False

    def __init__(self, path: Path) -> None:
        self._core = read_core(path)
        self._physical = DumpMemory(self._core)
        self._notes = find(e_machine=self._core.machine, byte_order=self._core.byte_order)
        self._cpus = () if self._notes is None else self._notes.noted_cpus(self._core)

    @property
    def lacking(self) -> str:
        cut = "" if self._core.cut is None else f", for its file is cut off {self._core.cut}"
        return f"the dump lacks it{cut}"

    def _noted(self) -> dict[str, int] | None:
        # The selected CPU's registers by gdb's names from QEMU's notes, None where it left none.
        thread = gdb.selected_thread()
        # QEMU numbers the CPUs from 1; gdb makes a thread up (LWP 0) where it understands no note.
        number = None if thread is None else max(0, thread.ptid[1] - 1)
        return None if number is None or number >= len(self._cpus) else self._cpus[number]

    def register(self, name: str) -> int | None:
        # QEMU's notes come first: gdb does not take all of them, or none.
        noted = self._noted()
        return noted[name] if noted is not None and name in noted else super().register(name)

    def pc(self) -> int:
        noted = self._noted()
        return super().pc() if noted is None else noted["pc"]

    def physical(self, meter: Meter | None = None) -> contextlib.AbstractContextManager[Memory]:
        """Return what reads physical addresses: it costs no request."""
        return contextlib.nullcontext(self._physical)

    def _paged(self) -> PagedMemory | None:
        # The selected CPU's virtual memory by its page tables, None where the dump does not tell of them.
        noted = self._noted()
        return None if noted is None or self._notes is None else self._notes.paged_memory(self._physical, noted.get)

    def virtual(self) -> Memory:
        paged = self._paged()
        if paged is not None:
            return paged
        if self._core.has_mappings:
            return DumpMemory(self._core, virtual=True)
        raise LayoutError(
            f"{self._core.path} does not tell how its CPUs translate addresses: dump again with paging (-p)"
        )

    def translate(self, va: int) -> int | None:
        paged = self._paged()
        try:
            return None if paged is None else paged.to_physical(va)[0]
        except ReadError:
            return None

    def ram(self) -> list[Range]:
        return self._physical.ranges()

    def functions_on_stack(self, moved: int = 0, memory: Memory | None = None) -> list[Function]:
        here = self.pc() + moved
        found = [] if at_entry(here) else functions_at(here)
        for word in self._words(memory):
            # A call is no function's first instruction, and a call that does not return may be its last.
            found += functions_at(word - 1 + moved)
        return found

    def _words(self, memory: Memory | None) -> list[int]:
        # The link register and the words from the stack pointer up, as many as are mapped and in the dump.
        arch = self.architecture
        if arch is None:
            return []
        size, cpu = arch.word_bytes, arch.cpu_state(self.register)
        # A function that calls none may have its return address nowhere else.
        links = [] if cpu.link is None else [cpu.link]
        with contextlib.suppress(LmbError):
            memory = self.virtual()
        if cpu.sp is None or memory is None:
            return links
        for length in (_MAX_STACK_BYTES, -cpu.sp % _PAGE_SIZE):
            with contextlib.suppress(ReadError):
                raw = memory.read(cpu.sp, min(_MAX_STACK_BYTES, length))
                return links + [
                    int.from_bytes(raw[at : at + size], arch.byte_order) for at in range(0, len(raw) - size + 1, size)
                ]
        return links


AnyMachine = LiveMachine | DumpMachine


def opened_dump(inferior: gdb.Inferior) -> DumpMachine:
    """Return the dump that gdb has open in `inferior`. Raises: `LmbError` where it cannot be read."""
    path = _path(inferior)
    try:
        status = path.stat()
    except OSError as error:
        raise InfrastructureError(f"cannot read the dump {path}: {error.strerror}") from None
    return _open(path, status.st_ino, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=1)
def _open(path: Path, *_version: int) -> DumpMachine:
    # A dump's headers are read once, until its file changes.
    return DumpMachine(path)


def _path(inferior: gdb.Inferior) -> Path:
    # Before gdb 18 the core's file is told to people only, under the target's description.
    if hasattr(inferior, "corefile"):
        return Path(inferior.corefile.filename)
    _, _, rest = ask("info target").partition(f"{inferior.connection.description}:\n")
    found = re.match(r"\s*`(.*)', ", rest)
    if found is None:
        raise InfrastructureError("gdb does not tell which file its core is: `info target` names none")
    return Path(found[1])
