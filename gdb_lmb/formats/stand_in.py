# SPDX-License-Identifier: GPL-2.0-or-later
"""An ELF file with the sections of a program and nothing in them, for a debugger to place debug information by."""

from __future__ import annotations

from dataclasses import replace

from gdb_lmb.formats.elf import SHF_ALLOC, SHT_NOBITS, SHT_STRTAB, Elf, Section

_NAMES = b".shstrtab"


def stand_in(elf: Elf, left_out: frozenset[bytes]) -> bytes:
    """Return an ELF like `elf`, but without contents and without the loaded sections called `left_out`."""
    form, header = elf.form, elf.header
    rows = [Section(b"", 0, 0, 0, 0, 0, 0)]
    rows += [
        replace(section, kind=SHT_NOBITS, offset=form.header.size)
        for section in elf.sections
        if section.flags & SHF_ALLOC and section.name not in left_out
    ]
    names = b"".join(row.name + b"\0" for row in rows) + _NAMES + b"\0"
    rows.append(Section(_NAMES, SHT_STRTAB, 0, 0, form.header.size, len(names), 1))
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
