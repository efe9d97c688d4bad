# SPDX-License-Identifier: GPL-2.0-or-later
"""What a program's ELF file says must be in memory: its build id, or the bytes of a banner.

Mirrors elf(5): `Elf32_Phdr`, `Elf64_Phdr`, `Elf32_Nhdr`. Used to tell symbols of another build from the
guest's own. The file may be damaged; then it says nothing.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gdb_lmb.core.image import Identity

_PT_LOAD, _PT_NOTE = 1, 4
_NT_GNU_BUILD_ID = 3
_MAX_HEADERS = 1 << 12
_MAX_NOTES_BYTES = 1 << 20
_MAX_STRING_BYTES = 4096


@dataclass(frozen=True)
class _Segment:
    """One program header: file offset, virtual and physical address, bytes in the file and in memory."""

    kind: int
    offset: int
    va: int
    physical: int
    size: int
    memory_size: int


@dataclass(frozen=True)
class LoadedPart:
    """A part of the program in memory: `size` bytes at virtual `va` that a loader puts at `physical`."""

    va: int
    physical: int
    size: int


def build_identity(path: Path) -> Identity | None:
    """Return where the program's GNU build id lies in memory, or None where it has none there."""
    try:
        with path.open("rb") as file:
            mark, segments = _segments(file)
            loads = [s for s in segments if s.kind == _PT_LOAD]
            for segment in segments:
                if segment.kind == _PT_NOTE and segment.size <= _MAX_NOTES_BYTES:
                    file.seek(segment.offset)
                    at = _build_id(file.read(segment.size), mark)
                    # A note that no loaded segment holds is in the file only.
                    if at and any(s.va <= segment.va + at[0] < s.va + s.size for s in loads):
                        return Identity(segment.va + at[0], at[1], segment.va, segment.offset + at[0])
    except (OSError, struct.error):
        pass
    return None


def loaded_parts(path: Path) -> list[LoadedPart]:
    """Return where a loader puts the program, part by part; nothing for a file that cannot be understood."""
    try:
        with path.open("rb") as file:
            parts = [s for s in _segments(file)[1] if s.kind == _PT_LOAD and s.memory_size]
    except (OSError, struct.error):
        return []
    return [LoadedPart(part.va, part.physical, part.memory_size) for part in parts]


def bytes_in_file(path: Path, va: int, size: int) -> Identity | None:
    """Return the `size` bytes that the program is loaded with at `va`, or None where it is not."""
    data = _loaded(path, va, size)
    return Identity(va, data) if len(data) == size else None


def string_in_file(path: Path, va: int) -> Identity | None:
    """Return the C string that the program is loaded with at `va`, its NUL included, or None where none is."""
    text, end, _ = _loaded(path, va, _MAX_STRING_BYTES).partition(b"\0")
    return Identity(va, text + end) if text and end else None


def _loaded(path: Path, va: int, size: int) -> bytes:
    """Return the bytes in the file of up to `size` that are loaded at `va`, fewer where its segment ends."""
    try:
        with path.open("rb") as file:
            for segment in _segments(file)[1]:
                if segment.kind == _PT_LOAD and segment.va <= va < segment.va + segment.size:
                    file.seek(segment.offset + va - segment.va)
                    return file.read(min(size, segment.va + segment.size - va))
    except (OSError, struct.error):
        pass
    return b""


def same_bytes(path: Path, data: bytes, within: tuple[int, int], residue: int, step: int) -> list[int]:
    """Return the addresses `within` a range that are `residue` modulo `step` and are loaded with `data`."""
    found = []
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for segment in _segments(file)[1]:
                low, high = max(segment.va, within[0]), min(segment.va + segment.size, within[1])
                if segment.kind == _PT_LOAD:
                    for va in range(low + (residue - low) % step, high - len(data) + 1, step):
                        at = segment.offset + va - segment.va
                        if content[at : at + len(data)] == data:
                            found.append(va)
    except (OSError, ValueError, struct.error):
        return []
    return found


def first_bytes(path: Path, size: int) -> bytes:
    """Return the first bytes of the program's file, fewer where it has no `size`."""
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError:
        return b""


def text_in_file(path: Path, text: bytes) -> bool:
    """Tell whether the program's loaded data hold `text`."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            loads = [s for s in _segments(file)[1] if s.kind == _PT_LOAD]
            return any(data.find(text, s.offset, s.offset + s.size) >= 0 for s in loads)
    except (OSError, ValueError, struct.error):
        return False


def _segments(file: BinaryIO) -> tuple[str, list[_Segment]]:
    """Return the byte order's mark and the program headers. Raises: `struct.error` for no such ELF."""
    ident = file.read(16)
    if ident[:4] != b"\x7fELF" or len(ident) < 16:
        raise struct.error("no ELF")
    wide, mark = ident[4] == 2, "<" if ident[5] == 1 else ">"
    # e_type, e_machine, e_version, e_entry, e_phoff, e_shoff, e_flags, e_ehsize, e_phentsize, e_phnum
    header = struct.Struct(mark + ("HHIQQQIHHH" if wide else "HHIIIIIHHH"))
    fields = header.unpack(file.read(header.size))
    offset, entry, count = fields[4], fields[8], fields[9]
    row = struct.Struct(mark + ("IIQQQQQQ" if wide else "IIIIIIII"))
    if entry < row.size or count > _MAX_HEADERS:
        raise struct.error("program headers are damaged")
    out = []
    for number in range(count):
        file.seek(offset + number * entry)
        values = row.unpack(file.read(row.size))
        if wide:  # p_type, p_flags, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, …
            out.append(_Segment(values[0], *values[2:7]))
        else:  # p_type, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, …
            out.append(_Segment(*values[:6]))
    return mark, out


def _build_id(notes: bytes, mark: str) -> tuple[int, bytes] | None:
    """Return the offset and the bytes of the GNU build id among `notes`."""
    at, header = 0, struct.Struct(f"{mark}III")
    while at + header.size <= len(notes):
        name_size, data_size, kind = header.unpack_from(notes, at)
        name = notes[at + header.size : at + header.size + name_size]
        start = at + header.size + -(-name_size // 4) * 4
        if kind == _NT_GNU_BUILD_ID and name == b"GNU\0" and start + data_size <= len(notes):
            return start, notes[start : start + data_size]
        at = start + -(-data_size // 4) * 4
    return None
