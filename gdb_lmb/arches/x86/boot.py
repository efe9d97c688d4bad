# SPDX-License-Identifier: GPL-2.0-or-later
"""x86-64: a compressed kernel that moves itself, physically and virtually, before its first instruction.

The decompressor unpacks the kernel's whole ELF at the place that it has chosen, then moves its segments and
jumps to the first. Mirrors arch/x86/boot/compressed/misc.c and arch/x86/kernel/head_64.S.
"""

from __future__ import annotations

import contextlib
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from gdb_lmb.arches.base import Cpu, ReadRegister
from gdb_lmb.arches.linux import LinuxArchitecture
from gdb_lmb.arches.x86.machine import X86
from gdb_lmb.arches.x86.orc import PT_REGS, frames, orc_table, pt_regs
from gdb_lmb.core.address import KernelImage, Linear, Phase, Placement, holds
from gdb_lmb.core.errors import LayoutError, NotReadyError, ReadError
from gdb_lmb.core.machine import Machine
from gdb_lmb.core.memory import Memory
from gdb_lmb.core.ranges import Range
from gdb_lmb.formats.elf import first_bytes
from gdb_lmb.formats.program_file import bytes_in_file, similar_bytes

# `__START_KERNEL_map`: linked address minus this is the linked physical address.
KERNEL_MAP_VA = 0xFFFF_FFFF_8000_0000
ALIGN = 2 << 20  # `CONFIG_PHYSICAL_ALIGN` and the step of KASLR, in bytes
DIRECT_BYTES = 1 << 46  # how much of the address space the direct map takes at least
_USER_END = 1 << 47
_KASLR_BYTES = 1 << 30  # `KERNEL_IMAGE_SIZE`: how far KASLR moves the image virtually at most
_MAX_PHYSICAL = 1 << 52  # no physical address is above
_CODE_BYTES = 64  # so much code tells where in the image it is, but for a few places that the build id sorts out
# Of `memblock`, from the name of its first list on: the second list is in it, which no boot leaves as it was.
_FRESH_BYTES = 48
_ISA_END = 1 << 20
_GENERAL = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", *(f"r{number}" for number in range(8, 16)))
_STACK_BYTES = 16 << 10  # `BOOT_STACK_SIZE` of the decompressor with most ways of compression
# An ELF header as far as its entry point: what follows is of sections, which a stripped file has others of.
_HEAD_BYTES = 32


class X86Linux(X86, LinuxArchitecture):
    entry = "startup_64"
    missing = "it is still compressed at this stop"
    variables = ("page_offset_base", "max_pfn_mapped")
    firmware_edits = ((0, 1 << 12), (0xA0000, 1 << 20))  # `trim_bios_range()` of arch/x86/kernel/setup.c
    unwound_by = tuple(PT_REGS)
    image_to = "__end_of_kernel_reserve"
    image_reserved = Phase.MAPPED  # the first that `setup_arch()` reserves
    page_tables = (
        "init_top_pgt", "early_top_pgt", "early_dynamic_pgts", "level4_kernel_pgt", "level3_kernel_pgt",
        "level2_kernel_pgt", "level2_fixmap_pgt", "level1_fixmap_pgt",
    )  # fmt: skip

    def cpu_state(self, register: ReadRegister) -> Cpu:
        # The general registers of the decompressor know more than the kernel's own variables tell.
        cpu = super().cpu_state(register)
        early = cpu.paging and cpu.below(_USER_END)
        return replace(cpu, general=tuple(register(name) for name in _GENERAL)) if early else cpu

    def base_va(self, image: Range) -> int:
        return KERNEL_MAP_VA

    def tells_place(self, cpu: Cpu) -> bool:
        return super().tells_place(cpu) and (bool(cpu.paged) or not _is_mapped(cpu))

    def running_at(
        self, kernel: KernelImage, memory: Memory, cpu: Cpu, last: tuple[int, ...]
    ) -> Iterator[tuple[int, int | None]]:
        if cpu.pc is None:
            return iter(())
        if _is_mapped(cpu):
            return self._mapped_at(kernel, memory, cpu, cpu.pc, last)
        return self._identity_at(kernel, memory, cpu, cpu.pc)

    def _mapped_at(
        self, kernel: KernelImage, memory: Memory, cpu: Cpu, pc: int, last: tuple[int, ...]
    ) -> Iterator[tuple[int, int | None]]:
        # The image is mapped at its linked address plus a step of KASLR; a program counter among those is in it.
        inside = KERNEL_MAP_VA <= pc < KERNEL_MAP_VA + _KASLR_BYTES
        (low, high), va = kernel.image, kernel.identity.va
        moves = [move for move in (*last, *range(0, _KASLR_BYTES, ALIGN)) if not inside or low <= pc - move < high]
        for paged in (make(memory) for make in cpu.paged):
            for move in moves:
                with contextlib.suppress(ReadError):
                    yield paged.to_physical(va + move)[0] - (va - KERNEL_MAP_VA), move

    def _identity_at(self, kernel: KernelImage, memory: Memory, cpu: Cpu, pc: int) -> Iterator[tuple[int, int | None]]:
        # The image in whose code the CPU is; or one that QEMU has loaded, which nothing has run yet.
        with contextlib.suppress(ReadError):
            code = memory.read(pc, _CODE_BYTES)
            for part in kernel.code:
                for va in similar_bytes(kernel.own_file, code, part, pc % ALIGN, ALIGN):
                    yield pc - (va - KERNEL_MAP_VA), None
        fresh = bytes_in_file(kernel.own_file, kernel.relocated[0], _FRESH_BYTES)
        if cpu.paging is False and fresh is not None and holds(memory, fresh.va - KERNEL_MAP_VA, fresh.data):
            yield 0, None

    def anywhere(self, kernel: KernelImage, ram: Sequence[Range]) -> Iterator[int]:
        linked = kernel.identity.va - KERNEL_MAP_VA
        return (
            place for low, high in ram for place in range(-(-(low - linked) // ALIGN) * ALIGN, high - linked, ALIGN)
        )

    def settle(self, kernel: KernelImage, image: Placement, virtual: int | None, memory: Memory, cpu: Cpu) -> Placement:
        if virtual is None:
            # Pointers are relocated with the image. One may be damaged, or another stand there: most of them tell.
            found = [bytes_in_file(kernel.own_file, at, 8) for at in kernel.relocated]
            linked = {int.from_bytes(want.data, "little") for want in found if want is not None} - {0}
            if not linked:
                raise LayoutError(f"{kernel.own_file} does not hold the data of `memblock`")
            words = [self.word_at(memory, image.to_physical(at)) for at in kernel.relocated]
            moves = Counter(word - one for word in words for one in linked)
            believed = [move for move in moves if not move % ALIGN and 0 <= move < _KASLR_BYTES]
            if not believed:
                raise NotReadyError("the kernel is in memory, but not relocated yet: continue a little")
            virtual = max(believed, key=moves.__getitem__)
        start = kernel.symbols.get("page_offset_base")
        direct = None if start is None else self.word_at(memory, image.to_physical(start))
        return replace(image, virtual=virtual, linear=(Linear(direct, DIRECT_BYTES, 0),) if direct else ())

    def limits(self, word: Callable[[str], int | None], page_size: int, bits: int) -> frozenset[int] | None:
        # `MEMBLOCK_ALLOC_ANYWHERE`, `ISA_END_ADDRESS`, `get_max_mapped()`. Source: `setup_arch()`.
        mapped = word("max_pfn_mapped")
        return None if mapped is None else frozenset(((1 << bits) - 1, _ISA_END, mapped * page_size))

    def require_running(self, kernel: KernelImage, placement: Placement, cpu: Cpu) -> None:
        # The decompressor has the image in its buffer before it is in its place, and leaves its own build id.
        if cpu.pc is None or cpu.pc >= _USER_END:
            return
        linked = cpu.pc + KERNEL_MAP_VA - placement.physical
        if not any(low <= linked < high for low, high in kernel.code):
            raise NotReadyError("the kernel is still compressed at this stop: continue, or use lmb-attach --wait")

    def before_kernel(self, cpu: Cpu) -> bool:
        # In the decompressor, or in the first instructions: the image is in its place before it is whole, and what is
        # to be zero in it is not.
        return cpu.paging is True and cpu.below(_USER_END) and cpu.user is False

    def early_phase(self, kernel: KernelImage, placement: Placement, cpu: Cpu) -> Phase | None:
        if cpu.paging is False:
            return Phase.UNMAPPED
        if cpu.past(_USER_END):
            return None
        self.require_running(kernel, placement, cpu)
        return Phase.IDENTITY

    def arrived(self, cpu: Cpu) -> bool:
        return True  # page tables or the code at the program counter tell

    def first_instruction(self, kernel: KernelImage, placement: Placement) -> int:
        return kernel.entry - KERNEL_MAP_VA + placement.physical

    def quick_way_points(self, kernel: KernelImage, memory: Memory, cpu: Cpu) -> tuple[int, ...]:
        # The decompressor has the address that it unpacks to in its registers or on its stack until it jumps there.
        return tuple(target for target, sure in self._targets(kernel, memory, cpu) if sure)[:1]

    def _targets(self, kernel: KernelImage, memory: Memory, cpu: Cpu) -> Iterator[tuple[int, bool]]:
        # Where the image is unpacked to, or is already; and whether it is not one that another kernel has left there.
        # The ELF's first bytes are there from the beginning; when the segments have been moved, the build id is.
        head, linked = first_bytes(kernel.own_file, _HEAD_BYTES), kernel.identity.va - kernel.image[0]
        for output in _unpacked_to(memory, cpu):
            target = output + kernel.entry - kernel.image[0]
            begun = holds(memory, output, head)
            if target != cpu.pc and (begun or holds(memory, output + linked, kernel.identity.data)):
                yield target, begun or self._is_fresh(kernel, memory, output)

    def _is_fresh(self, kernel: KernelImage, memory: Memory, at: int) -> bool:
        fresh = bytes_in_file(kernel.own_file, kernel.relocated[0], _FRESH_BYTES)
        # But for the pointers, which are relocated: a name, and an array and its name.
        return fresh is not None and holds(memory, at + fresh.va + 8 - kernel.image[0], fresh.data[8:-16])

    def frames(
        self, kernel: KernelImage, virtual: int, cpu: Cpu, known: Mapping[str, int], machine: Machine, stack: Memory
    ) -> Iterator[int]:
        table = orc_table(kernel.own_file)
        if table is None:
            raise LayoutError(f"{kernel.own_file} has no tables for following a stack (CONFIG_UNWINDER_ORC)")
        if cpu.pc is None or len(known) < len(PT_REGS):
            raise LayoutError("the debugger does not have the registers that a stack is followed by")
        last = cpu.pc - virtual
        try:
            for last in frames(table, kernel.code, virtual, cpu.pc, dict(known), stack):
                yield last
        except LayoutError:
            # oops_end() of arch/x86/kernel/dumpstack.c throws the stack away, but __die_header() has saved the
            # registers of the first oops; what the stack held lies below, as far as nothing was called since.
            text, saved = machine.label("_text"), machine.variable("exec_summary_regs")
            if text is None or saved is None:
                raise
            moved = text - kernel.image[0]
            symbol = machine.symbol_at(last + moved)
            if symbol is None or not symbol.name.startswith("rewind_stack_"):
                raise
            yield from frames(table, kernel.code, virtual, *pt_regs(stack, saved.address - moved + virtual), stack)

    def way_point(
        self, kernel: KernelImage, placement: Placement | None, memory: Memory, cpu: Cpu, machine: Machine
    ) -> int | None:
        # No search of RAM: it would find what another boot has left, and on a large machine take longer than the boot.
        if placement is None:
            return next((target for target, _ in self._targets(kernel, memory, cpu)), None)
        return self.first_instruction(kernel, placement)


def _is_mapped(cpu: Cpu) -> bool:
    # Whether the page tables tell where the kernel is, not the code at the program counter.
    return cpu.past(_USER_END) or bool(cpu.user)


def _unpacked_to(memory: Memory, cpu: Cpu) -> Iterator[int]:
    # Where the decompressor may unpack to: every multiple of `ALIGN` among its registers and stack.
    words = [word for word in cpu.general if word is not None]
    if words and cpu.sp is not None:
        with contextlib.suppress(ReadError):
            words += struct.unpack(f"<{_STACK_BYTES // 8}Q", memory.read(cpu.sp, _STACK_BYTES))
    return (word for word in dict.fromkeys(words) if 0 < word < _MAX_PHYSICAL and not word % ALIGN)
