# SPDX-License-Identifier: GPL-2.0-or-later
"""What a program's ELF file says must be in memory: its build id, or the bytes of a banner.

Used to tell symbols of another build from the guest's own. The file may be damaged; then it says nothing.
"""

from __future__ import annotations

import mmap
import operator
from contextlib import suppress
from pathlib import Path

from gdb_lmb.core.address import Identity
from gdb_lmb.core.errors import InputError
from gdb_lmb.formats.elf import Segment, is_build_id, read_headers

_MAX_STRING_BYTES = 4096


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


def loaded_parts(path: Path) -> list[Segment]:
    """Return what a loader puts into memory, part by part; nothing for a file that cannot be understood."""
    with suppress(InputError):
        return [part for part in read_headers(path, sections=False).loads if part.memory_size]
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
    # Fewer bytes than `size` where the segment ends.
    with suppress(InputError):
        elf = read_headers(path, sections=False)
        for part in elf.loads:
            if part.va <= va < part.va + part.size:
                return elf.read(part.offset + va - part.va, min(size, part.va + part.size - va))
    return b""


def similar_bytes(path: Path, data: bytes, within: tuple[int, int], residue: int, step: int) -> list[int]:
    """Return the addresses `within` a range that are `residue` modulo `step` and are loaded with `data`.

    A quarter of the bytes may differ, as relocation changes code.
    """
    loads, content = _mapped(path)
    parts = ((max(s.va, within[0]), min(s.va + s.size, within[1]), s.offset - s.va) for s in loads)
    return [
        va
        for low, high, moved in parts
        for va in range(low + (residue - low) % step, high - len(data) + 1, step)
        if 4 * sum(map(operator.eq, content[va + moved : va + moved + len(data)], data)) >= 3 * len(data) > 0
    ]


def text_in_file(path: Path, text: bytes) -> bool:
    """Tell whether the program's loaded data hold `text`."""
    loads, content = _mapped(path)
    return any(content.find(text, part.offset, part.offset + part.size) >= 0 for part in loads)


def _mapped(path: Path) -> tuple[list[Segment], mmap.mmap | bytes]:
    # mmap raises ValueError for an empty file.
    with suppress(InputError, OSError, ValueError), path.open("rb") as file:
        return read_headers(path, sections=False).loads, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return [], b""
