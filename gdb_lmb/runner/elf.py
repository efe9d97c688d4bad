# SPDX-License-Identifier: GPL-2.0-or-later
"""What a kernel's ELF header says of its machine, read without any library.

Mirrors `Elf32_Ehdr`, `Elf64_Ehdr` and the section headers of elf(5). The file is untrusted.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from gdb_lmb.errors import UsageError

_MAGIC = b"\x7fELF"
_SHT_SYMTAB = 2
_IDENT_BYTES = 16


class ElfFile(NamedTuple):
    """What was read: `bits` 32 or 64, `e_machine` as in elf.h, and where the file is."""

    path: Path
    bits: int
    byte_order: Literal["little", "big"]
    e_machine: int


def read_elf(path: Path) -> ElfFile:
    """Read the header of the ELF at `path` and see that it has a symbol table.

    Raises: UsageError, in one line, if there is no such file, it is no ELF, or it holds no symbols.
    """
    try:
        if path.exists() and not path.is_file():  # opening a FIFO would block
            raise UsageError(f"{path}: not a regular file")
        with path.open("rb") as file:
            return _read(path, file)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except struct.error as error:
        raise UsageError(f"{path}: the ELF is cut off or damaged") from error


def _read(path: Path, file: BinaryIO) -> ElfFile:
    """Decode the header of an open `file`."""
    ident = file.read(_IDENT_BYTES)
    if ident[:4] != _MAGIC:
        raise UsageError(f"{path}: not an ELF file (give the vmlinux, not a bzImage)")
    if len(ident) < _IDENT_BYTES or ident[4] not in (1, 2) or ident[5] not in (1, 2):
        raise UsageError(f"{path}: the ELF is cut off or damaged")
    bits = 32 * ident[4]
    order: Literal["little", "big"] = "little" if ident[5] == 1 else "big"
    mark = "<" if order == "little" else ">"
    address = "I" if bits == 32 else "Q"
    # e_type, e_machine, e_version, e_entry, e_phoff, e_shoff, e_flags, e_ehsize, e_phentsize, e_phnum,
    # e_shentsize, e_shnum, e_shstrndx
    header = struct.Struct(f"{mark}HHI{address}{address}{address}IHHHHHH")
    fields = header.unpack(file.read(header.size))
    e_machine, e_shoff, e_shentsize, e_shnum = fields[1], fields[5], fields[10], fields[11]
    # sh_name, sh_type, sh_flags, sh_addr, sh_offset, sh_size
    section = struct.Struct(f"{mark}II{address}{address}{address}{address}")
    if e_shoff == 0 or not _has_symbols(file, section, e_shoff, e_shentsize, e_shnum):
        raise UsageError(f"{path}: no symbol table (stripped?); give the unstripped vmlinux")
    return ElfFile(path, bits, order, e_machine)


def _has_symbols(file: BinaryIO, section: struct.Struct, offset: int, entry_size: int, count: int) -> bool:
    """Tell whether one of the `count` section headers at `offset` is a symbol table with content."""
    if entry_size < section.size:
        raise struct.error("section headers too small")
    size = file.seek(0, os.SEEK_END)
    if offset + entry_size * count > size:
        raise struct.error("section headers past the end of the file")
    file.seek(offset)
    table = file.read(entry_size * count)
    for index in range(count):
        fields = section.unpack_from(table, index * entry_size)
        if fields[1] == _SHT_SYMTAB and fields[5] > 0:
            return True
    return False
