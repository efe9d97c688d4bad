# SPDX-License-Identifier: GPL-2.0-or-later
"""A Linux kernel's symbols and types, as linked: what the decoder of memblock and the phases need."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gdb

from gdb_lmb.errors import LayoutError
from gdb_lmb.layout.memblock import MemblockProgram
from gdb_lmb.layout.program_file import Identity, build_identity
from gdb_lmb.target.program import DEFAULT_PAGE_SIZE, arch, lookup
from gdb_lmb.target.types import byte_order, enum_names, member_type, struct_of

_SYMBOLS = ("phys_base", "page_offset_base", "_totalram_pages", "system_state", "memblock_memory",
            "memblock_can_resize", "e820_table")  # fmt: skip


@dataclass(frozen=True)
class Kernel:
    """A Linux kernel's symbols, as linked: what the decoder and the phases need; 0 where it has none.

    `own_file` is the ELF; `identity` its build id and where that is linked.
    """

    program: MemblockProgram
    own_file: Path
    identity: Identity
    image: tuple[int, int]
    init: tuple[int, int]
    code: tuple[tuple[int, int], ...]
    entry: int
    name_pointer_va: int
    symbols: dict[str, int]
    keeps: bool


_KERNELS: dict[tuple[str, int], Kernel] = {}
"""What was worked out for a program, by its file."""


def find_kernel() -> Kernel | None:
    """Return the kernel whose symbols gdb has, None where they have no memblock. Raises: `LayoutError`."""
    symbol = lookup("memblock")
    if symbol is None or symbol.symtab is None:
        return None
    filename = symbol.symtab.objfile.filename
    key = (filename, id(symbol.symtab.objfile))
    if key not in _KERNELS:
        _KERNELS[key] = _read_kernel(symbol, Path(filename))
    return _KERNELS[key]


def symbols_moved_by(identity: Identity) -> int:
    """Return by how much gdb has its symbols away from where they were linked (`symbol-file -o`)."""
    at = _minimal("__start_notes")
    return at - identity.notes_va if at and identity.notes_va else 0


def _read_kernel(symbol: gdb.Symbol, path: Path) -> Kernel:
    if arch() != "x86_64":
        raise LayoutError(f"stock Linux is understood on x86_64 only so far, not on {arch()}")
    identity = build_identity(path)
    if identity is None:
        raise LayoutError(f"{path} has no build id in a loaded note: it cannot be told from another build")
    moved = symbols_moved_by(identity)

    def linked(symbol: gdb.Symbol | None) -> int:
        return 0 if symbol is None else int(symbol.value().address) - moved

    def minimal(name: str) -> int:
        at = _minimal(name)
        return at - moved if at else 0

    kind = symbol.type.strip_typedefs()
    type_kind = member_type(kind, "memory")
    region_kind = member_type(type_kind, "regions").target()
    arrays = {name: linked(lookup(f"memblock_{name}_init_regions")) for name in ("memory", "reserved")}
    program = MemblockProgram(
        arch=arch(),
        byte_order=byte_order(),
        memblock_va=linked(symbol),
        memblock=struct_of(kind, "memblock"),
        type=struct_of(type_kind, "memblock_type"),
        region=struct_of(region_kind, "memblock_region"),
        page_size=DEFAULT_PAGE_SIZE,
        flag_names={k: v.upper() for k, v in enum_names(member_type(region_kind, "flags"), "MEMBLOCK_").items() if k},
        init_arrays=arrays,
        physmem_va=linked(lookup("physmem")) or None,
        no_node=_max_nodes(),
    )
    places = {name: linked(lookup(name)) for name in _SYMBOLS}
    return Kernel(
        program=program,
        own_file=path,
        identity=identity,
        image=(minimal("_text"), minimal("_end")),
        init=(minimal("__init_begin"), minimal("__init_end")),
        code=((minimal("_text"), minimal("_etext")), (minimal("_sinittext"), minimal("_einittext"))),
        entry=minimal("startup_64"),
        name_pointer_va=program.memblock_va + program.memblock.fields["memory.name"].offset,
        symbols=places,
        keeps=not _minimal("memblock_discard"),
    )


def _max_nodes() -> int | None:
    """Return `MAX_NUMNODES`, None where the debug information does not tell.

    `node_data[]` would tell too, but gdb may find a declaration of it that has no size.
    Source: `MAX_ZONES_PER_ZONELIST` of include/linux/mmzone.h.
    """
    try:
        zones = enum_names(gdb.lookup_type("enum zone_type"), "")
        references = member_type(gdb.lookup_type("struct zonelist"), "_zonerefs").range()[1]
    except (gdb.error, LayoutError):
        return None
    most = next((value for value, name in zones.items() if name == "__max_nr_zones"), 0)
    return references // most if most else None


def _minimal(name: str) -> int:
    """Return the address of a symbol of the linker or assembler, 0 where there is none."""
    try:
        return int(gdb.parse_and_eval(f"(unsigned long)&{name}"))
    except gdb.error:
        return 0
