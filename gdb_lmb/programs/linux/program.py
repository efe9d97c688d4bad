# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux as a `Program`: recognised by its memblock, read physically, wherever the kernel is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from gdb_lmb.allocators.base import allocator
from gdb_lmb.allocators.memblock.decode import decode
from gdb_lmb.allocators.memblock.storage import MemblockStorage, storage_of
from gdb_lmb.core.address import Linear, Placement, TranslatedMemory
from gdb_lmb.core.errors import LayoutError, NotReadyError, ReadError
from gdb_lmb.core.machine import Machine
from gdb_lmb.core.memory import BoundedMemory, Meter
from gdb_lmb.core.snapshot import Snapshot, Stop
from gdb_lmb.programs.base import AddressMap, Guest, Program, RoleRange
from gdb_lmb.programs.linux.facts import memblock_facts
from gdb_lmb.programs.linux.firmware import read_firmware_map
from gdb_lmb.programs.linux.kernel import Kernel, find_kernel, init_memory, symbols_moved_by
from gdb_lmb.programs.linux.place import locate, phase_of, place
from gdb_lmb.programs.linux.ranges import linux_image, linux_ranges
from gdb_lmb.programs.linux.torn import callers_on_stack, changing, torn_memblock
from gdb_lmb.programs.traced import Traced, require_whole


@dataclass
class _EarlyMemory:
    """A kernel's virtual addresses as the CPU sees them, or by the placement where nothing is mapped yet."""

    machine: Machine
    placement: Placement

    def read(self, address: int, size: int) -> bytes:
        """Return `size` bytes at virtual `address`. Raises: `ReadError`."""
        try:
            return self.machine.virtual().read(address, size)
        except ReadError:
            with self.machine.physical() as physical:
                return TranslatedMemory(physical, self.placement).read(address, size)


class TracedKernel(Traced):
    """The memblock of a kernel that is in memory."""

    def __init__(self, machine: Machine, kernel: Kernel) -> None:
        """Trace it where it runs. Raises: `LayoutError` where the debugger's symbols are not there."""
        placement, moved = locate(machine, kernel)
        if moved != placement.virtual:
            raise LayoutError("gdb's symbols are not where the kernel runs: use lmb-attach first")
        self.offset, self._kernel, self._early = moved, kernel, _EarlyMemory(machine, placement)
        facts = partial(memblock_facts, machine, kernel)
        super().__init__(machine, allocator("memblock"), kernel.program, self._early, facts)

    def physical(self, va: int) -> int:
        try:
            return self._early.placement.to_physical(va)
        except ReadError:
            # Where the direct map begins is settled in the middle of the boot.
            self._early.placement, _ = locate(self.machine, self._kernel)
            return self._early.placement.to_physical(va)

    def begin(self) -> Snapshot:
        state = take_memblock(self.machine, self._kernel)
        require_whole(state.torn)
        return state


class Linux(Program):
    """A Linux kernel with memblock."""

    name = "linux"

    def recognises(self, machine: Machine) -> bool:
        """Tell by the variable `memblock`."""
        return machine.variable("memblock") is not None

    def take(self, machine: Machine, *, with_log: bool = False, meter: Meter | None = None) -> Snapshot:
        """Read the whole memblock. Raises: `LmbError`."""
        return take_memblock(machine, require_kernel(machine), meter)

    def facts(self, machine: Machine) -> Mapping[str, Any]:
        """Return how this kernel's memblock behaves, and the switches that no list shows."""
        return memblock_facts(machine, require_kernel(machine))

    def kernel(self, machine: Machine) -> Kernel:
        return require_kernel(machine)

    def traced(self, machine: Machine) -> Traced:
        return TracedKernel(machine, require_kernel(machine))

    def init_code(self, machine: Machine) -> range:
        return range(*init_memory(machine, require_kernel(machine)))

    def where(self, machine: Machine) -> AddressMap:
        """Return where the image and the linear maps are; nothing where the kernel is not there yet."""
        kernel = require_kernel(machine)
        try:
            placement, moved = locate(machine, kernel)
        except NotReadyError:
            return AddressMap(machine)
        low, high = kernel.image
        part = Linear(low + moved, high - low, placement.to_physical(low + placement.virtual))
        return AddressMap(machine, (part,), placement)

    def image(self, guest: Guest) -> Iterator[RoleRange]:
        """Yield the image and its parts, x86's brk area too."""
        yield from super().image(guest)
        yield from linux_image(guest, require_kernel(guest.machine))

    def ranges(self, guest: Guest) -> Iterator[RoleRange]:
        """Yield what the boot loader left and what the kernel has set up for itself."""
        yield from linux_ranges(guest, require_kernel(guest.machine))


def require_kernel(machine: Machine) -> Kernel:
    """Return the kernel that the debugger's symbols are of. Raises: `LayoutError`."""
    kernel = find_kernel(machine)
    if kernel is None:
        raise LayoutError("gdb does not tell which file `memblock` is from: load the kernel's with `file VMLINUX`")
    return kernel


def take_memblock(machine: Machine, kernel: Kernel, meter: Meter | None = None) -> Snapshot:
    """Read the stopped kernel's whole memblock, wherever the kernel is. Raises: `LmbError`."""
    cpu = kernel.arch.cpu_state(machine.register)
    moved = symbols_moved_by(machine, kernel)
    meter = meter or Meter()
    with machine.physical(meter) as physical:
        bounded = BoundedMemory(physical, meter)
        placement = place(machine, kernel, bounded, cpu)
        memory = TranslatedMemory(bounded, placement)
        phase, refused = phase_of(kernel, memory, cpu)
        snapshot = decode(
            kernel.program,
            memory,
            offset=placement.virtual,
            phase=phase.value,
            firmware=read_firmware_map(machine, kernel, memory),
            refused=refused,
        )
        # A dump's stack costs no requests, and is looked at as a whole when the place is known.
        live = machine.can_run
        callers = callers_on_stack(machine, kernel, memory, cpu.pc, cpu.sp, moved) if live else None
    # The symbols may stand elsewhere than the kernel does: look the address up where they stand.
    symbols_off = moved - placement.virtual
    here = cpu.pc + symbols_off
    if live:
        torn = torn_memblock(machine, callers, here, not symbols_off)
    else:
        torn = changing(machine.functions_on_stack(symbols_off, memory))
    arrays = []
    for array in storage_of(snapshot).arrays:
        try:
            arrays.append(replace(array, base=None if array.va is None else placement.to_physical(array.va)))
        except ReadError:
            arrays.append(array)
    return replace(
        snapshot, torn=torn, stop=Stop(cpu.pc, machine.name_at(here)), storage=MemblockStorage(arrays=tuple(arrays))
    )


PROGRAM = Linux()
