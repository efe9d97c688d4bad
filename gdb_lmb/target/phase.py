# SPDX-License-Identifier: GPL-2.0-or-later
"""How far a Linux kernel's boot has come, and what of memblock is still true.

The phases and the test of what is still true after boot are those of mm/memblock.c and mm/mm_init.c.
"""

from __future__ import annotations

from gdb_lmb.address import Phase, TranslatedMemory
from gdb_lmb.errors import NotReadyError
from gdb_lmb.target.arch import Cpu
from gdb_lmb.target.linux import Kernel


def phase_of(kernel: Kernel, memory: TranslatedMemory, cpu: Cpu) -> tuple[Phase, dict[str, str]]:
    """Return the boot's phase, and the lists that must not be shown any more with the reason for each."""
    virtual = memory.placement.virtual

    if not kernel.word(memory, "_totalram_pages"):
        early = kernel.arch.early_phase(kernel, memory.placement, cpu)
        if early is not None:
            return early, {}
        return (Phase.COMPLETE if kernel.word(memory, "memblock_can_resize", 4) else Phase.MAPPED), {}
    refused: dict[str, str] = {}
    if kernel.keeps or kernel.word(memory, "memblock_memory"):
        return Phase.HANDED_OVER, refused
    if kernel.in_freed_memory(memory, kernel.program.memblock_va):
        raise NotReadyError("memblock was in init memory, which this kernel has freed: nothing of it is left to show")
    raw = memory.read(kernel.program.memblock_va + virtual, kernel.program.memblock.size)
    for name, static in kernel.program.init_arrays.items():
        regions = kernel.program.memblock.value(raw, f"{name}.regions", kernel.program.byte_order)
        if regions != static + virtual:
            refused[name] = f"the array of {name} was freed by memblock_discard(): its contents are not shown"
    return Phase.DISCARDED, refused
