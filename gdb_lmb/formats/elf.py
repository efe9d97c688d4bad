# SPDX-License-Identifier: GPL-2.0-or-later
"""ELF files: header, segments, sections, notes and symbols, of 32 and 64 bits and both byte orders.

`stand_in()` writes one without contents, for a debugger to place debug information by its sections.

Mirrors elf(5): `Elf32_Ehdr`, `Elf64_Ehdr`, `Elf32_Phdr`, `Elf64_Phdr`, `Elf32_Shdr`, `Elf64_Shdr`, `Elf32_Nhdr`, with
`PN_XNUM` and `SHN_XINDEX`. The file is untrusted: every table must lie in it, and what is read at once is bounded.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

from gdb_lmb.core.errors import InputError
from gdb_lmb.core.fields import ByteOrder, Field, Struct

MAGIC = b"\x7fELF"
ET_CORE = 4
PT_LOAD, PT_NOTE = 1, 4
SHT_SYMTAB, SHT_STRTAB, SHT_NOTE, SHT_NOBITS = 2, 3, 7, 8
SHF_ALLOC = 2
NT_GNU_BUILD_ID = 3
_IDENT_BYTES = 16
_PN_XNUM, _SHN_XINDEX = 0xFFFF, 0xFFFF
_MAX_HEADERS = 1 << 20
_MAX_NOTES_BYTES = 16 << 20
_SECTION_NAMES = b".shstrtab"


class NotElfError(InputError):
    """Refuse a file that does not begin as an ELF file does."""


# `Elf32_Ehdr` or `Elf64_Ehdr`: each member after its name in elf(5), without `e_`; all are numbers but `ident`.
Header = namedtuple(
    "Header",
    ("ident", "type", "machine", "version", "entry", "phoff", "shoff", "flags", "ehsize", "phentsize", "phnum",
     "shentsize", "shnum", "shstrndx"),
)  # fmt: skip


class Segment(NamedTuple):
    """One program header: `size` bytes at `offset` of the file lie at `va` and `physical`, `memory_size` in all."""

    kind: int
    offset: int
    va: int
    physical: int
    size: int
    memory_size: int


class Section(NamedTuple):
    """One section header; `name` is the text that `sh_name` stands for, `link` is `sh_link`."""

    name: bytes
    kind: int
    flags: int
    va: int
    offset: int
    size: int
    link: int
    align: int


class Note(NamedTuple):
    """One note: its owner's `name`, its `kind` (`n_type`), its bytes and the file offset of these."""

    name: bytes
    kind: int
    data: bytes
    offset: int


class Layout:
    """The structures of the class and byte order that `e_ident` tells. Raises: `struct.error` for unknown ones."""

    def __init__(self, ident: bytes) -> None:
        if len(ident) < _IDENT_BYTES or ident[4] not in (1, 2) or ident[5] not in (1, 2):
            raise struct.error("e_ident")
        self.wide = ident[4] == 2
        self.mark = mark = "<" if ident[5] == 1 else ">"
        word = "Q" if self.wide else "I"
        self.header = struct.Struct(f"{mark}16sHHI{word}{word}{word}IHHHHHH")
        # sh_name, sh_type, sh_flags, sh_addr, sh_offset, sh_size, sh_link, sh_info, sh_addralign, sh_entsize
        self.section = struct.Struct(f"{mark}II{word}{word}{word}{word}II{word}{word}")
        # Wide: p_type, p_flags, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align; else p_flags comes later.
        self.segment = struct.Struct(mark + ("IIQQQQQQ" if self.wide else "IIIIIIII"))


@dataclass(frozen=True)
class Elf:
    """The headers of the file at `path`, which has `length` bytes; `bits` is 32 or 64, `machine` is `e_machine`."""

    path: Path
    length: int
    bits: int
    byte_order: ByteOrder
    machine: int
    layout: Layout
    header: Header
    segments: tuple[Segment, ...]
    sections: tuple[Section, ...]

    @property
    def loads(self) -> list[Segment]:
        """Return the segments that a loader puts into memory."""
        return [segment for segment in self.segments if segment.kind == PT_LOAD]

    @property
    def has_symbols(self) -> bool:
        """Tell whether the file itself has a symbol table with content."""
        return any(section.kind == SHT_SYMTAB and section.size for section in self.sections)

    def section(self, name: bytes) -> Section | None:
        """Return the first section of this name."""
        return next((section for section in self.sections if section.name == name), None)

    def content(self, section: Section) -> bytes:
        """Return the bytes of a section. Raises: `InputError`."""
        return b"" if section.kind == SHT_NOBITS else self.read(section.offset, section.size, "sections")

    def read(self, offset: int, size: int, what: str = "data") -> bytes:
        """Return `size` bytes at `offset` of the file, called `what` in messages. Raises: `InputError`."""
        try:
            with self.path.open("rb") as file:
                return _read_at(self.path, file, offset, size, what)
        except OSError as error:
            raise InputError(f"cannot read {self.path}: {error.strerror}") from None

    def has_symbol(self, name: bytes) -> bool:
        """Tell whether the symbol table has a symbol of this name. Raises: `InputError`."""
        table = next((section for section in self.sections if section.kind == SHT_SYMTAB), None)
        if table is None or table.link >= len(self.sections):
            return False
        symbol = Struct("symbol", 24 if self.layout.wide else 16, {"st_name": Field(0, 4)})
        (names,) = symbol.columns(self.content(table), ("st_name",), self.byte_order)
        # One string may be the end of another's; `st_name` tells which are names.
        texts = re.finditer(re.escape(name) + b"\0", self.content(self.sections[table.link]))
        return not {text.start() for text in texts}.isdisjoint(names)

    def loaded_notes(self) -> Iterator[tuple[Segment, Note]]:
        """Yield the notes of all segments of notes, each with its segment. Raises: `InputError`."""
        for number, segment in enumerate(self.segments):
            if segment.kind == PT_NOTE:
                what = f"notes (program header {number} of {len(self.segments)})"
                for note in self._notes(segment.offset, segment.size, what):
                    yield segment, note

    def _notes(self, offset: int, size: int, what: str) -> Iterator[Note]:
        # Up to the first that is not whole.
        raw = self.read(offset, size, what) if size <= _MAX_NOTES_BYTES else b""
        at, header = 0, struct.Struct(f"{self.layout.mark}III")
        while at + header.size <= len(raw):
            name_size, data_size, kind = header.unpack_from(raw, at)
            start = at + header.size + -(-name_size // 4) * 4
            if start + data_size > len(raw):
                return
            name = raw[at + header.size : at + header.size + name_size].rstrip(b"\0")
            yield Note(name, kind, raw[start : start + data_size], offset + start)
            at = start + -(-data_size // 4) * 4

    def build_id(self) -> bytes | None:
        """Return the GNU build id, from sections of notes; from segments where there are none. Raises: `InputError`."""
        sections = [section for section in self.sections if section.kind == SHT_NOTE]
        notes = chain.from_iterable(self._notes(section.offset, section.size, "notes") for section in sections)
        found = notes if sections else (note for _, note in self.loaded_notes())
        return next((note.data for note in found if is_build_id(note)), None)


def is_build_id(note: Note) -> bool:
    """Tell whether the bytes of a note are a GNU build id."""
    return (note.name, note.kind) == (b"GNU", NT_GNU_BUILD_ID)


def read_headers(path: Path, *, sections: bool = True) -> Elf:
    """Read the headers of the ELF at `path`; without `sections` those of segments only, which suffice to load it.

    Raises: `NotElfError` for another kind of file, `InputError` for a damaged one; in one line.
    """
    try:
        if path.exists() and not path.is_file():  # opening a FIFO would block
            raise InputError(f"{path}: not a regular file")
        with path.open("rb") as file:
            return _read(path, file, sections)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except struct.error:
        raise InputError(f"{path}: the ELF headers are cut off or damaged") from None


def _read(path: Path, file: BinaryIO, with_sections: bool) -> Elf:
    ident = file.read(_IDENT_BYTES)
    if not ident.startswith(MAGIC):
        raise NotElfError(f"{path}: not an ELF file")
    layout = Layout(ident)
    header = Header._make(layout.header.unpack(ident + file.read(layout.header.size - _IDENT_BYTES)))

    def table(what: str, row: struct.Struct, at: int, entry: int, count: int) -> list[tuple[int, ...]]:
        if count > _MAX_HEADERS or (count and entry < row.size):
            raise struct.error(what)
        raw = _read_at(path, file, at, entry * count, what)
        return [row.unpack_from(raw, place) for place in range(0, len(raw), entry or 1)]

    phnum, shnum, names = header.phnum, header.shnum, header.shstrndx
    # What e_phnum, e_shnum and e_shstrndx have no room for is in the first section header.
    if phnum == _PN_XNUM or (header.shoff and (not shnum or names == _SHN_XINDEX)):
        first = table("first section header", layout.section, header.shoff, layout.section.size, 1)[0]
        phnum = first[7] if phnum == _PN_XNUM else phnum
        shnum = shnum or first[5]
        names = first[6] if names == _SHN_XINDEX else names
    segments = [
        Segment(row[0], *row[2:7]) if layout.wide else Segment(*row[:6])
        for row in table("program headers", layout.segment, header.phoff, header.phentsize, phnum)
    ]
    rows = table("section headers", layout.section, header.shoff, header.shentsize, shnum) if with_sections else []
    texts = b""
    if names < len(rows):
        texts = _read_at(path, file, rows[names][4], rows[names][5], "section names") + b"\0"
    sections = [
        Section(texts[name : texts.find(b"\0", name)], kind, flags, va, offset, size, link, align)
        for name, kind, flags, va, offset, size, link, _, align, _ in rows
    ]
    return Elf(
        path,
        length=os.fstat(file.fileno()).st_size,
        bits=64 if layout.wide else 32,
        byte_order="little" if layout.mark == "<" else "big",
        machine=header.machine,
        layout=layout,
        header=header,
        segments=tuple(segments),
        sections=tuple(sections),
    )


def _read_at(path: Path, file: BinaryIO, offset: int, size: int, what: str) -> bytes:
    length = os.fstat(file.fileno()).st_size
    if offset + size > length:
        raise InputError(
            f"{path} is cut off: it has {length:,} bytes, and its {what} would reach to byte {offset + size:,}"
        )
    file.seek(offset)
    return file.read(size)


def first_bytes(path: Path, size: int) -> bytes:
    """Return the first bytes of a file, fewer where it has no `size` or cannot be read."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(size)
    return b""


def stand_in(elf: Elf, left_out: frozenset[bytes]) -> bytes:
    """Return an ELF like `elf`, but without contents and without the loaded sections called `left_out`."""
    layout = elf.layout
    start, section_size = layout.header.size, layout.section.size
    rows = [Section(b"", 0, 0, 0, 0, 0, 0, 0)]
    rows += [
        section._replace(kind=SHT_NOBITS, offset=start)
        for section in elf.sections
        if section.flags & SHF_ALLOC and section.name not in left_out
    ]
    names = b"".join(row.name + b"\0" for row in rows) + _SECTION_NAMES + b"\0"
    rows.append(Section(_SECTION_NAMES, SHT_STRTAB, 0, 0, start, len(names), 0, 1))
    padding = -(start + len(names)) % 8
    header = elf.header._replace(
        phoff=0, phentsize=0, phnum=0, ehsize=start,
        shoff=start + len(names) + padding, shentsize=section_size, shnum=len(rows), shstrndx=len(rows) - 1,
    )  # fmt: skip
    out = layout.header.pack(*header) + names + bytes(padding)
    at = 0
    for row in rows:
        out += layout.section.pack(at, row.kind, row.flags, row.va, row.offset, row.size, 0, 0, row.align, 0)
        at += len(row.name) + 1
    return out
