# SPDX-License-Identifier: GPL-2.0-or-later
"""x86-64: a compressed kernel that moves itself, physically and virtually, before its first instruction.

The decompressor unpacks the kernel's whole ELF at the place that it has chosen, then moves its segments and
jumps to the first. Mirrors arch/x86/boot/compressed/misc.c and arch/x86/kernel/head_64.S.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from dataclasses import replace

from gdb_lmb.arches.base import Cpu
from gdb_lmb.arches.convention import ReadRegister
from gdb_lmb.arches.linux import LinuxArchitecture
from gdb_lmb.arches.x86.machine import X86
from gdb_lmb.core.address import MAX_PROBES, Linear, Phase, Placement, first_match, holds
from gdb_lmb.core.errors import LayoutError, NotReadyError, ReadError
from gdb_lmb.core.image import KernelImage
from gdb_lmb.core.machine import Machine
from gdb_lmb.core.memory import BoundedMemory, Memory
from gdb_lmb.core.ranges import Range
from gdb_lmb.formats.program_file import bytes_in_file, first_bytes

KERNEL_MAP_VA = 0xFFFF_FFFF_8000_0000
"""`__START_KERNEL_map`: linked address minus this is the linked physical address."""
ALIGN = 2 << 20
"""`CONFIG_PHYSICAL_ALIGN` and the step of KASLR, in bytes."""
DIRECT_BYTES = 1 << 46
"""How much of the address space the direct map takes at least."""
_USER_END = 1 << 47
_KASLR_BYTES = 1 << 30
"""`KERNEL_IMAGE_SIZE`: how far KASLR moves the image virtually at most."""
_MAX_PHYSICAL_BYTES = 64 << 30
"""No kernel is looked for above."""
_RESET_PC = 0xFFF0
_GENERAL = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", *(f"r{number}" for number in range(8, 16)))
_STACK_BYTES = 16 << 10
"""`BOOT_STACK_SIZE` of the decompressor with most ways of compression."""
_HEAD_BYTES = 32
"""An ELF header as far as its entry point: what follows is of sections, which a stripped file has others of."""


class X86Linux(X86, LinuxArchitecture):
    """x86-64."""

    entry = "startup_64"
    missing = "it is still compressed at this stop"
    variables = ("page_offset_base",)
    page_tables = (
        "init_top_pgt", "early_top_pgt", "early_dynamic_pgts", "level4_kernel_pgt", "level3_kernel_pgt",
        "level2_kernel_pgt", "level2_fixmap_pgt", "level1_fixmap_pgt",
    )  # fmt: skip

    def cpu_state(self, register: ReadRegister) -> Cpu:
        """Add the general registers of the decompressor, which know more than the kernel's own variables tell."""
        cpu = super().cpu_state(register)
        if not cpu.paging or cpu.pc >= _USER_END:
            return cpu
        return replace(cpu, general=tuple(register(name) or 0 for name in _GENERAL))

    def base_va(self, image: Range) -> int:
        """Return `__START_KERNEL_map`."""
        return KERNEL_MAP_VA

    def deltas(self, kernel: KernelImage, cpu: Cpu, machine: Machine) -> Iterator[int]:
        """Yield the place whose first instruction the CPU is at, then every step within the machine's RAM, 0 first."""
        here = cpu.pc - (kernel.entry - KERNEL_MAP_VA)
        if cpu.pc < _USER_END and not here % ALIGN:
            yield here
        # Only asked when the last place does not do: how much RAM there is costs a request.
        yield from steps(kernel.identity.va - KERNEL_MAP_VA, machine.ram_end())

    def settle(self, kernel: KernelImage, image: Placement, memory: BoundedMemory, cpu: Cpu) -> Placement:
        """Tell the virtual move by a pointer that is relocated with the image, the direct map by its variable."""
        # The pointer to the list's name never changes otherwise.
        want = bytes_in_file(kernel.own_file, kernel.constant_pointer, 8)
        if want is None:
            raise LayoutError(f"{kernel.own_file} does not hold the data of `memblock`")
        got = self.word_at(memory, image.to_physical(kernel.constant_pointer))
        virtual = got - int.from_bytes(want.data, "little")
        if virtual % ALIGN or not 0 <= virtual < _KASLR_BYTES:
            raise NotReadyError("the kernel is in memory, but not relocated yet: continue a little")
        start = kernel.symbols.get("page_offset_base")
        direct = None if start is None else self.word_at(memory, image.to_physical(start))
        linear = (Linear(direct, DIRECT_BYTES),) if direct else ()
        return replace(image, virtual=virtual, linear=linear)

    def require_running(self, kernel: KernelImage, placement: Placement, cpu: Cpu) -> None:
        """Check that the CPU is not in the decompressor any more.

        The decompressor has the image in its buffer before it is in its place, and leaves its own build id.
        """
        linked = cpu.pc + KERNEL_MAP_VA - placement.physical
        if cpu.pc < _USER_END and not any(low <= linked < high for low, high in kernel.code):
            raise NotReadyError("the kernel is still compressed at this stop: continue, or use lmb-attach --wait")

    def before_kernel(self, cpu: Cpu) -> bool:
        """Tell by a low program counter that is no user's program: the decompressor's, or the first instructions'.

        The image is in its place before it is whole, and what is to be zero in it is not.
        """
        return cpu.paging is True and cpu.pc < _USER_END and cpu.user is False

    def early_phase(self, kernel: KernelImage, placement: Placement, cpu: Cpu) -> Phase | None:
        """Tell by CR0 and the program counter: before the jump it is low."""
        if cpu.paging is False:
            return Phase.UNMAPPED
        if cpu.pc >= _USER_END:
            return None
        self.require_running(kernel, placement, cpu)
        return Phase.IDENTITY

    def nothing_yet(self, kernel: KernelImage, memory: Memory, cpu: Cpu) -> bool:
        """Tell whether the CPU is at reset, unless QEMU has loaded the ELF itself, which it does unmoved."""
        linked = kernel.identity.va - KERNEL_MAP_VA
        at_reset = cpu.paging is False and cpu.pc == _RESET_PC
        return at_reset and not holds(memory, linked, kernel.identity.data)

    def first_instruction(self, kernel: KernelImage, placement: Placement) -> int:
        """Return `startup_64`, identity-mapped."""
        return kernel.entry - KERNEL_MAP_VA + placement.physical

    def quick_way_points(self, kernel: KernelImage, memory: Memory, cpu: Cpu) -> tuple[int, ...]:
        """Return the first instruction by what the decompressor's registers and stack tell of where it unpacks to.

        It needs that address until it jumps there. The ELF's first bytes are there from the beginning; when
        the segments have been moved, the build id is in its place.
        """
        head, linked = first_bytes(kernel.own_file, _HEAD_BYTES), kernel.identity.va - kernel.image[0]
        for output in _unpacked_to(memory, cpu):
            target = output + kernel.entry - kernel.image[0]
            found = holds(memory, output, head) or holds(memory, output + linked, kernel.identity.data)
            if found and target != cpu.pc:
                return (target,)
        return ()

    def way_point(
        self, kernel: KernelImage, placement: Placement | None, memory: Memory, cpu: Cpu, machine: Machine
    ) -> int | None:
        """Return the first instruction, identity-mapped, as soon as the decompressor's output shows where.

        The build id shows up at its offset in the *file* first, later in its place; both are whole steps of KASLR
        apart, so what lies where the ELF would begin tells which it is.
        """
        identity = kernel.identity
        output = first_match(
            memory, identity.file_offset, identity.data, steps(identity.file_offset, machine.ram_end())
        )
        if output is None:
            return None
        if not holds(memory, output, first_bytes(kernel.own_file, _HEAD_BYTES)):
            output += identity.file_offset - (identity.va - kernel.image[0])
        return output + kernel.entry - kernel.image[0]


def steps(linked: int, limit: int) -> Iterator[int]:
    """Yield by how much what is linked at physical `linked` may have been moved, 0 first, up to address `limit`."""
    yield 0
    yield from range(-(linked // ALIGN) * ALIGN, min(limit, MAX_PROBES * ALIGN), ALIGN)


def _unpacked_to(memory: Memory, cpu: Cpu) -> Iterator[int]:
    """Yield where the decompressor may unpack to: every multiple of `ALIGN` among its registers and stack."""
    words = list(cpu.general)
    if not words:
        return
    with contextlib.suppress(ReadError):
        raw = memory.read(cpu.sp or 0, _STACK_BYTES)
        words += struct.unpack(f"<{len(raw) // 8}Q", raw)
    for word in dict.fromkeys(words):
        if word and not word % ALIGN and word < _MAX_PHYSICAL_BYTES:
            yield word
