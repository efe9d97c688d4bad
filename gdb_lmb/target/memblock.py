# SPDX-License-Identifier: GPL-2.0-or-later
"""Taking a snapshot of a Linux kernel's memblock: read physically, translated here, decoded by `layout`."""

from __future__ import annotations

from dataclasses import replace

from gdb_lmb.address import TranslatedMemory
from gdb_lmb.errors import ReadError
from gdb_lmb.layout.memblock import decode
from gdb_lmb.memory import BoundedMemory, Meter
from gdb_lmb.region import Snapshot, Stop
from gdb_lmb.target.core import current_dump
from gdb_lmb.target.linux import Kernel, symbols_moved_by
from gdb_lmb.target.phase import phase_of
from gdb_lmb.target.physical import physical_memory
from gdb_lmb.target.place import place
from gdb_lmb.target.registers import register
from gdb_lmb.target.stack import functions_on_stack
from gdb_lmb.target.stop import symbol_at
from gdb_lmb.target.torn import callers_on_stack, changing, torn_memblock


def take_memblock(kernel: Kernel, meter: Meter | None = None) -> Snapshot:
    """Read the stopped kernel's whole memblock, wherever the kernel is. Raises: `LmbError`."""
    cpu = kernel.arch.selected_cpu()
    # Before reads become physical, and not of a dump, whose stack can be looked at only when the place is known.
    live = current_dump() is None
    sp = register("sp") if live else None
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
            firmware=kernel.arch.firmware(kernel, memory),
            refused=refused,
        )
        callers = callers_on_stack(kernel, memory, cpu.pc, sp, moved) if live else None
    # The symbols may stand elsewhere than the kernel does: look the address up where they stand.
    symbols_off = moved - placement.virtual
    here = cpu.pc + symbols_off
    torn = torn_memblock(callers, here, not symbols_off) if live else changing(functions_on_stack(symbols_off, memory))
    snapshot = replace(snapshot, torn=torn, stop=Stop(cpu.pc, symbol_at(here)))
    arrays = []
    for array in snapshot.arrays:
        try:
            arrays.append(replace(array, base=placement.to_physical(array.va)))
        except ReadError:
            arrays.append(array)
    return replace(snapshot, arrays=tuple(arrays))
