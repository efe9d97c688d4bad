# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's memory in an ELF core file, as QEMU's `dump-guest-memory` writes it: headers, notes, bytes.

Mirrors QEMU's dump/dump.c. A program header says where a
piece of memory lies physically (`p_paddr`), and with `-p` also virtually (`p_vaddr`); what no header holds
is not known, and never guessed. The file is untrusted.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gdb_lmb.core.errors import InputError, ReadError
from gdb_lmb.formats.elf import ET_CORE, PT_LOAD, Elf, Note, NotElfError, Segment, read_headers


@dataclass(frozen=True)
class CoreFile(Elf):
    """What a core file's headers say: `segments` are those with memory in the file.

    `cut` says in words where the file ends too early, None where it is whole.
    """

    notes: tuple[Note, ...]
    cut: str | None = None

    @property
    def has_mappings(self) -> bool:
        """Tell whether the headers' virtual addresses are the guest's (`-p`), not copies of the physical ones."""
        return any(segment.va not in (0, segment.physical) for segment in self.segments)


class DumpMemory:
    """Reads what a core file holds, and nothing else, by physical or by virtual address."""

    def __init__(self, core: CoreFile, *, virtual: bool = False) -> None:
        """Open the file of `core`; addresses are `p_paddr`'s, or `p_vaddr`'s if `virtual`. Raises: `InputError`."""
        rows = list(_disjoint(core.segments, virtual))
        self._bases, self._ends, self._offsets = (array("Q", [row[place] for row in rows]) for place in range(3))
        self._cut = core.cut or "it has become shorter since it was opened"
        try:
            self._file = core.path.open("rb")
        except OSError as error:
            raise InputError(f"cannot read {core.path}: {error.strerror}") from None

    @property
    def end(self) -> int:
        """Return the first address past everything that the dump holds, 0 where it holds nothing."""
        return self._ends[-1] if self._ends else 0

    def ranges(self) -> list[tuple[int, int]]:
        """Return the half-open ranges of addresses that the dump holds, in ascending order."""
        return list(zip(self._bases, self._ends, strict=True))

    def read(self, address: int, size: int) -> bytes:
        pieces, at, stop = [], address, address + size
        index = bisect_right(self._bases, address) - 1
        while at < stop:
            if not 0 <= index < len(self._bases) or not self._bases[index] <= at < self._ends[index]:
                raise ReadError(address, size, "the dump does not hold it")
            want = min(stop, self._ends[index]) - at
            piece = os.pread(self._file.fileno(), want, self._offsets[index] + at - self._bases[index])
            if len(piece) < want:
                raise ReadError(address, size, f"the dump's file is cut off before it ({self._cut})")
            pieces.append(piece)
            at, index = at + want, index + 1
        return b"".join(pieces)


def read_core(path: Path) -> CoreFile:
    """Read the headers and notes of the core file at `path`. Raises: `InputError`, in one line."""
    try:
        elf = read_headers(path, sections=False)
    except NotElfError:
        raise InputError(f"{path}: no ELF core file (dump the guest with QEMU's `dump-guest-memory FILE`)") from None
    if elf.header.type != ET_CORE:
        raise InputError(f"{path}: an ELF file, but no core file (the dump comes first, then the vmlinux)")
    # What a filter left out has a size in memory, but none in the file.
    with_memory = tuple(segment for segment in elf.loads if segment.size)
    members = {**vars(elf), "segments": with_memory, "notes": tuple(note for _, note in elf.loaded_notes())}
    return CoreFile(**members, cut=_cut(elf))


def _cut(elf: Elf) -> str | None:
    for number, segment in enumerate(elf.segments):
        if segment.offset + segment.size > elf.length:
            needed = max(other.offset + other.size for other in elf.segments)
            where = f"at byte {elf.length:,} of {needed:,}: program header {number} of {len(elf.segments)}"
            if segment.kind != PT_LOAD:
                return where
            memory = f"[{segment.physical:#x}, {segment.physical + segment.size:#x})"
            there = f"{max(0, elf.length - segment.offset):,} of {segment.size:,} bytes"
            return f"{where}, of memory at {memory}, has only {there}"
    return None


def _disjoint(segments: Iterable[Segment], virtual: bool) -> Iterable[tuple[int, int, int]]:
    # (base, end, file offset), sorted; with `-p` the same memory lies behind many headers.
    reached = 0
    for base, negative, offset in sorted((s.va if virtual else s.physical, -s.size, s.offset) for s in segments):
        low, high = max(base, reached), min(base - negative, (1 << 64) - 1)
        if low < high and offset + high - base < 1 << 63:
            yield low, high, offset + low - base
            reached = high
