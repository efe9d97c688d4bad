# SPDX-License-Identifier: GPL-2.0-or-later
"""An ELF file with the sections of a program and nothing in them, for a debugger to place debug information by.

Mirrors elf(5): `Elf32_Ehdr`, `Elf64_Ehdr`, `Elf32_Shdr`, `Elf64_Shdr`.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gdb_lmb.errors import InputError

_SHT_STRTAB, _SHT_NOBITS = 3, 8
_SHF_ALLOC = 2
_IDENT_BYTES = 16
_NAMES = b".shstrtab"


@dataclass(frozen=True)
class Section:
    """One section header; `name` is the text that `sh_name` stands for."""

    name: bytes
    kind: int
    flags: int
    va: int
    offset: int
    size: int
    align: int


class _Format:
    """The structures of one class and byte order."""

    def __init__(self, ident: bytes) -> None:
        """Take `e_ident`. Raises: `struct.error` for none."""
        if len(ident) < _IDENT_BYTES or ident[:4] != b"\x7fELF" or ident[4] not in (1, 2) or ident[5] not in (1, 2):
            raise struct.error("no ELF")
        mark, word = "<" if ident[5] == 1 else ">", "Q" if ident[4] == 2 else "I"
        # e_ident, e_type, e_machine, e_version, e_entry, e_phoff, e_shoff, e_flags, e_ehsize, e_phentsize,
        # e_phnum, e_shentsize, e_shnum, e_shstrndx
        self.header = struct.Struct(f"{mark}16sHHI{word}{word}{word}IHHHHHH")
        # sh_name, sh_type, sh_flags, sh_addr, sh_offset, sh_size, sh_link, sh_info, sh_addralign, sh_entsize
        self.section = struct.Struct(f"{mark}II{word}{word}{word}{word}II{word}{word}")


def loaded_sections(path: Path) -> list[Section]:
    """Return the sections of the ELF at `path` that are loaded into memory. Raises: `InputError`."""
    return [section for section in _read(path)[1] if section.flags & _SHF_ALLOC]


def stand_in(path: Path, left_out: frozenset[bytes]) -> bytes:
    """Return an ELF like that at `path`, but without contents and without the sections called `left_out`.

    Raises: `InputError`.
    """
    header, sections = _read(path)
    kept = [s for s in sections if s.flags & _SHF_ALLOC and s.name not in left_out]
    form = _Format(header[0])
    rows = [Section(b"", 0, 0, 0, 0, 0, 0)]
    rows += [replace(section, kind=_SHT_NOBITS, offset=form.header.size) for section in kept]
    names = b"".join(row.name + b"\0" for row in rows) + _NAMES + b"\0"
    rows.append(Section(_NAMES, _SHT_STRTAB, 0, 0, form.header.size, len(names), 1))
    padding = -(form.header.size + len(names)) % 8
    table = form.header.size + len(names) + padding
    out = form.header.pack(
        *header[:5], 0, table, header[7], form.header.size, 0, 0, form.section.size, len(rows), len(rows) - 1
    )
    out += names + bytes(padding)
    at = 0
    for row in rows:
        out += form.section.pack(at, row.kind, row.flags, row.va, row.offset, row.size, 0, 0, row.align, 0)
        at += len(row.name) + 1
    return out


def _read(path: Path) -> tuple[tuple[Any, ...], list[Section]]:
    """Return the fields of the ELF header, and all sections."""
    try:
        with path.open("rb") as file:
            ident = file.read(_IDENT_BYTES)
            form = _Format(ident)
            header = form.header.unpack(ident + file.read(form.header.size - _IDENT_BYTES))
            start, size, count, names = header[6], header[11], header[12], header[13]
            length = os.fstat(file.fileno()).st_size
            if size != form.section.size or names >= count or start + size * count > length:
                raise struct.error("section headers")
            file.seek(start)
            rows: list[tuple[int, ...]] = list(form.section.iter_unpack(file.read(size * count)))
            if rows[names][4] + rows[names][5] > length:
                raise struct.error("section names")
            file.seek(rows[names][4])
            texts = file.read(rows[names][5])
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except struct.error:
        raise InputError(f"{path}: the ELF is cut off or damaged") from None
    sections = []
    for name, kind, flags, va, offset, size, _, _, align, _ in rows:
        sections.append(Section(texts[name:].partition(b"\0")[0], kind, flags, va, offset, size, align))
    return header, sections
