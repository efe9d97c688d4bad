# SPDX-License-Identifier: GPL-2.0-or-later
"""What a return address means: the function that was called there, how far in it, file and line of the call."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from dataclasses import dataclass

import gdb

from gdb_lmb.core.record import Record, Symbol
from gdb_lmb.machine.gdb_text import ask


@dataclass(frozen=True)
class LinkerSymbol:
    """A symbol of the ELF's symbol table, with the compiler's suffixes, and how far from it in which section."""

    name: str
    offset: int
    section: str


_IN_SECTION = re.compile(r"(\S+)(?: \+ (\d+))? in section (\S+)")


def code_symbol(pc: int) -> Symbol | None:
    """Return what the return address `pc` means, None where gdb knows no symbol for it.

    The function is the one that was called, not one inlined into it.

    A call may be the last instruction of its function and of its line, so the byte before is looked up.
    """
    found = gdb.find_pc_line(pc - 1)
    file = found.symtab.filename if found.symtab is not None else None
    line = found.line if file is not None and found.line else None
    symbol = outermost_function(pc - 1)
    if symbol is not None:
        if file != symbol.symtab.filename:
            file, line = _line_outside(pc - 1, symbol) or (file, line)
        return Symbol(symbol.name, pc - int(symbol.value().address), file, line)
    # Assembly has no blocks; the linker's symbol is what is left.
    label = linker_symbol(pc - 1)
    return None if label is None else Symbol(label.name, label.offset + 1, file, line)


def symbols_of(records: Iterable[Record], known: Container[int] = ()) -> dict[int, Symbol]:
    """Return what the program counters of `records` mean, without those that are `known`."""
    wanted = {pc for record in records for pc in record.callers if pc not in known}
    return {pc: symbol for pc in wanted if (symbol := code_symbol(pc)) is not None}


def linker_symbol(address: int) -> LinkerSymbol | None:
    """Return the linker's symbol at or before `address` in its section, None where there is none.

    gdb's Python has no interface to these.
    """
    found = _IN_SECTION.match(ask(f"info symbol {address:#x}"))
    return None if found is None else LinkerSymbol(found[1], int(found[2] or 0), found[3])


def outermost_function(pc: int) -> gdb.Symbol | None:
    """Return the function that is really there at `pc`: not one that was inlined into it."""
    block, found = gdb.block_for_pc(pc), None
    while block is not None and not block.is_static and not block.is_global:
        found = block.function or found
        block = block.superblock
    return found


def _line_outside(pc: int, outer: gdb.Symbol) -> tuple[str, int] | None:
    """Return the innermost place in the file of `outer` from where what lies at `pc` was inlined into it.

    A header's inline function says little of who wanted something; the line that calls it says it. To gdb the
    symbol of an inlined function is declared where it is called (DW_AT_call_file and DW_AT_call_line).
    """
    home, block = outer.symtab.filename, gdb.block_for_pc(pc)
    while block is not None and not block.is_static and not block.is_global:
        call = block.function
        inlined = call is not None and (call.name, call.line) != (outer.name, outer.line)
        if inlined and call.line and call.symtab is not None and call.symtab.filename == home:
            return home, call.line
        block = block.superblock
    return None
