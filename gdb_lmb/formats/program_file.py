# SPDX-License-Identifier: GPL-2.0-or-later
"""What a program's ELF file says must be in memory: its build id, or the bytes of a banner.

Used to tell symbols of another build from the guest's own. The file may be damaged; then it says nothing.
"""

from __future__ import annotations

import mmap
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gdb_lmb.core.errors import InputError
from gdb_lmb.core.image import Identity
from gdb_lmb.formats.elf import Segment, is_build_id, read_headers

_MAX_STRING_BYTES = 4096


@dataclass(frozen=True)
class LoadedPart:
    """A part of the program in memory: `size` bytes at virtual `va` that a loader puts at `physical`."""

    va: int
    physical: int
    size: int


def build_identity(path: Path) -> Identity | None:
    """Return where the program's GNU build id lies in memory, or None where it has none there."""
    with suppress(InputError):
        elf = read_headers(path, sections=False)
        for segment, note in elf.loaded_notes():
            va = segment.va + note.offset - segment.offset
            # A note that no loaded segment holds is in the file only.
            if is_build_id(note) and any(part.va <= va < part.va + part.size for part in elf.loads):
                return Identity(va, note.data, segment.va, note.offset)
    return None


def loaded_parts(path: Path) -> list[LoadedPart]:
    """Return where a loader puts the program, part by part; nothing for a file that cannot be understood."""
    with suppress(InputError):
        loads = read_headers(path, sections=False).loads
        return [LoadedPart(part.va, part.physical, part.memory_size) for part in loads if part.memory_size]
    return []


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
    with suppress(InputError):
        elf = read_headers(path, sections=False)
        for part in elf.loads:
            if part.va <= va < part.va + part.size:
                return elf.read(part.offset + va - part.va, min(size, part.va + part.size - va))
    return b""


def same_bytes(path: Path, data: bytes, within: tuple[int, int], residue: int, step: int) -> list[int]:
    """Return the addresses `within` a range that are `residue` modulo `step` and are loaded with `data`."""
    found = []
    loads, content = _mapped(path)
    for part in loads:
        low, high = max(part.va, within[0]), min(part.va + part.size, within[1])
        for va in range(low + (residue - low) % step, high - len(data) + 1, step):
            at = part.offset + va - part.va
            if content[at : at + len(data)] == data:
                found.append(va)
    return found


def first_bytes(path: Path, size: int) -> bytes:
    """Return the first bytes of the program's file, fewer where it has no `size`."""
    with suppress(OSError), path.open("rb") as file:
        return file.read(size)
    return b""


def text_in_file(path: Path, text: bytes) -> bool:
    """Tell whether the program's loaded data hold `text`."""
    loads, content = _mapped(path)
    return any(content.find(text, part.offset, part.offset + part.size) >= 0 for part in loads)


def _mapped(path: Path) -> tuple[list[Segment], mmap.mmap | bytes]:
    """Return the segments that a loader puts into memory and the bytes of the file; nothing where it is damaged."""
    # mmap raises ValueError for an empty file.
    with suppress(InputError, OSError, ValueError), path.open("rb") as file:
        return read_headers(path, sections=False).loads, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return [], b""
