# SPDX-License-Identifier: GPL-2.0-or-later
"""arm64: an Image that runs where it was loaded, and moves itself virtually when it turns the MMU on.

Its first instructions run with the MMU off, then identity-mapped; `__primary_switch` has the image mapped
and relocated and branches to `__primary_switched`, which writes `kimage_voffset`. EFI firmware starts a copy of
the Image as a program, which may move another copy to where it is to run. Mirrors arch/arm64/kernel/head.S,
arch/arm64/kernel/pi/map_kernel.c, drivers/firmware/efi/libstub/arm64.c and Documentation/arch/arm64/booting.rst.
"""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from gdb_lmb.arches.base import Convention, Cpu, ReadRegister, ReadWords, TableForm
from gdb_lmb.arches.linux import PAGE_SIZE, LinuxArchitecture
from gdb_lmb.core.address import KernelImage, Linear, Phase, Placement, first_match, holds
from gdb_lmb.core.errors import LayoutError, NotReadyError, ReadError
from gdb_lmb.core.machine import Machine
from gdb_lmb.core.memory import Memory
from gdb_lmb.core.ranges import Range
from gdb_lmb.formats.elf import Elf
from gdb_lmb.formats.program_file import bytes_in_file, similar_bytes

ALIGN = 2 << 20  # `MIN_KIMG_ALIGN`: what a boot loader places an Image at, in bytes
# `EFI_KIMG_ALIGN` at its smallest: the EFI stub runs an Image where the firmware loaded it.
EFI_ALIGN = 64 << 10
# `VA_BITS` of a kernel that also runs where the processor has fewer (CONFIG_ARM64_VA_BITS_52).
_LARGE_VA_BITS = 52
# Page tables in the image: what a translation table base register points to tells where the image is.
_TABLES = ("swapper_pg_dir", "init_pg_dir", "reserved_pg_dir", "tramp_pg_dir", "idmap_pg_dir", "init_idmap_pg_dir")
# The address in a translation table base register; above it lies the ASID, below it CnP and the bits past 2^48.
_TABLE_ADDRESS = 0x0000_FFFF_FFFF_F000
_GRANULES = {1: 14, 2: 12, 3: 16}  # TCR_ELx.TG1, and the shift of a page
_MMU = 1  # SCTLR_ELx.M
_HIGH = 1 << 63
_WORD = (1 << 64) - 1
_MAX_PHYSICAL = 1 << 52  # no physical address is above
_FLAGS_OFFSET = 24  # `flags` of `struct arm64_image_header`
_PAGE_SIZES = {2: 16 << 10, 3: 64 << 10}  # others are `PAGE_SIZE`
_BRANCH, _BRANCH_MASK = 0xD61F0000, 0xFFFFFC1F  # BR Xn, n in bits 5 to 9
_SWITCH_BYTES = 256
# `efi_enter_kernel(entrypoint, ...)`: the last that the EFI stub does; `entrypoint` is where the image begins.
_ENTER = "__efistub_efi_enter_kernel"
_ENTRY_TEXT = ("__entry_text_start", "__entry_text_end")
_FINAL, _PT_REGS = 1, 2  # `FRAME_META_TYPE_FINAL`, `FRAME_META_TYPE_PT_REGS`
_EL = 0xC  # the exception level in PSTATE; 0 is user mode
_MAX_FRAMES = 256
# So much code tells where in the image it is, but for a few places that the build id sorts out.
_CODE_BYTES = 64


# Of the first CPU in QEMU's `info registers`. Source: `aarch64_cpu_dump_state()` of QEMU's target/arm.
_PC, _PSTATE = re.compile(r"\bPC=([0-9a-f]{16})\b"), re.compile(r"\bPSTATE=([0-9a-f]+)\b")
_MASKED = 0b11 << 6  # PSTATE.I and PSTATE.F
_IDLE = {0xD503201F, 0xD503203F, 0xD503205F, 0xD503207F}  # nop, yield, wfe, wfi
_NEAR = 4  # instructions on either side of the program counter


class Arm64(LinuxArchitecture):
    entry = "_text"
    missing = "it has not been loaded yet at this stop, or this CPU has not got to it"
    variables = ("kimage_voffset", "memstart_addr")
    page_tables = _TABLES
    labels = (*_TABLES, *_ENTRY_TEXT)
    image_from = "_stext"
    image_freed = ("init_pg_dir", "init_pg_end")
    code_labels = ("__primary_switch", "__primary_switched", _ENTER)
    # From EFI's last words to the kernel's own addresses it takes hundredths of a second.
    slice_s = 0.005
    unwound_by = ("x29", "ELR_EL1")
    trims = False  # `early_init_dt_add_memory_arch()` adds whole pages

    def is_dead(self, registers: str, words: ReadWords) -> bool:
        # With interrupts masked in a loop of nothing but wfi and its like. That of `cpu_do_idle()` is no loop.
        pc, state = _PC.search(registers), _PSTATE.search(registers)
        if pc is None or state is None or int(state[1], 16) & _MASKED != _MASKED:
            return False
        code = words(int(pc[1], 16) - 4 * _NEAR, 2 * _NEAR + 1)
        for end, word in enumerate(code[_NEAR:], _NEAR):
            back = -word & 0x3FFFFFF
            if word >> 26 == 0b000101 and back <= end and end - back <= _NEAR:
                return all(idle in _IDLE for idle in code[end - back : end])
        return False

    def page_size(self, program: Path, image: Range) -> int:
        # The Image's header, which is always little-endian.
        flags = bytes_in_file(program, image[0] + _FLAGS_OFFSET, 8)
        return PAGE_SIZE if flags is None else _PAGE_SIZES.get(int.from_bytes(flags.data, "little") >> 1 & 3, PAGE_SIZE)

    def cpu_state(self, register: ReadRegister) -> Cpu:
        level, control, state = _level(register), None, register("cpsr")
        if level is not None:
            names = ("SCTLR_EL2",) if level == 2 else ("SCTLR", "SCTLR_EL1")
            control = next((value for value in map(register, names) if value is not None), None)
        bases = map(register, ("TTBR1_EL1", "TTBR0_EL1", "TTBR1_EL2", "TTBR0_EL2"))
        cpu = super().cpu_state(register)
        return replace(
            cpu,
            paging=None if control is None else bool(control & _MMU),
            user=None if level is None else not level,
            masked=None if state is None else state & _MASKED == _MASKED,
            # Those that are 0 have not been set.
            tables=tuple(base & _TABLE_ADDRESS for base in bases if base is not None and base & _TABLE_ADDRESS),
            general=tuple(register(f"x{number}") for number in range(31)) if cpu.below(_HIGH) else (),
        )

    def table_form(self, register: ReadRegister) -> TableForm | None:
        # Kernels have the upper half of the addresses, and a kernel at EL2 its own registers for it.
        level = _level(register)
        if level is None:
            return None
        name = "EL2" if level == 2 else "EL1"
        base, control = register(f"TTBR1_{name}"), register(f"TCR_{name}")
        shift = None if control is None else _GRANULES.get(control >> 30 & 3)
        if not base or control is None or shift is None:  # a base of 0 has not been set
            return None
        bits, step = 64 - (control >> 16 & 63) - shift, shift - 3
        levels = -(-bits // step)
        top = 8 << bits - (levels - 1) * step
        address = _TABLE_ADDRESS & ~((1 << shift) - 1)
        return TableForm(base & _TABLE_ADDRESS, (top, *[1 << shift] * (levels - 1)), 3, 3, address)

    def base_va(self, image: Range) -> int:
        return image[0]  # it is linked without a physical address of its own

    def running_at(
        self, kernel: KernelImage, memory: Memory, cpu: Cpu, last: tuple[int, ...]
    ) -> Iterator[tuple[int, int | None]]:
        # With the MMU off the registers may still point to the tables of the kernel that has started this one.
        for base in cpu.tables if cpu.paging else ():
            for name in _TABLES:
                if name in kernel.symbols:
                    yield base - (kernel.symbols[name] - kernel.image[0]), None
        if cpu.pc is not None and cpu.pc < _HIGH and not cpu.user:
            start = self._copy_at(kernel, memory, cpu.pc, ())
            if start is not None:
                yield start, None
            elif not cpu.paging:
                # QEMU's boot loader, a few instructions, has the image's address behind them.
                with contextlib.suppress(ReadError):
                    code = memory.read(cpu.pc, _CODE_BYTES)
                    yield from ((struct.unpack_from("<Q", code, at)[0], None) for at in range(0, _CODE_BYTES - 7, 4))

    def anywhere(self, kernel: KernelImage, ram: Sequence[Range]) -> Iterator[int]:
        return (place for base, end in ram for place in range(-(-base // ALIGN) * ALIGN, end, ALIGN))

    def settle(self, kernel: KernelImage, image: Placement, virtual: int | None, memory: Memory, cpu: Cpu) -> Placement:
        # `kimage_voffset` tells the virtual move; before it is written, a pointer that is relocated.
        variables = [image.to_physical(kernel.symbols[name]) for name in ("kimage_voffset", "memstart_addr")]
        offset, start = (self.word_at(memory, address) for address in variables)
        linear = linear_maps(kernel.image[0], start)
        if offset:
            virtual = (offset + image.physical - kernel.image[0]) & _WORD
            if offset % ALIGN or virtual >= _HIGH:
                raise NotReadyError(f"kimage_voffset is {offset:#x}, which is damaged")
            return replace(image, virtual=virtual, linear=linear)
        # No list has left its first array so early.
        at, linked = kernel.early_pointer
        if linked is None:
            raise LayoutError(f"{kernel.own_file} has no debug information of memblock's first array")
        virtual = self.word_at(memory, image.to_physical(at)) - linked
        if virtual < 0:
            raise NotReadyError("the kernel is in memory, but not relocated yet: continue a little")
        return replace(image, virtual=virtual, linear=linear, settled=cpu.past(_HIGH))

    def require_running(self, kernel: KernelImage, placement: Placement, cpu: Cpu) -> None:
        if not placement.settled and not self._inside(kernel, placement, cpu):
            raise NotReadyError(
                "the kernel is in memory, but this CPU has not got to it: continue, or use lmb-attach --wait"
            )

    def early_phase(self, kernel: KernelImage, placement: Placement, cpu: Cpu) -> Phase | None:
        # Once `kimage_voffset` is written the MMU tells nothing: a CPU may start later.
        if placement.settled:
            return None
        self.require_running(kernel, placement, cpu)
        return Phase.IDENTITY if cpu.paging else Phase.UNMAPPED

    def arrived(self, cpu: Cpu) -> bool:
        return cpu.past(_HIGH)

    def first_instruction(self, kernel: KernelImage, placement: Placement) -> int:
        return kernel.symbols["__primary_switched"] + placement.virtual

    def linked_way_points(self, kernel: KernelImage) -> tuple[int, ...]:
        return tuple(va for name, va in kernel.symbols.items() if name == "__primary_switched")

    def quick_way_points(self, kernel: KernelImage, memory: Memory, cpu: Cpu) -> tuple[int, ...]:
        # Where the copy of the image that the CPU is in goes next, by the code there: the branch that leaves the
        # identity map, then where it leads; in EFI's stub the call that enters the image, after it the same in the
        # image that is entered.
        switch, enter = self._switch(kernel) if cpu.below(_HIGH) else None, kernel.symbols.get(_ENTER)
        if switch is None or cpu.pc is None:
            return ()
        branch, number = switch
        start = self._copy_at(kernel, memory, cpu.pc, (branch, enter))
        if start is None:
            return ()
        here = cpu.pc - start + kernel.image[0]
        target, entered = cpu.general[number], cpu.general[0]
        if here == branch:
            return () if target is None else (target,)
        if here == enter and entered is not None and self._is_image(kernel, memory, entered):
            return (entered + branch - kernel.image[0],)
        return tuple(start + at - kernel.image[0] for at in (branch, enter) if at not in (None, here))

    def way_point(
        self, kernel: KernelImage, placement: Placement | None, memory: Memory, cpu: Cpu, machine: Machine
    ) -> int | None:
        if not cpu.below(_HIGH) or (placement is not None and self._inside(kernel, placement, cpu)):
            return None
        linked = kernel.identity.va - kernel.image[0]
        if placement is None:
            start = first_match(memory, linked, kernel.identity.data, self.anywhere(kernel, machine.ram()))
        else:
            start = placement.physical
        return None if start is None else start + kernel.entry - kernel.image[0]

    def frames(
        self, kernel: KernelImage, virtual: int, cpu: Cpu, known: Mapping[str, int], machine: Machine, stack: Memory
    ) -> Iterator[int]:
        # A frame record is the caller's x29 and the return address. An exception's is a member of `struct pt_regs`,
        # which has the same two as x29 and pc; or it is two zeros and the kind of record, in kernels that have kinds.
        # Source: `kernel_entry` of arch/arm64/kernel/entry.S, `unwind_next()` of arch/arm64/kernel/stacktrace.c.
        fields = machine.struct("struct pt_regs").fields
        offset = min((at.offset for name, at in fields.items() if name.startswith("stackframe")), default=0)
        has_kinds = "stackframe.type" in fields
        # A return address may be signed in the bits above those of virtual addresses.
        signed = _WORD + 1 - (1 << (_WORD - kernel.image[0]).bit_length())

        def interrupted(pc: int | None, link: int | None) -> Iterator[int]:
            # A function that calls none may have its return address in the link register only.
            places = (pc, None if link is None else (link | signed) - 1)
            linked = (place - virtual for place in places if place is not None)
            return (at for at in linked if any(low <= at < high for low, high in kernel.code))

        record = known.get("x29")
        if cpu.pc is None or cpu.sp is None or record is None:
            raise LayoutError("the debugger does not have the registers that a stack is followed by")
        yield from interrupted(cpu.pc, cpu.link)
        low, high = map(kernel.symbols.get, _ENTRY_TEXT)
        if low is not None and high is not None and low <= cpu.pc - virtual < high:
            # An exception's first instructions, which have not made its record yet, or have taken it off.
            yield from interrupted(known.get("ELR_EL1"), None)
        for _ in range(_MAX_FRAMES):
            older, link = struct.unpack("<QQ", stack.read(record, 16))
            kind = None
            if not older and not link:
                kind = self.word_at(stack, record + 16) if has_kinds else _FINAL
                if kind == _FINAL:
                    return
            regs: tuple[int, ...] = ()
            if offset and not record - offset < cpu.sp <= record:
                regs = struct.unpack("<34Q", stack.read(record - offset, 34 * 8))
            if regs and (kind == _PT_REGS or (older, link) == (regs[29], regs[32])):
                if not regs[33] & _EL:
                    return
                yield from interrupted(regs[32], regs[30])
                record = regs[29]
            else:
                found = list(interrupted(None, link))
                if not found:
                    raise LayoutError(f"{link:#x} on the stack is not in the kernel's code")
                yield from found
                record = older
        raise LayoutError(f"the stack has more than {_MAX_FRAMES} frames")

    def _switch(self, kernel: KernelImage) -> tuple[int, int] | None:
        # The linked address of the branch that leaves the identity map, and the number of its register.
        start = kernel.symbols.get("__primary_switch")
        code = None if start is None else bytes_in_file(kernel.own_file, start, _SWITCH_BYTES)
        if start is None or code is None:
            return None
        words = enumerate(struct.iter_unpack("<I", code.data))
        return next(((start + 4 * n, word >> 5 & 31) for n, (word,) in words if word & _BRANCH_MASK == _BRANCH), None)

    def _copy_at(self, kernel: KernelImage, memory: Memory, pc: int, likely: tuple[int | None, ...]) -> int | None:
        # Where the copy of the image begins that the CPU is in, at one of the `likely` linked addresses or elsewhere.
        # Images begin at multiples of what EFI aligns them to, and are linked to such a one.
        found = [va for va in likely if va is not None and not (pc - va) % EFI_ALIGN]
        with contextlib.suppress(ReadError):
            code = memory.read(pc, _CODE_BYTES)
            found += similar_bytes(kernel.own_file, code, kernel.image, pc % EFI_ALIGN, EFI_ALIGN)
        starts = (pc - (va - kernel.image[0]) for va in found)
        return next((start for start in starts if self._is_image(kernel, memory, start)), None)

    def _is_image(self, kernel: KernelImage, memory: Memory, start: int) -> bool:
        return holds(memory, start + kernel.identity.va - kernel.image[0], kernel.identity.data)

    def _inside(self, kernel: KernelImage, placement: Placement, cpu: Cpu) -> bool:
        return cpu.past(placement.physical) and cpu.below(placement.physical + kernel.image[1] - kernel.image[0])

    def why_not_bootable(self, elf: Elf) -> str | None:
        # The segments of a vmlinux would be loaded where no physical address is.
        if min((load.physical for load in elf.loads if load.memory_size), default=0) < _MAX_PHYSICAL:
            return None
        return "QEMU cannot boot an arm64 vmlinux, which has no physical addresses"


def _level(register: ReadRegister) -> int | None:
    # Return the exception level of the CPU.
    state = register("cpsr")
    return None if state is None else state >> 2 & 3


def linear_maps(linked_text: int, memstart: int) -> tuple[Linear, ...]:
    """Return the linear maps of a kernel.

    `linked_text` is the linked address of `_text`, `memstart` the `s64 memstart_addr`, which is -1 until it
    is set. A kernel built for 52 bits has its `PAGE_OFFSET` there; where the processor has fewer bits, it uses
    the upper part of the map only, and `memstart_addr` is lower by the rest. Where the processor has them,
    `memstart_addr` looks like that of a kernel built for fewer: then the address itself tells.
    Source: `arm64_memblock_init()` of arch/arm64/mm/init.c.
    """
    if memstart & 0xFFF:
        return ()
    # _text is linked a little above PAGE_END, which is -(1 << (VA_BITS_MIN - 1)) whatever the processor has.
    bits = (_WORD - linked_text).bit_length() + 1
    end, start, widest = (_WORD + 1 - (1 << width) for width in (bits - 1, bits, _LARGE_VA_BITS))
    signed = memstart - _WORD - 1 if memstart >= _HIGH else memstart
    if signed < -(1 << _LARGE_VA_BITS - 1):
        return (Linear(start, end - start, signed + start - widest),)
    return Linear(start, end - start, signed), Linear(widest, start - widest, signed)


ARCHITECTURES = (
    Arm64(
        name="aarch64",
        uname="aarch64",
        e_machine=183,
        bits=64,
        byte_order="little",
        gdb=("aarch64",),
        cross="aarch64-linux-gnu-",
        qemu="qemu-system-aarch64",
        qemu_package="qemu-system-arm",
        machine="virt",
        # All features, but pointer authentication's own hash in place of the architected one: without it
        # computing that takes up nearly half of the boot.
        cpu="max,pauth-impdef=on",
        native=("aarch64",),
        aliases=("arm64",),
        pe_machine=0xAA64,
        image_kind="arm64 Image",
        built_image="arch/arm64/boot/Image",
        image_magic=rb".{56}ARM\x64",
        kernel_start=_HIGH,
        # hvc #0 and smc #0, by which `cpu_psci_cpu_die()` of arch/arm64/kernel/psci.c calls `CPU_OFF`.
        stops=(b"\x02\0\0\xd4", b"\x03\0\0\xd4"),
        convention=Convention(
            word=8,
            arguments=tuple(f"x{number}" for number in range(8)),
            result=("x0", "x1"),
            link="x30",
            even_pairs=True,
        ),
    ),
)
