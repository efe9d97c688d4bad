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
from gdb_lmb.core.ranges import Range
from gdb_lmb.core.words import human_size
from gdb_lmb.programs.linux.kernel import Kernel, symbols_moved_by

# Variables that lie in so many bytes are read in one request, which fits into one packet of QEMU's stub.
_CLUSTER_BYTES = 2048
_USUAL_BYTES = 1024  # of an array by nodes
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
    clusters = ((image.to_physical(low), high - low) for low, high in _clusters(kernel))
    physical.read_ahead((at, at + size) for at, size in clusters)
    placement = _LAST[kernel.own_file] = arch.settle(kernel, image, virtual, physical, cpu)
    return placement


def _search(machine: Machine, kernel: Kernel, physical: BoundedMemory, cpu: Cpu, linked: int) -> int | None:
    # Return where the only image in RAM is, or the only one that the program counter is in; None where there is none.
    places = kernel.arch.anywhere(kernel, machine.ram())
    found = [at for at in places if holds(physical, linked + at, kernel.identity.data)]
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


def _clusters(kernel: Kernel) -> list[Range]:
    # Return the linked ranges to be read at once: variables near to each other, arrays as far as they are mostly used.
    program, low, high = kernel.program, *kernel.image
    known = (kernel.variables.get(name) for name in kernel.symbols)
    words = [(found.address, min(found.size, _USUAL_BYTES)) for found in known if found is not None]
    arrays = [(at, _USUAL_REGIONS * program.region.size) for at in program.init_arrays.values()]
    groups: list[Range] = []
    for at, size in sorted([*words, *arrays, (program.memblock_va, program.memblock.size)]):
        if groups and at + size - groups[-1][0] <= _CLUSTER_BYTES:
            groups[-1] = (groups[-1][0], max(at + size, groups[-1][1]))
        else:
            groups.append((at, at + size))
    return [(first, past) for first, past in groups if low <= first and past <= high]


def booting_cpu(machine: Machine, kernel: Kernel) -> Cpu:
    """Return the registers of the CPU that boots the kernel."""
    with machine.booting_cpu():
        return kernel.arch.cpu_state(machine.register)


def locate(machine: Machine, kernel: Kernel) -> tuple[Placement, int]:
    """Return where the running kernel lies, and by how much the debugger's symbols are moved now."""
    cpu = booting_cpu(machine, kernel)
    with machine.physical() as physical:
        placement = place(machine, kernel, BoundedMemory(physical), cpu)
        memory = TranslatedMemory(BoundedMemory(physical), placement)
        reserved, stopped = crash_memory(machine, kernel, memory, cpu), is_stopped(kernel, memory, cpu)
    require_it_runs(machine, kernel, placement, reserved, stopped)
    return placement, symbols_moved_by(machine, kernel)


def crash_memory(machine: Machine, kernel: Kernel, memory: TranslatedMemory, cpu: Cpu) -> Range | None:
    """Return where a crash kernel may run, None where nothing is reserved for one.

    Source: `crashk_res` of kernel/kexec_core.c: nothing runs there but a crash kernel, and what leads to it.
    """
    if "crashk_res" not in kernel.symbols or kernel.arch.before_kernel(cpu):
        return None
    layout = kernel.struct(machine, "crashk_res")
    raw = memory.read(kernel.symbols["crashk_res"] + memory.placement.virtual, layout.size)
    first, last = (layout.value(raw, name, machine.byte_order) for name in ("start", "end"))
    # No image lies in memory that it reserves for another: what is read is damaged then.
    image = memory.placement.to_physical(kernel.image[0] + memory.placement.virtual)
    return (first, last + 1) if first < last and not first <= image <= last else None


def is_stopped(kernel: Kernel, memory: TranslatedMemory, cpu: Cpu) -> bool:
    """Tell whether a CPU in the kernel's image stays there until another one starts it anew."""
    with contextlib.suppress(ReadError):
        return kernel.arch.is_stopped(cpu, memory)
    return False


def require_it_runs(
    machine: Machine, kernel: Kernel, placement: Placement, reserved: Range | None, stopped: bool
) -> None:
    """Check that the kernel found at `placement` runs still, and has not started another one.

    No CPU runs in the memory `reserved` for a crash kernel; nor, where the CPU that `placement` was found by is
    `stopped`, another kernel. Raises: `NotReadyError`.
    """
    if reserved is None and not stopped:
        return
    cpus = [(number, kernel.arch.cpu_state(machine.register)) for number in machine.cpus()]
    if reserved is not None:
        _require_no_crash_kernel(kernel, cpus, reserved)
    if stopped:
        _require_no_other_kernel(machine, kernel, cpus, placement)


def _require_no_other_kernel(
    machine: Machine, kernel: Kernel, cpus: list[tuple[int, Cpu]], placement: Placement
) -> None:
    # kexec stops all CPUs but the first, or another that was chosen (`reboot_cpu`), and boots the next kernel on it.
    first = min((number for number, _ in cpus), default=None)
    image = placement.to_physical(kernel.image[0] + placement.virtual)
    with machine.physical() as physical:
        memory = BoundedMemory(physical)
        for number, cpu in cpus:
            if not kernel.arch.tells_place(cpu):
                continue
            # In no kernel of this build may also be a CPU that the firmware has parked, but for the first.
            runs, crash = False, None
            with contextlib.suppress(NotReadyError, ReadError):
                other = place(machine, kernel, memory, cpu)
                if (other.physical, other.virtual) == (placement.physical, placement.virtual):
                    continue
                there = TranslatedMemory(memory, other)
                runs, crash = not is_stopped(kernel, there, cpu), crash_memory(machine, kernel, there, cpu)
            if (runs or number == first) and not (crash and crash[0] <= image < crash[1]):
                raise NotReadyError(
                    "the kernel found has started another one, and has stopped this CPU: choose the one that runs the "
                    f"other with `thread {number}`"
                )


def _require_no_crash_kernel(kernel: Kernel, cpus: list[tuple[int, Cpu]], reserved: Range) -> None:
    for number, cpu in cpus:
        # What leads there is mapped one to one, by page tables of its own.
        at = cpu.tables if cpu.pc is None or cpu.user else (*cpu.tables, cpu.pc)
        if any(reserved[0] <= address < reserved[1] for address in at):
            raise NotReadyError(
                "the kernel found has crashed, and another CPU runs its crash kernel or what leads there: choose "
                f"that one with `thread {number}`, and continue until it is at one of the kernel's own addresses"
            )


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
