# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a Linux kernel lies in the guest, physically and virtually, and how far its boot has come.

Everything is read physically, so that it works before paging, in user mode with the kernel's pages
unmapped, and with KASLR while gdb's symbols still stand at their linked addresses. The phases and the test of what is
still true after boot are those of mm/memblock.c and mm/mm_init.c.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from gdb_lmb.arches.base import Cpu
from gdb_lmb.core.address import Phase, Placement, TranslatedMemory, holds, left_after_boot
from gdb_lmb.core.errors import NotReadyError, ReadError
from gdb_lmb.core.machine import Machine
from gdb_lmb.core.memory import BoundedMemory
from gdb_lmb.core.words import human_size
from gdb_lmb.programs.linux.kernel import E820_TABLES, Kernel, symbols_moved_by

# Variables this near to one another are read in one request, which fits into one packet of QEMU's stub.
_NEAR_BYTES, _CLUSTER_BYTES = 256, 2048
_USUAL_REGIONS = 48  # of a static array, which are read along with what lies beside it
_ISA_END_ADDRESS = 1 << 20  # where x86 ends its first allocations, until the direct map is there
# Where each program's kernel was found last: the virtual move is tried first.
_LAST: dict[Path, Placement] = {}


def place(machine: Machine, kernel: Kernel, physical: BoundedMemory, cpu: Cpu) -> Placement:
    """Find where the kernel lies, physically and virtually, and prove it by its build id.

    After a reset or a kexec RAM still holds older images of the build: only that counts which the CPU has mapped, or
    runs before paging. Where the CPU's registers do not tell, RAM is searched. `cpu` was taken before reads became
    physical. Raises: `NotReadyError` where no kernel of this build runs, or more than one may.
    """
    arch, last = kernel.arch, _LAST.get(kernel.own_file)
    linked = kernel.identity.va - arch.base_va(kernel.image)
    if not arch.tells_place(cpu):
        delta, virtual = _search(machine, kernel, physical, cpu, linked), None
    else:
        tried = arch.running_at(kernel, physical, cpu, () if last is None else (last.virtual,))
        found = ((at, move) for at, move in tried if holds(physical, linked + at, kernel.identity.data))
        delta, virtual = next(found, (None, None))
    if delta is None:
        raise NotReadyError(_why_none(machine, kernel, cpu, last))
    image = Placement(delta, 0, kernel.image, base_va=arch.base_va(kernel.image))
    # The decoder reads these bytes again, and what lies beside them.
    for low, high in _clusters(kernel):
        with contextlib.suppress(ReadError):
            physical.preload(image.to_physical(low), high - low)
    placement = _LAST[kernel.own_file] = arch.settle(kernel, image, virtual, physical, cpu)
    return placement


def _search(machine: Machine, kernel: Kernel, physical: BoundedMemory, cpu: Cpu, linked: int) -> int | None:
    # Return where the only image in RAM is, or the only one that the program counter is in; None where there is none.
    places = kernel.arch.anywhere(kernel, machine.ram())
    found = [at for at in places if at + linked >= 0 and holds(physical, linked + at, kernel.identity.data)]
    if len(found) > 1:
        found = [at for at in found if _runs(kernel, physical, cpu, at)] or found
    if len(found) > 1:
        raise NotReadyError(
            f"{len(found)} kernels of the build of {kernel.own_file.name} are in memory, and no registers of a CPU "
            "tell which of them runs: take a dump that has them, with QEMU's dump-guest-memory"
        )
    return found[0] if found else None


def _runs(kernel: Kernel, physical: BoundedMemory, cpu: Cpu, at: int) -> bool:
    image = Placement(at, 0, kernel.image, base_va=kernel.arch.base_va(kernel.image))
    try:
        return kernel.arch.settle(kernel, image, None, physical, cpu).runs(cpu.pc)
    except (NotReadyError, ReadError):
        return False


def _why_none(machine: Machine, kernel: Kernel, cpu: Cpu, last: Placement | None) -> str:
    if cpu.pc is not None and kernel.arch.tells_place(cpu):
        searched = f"run by this CPU at {cpu.pc:#x}"
    else:
        searched = f"in its {human_size(sum(end - base for base, end in machine.ram()))} of memory"
    reset = "" if last is None else ", the guest was reset or has started another kernel since it was last seen"
    lacking = f", or {machine.lacking}" if machine.lacking else ""
    return (
        f"no kernel of the build of {kernel.own_file.name} is {searched}: {kernel.arch.missing}{reset}, "
        f"or the guest runs another build{lacking}{': continue, or use lmb-attach --wait' if machine.can_run else ''}"
    )


def _clusters(kernel: Kernel) -> list[tuple[int, int]]:
    # Return the linked ranges worth reading at once: several variables near to each other, what is always read.
    program = kernel.program
    # The pointers to x86's tables are taken from the ELF as long as they are as linked.
    names = kernel.symbols.items() - {(name, kernel.symbols.get(name)) for name in E820_TABLES}
    words = {name: (at, at + kernel.arch.word_bytes) for name, at in names}
    arrays = [(at, at + _USUAL_REGIONS * program.region.size) for at in program.init_arrays.values()]
    told = (words.get("_totalram_pages"), words.get("vm_zone_stat"))
    always = {(program.memblock_va, program.memblock_va + program.memblock.size), *told}
    groups: list[list[tuple[int, int]]] = []
    for low, high in sorted({*words.values(), *arrays, *filter(None, always)}):
        if groups and low - groups[-1][-1][1] <= _NEAR_BYTES and high - groups[-1][0][0] <= _CLUSTER_BYTES:
            groups[-1].append((low, high))
        else:
            groups.append([(low, high)])
    return [(group[0][0], max(high for _, high in group)) for group in groups if len(group) > 1 or always & set(group)]


def booting_cpu(machine: Machine, kernel: Kernel) -> Cpu:
    """Return the registers of the CPU that boots the kernel."""
    with machine.booting_cpu():
        return kernel.arch.cpu_state(machine.register)


def locate(machine: Machine, kernel: Kernel) -> tuple[Placement, int]:
    """Return where the running kernel lies, and by how much the debugger's symbols are moved now."""
    cpu = booting_cpu(machine, kernel)
    with machine.physical() as physical:
        return place(machine, kernel, BoundedMemory(physical), cpu), symbols_moved_by(machine, kernel)


def phase_of(kernel: Kernel, memory: TranslatedMemory, cpu: Cpu) -> tuple[Phase, dict[str, str]]:
    """Return the boot's phase, and the lists that must not be shown any more with the reason for each.

    Raises: `NotReadyError` where nothing is left to show, `ReadError`.
    """
    program, virtual = kernel.program, memory.placement.virtual

    def member(name: str) -> int:
        raw = memory.read(program.memblock_va + virtual, program.memblock.size)
        return program.memblock.value(raw, name, program.byte_order)

    if kernel.arch.before_kernel(cpu) or not handed_over(kernel, memory)[0]:
        early = None if cpu.pc is None else kernel.arch.early_phase(kernel, memory.placement, cpu)
        if early is not None:
            return early, {}
        # x86 allows arrays to grow before it adds the memory, but not above 1 MiB until all is there.
        # Per-CPU areas are set up once it is: a word of the guest's may be damaged.
        complete = (
            member("current_limit") > _ISA_END_ADDRESS and kernel.word(memory, "memblock_can_resize", 4)
        ) or kernel.word(memory, "pcpu_base_addr")
        if cpu.pc is None and not complete:
            raise NotReadyError(
                f"{kernel.own_file.name} is in memory, but no registers of a CPU tell whether it runs: "
                "take a dump that has them, with QEMU's dump-guest-memory"
            )
        return (Phase.COMPLETE if complete else Phase.MAPPED), {}
    return left_after_boot(
        keeps=kernel.keeps,
        memblock_memory=kernel.word(memory, "memblock_memory"),
        in_freed_memory=kernel.in_freed_memory(memory, program.memblock_va),
        static={
            name: name in program.init_arrays and member(f"{name}.regions") == program.init_arrays[name] + virtual
            for name in ("memory", "reserved")
        },
    )


def handed_over(kernel: Kernel, memory: TranslatedMemory) -> tuple[bool, str | None]:
    """Tell whether the page allocator has the memory, by two of three words, and what they say if they disagree.

    They disagree too where this kernel has too few of them.

    Source: `memblock_free_all()` frees pages, which `vm_zone_stat[NR_FREE_PAGES]` counts first, then adds them to
    `_totalram_pages`; `kmem_cache_init()`, which follows, sets `slab_state`.
    """
    pages, free = kernel.word(memory, "_totalram_pages"), kernel.word(memory, "vm_zone_stat")
    if pages is not None and (free is None or bool(pages) == bool(free)):
        return bool(pages), None
    slab = kernel.word(memory, "slab_state", 4)
    # In the middle of the hand-over there are free pages only.
    agree = bool(slab) == bool(free) if pages is None else not slab and not pages
    if agree and None not in (slab, free):
        return bool(slab), None
    words = {"_totalram_pages": pages, "vm_zone_stat": free, "slab_state": slab}
    return bool(slab), ", ".join(
        f"{name} {'is not known' if word is None else hex(word)}" for name, word in words.items()
    )


def boot_phase(machine: Machine, kernel: Kernel, placement: Placement) -> tuple[Phase | None, bool]:
    """Return the boot's phase, None before the kernel runs, and whether the CPU is at its first instruction."""
    cpu = booting_cpu(machine, kernel)
    with machine.physical() as physical:
        memory = TranslatedMemory(BoundedMemory(physical), placement)
        try:
            phase: Phase | None = phase_of(kernel, memory, cpu)[0]
        except NotReadyError:
            phase = Phase.DISCARDED if kernel.in_freed_memory(memory, kernel.program.memblock_va) else None
    return phase, cpu.pc == kernel.arch.first_instruction(kernel, placement)
