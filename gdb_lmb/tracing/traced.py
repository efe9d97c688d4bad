# SPDX-License-Identifier: GPL-2.0-or-later
"""An allocator that is traced in the program in gdb: where to stop, and how to read its state at a stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gdb_lmb.allocators.base import Allocator, TracedProgram, allocator
from gdb_lmb.allocators.lmb.program import find_lmb, with_page_size
from gdb_lmb.core.address import TranslatedMemory
from gdb_lmb.core.capture import Capture
from gdb_lmb.core.errors import LayoutError, ReadError
from gdb_lmb.core.memory import BoundedMemory, Memory
from gdb_lmb.core.operation import Model
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.machine.current import current
from gdb_lmb.machine.missing import why_no_allocator
from gdb_lmb.machine.reader import GdbMemory
from gdb_lmb.programs.linux.facts import memblock_facts
from gdb_lmb.programs.linux.kernel import Kernel
from gdb_lmb.programs.linux.place import locate
from gdb_lmb.tracing.points import find_points

Facts = Callable[[], Mapping[str, Any]]


class Traced:
    """One allocator that is traced.

    `points` are its calls, `unseen` tells in sentences of changes that no call shows. `adapter` knows what a call
    means.
    """

    def __init__(self, own: Allocator, where: TracedProgram, facts: Facts = dict) -> None:
        """Trace the allocator of a program; `facts` tells what `Allocator.resume()` must know beside a state."""
        self.allocator, self.layout = own, own.name
        self.arch, self.byte_order = where.program.arch, where.program.byte_order
        self.bits, self.page_size = where.program.bits, where.program.page_size
        self.adapter = own.adapter(where)
        self.points, self.unseen = find_points(own)
        self._where, self._facts = where, facts
        self._capture = Capture(where.memory)

    def read(self) -> Snapshot:
        """Read the state; what was read is kept. Raises: `LmbError`."""
        self._capture = Capture(self._where.memory)
        return self.adapter.decode(BoundedMemory(self._capture))

    def unchanged(self) -> bool:
        """Tell whether the bytes that `read()` asked for last are still the same."""
        return self._capture.unchanged()

    def model(self, state: Snapshot) -> Model:
        """Return the reference model that goes on from `state`. Raises: `StateError`."""
        return self.allocator.resume(state, self._facts())


class _Mapped:
    """A program that runs where it was linked, on addresses that the CPU translates."""

    offset = 0

    def __init__(self, program: Any) -> None:
        self.program = program
        self.memory: Memory = GdbMemory()

    def physical(self, va: int) -> int:
        raise ReadError(va, 1, "its physical address is not known")


class _MovedKernel:
    """A Linux kernel wherever it runs: read as the CPU sees it, or by its placement where nothing is mapped yet."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel, self.program = kernel, kernel.program
        self._placement, moved = locate(current(), kernel)
        self.offset = self._placement.virtual
        if moved != self.offset:
            raise LayoutError("gdb's symbols are not where the kernel runs: use lmb-attach first")
        self._virtual = GdbMemory()
        self.memory: Memory = self

    def read(self, address: int, size: int) -> bytes:
        """Return `size` bytes at virtual `address`. Raises: `ReadError`."""
        try:
            return self._virtual.read(address, size)
        except ReadError:
            with current().physical() as physical:
                return TranslatedMemory(physical, self._placement).read(address, size)

    def physical(self, va: int) -> int:
        """Return the physical address of `va`. Raises: `LmbError`."""
        try:
            return self._placement.to_physical(va)
        except ReadError:
            # Where the direct map begins is settled in the middle of the boot.
            self._placement, _ = locate(current(), self._kernel)
            return self._placement.to_physical(va)


def traced_lmb() -> Traced:
    """Return the list-based LMB of gdb's program. Raises: `LayoutError`."""
    found = find_lmb(current())
    if found is None:
        raise LayoutError(why_no_allocator())
    return Traced(allocator("lmb-list"), _Mapped(with_page_size(current(), found, GdbMemory())))


def traced_memblock(kernel: Kernel) -> Traced:
    """Return the memblock of a kernel that is in memory, with gdb's symbols where it runs. Raises: `LmbError`."""
    return Traced(allocator("memblock"), _MovedKernel(kernel), lambda: memblock_facts(current(), kernel))
