# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the program in gdb keeps its LMB: the symbols and types that `layout.lmb` decodes by."""

from __future__ import annotations

import gdb

from gdb_lmb.allocators.lmb.program import LmbProgram, Table
from gdb_lmb.arches.base import Architecture
from gdb_lmb.arches.registry import of_gdb
from gdb_lmb.core.errors import LayoutError, ReadError
from gdb_lmb.core.fields import Struct
from gdb_lmb.core.memory import Memory
from gdb_lmb.machine.missing import why_no_allocator
from gdb_lmb.machine.types import byte_order, element_type, enum_names, member_type, struct_of

DEFAULT_PAGE_SIZE = 4096
"""`PAGE_SIZE` where the program does not tell (it is a macro, and debug information has none)."""

MIN_PAGE_SIZE, MAX_PAGE_SIZE = 1 << 10, 1 << 20


def architecture() -> Architecture | None:
    """Return the target's architecture, None where it is not known here."""
    machine = gdb.selected_inferior().architecture()
    return of_gdb(machine.name(), 8 * machine.integer_type(8).pointer().sizeof, byte_order())


def arch() -> str:
    """Return the target's architecture in the kernel's words ("ppc64"), in gdb's where it is not known here."""
    known = architecture()
    return gdb.selected_inferior().architecture().name() if known is None else known.uname


def lookup(name: str) -> gdb.Symbol | None:
    """Return the variable `name` with debug information, global or static, or None."""
    symbol = gdb.lookup_global_symbol(name, gdb.SYMBOL_VAR_DOMAIN)
    return symbol or gdb.lookup_static_symbol(name, gdb.SYMBOL_VAR_DOMAIN)


def _address(symbol: gdb.Symbol) -> int:
    return int(symbol.value().address)


def find_lmb(memory: Memory) -> LmbProgram:
    """Return the program's LMB, its page size out of `memory`.

    Raises: `LayoutError` where it has none that can be decoded.
    """
    if not any(objfile.is_valid() and objfile.filename for objfile in gdb.objfiles()):
        raise LayoutError("gdb has no symbols: load the kernel's with `file VMLINUX`")
    symbol = lookup("lmb")
    if symbol is None:
        raise LayoutError(why_no_allocator())
    kind = symbol.type.strip_typedefs()
    lmb = struct_of(kind, "lmb")
    region = struct_of(_struct_type("lmb_region"), "lmb_region")
    block = struct_of(_struct_type("lmb_block"), "lmb_block")
    static = lookup("lmb_static_entries")
    log, ops = _log()
    return LmbProgram(
        arch=arch(),
        byte_order=byte_order(),
        lmb_va=_address(symbol),
        lmb=lmb,
        region=region,
        block=block,
        page_size=_page_size(memory),
        static_entries=None if static is None else (_address(static), static.type.sizeof // region.size),
        log=log,
        ops=ops,
        handover=_table("lmb_handover", "nr", "ranges"),
        firmware=_table("firmware_map", "nr", "ranges"),
    )


def _struct_type(name: str) -> gdb.Type:
    try:
        return gdb.lookup_type(f"struct {name}")
    except gdb.error:
        raise LayoutError(f"the debug information does not describe struct {name}: build it with -g") from None


def _page_size(memory: Memory) -> int:
    symbol = lookup("lmb_page_size")
    if symbol is None:
        return DEFAULT_PAGE_SIZE
    try:
        size = int.from_bytes(memory.read(_address(symbol), symbol.type.sizeof), byte_order())
    except ReadError:
        return DEFAULT_PAGE_SIZE
    # It is read from the guest's memory, and what is no page size there would be divided by.
    return size if MIN_PAGE_SIZE <= size <= MAX_PAGE_SIZE and not size & (size - 1) else DEFAULT_PAGE_SIZE


def _table(name: str, count: str, items: str) -> Table | None:
    symbol = lookup(name)
    if symbol is None:
        return None
    struct = struct_of(symbol.type, name)
    record: Struct = struct_of(element_type(symbol.type, items), f"{name}.{items}[]")
    return Table(_address(symbol), struct, record, count, items)


def _log() -> tuple[Table | None, dict[int, str] | None]:
    symbol = lookup("lmb_log")
    if symbol is None:
        return None, None
    ops = enum_names(member_type(element_type(symbol.type, "ring"), "op"), "LMB_OP_")
    return _table("lmb_log", "nr", "ring"), ops
