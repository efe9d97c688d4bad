# SPDX-License-Identifier: GPL-2.0-or-later
"""arm64: an Image that runs where it was loaded, and moves itself virtually when it turns the MMU on.

Its first instructions run with the MMU off, then identity-mapped; `__primary_switch` has the image mapped
and relocated and branches to `__primary_switched`, which writes `kimage_voffset`. EFI firmware starts a copy of
the Image as a program, which may move another copy to where it is to run. Mirrors arch/arm64/kernel/head.S,
arch/arm64/kernel/pi/map_kernel.c, drivers/firmware/efi/libstub/arm64.c and Documentation/arch/arm64/booting.rst.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from gdb_lmb.arches.base import Architecture, Cpu, word_at
from gdb_lmb.core.address import (
    ARM64_ALIGN,
    ARM64_EFI_ALIGN,
    Phase,
    Placement,
    arm64_linear,
    arm64_places,
)
from gdb_lmb.core.errors import NotReadyError, ReadError
from gdb_lmb.core.image import KernelImage
from gdb_lmb.core.memory import BoundedMemory, Memory
from gdb_lmb.formats.program_file import bytes_in_file, same_bytes
from gdb_lmb.machine.program import DEFAULT_PAGE_SIZE
from gdb_lmb.machine.ram import ram_ranges
from gdb_lmb.machine.registers import current_pc, register

_TABLES = ("swapper_pg_dir", "init_pg_dir", "reserved_pg_dir", "tramp_pg_dir", "idmap_pg_dir", "init_idmap_pg_dir")
"""Page tables in the image: what a translation table base register points to tells where the image is."""
_REGISTERS = ("TTBR1_EL1", "TTBR0_EL1", "TTBR1_EL2", "TTBR0_EL2")
_TABLE_ADDRESS = 0x0000_FFFF_FFFF_F000
"""The address in such a register; above it lies the ASID, below it CnP and the bits past 2^48."""
_MMU = 1
"""SCTLR_ELx.M."""
_HIGH = 1 << 63
_FLAGS_OFFSET = 24
"""`flags` of `struct arm64_image_header`."""
_PAGE_SIZES = {1: 4 << 10, 2: 16 << 10, 3: 64 << 10}
_BRANCH, _BRANCH_MASK = 0xD61F0000, 0xFFFFFC1F
"""BR Xn, n in bits 5 to 9."""
_SWITCH_BYTES = 256
_ENTER = "__efistub_efi_enter_kernel"
"""`efi_enter_kernel(entrypoint, ...)`: the last that the EFI stub does; `entrypoint` is where the image begins."""
_CODE_BYTES = 64
"""So much code tells where in the image it is, but for a few places that the build id sorts out."""
_NEAR_BYTES = 4096


class Arm64(Architecture):
    """arm64."""

    entry = "_text"
    missing = "it has not been loaded yet at this stop"
    variables = ("kimage_voffset", "memstart_addr")
    labels = _TABLES
    code_labels = ("__primary_switch", "__primary_switched", _ENTER)
    # From EFI's last words to the kernel's own addresses it takes hundredths of a second.
    slice_s = 0.005

    def page_size(self, program: Path, image: tuple[int, int]) -> int:
        """Return what the Image's header says, which is always little-endian."""
        flags = bytes_in_file(program, image[0] + _FLAGS_OFFSET, 8)
        code = 0 if flags is None else int.from_bytes(flags.data, "little") >> 1 & 3
        return _PAGE_SIZES.get(code, DEFAULT_PAGE_SIZE)

    def selected_cpu(self) -> Cpu:
        """Return the program counter, whether the MMU of this exception level is on, and the table bases."""
        level = (register("cpsr") or 0) >> 2 & 3
        control = register("SCTLR_EL2") if level == 2 else register("SCTLR") or register("SCTLR_EL1")
        bases = [base & _TABLE_ADDRESS for base in map(register, _REGISTERS) if base is not None]
        paging = None if control is None else bool(control & _MMU)
        return Cpu(current_pc(), paging, tuple(base for base in bases if base), general=(register("x0") or 0,))

    def base_va(self, image: tuple[int, int]) -> int:
        """Return where the image is linked: it has no physical address of its own, so it stands for 0."""
        return image[0]

    def deltas(self, kernel: KernelImage, cpu: Cpu) -> Iterator[int]:
        """Yield where the image would be by each page table in use, then about the CPU, then all over RAM."""
        start, end = kernel.image
        for base in cpu.tables:
            for name in _TABLES:
                if kernel.symbols[name]:
                    yield base - (kernel.symbols[name] - start)
        yield from arm64_places(end - start, cpu.pc if cpu.pc < _HIGH else None, ram_ranges())

    def settle(self, kernel: KernelImage, image: Placement, memory: BoundedMemory, cpu: Cpu) -> Placement:
        """Tell the virtual move by `kimage_voffset`; before it is written, by a pointer that is relocated."""
        order, names = kernel.byte_order, ("kimage_voffset", "memstart_addr")
        offset_at, start_at = (image.to_physical(kernel.symbols[name]) for name in names)
        low, high = min(offset_at, start_at), max(offset_at, start_at) + 8
        if high - low <= _NEAR_BYTES:
            memory.preload(low, high - low)
        linear = arm64_linear(kernel.image[0], word_at(memory, start_at, order))
        offset = word_at(memory, offset_at, order)
        if offset:
            virtual = (offset + image.physical - kernel.image[0]) & ((1 << 64) - 1)
            if offset % ARM64_ALIGN or virtual >= _HIGH:
                raise NotReadyError(f"kimage_voffset is {offset:#x}, which is damaged")
            return replace(image, virtual=virtual, linear=linear)
        # No list has left its first array so early.
        at, linked = kernel.early_pointer
        virtual = word_at(memory, image.to_physical(at), order) - linked
        if virtual < 0:
            raise NotReadyError("the kernel is in memory, but not relocated yet: continue a little")
        return replace(image, virtual=virtual, linear=linear, settled=cpu.pc >= _HIGH)

    def require_running(self, kernel: KernelImage, placement: Placement, cpu: Cpu) -> None:
        """Check that the CPU has left the boot loader; the Image is in memory from reset on."""
        if not placement.settled and not self._inside(kernel, placement, cpu):
            raise NotReadyError(
                "the kernel is in memory, but this CPU has not got to it: continue, or use lmb-attach --wait"
            )

    def early_phase(self, kernel: KernelImage, placement: Placement, cpu: Cpu) -> Phase | None:
        """Tell by the MMU, until `kimage_voffset` is written: a CPU that starts later says nothing."""
        if placement.settled:
            return None
        self.require_running(kernel, placement, cpu)
        return Phase.IDENTITY if cpu.paging else Phase.UNMAPPED

    def arrived(self, cpu: Cpu) -> bool:
        """Tell by the program counter: then the page tables say where the image is."""
        return cpu.pc >= _HIGH

    def first_instruction(self, kernel: KernelImage, placement: Placement) -> int:
        """Return `__primary_switched`, at the kernel's own addresses."""
        return kernel.symbols["__primary_switched"] + placement.virtual

    def linked_way_points(self, kernel: KernelImage) -> tuple[int, ...]:
        """Return the first instruction at the kernel's own addresses."""
        switched = kernel.symbols["__primary_switched"]
        return (switched,) if switched else ()

    def quick_way_points(self, kernel: KernelImage, memory: Memory, cpu: Cpu) -> tuple[int, ...]:
        """Return where the copy of the image that the CPU is in goes next, by the code there.

        That is the branch that leaves the identity map, then where it leads; in EFI's stub the call that enters the
        image, after it the same in the image that is entered.
        """
        if cpu.pc >= _HIGH:
            return ()
        switch, enter = self._switch(kernel), kernel.symbols[_ENTER]
        if switch is None:
            return ()
        branch, number = switch
        start = self._copy_at(kernel, memory, cpu.pc, (branch, enter))
        if start is None:
            return ()
        here = cpu.pc - start + kernel.image[0]
        if here == branch:
            target = register(f"x{number}")
            return () if target is None else (target,)
        if here == enter and self._is_image(kernel, memory, cpu.general[0]):
            return (cpu.general[0] + branch - kernel.image[0],)
        return tuple(start + at - kernel.image[0] for at in (branch, enter) if at and at != here)

    def way_point(self, kernel: KernelImage, placement: Placement | None, memory: Memory, cpu: Cpu) -> int | None:
        """Return the first instruction of what has been found."""
        if placement is None or self._inside(kernel, placement, cpu):
            return None
        return placement.physical + kernel.entry - kernel.image[0]

    def _switch(self, kernel: KernelImage) -> tuple[int, int] | None:
        """Return the linked address of the branch that leaves the identity map, and the number of its register."""
        start = kernel.symbols["__primary_switch"]
        code = bytes_in_file(kernel.own_file, start, _SWITCH_BYTES) if start else None
        for at in range(0, len(code.data) if code else 0, 4):
            word = int.from_bytes(code.data[at : at + 4], "little") if code else 0
            if word & _BRANCH_MASK == _BRANCH:
                return start + at, word >> 5 & 31
        return None

    def _copy_at(self, kernel: KernelImage, memory: Memory, pc: int, likely: tuple[int, ...]) -> int | None:
        """Return where the copy of the image begins that the CPU is in, at one of the `likely` linked addresses or not.

        None where it is in none.
        """
        # Images begin at multiples of what EFI aligns them to, and are linked to such a one.
        found = [va for va in likely if va and not (pc - va) % ARM64_EFI_ALIGN]
        with contextlib.suppress(ReadError):
            code = memory.read(pc, _CODE_BYTES)
            found += same_bytes(kernel.own_file, code, kernel.image, pc % ARM64_EFI_ALIGN, ARM64_EFI_ALIGN)
        starts = (pc - (va - kernel.image[0]) for va in found)
        return next((start for start in starts if self._is_image(kernel, memory, start)), None)

    def _is_image(self, kernel: KernelImage, memory: Memory, start: int) -> bool:
        """Tell whether an image of this build begins at physical `start`."""
        identity = kernel.identity
        try:
            return memory.read(start + identity.va - kernel.image[0], len(identity.data)) == identity.data
        except ReadError:
            return False

    def _inside(self, kernel: KernelImage, placement: Placement, cpu: Cpu) -> bool:
        return placement.physical <= cpu.pc < placement.physical + kernel.image[1] - kernel.image[0]
