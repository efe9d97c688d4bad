# SPDX-License-Identifier: GPL-2.0-or-later
"""What is at a program counter: functions, inlined ones too, the linker's symbol, the source line of a call."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable

import gdb

from gdb_lmb.core.machine import Function, LinkerSymbol
from gdb_lmb.core.operation import Record, Symbol
from gdb_lmb.core.snapshot import Stop
from gdb_lmb.machine.gdb_text import ask

_IN_SECTION = re.compile(r"(\S+)(?: \+ (\d+))? in section (\S+)")


def _blocks(pc: int) -> list[gdb.Block]:
    """Return the blocks of the functions at `pc`, the innermost inlined one first, the one that was called last."""
    # An address that was moved back by a kernel's own offset may be none.
    block = gdb.block_for_pc(pc) if 0 <= pc < 1 << 64 else None
    found = []
    while block is not None and not block.is_static and not block.is_global:
        if block.function is not None:
            found.append(block)
        block = block.superblock
    return found


def as_function(symbol: gdb.Symbol) -> Function:
    """Return gdb's symbol of a function as a plain value."""
    return Function(str(symbol.name), None if symbol.symtab is None else symbol.symtab.filename)


def functions_at(pc: int) -> list[Function]:
    """Return the functions whose code is at `pc`, inlined ones first."""
    return [as_function(block.function) for block in _blocks(pc)]


def outermost_function(pc: int) -> gdb.Symbol | None:
    """Return the function that was called at `pc`, not one that is inlined into it."""
    blocks = _blocks(pc)
    return blocks[-1].function if blocks else None


def at_entry(pc: int) -> bool:
    """Tell whether `pc` is where a function has done nothing yet: in its opening line, or just past it.

    Just past it is where `break FUNCTION` stops on architectures whose prologues gdb skips.
    """
    blocks = _blocks(pc)
    if not blocks:
        return False
    start = blocks[-1].start
    opening = gdb.find_pc_line(start)
    return pc == start or (opening.last is not None and start <= pc <= opening.last + 1 < blocks[-1].end)


def name_at(pc: int) -> str | None:
    """Return "function+0x12" for an address in the program, None where there is no symbol."""
    for block in _blocks(pc):
        offset = pc - block.start
        return f"{block.function.name}+{offset:#x}" if offset else str(block.function.name)
    # Assembly has no blocks; the linker's symbol is what is left.
    label = linker_symbol(pc)
    if label is None:
        return None
    return f"{label.name}+{label.offset:#x}" if label.offset else label.name


def function_at(pc: int) -> str:
    """Return a caller's name for a message: "reserve_initrd+0x2f", else the bare address."""
    return name_at(pc) or hex(pc)


def stop_at(pc: int) -> Stop:
    """Return the program counter and its symbol."""
    return Stop(pc, name_at(pc))


def linker_symbol(address: int) -> LinkerSymbol | None:
    """Return the linker's symbol at or before `address` in its section, None where there is none.

    gdb's Python has no interface to these.
    """
    found = _IN_SECTION.match(ask(f"info symbol {address:#x}")) if 0 <= address < 1 << 64 else None
    return None if found is None else LinkerSymbol(found[1], int(found[2] or 0), found[3])


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
    label = linker_symbol(pc - 1)
    return None if label is None else Symbol(label.name, label.offset + 1, file, line)


def symbols_of(records: Iterable[Record], known: Container[int] = ()) -> dict[int, Symbol]:
    """Return what the program counters of `records` mean, without those that are `known`."""
    wanted = {pc for record in records for pc in record.callers if pc not in known}
    return {pc: symbol for pc in wanted if (symbol := code_symbol(pc)) is not None}


def _line_outside(pc: int, outer: gdb.Symbol) -> tuple[str, int] | None:
    """Return the innermost place in the file of `outer` from where what lies at `pc` was inlined into it.

    A header's inline function says little of who made a call; the line that calls it says it. To gdb the
    symbol of an inlined function is declared where it is called (DW_AT_call_file and DW_AT_call_line).
    """
    file = outer.symtab.filename
    for block in _blocks(pc):
        call = block.function
        inlined = (call.name, call.line) != (outer.name, outer.line)
        if inlined and call.line and call.symtab is not None and call.symtab.filename == file:
            return file, call.line
    return None
