# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the kernel is, as linked and as placed: linked to run-time to physical address, and the boot's phase.

A kernel image moves twice: physically by `physical` (where the boot loader or KASLR put it) and virtually
by `virtual` (KASLR). The two are drawn separately. The rest of RAM is mapped by one or more `Linear` maps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from gdb_lmb.core.errors import NotReadyError, ReadError
from gdb_lmb.core.memory import Memory
from gdb_lmb.core.ranges import Range


class Phase(Enum):
    """How far the boot has come, as far as it matters to who looks at the allocator."""

    COMPRESSED = "compressed"
    UNMAPPED = "unmapped"
    IDENTITY = "identity-mapped"
    MAPPED = "mapped"
    COMPLETE = "allocator complete"
    HANDED_OVER = "handed over"
    DISCARDED = "discarded"


# The phases, by their names, in which the page allocator has the memory.
PAST_HAND_OVER = (Phase.HANDED_OVER.value, Phase.DISCARDED.value)


def left_after_boot(
    *, keeps: bool, memblock_memory: int | None, in_freed_memory: bool | None, static: Mapping[str, bool]
) -> tuple[Phase, dict[str, str]]:
    """Return the phase after the hand-over, and which lists must not be shown any more, each with the reason.

    `keeps` tells a kernel with CONFIG_ARCH_KEEP_MEMBLOCK; `memblock_memory` is that pointer's value, which
    `memblock_discard()` makes NULL; `in_freed_memory` tells that `memblock` lies in init memory that is
    freed; `static` tells for each list whether its array is the one in the kernel image. None is not known.
    Raises: `NotReadyError` where nothing is left, or may be.
    Source: `memblock_discard()` of mm/memblock.c, `free_initmem()`.
    """
    if keeps or memblock_memory:
        return Phase.HANDED_OVER, {}
    if in_freed_memory is None:
        raise NotReadyError("memblock may have been in init memory that is freed: no system_state of this kernel tells")
    if in_freed_memory:
        raise NotReadyError("memblock was in init memory, which this kernel has freed: nothing of it is left to show")
    # Not every kernel has that pointer.
    phase, was = (Phase.DISCARDED, "was") if memblock_memory is not None else (Phase.HANDED_OVER, "may have been")
    return phase, {
        name: f"its array {was} freed by memblock_discard()" for name, in_image in static.items() if not in_image
    }


@dataclass(frozen=True)
class Linear:
    """One linear map of RAM: `size` bytes from virtual `va` on lie at `physical` on.

    `physical` may be negative: where KASLR starts the map below RAM, or the map is wider than the processor's
    addresses.
    """

    va: int
    size: int
    physical: int

    def to_physical(self, va: int) -> int | None:
        """Return the physical address of `va`, None where this map has none for it."""
        found = va - self.va + self.physical
        return found if self.va <= va < self.va + self.size and found >= 0 else None


@dataclass(frozen=True)
class Placement:
    """Where a kernel image lies.

    `physical` and `virtual` are added to linked addresses; `base_va` is the linked address that stands for
    physical 0. `image` is the half-open linked range of the image, `linear` what else is mapped, empty where that is
    not known yet. `settled` is False where KASLR has yet to decide.
    """

    physical: int
    virtual: int
    image: tuple[int, int]
    linear: tuple[Linear, ...] = ()
    base_va: int = field(kw_only=True)
    settled: bool = True

    def to_physical(self, va: int) -> int:
        """Return the physical address of run-time address `va`. Raises: `ReadError` for none of the kernel's."""
        linked = va - self.virtual
        if self.image[0] <= linked < self.image[1]:
            return linked - self.base_va + self.physical
        found = next((at for part in self.linear if (at := part.to_physical(va)) is not None), None)
        if found is None:
            raise ReadError(va, 1, "neither in the kernel image nor in the direct map")
        return found

    def runs(self, pc: int | None) -> bool:
        """Tell whether a CPU at `pc` is in the image, at its run-time or its physical address."""
        low, high = self.image
        return pc is not None and any(
            low <= pc - moved < high for moved in (self.virtual, self.physical - self.base_va)
        )


@dataclass(frozen=True)
class Identity:
    """Bytes that tell one build from another: `data` lies at `va` in a guest that runs this program.

    `notes_va` is where the notes around a build id begin, as linked; None for a banner. `file_offset` is where
    the bytes lie in a stripped copy of the file that has the same segments at `p_offset`, None for other bytes than a
    build id.
    """

    va: int
    data: bytes
    notes_va: int | None = None
    file_offset: int | None = None


@dataclass(frozen=True)
class KernelImage:
    """A kernel's image; all addresses are virtual, as linked.

    `own_file` is its ELF, `image` the half-open range from its first to past its last byte, `code` the ranges of its
    code, `entry` its first instruction. `symbols` has what the architecture asked for, as far as the kernel has it.
    `relocated` are the addresses of pointers into the image that little but relocation changes, the surest first;
    `early_pointer` is the address of one that nothing else changes until all memory is known, and its value as linked
    (None: not known).
    """

    own_file: Path
    identity: Identity
    image: Range
    code: tuple[Range, ...]
    entry: int
    symbols: Mapping[str, int]
    relocated: tuple[int, ...]
    early_pointer: tuple[int, int | None]


@dataclass(frozen=True)
class TranslatedMemory:
    """Reads a kernel's virtual addresses through `physical` memory, whatever the CPU's paging says now."""

    physical: Memory
    placement: Placement

    def read(self, address: int, size: int) -> bytes:
        return self.physical.read(self.placement.to_physical(address), size)


def first_match(physical: Memory, linked: int, needle: bytes, deltas: Iterable[int]) -> int | None:
    """Return the first of `deltas` for which `needle` lies at physical `linked` plus it, or None."""
    return next((delta for delta in deltas if linked + delta >= 0 and holds(physical, linked + delta, needle)), None)


def holds(memory: Memory, address: int, data: bytes) -> bool:
    """Tell whether `data`, some bytes, lie at `address`."""
    try:
        return bool(data) and memory.read(address, len(data)) == data
    except ReadError:
        return False
