# SPDX-License-Identifier: GPL-2.0-or-later
"""Taking a snapshot of a Linux kernel's memblock: read physically, translated here, decoded by `layout`."""

from __future__ import annotations

from dataclasses import replace

from gdb_lmb.allocators.memblock.decode import decode
from gdb_lmb.allocators.memblock.storage import MemblockStorage, storage_of
from gdb_lmb.core.address import TranslatedMemory
from gdb_lmb.core.errors import ReadError
from gdb_lmb.core.memory import BoundedMemory, Meter
from gdb_lmb.core.snapshot import Snapshot, Stop
from gdb_lmb.machine.core import current_dump
from gdb_lmb.machine.physical import physical_memory
from gdb_lmb.machine.registers import selected_cpu
from gdb_lmb.machine.stack import functions_on_stack
from gdb_lmb.machine.stop import symbol_at
from gdb_lmb.machine.torn import callers_on_stack, changing, torn_memblock
from gdb_lmb.programs.firmware import read_firmware_map
from gdb_lmb.programs.linux import Kernel, symbols_moved_by
from gdb_lmb.programs.phase import phase_of
from gdb_lmb.programs.place import place


def take_memblock(kernel: Kernel, meter: Meter | None = None) -> Snapshot:
    """Read the stopped kernel's whole memblock, wherever the kernel is. Raises: `LmbError`."""
    cpu = selected_cpu(kernel.arch)
    # Before reads become physical, and not of a dump, whose stack can be looked at only when the place is known.
    live = current_dump() is None
    sp = cpu.sp if live else None
    moved = symbols_moved_by(kernel)
    meter = meter or Meter()
    with physical_memory(meter) as physical:
        bounded = BoundedMemory(physical, meter)
        placement = place(kernel, bounded, cpu)
        memory = TranslatedMemory(bounded, placement)
        phase, refused = phase_of(kernel, memory, cpu)
        snapshot = decode(
            kernel.program,
            memory,
            offset=placement.virtual,
            phase=phase.value,
            firmware=read_firmware_map(kernel, memory),
            refused=refused,
        )
        callers = callers_on_stack(kernel, memory, cpu.pc, sp, moved) if live else None
    # The symbols may stand elsewhere than the kernel does: look the address up where they stand.
    symbols_off = moved - placement.virtual
    here = cpu.pc + symbols_off
    torn = torn_memblock(callers, here, not symbols_off) if live else changing(functions_on_stack(symbols_off, memory))
    snapshot = replace(snapshot, torn=torn, stop=Stop(cpu.pc, symbol_at(here)))
    arrays = []
    for array in storage_of(snapshot).arrays:
        try:
            arrays.append(replace(array, base=None if array.va is None else placement.to_physical(array.va)))
        except ReadError:
            arrays.append(array)
    return replace(snapshot, storage=MemblockStorage(arrays=tuple(arrays)))
