# SPDX-License-Identifier: GPL-2.0-or-later
"""The headers of an ELF file: of the file, of its segments and of its sections, all classes and byte orders.

Mirrors elf(5): `Elf32_Ehdr`, `Elf64_Ehdr`, `Elf32_Phdr`, `Elf64_Phdr`, `Elf32_Shdr`, `Elf64_Shdr`. The file is
untrusted.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gdb_lmb.core.errors import InputError
from gdb_lmb.core.fields import ByteOrder

PT_LOAD, PT_NOTE = 1, 4
SHT_SYMTAB, SHT_STRTAB, SHT_NOTE, SHT_NOBITS = 2, 3, 7, 8
SHF_ALLOC = 2
NT_GNU_BUILD_ID = 3
IDENT_BYTES = 16
_MAX_NOTES_BYTES = 1 << 20
_SYMBOL_BYTES = {False: 16, True: 24}
"""`sizeof(Elf32_Sym)`, `sizeof(Elf64_Sym)`."""


@dataclass(frozen=True)
class Segment:
    """One program header: where `size` bytes of the file lie in memory, `memory_size` bytes in all."""

    kind: int
    offset: int
    va: int
    physical: int
    size: int
    memory_size: int


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


@dataclass(frozen=True)
class Note:
    """One note: its owner's `name`, its `kind` (`n_type`), its bytes and the file offset of these."""

    name: bytes
    kind: int
    data: bytes
    offset: int


class Format:
    """The structures of one class and byte order."""

    def __init__(self, ident: bytes) -> None:
        """Take `e_ident`. Raises: `struct.error` for none."""
        if len(ident) < IDENT_BYTES or ident[:4] != b"\x7fELF" or ident[4] not in (1, 2) or ident[5] not in (1, 2):
            raise struct.error("no ELF")
        self.wide = ident[4] == 2
        self.mark = mark = "<" if ident[5] == 1 else ">"
        word = "Q" if self.wide else "I"
        # e_ident, e_type, e_machine, e_version, e_entry, e_phoff, e_shoff, e_flags, e_ehsize, e_phentsize,
        # e_phnum, e_shentsize, e_shnum, e_shstrndx
        self.header = struct.Struct(f"{mark}16sHHI{word}{word}{word}IHHHHHH")
        # sh_name, sh_type, sh_flags, sh_addr, sh_offset, sh_size, sh_link, sh_info, sh_addralign, sh_entsize
        self.section = struct.Struct(f"{mark}II{word}{word}{word}{word}II{word}{word}")
        # Wide: p_type, p_flags, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align; else p_flags comes later.
        self.segment = struct.Struct(mark + ("IIQQQQQQ" if self.wide else "IIIIIIII"))


@dataclass(frozen=True)
class Elf:
    """What the headers of the file at `path` say; `header` has the fields of `e_ident` and what follows it."""

    path: Path
    form: Format
    header: tuple[bytes | int, ...]
    segments: tuple[Segment, ...]
    sections: tuple[Section, ...]

    @property
    def bits(self) -> int:
        """Return 32 or 64."""
        return 64 if self.form.wide else 32

    @property
    def byte_order(self) -> ByteOrder:
        """Return the byte order."""
        return "little" if self.form.mark == "<" else "big"

    @property
    def machine(self) -> int:
        """Return `e_machine`."""
        return int(self.header[2])

    def section(self, name: bytes) -> Section | None:
        """Return the first section of this name."""
        return next((section for section in self.sections if section.name == name), None)

    def content(self, section: Section) -> bytes:
        """Return the bytes of a section. Raises: `InputError`."""
        return b"" if section.kind == SHT_NOBITS else _bytes_at(self.path, section.offset, section.size)

    def has_symbol(self, name: bytes) -> bool:
        """Tell whether the symbol table has a symbol of this name. Raises: `InputError`."""
        table = next((section for section in self.sections if section.kind == SHT_SYMTAB), None)
        strings = self.section(b".strtab")
        if table is None or strings is None:
            return False
        texts, symbols = self.content(strings), self.content(table)
        size = _SYMBOL_BYTES[self.form.wide]
        at = texts.find(name + b"\0")
        while at >= 0:
            # One string may be the end of another's; st_name, a symbol's first member, tells which are names.
            number = struct.pack(f"{self.form.mark}I", at)
            found = symbols.find(number)
            while found >= 0:
                if not found % size:
                    return True
                found = symbols.find(number, found + 1)
            at = texts.find(name + b"\0", at + 1)
        return False

    def notes(self, *, loaded: bool = False) -> Iterator[Note]:
        """Yield the notes of all sections of notes; of all segments in a file without any, or if `loaded`."""
        places = [(s.offset, s.size) for s in self.sections if s.kind == SHT_NOTE and not loaded]
        for offset, size in places or [(s.offset, s.size) for s in self.segments if s.kind == PT_NOTE]:
            if size <= _MAX_NOTES_BYTES:
                yield from notes_in(_bytes_at(self.path, offset, size), self.form.mark, offset)

    def build_id(self) -> bytes | None:
        """Return the GNU build id."""
        return next((note.data for note in self.notes() if (note.name, note.kind) == (b"GNU", NT_GNU_BUILD_ID)), None)


def read_headers(path: Path) -> Elf:
    """Read all headers of the ELF at `path`. Raises: `InputError`, in one line."""
    try:
        with path.open("rb") as file:
            return _read(path, file)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except struct.error:
        raise InputError(f"{path}: the ELF is cut off or damaged") from None


def _read(path: Path, file: BinaryIO) -> Elf:
    ident = file.read(IDENT_BYTES)
    form = Format(ident)
    header = form.header.unpack(ident + file.read(form.header.size - IDENT_BYTES))
    program_at, section_at = header[5], header[6]
    segment_size, segment_count, section_size, section_count, names = header[9:]
    length = os.fstat(file.fileno()).st_size

    def table(row: struct.Struct, at: int, size: int, count: int) -> list[tuple[int, ...]]:
        if count and (size != row.size or at + size * count > length):
            raise struct.error("headers past the end of the file")
        file.seek(at)
        return list(row.iter_unpack(file.read(row.size * count)))

    segments = []
    for values in table(form.segment, program_at, segment_size, segment_count):
        if form.wide:
            segments.append(Segment(values[0], *values[2:7]))
        else:
            segments.append(Segment(*values[:6]))
    rows = table(form.section, section_at, section_size, section_count)
    texts = b""
    if names < len(rows):
        if rows[names][4] + rows[names][5] > length:
            raise struct.error("section names past the end of the file")
        file.seek(rows[names][4])
        texts = file.read(rows[names][5])
    sections = []
    for name, kind, flags, va, offset, size, _, _, align, _ in rows:
        sections.append(Section(texts[name:].partition(b"\0")[0], kind, flags, va, offset, size, align))
    return Elf(path, form, header, tuple(segments), tuple(sections))


def notes_in(raw: bytes, mark: str, offset: int = 0) -> Iterator[Note]:
    """Yield the notes in `raw`, which lie at `offset` of their file, up to the first that is not whole."""
    at, header = 0, struct.Struct(f"{mark}III")
    while at + header.size <= len(raw):
        name_size, size, kind = header.unpack_from(raw, at)
        start = at + header.size + -(-name_size // 4) * 4
        if start + size > len(raw):
            return
        name = raw[at + header.size : at + header.size + name_size].rstrip(b"\0")
        yield Note(name, kind, raw[start : start + size], offset + start)
        at = start + -(-size // 4) * 4


def _bytes_at(path: Path, offset: int, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(min(size, os.fstat(file.fileno()).st_size))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}") from None
    if len(data) < size:
        raise InputError(f"{path}: the ELF is cut off or damaged")
    return data
