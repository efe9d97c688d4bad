# SPDX-License-Identifier: GPL-2.0-or-later
"""How far a Linux kernel's boot has come, and what of memblock is still true.

The phases and the test of what is still true after boot are those of mm/memblock.c and mm/mm_init.c.
"""

from __future__ import annotations

from gdb_lmb.arches.base import Cpu
from gdb_lmb.core.address import Phase, Placement, TranslatedMemory, left_after_boot
from gdb_lmb.core.errors import NotReadyError
from gdb_lmb.core.memory import BoundedMemory
from gdb_lmb.machine.physical import physical_memory
from gdb_lmb.machine.registers import booting_cpu, selected_cpu
from gdb_lmb.programs.linux import Kernel

ISA_END_ADDRESS = 1 << 20
"""Where x86 ends its first allocations, until the direct map is there."""


def phase_of(kernel: Kernel, memory: TranslatedMemory, cpu: Cpu) -> tuple[Phase, dict[str, str]]:
    """Return the boot's phase, and the lists that must not be shown any more with the reason for each."""
    program, virtual = kernel.program, memory.placement.virtual

    def member(name: str) -> int:
        raw = memory.read(program.memblock_va + virtual, program.memblock.size)
        return program.memblock.value(raw, name, program.byte_order)

    if kernel.arch.before_kernel(cpu) or not kernel.word(memory, "_totalram_pages"):
        early = kernel.arch.early_phase(kernel, memory.placement, cpu)
        if early is not None:
            return early, {}
        # x86 allows arrays to grow before it adds the memory, but not above 1 MiB until all is there.
        complete = kernel.word(memory, "memblock_can_resize", 4) and member("current_limit") > ISA_END_ADDRESS
        return (Phase.COMPLETE if complete else Phase.MAPPED), {}
    return left_after_boot(
        keeps=kernel.keeps,
        memblock_memory=0 if kernel.keeps else kernel.word(memory, "memblock_memory"),
        in_freed_memory=kernel.in_freed_memory(memory, program.memblock_va),
        static={name: member(f"{name}.regions") == va + virtual for name, va in program.init_arrays.items()},
    )


def boot_phase(kernel: Kernel, placement: Placement) -> tuple[Phase | None, bool]:
    """Return the boot's phase, None before the kernel runs, and whether the CPU is at its first instruction."""
    with booting_cpu():
        cpu = selected_cpu(kernel.arch)
    with physical_memory() as physical:
        memory = TranslatedMemory(BoundedMemory(physical), placement)
        try:
            phase: Phase | None = phase_of(kernel, memory, cpu)[0]
        except NotReadyError:
            phase = Phase.DISCARDED if kernel.in_freed_memory(memory, kernel.program.memblock_va) else None
    return phase, cpu.pc == kernel.arch.first_instruction(kernel, placement)
