# SPDX-License-Identifier: GPL-2.0-or-later
"""Taking a snapshot of a Linux kernel's memblock: read physically, translated here, decoded by `layout`."""

from __future__ import annotations

from dataclasses import replace

import gdb

from gdb_lmb.address import TranslatedMemory
from gdb_lmb.errors import ReadError
from gdb_lmb.layout.memblock import decode
from gdb_lmb.memory import BoundedMemory, Meter
from gdb_lmb.region import Snapshot, Stop
from gdb_lmb.target.linux import Kernel, symbols_moved_by
from gdb_lmb.target.phase import phase_of
from gdb_lmb.target.physical import PhysicalMemory
from gdb_lmb.target.place import place
from gdb_lmb.target.stop import MAX_FRAMES, symbol_at

_CHANGING = (
    "memblock_add_range", "memblock_insert_region", "memblock_remove_region", "memblock_merge_regions",
    "memblock_isolate_range", "memblock_double_array", "memblock_remove_range", "memblock_setclr_flag",
    "memblock_set_node", "memblock_trim_memory", "memblock_cap_memory_range", "memblock_enforce_memory_limit",
)  # fmt: skip


def _functions_on_stack() -> list[str]:
    """Return the functions of the stack, innermost first, as far as gdb can unwind it.

    Where KASLR has moved the kernel and the symbols were left, there are none to be had.
    """
    names: list[str] = []
    try:
        frame = gdb.newest_frame()
        while frame is not None and len(names) < MAX_FRAMES:
            names.append(frame.name() or "")
            frame = frame.older()
    except gdb.error:
        pass
    return names


def _function(pc: int) -> str | None:
    block = gdb.block_for_pc(pc)
    while block is not None and block.function is None:
        block = block.superblock
    return None if block is None else str(block.function.name)


def take_memblock(kernel: Kernel, meter: Meter | None = None) -> Snapshot:
    """Read the stopped kernel's whole memblock, wherever the kernel is. Raises: `LmbError`."""
    cpu = kernel.arch.selected_cpu()
    frames = _functions_on_stack()
    meter = meter or Meter()
    with PhysicalMemory(meter) as physical:
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
    # The symbols may stand elsewhere than the kernel does: look the address up where they stand.
    here = cpu.pc - placement.virtual + symbols_moved_by(kernel.identity)
    torn = next((name for name in [_function(here), *frames] if name and name.split(".")[0] in _CHANGING), None)
    snapshot = replace(snapshot, torn=torn, stop=Stop(cpu.pc, symbol_at(here)))
    arrays = []
    for array in snapshot.arrays:
        try:
            arrays.append(replace(array, base=placement.to_physical(array.va)))
        except ReadError:
            arrays.append(array)
    return replace(snapshot, arrays=tuple(arrays))
