# SPDX-License-Identifier: GPL-2.0-or-later
"""An ELF file with the sections of a program and nothing in them, for a debugger to place debug information by."""

from __future__ import annotations

from gdb_lmb.formats.elf import SHF_ALLOC, SHT_NOBITS, SHT_STRTAB, Elf, Section

_NAMES = b".shstrtab"


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
    names = b"".join(row.name + b"\0" for row in rows) + _NAMES + b"\0"
    rows.append(Section(_NAMES, SHT_STRTAB, 0, 0, start, len(names), 0, 1))
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
