# SPDX-License-Identifier: GPL-2.0-or-later
"""Run a guest until its kernel is in its place: unpacked, and where KASLR puts it, physically and virtually."""

from __future__ import annotations

import contextlib
import time

from gdb_lmb.arches.base import Cpu
from gdb_lmb.core.address import Placement
from gdb_lmb.core.errors import GuestError, NotReadyError, UsageError
from gdb_lmb.core.memory import BoundedMemory
from gdb_lmb.machine.current import AnyMachine
from gdb_lmb.machine.move_symbols import move_symbols
from gdb_lmb.machine.run_control import Slice, run_watched
from gdb_lmb.programs.linux.kernel import Kernel, symbols_moved_by
from gdb_lmb.programs.linux.place import place

RESET_S = 0.5
"""Seconds that a guest at reset runs before all RAM is searched: its firmware runs first."""

SEARCH_RATIO = 10
"""The guest runs this many times as long as a search of all RAM took before the next search."""

MAX_SLICE_S = 0.1
"""Seconds that the guest runs at most between two looks."""


def run_to_entry(machine: AnyMachine, kernel: Kernel, timeout_s: float) -> Placement:
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


def settle(machine: AnyMachine, kernel: Kernel, timeout_s: float) -> None:
    """Run the guest until the kernel is in its place, and move gdb's symbols there. Raises: `LmbError`."""
    placement = run_to_entry(machine, kernel, timeout_s)
    if placement.virtual != symbols_moved_by(machine, kernel):
        move_symbols(kernel, placement)


class _Search:
    """The search for a kernel's place, from look to look; `placement` is what was found."""

    def __init__(self, machine: AnyMachine, kernel: Kernel, timeout_s: float) -> None:
        self.placement: Placement | None = None
        self._machine = machine
        self._kernel = kernel
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s
        self._linked = self._found = kernel.arch.linked_way_points(kernel)
        self._certain: tuple[int, ...] = ()
        self._search_at = self._looked_at = 0.0

    def look(self, reached: bool | None) -> Slice | None:
        """Look at the guest at the end of a slice, None for its beginning; return the next slice, None at the end.

        Raises: `GuestError` where it did not get to where it must come by, or too much time is over; `LmbError`.
        """
        with self._machine.booting_cpu():
            return self._look(reached)

    def _look(self, reached: bool | None) -> Slice | None:
        arch = self._kernel.arch
        if self._certain and not reached:
            raise GuestError(f"the guest did not reach the kernel at {' or '.join(map(hex, self._certain))}")
        if reached:
            self._search_at = self._looked_at
            if not self._certain:
                self._found = self._linked
        self._looked_at = time.monotonic()
        cpu = arch.cpu_state(self._machine.register)
        with self._machine.physical() as physical:
            memory = BoundedMemory(physical)
            self._certain = arch.quick_way_points(self._kernel, memory, cpu)
            if not self._search_at and arch.nothing_yet(self._kernel, memory, cpu):
                self._search_at = self._looked_at + RESET_S
            due = not self._certain and (self._looked_at >= self._search_at or arch.arrived(cpu))
            if due and self._settled(memory, cpu):
                return None
        left_s = self._deadline - time.monotonic()
        if self._certain:
            return Slice(self._certain, max(0.1, left_s))
        if left_s < 0:
            build = self._kernel.own_file.name
            raise GuestError(f"no kernel of the build of {build} came up within {self._timeout_s:g} s")
        return Slice(self._found, min(MAX_SLICE_S, max(arch.slice_s, time.monotonic() - self._looked_at)))

    def _settled(self, memory: BoundedMemory, cpu: Cpu) -> bool:
        """Search for the kernel; tell whether it runs where it will stay."""
        arch = self._kernel.arch
        placement = None
        with contextlib.suppress(NotReadyError):
            placement = place(self._machine, self._kernel, memory, cpu)
            arch.require_running(self._kernel, placement, cpu)
            if placement.settled:
                self.placement = placement
                return True
        way_point = arch.way_point(self._kernel, placement, memory, cpu, self._machine)
        self._found = self._linked if way_point is None else (*self._linked, way_point)
        self._search_at = time.monotonic() + SEARCH_RATIO * (time.monotonic() - self._looked_at)
        return False
