# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the kernel is: linked address to run-time address to physical address, and the boot's phase.

Arithmetic on values that `target` reads; nothing here knows gdb. Mirrors `__phys_addr()` of
arch/x86/mm/physaddr.c and `__kimg_to_phys()`, `__lm_to_phys()` of arch/arm64/include/asm/memory.h.

A kernel image moves twice: physically by `physical` (where the boot loader or KASLR put it) and virtually
by `virtual` (KASLR). The two are drawn separately. The rest of RAM is mapped by one or more `Linear` maps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import islice

from gdb_lmb.core.errors import NotReadyError, ReadError
from gdb_lmb.core.memory import Memory

X86_KERNEL_MAP_VA = 0xFFFFFFFF80000000
"""`__START_KERNEL_map` of x86-64: linked address minus this is the linked physical address."""

X86_ALIGN = 2 << 20
"""`CONFIG_PHYSICAL_ALIGN` and the step of KASLR on x86-64, in bytes."""

X86_DIRECT_BYTES = 1 << 46
"""How much of the address space the direct map of x86-64 takes at least."""

ARM64_ALIGN = 2 << 20
"""`MIN_KIMG_ALIGN` of arm64: what a boot loader places an Image at, in bytes."""

ARM64_EFI_ALIGN = 64 << 10
"""`EFI_KIMG_ALIGN` of arm64 at its smallest: the EFI stub runs an Image where the firmware loaded it."""

ARM64_LARGE_VA_BITS = 52
"""`VA_BITS` of a kernel that also runs where the processor has fewer (CONFIG_ARM64_VA_BITS_52)."""

MAX_PROBES = 1 << 16

_WORD = (1 << 64) - 1


class Phase(Enum):
    """How far the boot has come, as far as it matters to who looks at the allocator."""

    COMPRESSED = "compressed"
    UNMAPPED = "unmapped"
    IDENTITY = "identity-mapped"
    MAPPED = "mapped"
    COMPLETE = "allocator complete"
    HANDED_OVER = "handed over"
    DISCARDED = "discarded"


def left_after_boot(
    *, keeps: bool, memblock_memory: int, in_freed_memory: bool, static: Mapping[str, bool]
) -> tuple[Phase, dict[str, str]]:
    """Return the phase after the hand-over, and which lists must not be shown any more, each with the reason.

    `keeps` tells a kernel with CONFIG_ARCH_KEEP_MEMBLOCK; `memblock_memory` is that pointer's value, which
    `memblock_discard()` makes NULL; `in_freed_memory` tells that `memblock` lies in init memory that is
    freed; `static` tells for each list whether its array is the one in the kernel image.
    Raises: `NotReadyError` where nothing is left.
    Source: `memblock_discard()` of mm/memblock.c, `free_initmem()`.
    """
    if keeps or memblock_memory:
        return Phase.HANDED_OVER, {}
    if in_freed_memory:
        raise NotReadyError("memblock was in init memory, which this kernel has freed: nothing of it is left to show")
    return Phase.DISCARDED, {
        name: "its array was freed by memblock_discard()" for name, in_image in static.items() if not in_image
    }


@dataclass(frozen=True)
class Linear:
    """One linear map of RAM: `size` bytes from virtual `va` on lie at `physical` on, modulo 2^64.

    `physical` may be "negative": where KASLR starts the map below RAM, or the map is wider than the
    processor's addresses.
    """

    va: int
    size: int
    physical: int = 0

    def to_physical(self, va: int) -> int | None:
        """Return the physical address of `va`, None where it is not in this map."""
        return (va - self.va + self.physical) & _WORD if self.va <= va < self.va + self.size else None


@dataclass(frozen=True)
class Placement:
    """Where a kernel image lies.

    `physical` and `virtual` are added to linked addresses; `base_va` is the linked address that stands for
    physical 0 (0 stands for x86-64's). `image` is the half-open linked range of the image, `linear` what
    else is mapped, empty where that is not known yet. `settled` is False where KASLR has yet to decide.
    """

    physical: int
    virtual: int
    image: tuple[int, int]
    linear: tuple[Linear, ...] = ()
    base_va: int = X86_KERNEL_MAP_VA
    settled: bool = True

    def to_physical(self, va: int) -> int:
        """Return the physical address of run-time address `va`. Raises: `ReadError` for none of the kernel's."""
        linked = va - self.virtual
        if self.image[0] <= linked < self.image[1]:
            return linked - self.base_va + self.physical
        for part in self.linear:
            found = part.to_physical(va)
            if found is not None:
                return found
        raise ReadError(va, 1, "neither in the kernel image nor in the direct map")


def arm64_linear(linked_text: int, memstart: int) -> tuple[Linear, ...]:
    """Return the linear maps of an arm64 kernel.

    `linked_text` is the linked address of `_text`, `memstart` the word `memstart_addr`, which is -1 until it
    is set. A kernel built for 52 bits has its `PAGE_OFFSET` there; where the processor has fewer bits, it uses
    the upper part of the map only, and `memstart_addr` is lower by the rest. Where the processor has them,
    `memstart_addr` looks like that of a kernel built for fewer: then the address itself tells.
    Source: `arm64_memblock_init()` of arch/arm64/mm/init.c.
    """
    if memstart & 0xFFF:
        return ()
    # _text is linked a little above PAGE_END, which is -(1 << (VA_BITS_MIN - 1)) whatever the processor has.
    bits = (_WORD - linked_text).bit_length() + 1
    end, start, widest = (_WORD + 1 - (1 << width) for width in (bits - 1, bits, ARM64_LARGE_VA_BITS))
    if memstart >> 63 and memstart < _WORD + 1 - (1 << ARM64_LARGE_VA_BITS - 1):
        return (Linear(start, end - start, (memstart + start - widest) & _WORD),)
    return Linear(start, end - start, memstart), Linear(widest, start - widest, memstart)


class TranslatedMemory:
    """Reads a kernel's virtual addresses through physical memory, whatever the CPU's paging says now."""

    def __init__(self, physical: Memory, placement: Placement) -> None:
        """Read through `physical`, whose addresses are physical."""
        self._physical = physical
        self.placement = placement

    def read(self, address: int, size: int) -> bytes:
        """Return `size` bytes at run-time virtual `address`. Raises: `ReadError`."""
        return self._physical.read(self.placement.to_physical(address), size)

    @property
    def physical(self) -> Memory:
        """Return the reader of physical addresses beneath."""
        return self._physical


def find_physically(physical: Memory, linked: int, needle: bytes, limit: int) -> int | None:
    """Return by how much an image lies away from its linked physical address, or None.

    `needle` lies at physical address `linked` of an image that was not moved. Steps of `X86_ALIGN` up to
    `limit` are probed, the unmoved place first; holes are passed over.
    """
    return first_match(physical, linked, needle, x86_deltas(linked, limit))


def x86_deltas(linked: int, limit: int) -> Iterator[int]:
    """Yield by how much an image linked at physical `linked` may have been moved, 0 first."""
    lowest = -(linked // X86_ALIGN) * X86_ALIGN
    yield 0
    yield from range(lowest, min(limit, MAX_PROBES * X86_ALIGN), X86_ALIGN)


def first_match(physical: Memory, linked: int, needle: bytes, deltas: Iterable[int]) -> int | None:
    """Return the first of `deltas` for which `needle` lies at physical `linked` plus it, or None."""
    for delta in deltas:
        try:
            if linked + delta >= 0 and physical.read(linked + delta, len(needle)) == needle:
                return delta
        except ReadError:
            continue
    return None


def arm64_places(size: int, near: int | None, ram: Sequence[tuple[int, int]]) -> Iterator[int]:
    """Yield where an arm64 image of `size` bytes may begin, likely places first; at most `MAX_PROBES`.

    `near` is a physical address inside the image, where one may be known; `ram` are half-open ranges.
    """
    if near is not None:
        first = near - near % ARM64_EFI_ALIGN
        for place in range(first, max(-1, first - size), -ARM64_EFI_ALIGN):
            if any(base <= place < end for base, end in ram):
                yield place
    starts = (place for base, end in ram for place in range(-(-base // ARM64_ALIGN) * ARM64_ALIGN, end, ARM64_ALIGN))
    yield from islice(starts, MAX_PROBES)
