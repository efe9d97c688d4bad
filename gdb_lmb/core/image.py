# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel's image as linked: what an architecture must know of it to find it in memory and to follow its boot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gdb_lmb.core.fields import ByteOrder
from gdb_lmb.core.ranges import Range


@dataclass(frozen=True)
class Identity:
    """Bytes that tell one build from another: `data` lies at `va` in a guest that runs this program.

    `notes_va` is where the notes around a build id begin, as linked; None for a banner. `file_offset` is where
    the bytes lie in a stripped copy of the file that has the same segments at `p_offset`.
    """

    va: int
    data: bytes
    notes_va: int | None = None
    file_offset: int = 0


@dataclass(frozen=True)
class KernelImage:
    """A kernel's image; all addresses are virtual, as linked.

    `own_file` is its ELF, `image` the half-open range from its first to past its last byte, `code` the ranges of its
    code, `entry` its first instruction. `symbols` has what the architecture asked for, as far as the kernel has it.
    `constant_pointer` is the address of a pointer that only relocation changes; `early_pointer` the address of one
    that nothing else changes until all memory is known, and its value as linked.
    """

    own_file: Path
    byte_order: ByteOrder
    identity: Identity
    image: Range
    code: tuple[Range, ...]
    entry: int
    symbols: Mapping[str, int]
    constant_pointer: int
    early_pointer: tuple[int, int]
