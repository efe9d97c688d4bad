# SPDX-License-Identifier: GPL-2.0-or-later
"""How far a Linux kernel's boot has come, and what of memblock is still true.

The phases and the test of what is still true after boot are those of mm/memblock.c and mm/mm_init.c.
"""

from __future__ import annotations

from gdb_lmb.address import Phase, TranslatedMemory
from gdb_lmb.errors import NotReadyError
from gdb_lmb.target.linux import Kernel
from gdb_lmb.target.place import Cpu, require_running


def phase_of(kernel: Kernel, memory: TranslatedMemory, cpu: Cpu) -> tuple[Phase, dict[str, str]]:
    """Return the boot's phase, and the lists that must not be shown any more with the reason for each."""
    virtual = memory.placement.virtual

    def word(name: str, size: int = 8) -> int:
        address = kernel.symbols[name]
        return int.from_bytes(memory.read(address + virtual, size), kernel.program.byte_order) if address else 0

    if not word("_totalram_pages"):
        # PG is bit 31 of CR0; before it is set addresses are physical, before the jump they are low.
        if cpu.cr0 is not None and not cpu.cr0 & 1 << 31:
            return Phase.UNMAPPED, {}
        if cpu.pc < 1 << 47:
            require_running(kernel, memory.placement, cpu)
            return Phase.IDENTITY, {}
        return (Phase.COMPLETE if word("memblock_can_resize", 4) else Phase.MAPPED), {}
    refused: dict[str, str] = {}
    if kernel.keeps or word("memblock_memory"):
        return Phase.HANDED_OVER, refused
    low, high = kernel.init
    if low <= kernel.program.memblock_va < high and word("system_state", 4) >= 2:
        raise NotReadyError("memblock was in init memory, which this kernel has freed: nothing of it is left to show")
    raw = memory.read(kernel.program.memblock_va + virtual, kernel.program.memblock.size)
    for name, static in kernel.program.init_arrays.items():
        regions = kernel.program.memblock.value(raw, f"{name}.regions", kernel.program.byte_order)
        if regions != static + virtual:
            refused[name] = f"the array of {name} was freed by memblock_discard(): its contents are not shown"
    return Phase.DISCARDED, refused
