# SPDX-License-Identifier: GPL-2.0-or-later
"""Run a guest until its kernel is in its place, and move gdb's symbols to where KASLR put it.

In its place it is unpacked, and where KASLR puts it physically and virtually.

Up to Linux 6.14 x86-64 links its per-CPU variables at 0: their addresses are offsets, which KASLR does not
change. `symbol-file -o` moves every section alike, and no command of gdb's moves only some sections of the main
program. What gdb does is to place debug information that is in a file of its own by the sections of the file
that it belongs to, each by its name; one that is not there stays where it was linked. So an ELF without contents
is made that lacks such sections; it is moved, and the kernel's file is given to it as its debug information.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import time
from pathlib import Path

import gdb

from gdb_lmb.arches.base import Cpu
from gdb_lmb.core.address import KernelImage, Placement
from gdb_lmb.core.errors import GuestError, InfrastructureError, LayoutError, LmbError, NotReadyError, UsageError
from gdb_lmb.core.memory import BoundedMemory
from gdb_lmb.formats.elf import SHF_ALLOC, read_headers, stand_in
from gdb_lmb.machine.current import AnyMachine
from gdb_lmb.machine.gdb_text import ask
from gdb_lmb.machine.run_control import Slice, run_watched
from gdb_lmb.machine.symbols import STANDS_FOR, lookup
from gdb_lmb.programs.base import Movable

# The guest runs this many times as long as a search of all RAM took before the next search.
_SEARCH_RATIO = 10

# Seconds that the guest runs at most between two looks.
_MAX_SLICE_S = 0.1

FOLDER_VARIABLE = "GDB_LMB_TEMPORARY"
"""Where the runner says that files may be made which go with gdb."""

# A row of `info breakpoints`; gdb's Python does not know every kind, as `dprintf`.
_ENABLED = re.compile(r"^(\d+) +\S.*? (?:keep|del|dis) +y\b", re.MULTILINE)

# Temporary folders that go when gdb does.
_KEPT = contextlib.ExitStack()


# -- running to the kernel -------------------------------------------------------------------------------------


def run_to_entry(machine: AnyMachine, kernel: Movable, timeout_s: float) -> Placement:
    """Run the guest until the kernel is in its place; return where that is.

    A kernel that is there already is not run. The CPU that boots is selected, unless the one that is
    selected runs the kernel too. Raises: `GuestError` after `timeout_s` seconds or where the guest stops for another
    reason, `UsageError` for a dump, `LmbError`.
    """
    if not machine.can_run:
        raise UsageError("this is a dump: nothing in it can be run, leave --wait out")
    search = _Search(machine, kernel, timeout_s)
    first = search.look(None)
    if first is not None:
        run_watched(first, search.look)
    machine.select_booting_cpu()
    assert search.placement is not None
    return search.placement


def settle(machine: AnyMachine, kernel: Movable, timeout_s: float) -> None:
    """Run the guest until the kernel is in its place, and move gdb's symbols there. Raises: `LmbError`."""
    run_to_entry(machine, kernel, timeout_s)
    placement = kernel.locate()
    if placement.virtual != kernel.symbols_moved_by():
        move_symbols(kernel.image, placement)


class _Search:
    def __init__(self, machine: AnyMachine, kernel: Movable, timeout_s: float) -> None:
        self.placement: Placement | None = None
        self._machine = machine
        self._kernel = kernel
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s
        self._linked = self._found = kernel.arch.linked_way_points(kernel.image)
        self._certain: tuple[int, ...] = ()
        self._search_at = self._looked_at = 0.0
        self._pc: int | None = None

    def look(self, reached: bool | None) -> Slice | None:
        """Look at the guest at the end of a slice, None for its beginning; return the next slice, None at the end.

        Raises: `GuestError` where it did not get to where it must come by, or too much time is over; `LmbError`.
        """
        if self._certain and not reached:
            raise GuestError(f"the guest did not reach the kernel at {' or '.join(map(hex, self._certain))}")
        if reached:
            self._search_at = self._looked_at
            if not self._certain:
                self._found = self._linked
        self._looked_at = time.monotonic()
        with self._machine.booting_cpu():
            if self._arrived():
                return None
        left_s = self._deadline - time.monotonic()
        if self._certain:
            return Slice(self._certain, max(0.1, left_s))
        if left_s < 0:
            build = self._kernel.image.own_file.name
            last = "" if self._pc is None else f", last at {self._pc:#x}"
            raise GuestError(
                f"no kernel of the build of {build} came up within {self._timeout_s:g} s: neither page tables nor "
                f"code of the CPU that boots led to one{last}"
            )
        return Slice(self._found, min(_MAX_SLICE_S, max(self._kernel.arch.slice_s, time.monotonic() - self._looked_at)))

    # Looks where the guest is sure to come by, and searches where the kernel may be in its place.
    def _arrived(self) -> bool:
        arch = self._kernel.arch
        cpu = arch.cpu_state(self._machine.register)
        self._pc = cpu.pc
        with self._machine.physical() as physical:
            memory = BoundedMemory(physical)
            # A kernel that runs has its own address in registers too: it must not be waited for.
            short = arch.arrived(cpu)
            if short and self._settled(memory, cpu):
                return True
            self._certain = arch.quick_way_points(self._kernel.image, memory, cpu)
            due = not short and not self._certain and self._looked_at >= self._search_at
            return due and self._settled(memory, cpu)

    # Searches for the kernel; tells whether it runs where it will stay.
    def _settled(self, memory: BoundedMemory, cpu: Cpu) -> bool:
        arch = self._kernel.arch
        placement = None
        with contextlib.suppress(NotReadyError):
            placement = self._kernel.place(memory, cpu)
            arch.require_running(self._kernel.image, placement, cpu)
            if placement.settled:
                self.placement = placement
                return True
        way_point = arch.way_point(self._kernel.image, placement, memory, cpu, self._machine)
        self._found = self._linked if way_point is None else (*self._linked, way_point)
        self._search_at = time.monotonic() + _SEARCH_RATIO * (time.monotonic() - self._looked_at)
        return False


# -- moving the symbols ----------------------------------------------------------------------------------------


def move_symbols(kernel: KernelImage, placement: Placement) -> None:
    """Load the kernel's symbols again where it runs; breakpoints are set anew by gdb. Raises: `LmbError`."""
    symbol = lookup("memblock")
    apart = _sections_below_image(kernel)
    try:
        if not apart or not placement.virtual or symbol is None:
            ask(f"symbol-file -o {placement.virtual:#x} {_quoted(kernel.own_file)}")
            return
        debug, made = symbol.symtab.objfile.filename, _stand_in(kernel, apart)
        # gdb disables some where a program is without symbols for a while.
        numbers, ours = _enabled_numbers(), [stop for stop in gdb.breakpoints() if stop.enabled]
        try:
            ask(f"symbol-file -o {placement.virtual:#x} {_quoted(made)}")
            objfile = next(objfile for objfile in gdb.objfiles() if objfile.filename == str(made))
            objfile.add_separate_debug_file(debug)
        finally:
            for stop in ours:
                if stop.is_valid() and not stop.enabled:
                    stop.enabled = True
            for number in sorted(numbers - _enabled_numbers()):
                ask(f"enable {number}")
    except gdb.error as error:
        raise LayoutError(f"gdb cannot move the symbols of {kernel.own_file}: {error}") from None


def _sections_below_image(kernel: KernelImage) -> frozenset[bytes]:
    with contextlib.suppress(LmbError):  # gdb will have its own word on that file
        sections = read_headers(kernel.own_file).sections
        return frozenset(s.name for s in sections if s.flags & SHF_ALLOC and s.size and s.va < kernel.image[0])
    return frozenset()


def _stand_in(kernel: KernelImage, left_out: frozenset[bytes]) -> Path:
    # The file that stands for the kernel is not called vmlinux: Linux's lx-symbols takes what is for the kernel.
    path = _folder() / f"{kernel.identity.data.hex()}.sections"
    try:
        if not path.exists():
            path.write_bytes(stand_in(read_headers(kernel.own_file), left_out))
    except OSError as error:
        raise InfrastructureError(f"cannot write {path}: {error.strerror}") from None
    STANDS_FOR[str(path)] = kernel.own_file
    return path


@functools.cache
def _folder() -> Path:
    # gdb looks at the files that it has symbols from now and then: they go when gdb does.
    given = os.environ.get(FOLDER_VARIABLE)
    if given:
        return Path(given).resolve()
    import tempfile

    try:
        return Path(_KEPT.enter_context(tempfile.TemporaryDirectory(prefix="gdb-lmb-"))).resolve()
    except OSError as error:
        raise InfrastructureError(f"cannot make a temporary folder: {error}") from None


def _enabled_numbers() -> set[int]:
    return {int(number) for number in _ENABLED.findall(ask("info breakpoints"))}


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
