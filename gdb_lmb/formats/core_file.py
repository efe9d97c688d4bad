# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's memory in an ELF core file, as QEMU's `dump-guest-memory` writes it: headers, notes, bytes.

Mirrors elf(5) (`Elf32_Phdr`, `Elf64_Phdr`, `PN_XNUM`) and QEMU's dump/dump.c. A program header says where a
piece of memory lies physically (`p_paddr`), and with `-p` also virtually (`p_vaddr`); what no header holds
is not known, and never guessed. The file is untrusted.
"""

from __future__ import annotations

import os
import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gdb_lmb.core.errors import InputError, ReadError
from gdb_lmb.core.fields import ByteOrder

_ET_CORE, _PT_LOAD, _PT_NOTE = 4, 1, 4
_PN_XNUM = 0xFFFF
_MAX_SEGMENTS = 1 << 20
_MAX_NOTES_BYTES = 16 << 20


@dataclass(frozen=True)
class Segment:
    """One `PT_LOAD` header: `size` bytes at `offset` of the file are memory at `base`, mapped at `va`."""

    offset: int
    va: int
    base: int
    size: int


@dataclass(frozen=True)
class Note:
    """One note: its owner's `name`, its `kind` (`n_type`) and its bytes."""

    name: bytes
    kind: int
    data: bytes


@dataclass(frozen=True)
class CoreFile:
    """What a core file's headers say; `machine` is `e_machine`, `cut` says in words where the file ends too early."""

    path: Path
    bits: int
    byte_order: ByteOrder
    machine: int
    segments: tuple[Segment, ...]
    notes: tuple[Note, ...]
    cut: str | None = None

    @property
    def has_mappings(self) -> bool:
        """Tell whether the headers' virtual addresses are the guest's (`-p`), not copies of the physical ones."""
        return any(segment.va not in (0, segment.base) for segment in self.segments)


class DumpMemory:
    """Reads what a core file holds, and nothing else, by physical or by virtual address."""

    def __init__(self, core: CoreFile, *, virtual: bool = False) -> None:
        """Open the file of `core`; addresses are `p_paddr`'s, or `p_vaddr`'s if `virtual`. Raises: `InputError`."""
        self._bases, self._ends, self._offsets = array("Q"), array("Q"), array("Q")
        for base, end, offset in _disjoint(core.segments, virtual):
            self._bases.append(base)
            self._ends.append(end)
            self._offsets.append(offset)
        self._cut = core.cut or "it has become shorter since it was opened"
        try:
            self._file = core.path.open("rb", buffering=0)
        except OSError as error:
            raise InputError(f"cannot read {core.path}: {error.strerror}") from None

    @property
    def end(self) -> int:
        """Return the first address past everything that the dump holds."""
        return self._ends[-1] if self._ends else 0

    def ranges(self) -> list[tuple[int, int]]:
        """Return the half-open ranges of addresses that the dump holds, in ascending order."""
        return list(zip(self._bases, self._ends, strict=True))

    def read(self, address: int, size: int) -> bytes:
        """Return `size` bytes at `address`. Raises: `ReadError` for what the dump does not hold."""
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
        with path.open("rb") as file:
            return _read(path, file)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except _CutError as error:
        raise InputError(f"{path} is cut off: {error}") from None
    except struct.error:
        raise InputError(f"{path}: the headers of the core file are cut off or damaged") from None


def _read(path: Path, file: BinaryIO) -> CoreFile:
    ident = file.read(16)
    if ident[:4] != b"\x7fELF":
        raise InputError(f"{path}: no ELF core file")
    if len(ident) < 16 or ident[4] not in (1, 2) or ident[5] not in (1, 2):
        raise struct.error("e_ident")
    wide, mark = ident[4] == 2, "<" if ident[5] == 1 else ">"
    # e_type, e_machine, e_version, e_entry, e_phoff, e_shoff, e_flags, e_ehsize, e_phentsize, e_phnum
    header = struct.Struct(mark + ("HHIQQQIHHH" if wide else "HHIIIIIHHH"))
    fields = header.unpack(file.read(header.size))
    if fields[0] != _ET_CORE:
        raise InputError(f"{path}: an ELF file, but no core file")
    offset, entry, count = fields[4], fields[8], fields[9]
    if count == _PN_XNUM:
        count = _many(file, fields[5], mark, wide)
    row = struct.Struct(mark + ("IIQQQQQQ" if wide else "IIIIIIII"))
    if entry != row.size or count > _MAX_SEGMENTS:
        raise struct.error("program headers")
    segments, notes = [], []
    length, needed, broken = os.fstat(file.fileno()).st_size, 0, None
    for number, values in enumerate(row.iter_unpack(_exactly(file, offset, count * row.size, "program headers"))):
        if wide:  # p_type, p_flags, p_offset, p_vaddr, p_paddr, p_filesz, …
            kind, _, at, va, base, size = values[:6]
        else:  # p_type, p_offset, p_vaddr, p_paddr, p_filesz, …
            kind, at, va, base, size = values[:5]
        needed = max(needed, at + size)
        if at + size > length and broken is None:
            broken = f"program header {number} of {count}"
            if kind == _PT_LOAD:
                broken += (
                    f", of memory at [{base:#x}, {base + size:#x}), has only {max(0, length - at):,} of {size:,} bytes"
                )
        # What a filter left out has a size in memory, but none in the file.
        if kind == _PT_LOAD and size:
            segments.append(Segment(at, va, base, size))
        elif kind == _PT_NOTE and size <= _MAX_NOTES_BYTES:
            notes += _notes(_exactly(file, at, size, f"notes (program header {number} of {count})"), mark)
    order: ByteOrder = "little" if mark == "<" else "big"
    cut = None if broken is None else f"at byte {length:,} of {needed:,}: {broken}"
    return CoreFile(path, 64 if wide else 32, order, fields[1], tuple(segments), tuple(notes), cut)


def _many(file: BinaryIO, offset: int, mark: str, wide: bool) -> int:
    """Return the number of program headers that `e_phnum` has no room for: `sh_info` of section 0."""
    # sh_name, sh_type, sh_flags, sh_addr, sh_offset, sh_size, sh_link, sh_info
    section = struct.Struct(mark + ("IIQQQQII" if wide else "IIIIIIII"))
    return int(section.unpack(_exactly(file, offset, section.size, "first section header"))[7])


class _CutError(struct.error):
    """Report that the file ends before what its headers point to."""


def _exactly(file: BinaryIO, offset: int, size: int, what: str) -> bytes:
    """Return `size` bytes of the file, which are its `what`."""
    length = os.fstat(file.fileno()).st_size
    if offset + size > length:
        raise _CutError(f"it has {length:,} bytes, and its {what} would reach to byte {offset + size:,}")
    file.seek(offset)
    return file.read(size)


def _notes(raw: bytes, mark: str) -> list[Note]:
    """Return the notes in `raw`, up to the first that is not whole."""
    out, at, header = [], 0, struct.Struct(f"{mark}III")
    while at + header.size <= len(raw):
        name_size, size, kind = header.unpack_from(raw, at)
        start = at + header.size + -(-name_size // 4) * 4
        if start + size > len(raw):
            break
        name = raw[at + header.size : at + header.size + name_size].rstrip(b"\0")
        out.append(Note(name, kind, raw[start : start + size]))
        at = start + -(-size // 4) * 4
    return out


def _disjoint(segments: Iterable[Segment], virtual: bool) -> Iterable[tuple[int, int, int]]:
    """Give (base, end, file offset), sorted; with `-p` the same memory lies behind many headers."""
    top = 1 << 64
    rows = sorted((s.va if virtual else s.base, -s.size, s.offset) for s in segments)
    reached = 0
    for base, negative, offset in rows:
        low, high = max(base, reached), min(base - negative, top - 1)
        if low < high and offset + high - base < 1 << 63:
            yield low, high, offset + low - base
            reached = high
