# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the kernel is: linked address to run-time address to physical address, and the boot's phase.

Arithmetic on values that `target` reads; nothing here knows gdb. Mirrors `__phys_addr()` of
arch/x86/mm/physaddr.c and `__kimg_to_phys()` of arch/arm64/include/asm/memory.h.

A kernel image moves twice: physically by `physical` (where the boot loader or KASLR put it) and virtually
by `virtual` (KASLR). On x86-64 the two are drawn separately.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from gdb_lmb.errors import ReadError
from gdb_lmb.memory import Memory

X86_KERNEL_MAP_VA = 0xFFFFFFFF80000000
"""`__START_KERNEL_map` of x86-64: linked address minus this is the linked physical address."""

X86_ALIGN = 2 << 20
"""`CONFIG_PHYSICAL_ALIGN` and the step of KASLR on x86-64, in bytes."""

MAX_PROBES = 1 << 16


class Phase(Enum):
    """How far the boot has come, as far as it matters to who looks at the allocator."""

    COMPRESSED = "compressed"
    UNMAPPED = "unmapped"
    IDENTITY = "identity-mapped"
    MAPPED = "mapped"
    COMPLETE = "allocator complete"
    HANDED_OVER = "handed over"
    DISCARDED = "discarded"


@dataclass(frozen=True)
class Placement:
    """Where an x86-64 kernel image lies.

    `physical` and `virtual` are added to linked addresses; `direct_va` is where the direct map starts
    (`page_offset_base`), 0 where it is not known yet. `image` is the half-open linked range of the image.
    """

    physical: int
    virtual: int
    image: tuple[int, int]
    direct_va: int = 0

    def to_physical(self, va: int) -> int:
        """Return the physical address of run-time address `va`. Raises: `ReadError` for none of the kernel's."""
        linked = va - self.virtual
        if self.image[0] <= linked < self.image[1]:
            return linked - X86_KERNEL_MAP_VA + self.physical
        if self.direct_va and self.direct_va <= va < self.direct_va + (1 << 46):
            return va - self.direct_va
        raise ReadError(va, 1, "neither in the kernel image nor in the direct map")


class TranslatedMemory:
    """Reads a kernel's virtual addresses through physical memory, whatever the CPU's paging says now."""

    def __init__(self, physical: Memory, placement: Placement) -> None:
        """Read through `physical`, whose addresses are physical."""
        self._physical = physical
        self.placement = placement

    def read(self, address: int, size: int) -> bytes:
        """Return `size` bytes at run-time virtual `address`. Raises: `ReadError`."""
        return self._physical.read(self.placement.to_physical(address), size)


def find_physically(physical: Memory, linked: int, needle: bytes, limit: int) -> int | None:
    """Return by how much an image lies away from its linked physical address, or None.

    `needle` lies at physical address `linked` of an image that was not moved. Steps of `X86_ALIGN` up to
    `limit` are probed, the unmoved place first; holes are passed over.
    """
    lowest = -(linked // X86_ALIGN) * X86_ALIGN
    delta: int
    steps = range(lowest, min(limit, MAX_PROBES * X86_ALIGN), X86_ALIGN)
    for delta in (0, *steps):
        try:
            if physical.read(linked + delta, len(needle)) == needle:
                return delta
        except ReadError:
            continue
    return None
