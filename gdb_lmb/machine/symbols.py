# SPDX-License-Identifier: GPL-2.0-or-later
"""Variables, labels, types and code of the program in gdb, as plain values.

Debug information may be in a file of its own (`.gnu_debuglink`, build id), which has the program's headers but
none of its bytes. gdb follows such files by itself and tells whose they are.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Container, Iterable
from pathlib import Path

import gdb

from gdb_lmb.core.errors import LayoutError, LmbError
from gdb_lmb.core.fields import Field, Struct
from gdb_lmb.core.machine import Function, LinkerSymbol, Variable
from gdb_lmb.core.operation import Record, Symbol
from gdb_lmb.formats.elf import read_headers
from gdb_lmb.machine.gdb_text import ask

STANDS_FOR: dict[str, Path] = {}
"""The program of each file that was made to place a program's symbols by."""

_ALLOCATORS = {"lmb": "an LMB", "memblock": "a memblock"}
_IN_SECTION = re.compile(r"(\S+)(?: \+ (\d+))? in section (\S+)")


# -- code ------------------------------------------------------------------------------------------------------


def _blocks(pc: int) -> list[gdb.Block]:
    # Of the functions at `pc`, the innermost inlined one first, the one that was called last.
    # An address that was moved back by a kernel's own offset may be none.
    block = gdb.block_for_pc(pc) if 0 <= pc < 1 << 64 else None
    found = []
    while block is not None and not block.is_static and not block.is_global:
        if block.function is not None:
            found.append(block)
        block = block.superblock
    return found


def as_function(symbol: gdb.Symbol) -> Function:
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
    blocks = _blocks(pc)
    if blocks:
        return _with_offset(blocks[0].function.name, pc - blocks[0].start)
    # Assembly has no blocks; the linker's symbol is what is left.
    label = linker_symbol(pc)
    return None if label is None else _with_offset(label.name, label.offset)


def _with_offset(name: str, offset: int) -> str:
    return f"{name}+{offset:#x}" if offset else name


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
    found, blocks = gdb.find_pc_line(pc - 1), _blocks(pc - 1)
    file = found.symtab.filename if found.symtab is not None else None
    line = found.line if file is not None and found.line else None
    if blocks:
        symbol = blocks[-1].function
        if file != symbol.symtab.filename:
            file, line = _line_outside(blocks, symbol) or (file, line)
        inlined = tuple(str(block.function.name) for block in blocks[:-1])
        return Symbol(symbol.name, pc - int(symbol.value().address), file, line, inlined)
    label = linker_symbol(pc - 1)
    return None if label is None else Symbol(label.name, label.offset + 1, file, line)


def symbols_of(records: Iterable[Record], known: Container[int] = ()) -> dict[int, Symbol]:
    """Return what the program counters of `records` mean, without those that are `known`."""
    wanted = {pc for record in records for pc in record.callers if pc not in known}
    return {pc: symbol for pc in wanted if (symbol := code_symbol(pc)) is not None}


def _line_outside(blocks: Iterable[gdb.Block], outer: gdb.Symbol) -> tuple[str, int] | None:
    """Return the innermost place in the file of `outer` from where what lies in `blocks` was inlined into it.

    A header's inline function says little of who made a call; the line that calls it says it. To gdb the
    symbol of an inlined function is declared where it is called (DW_AT_call_file and DW_AT_call_line).
    """
    file = outer.symtab.filename
    for block in blocks:
        call = block.function
        inlined = (call.name, call.line) != (outer.name, outer.line)
        if inlined and call.line and call.symtab is not None and call.symtab.filename == file:
            return file, call.line
    return None


# -- variables, labels and types -------------------------------------------------------------------------------


class GdbSymbols:
    """What `core.machine.Machine` tells of symbols, by gdb."""

    symbol_at = staticmethod(linker_symbol)
    functions_at = staticmethod(functions_at)
    at_entry = staticmethod(at_entry)
    name_at = staticmethod(name_at)

    def variable(self, name: str) -> Variable | None:
        symbol = lookup(name)
        try:
            address = None if symbol is None else symbol.value().address
        except gdb.error:
            return None
        if symbol is None or address is None:
            return None
        return Variable(int(address), symbol.type.sizeof, _program_file(symbol))

    def label(self, name: str, *, code: bool = False) -> int | None:
        try:
            if code:
                # An expression takes gdb up to a tenth of a second where only the linker knows the name.
                places = gdb.decode_line(name)[1]
                return int(places[0].pc) if places else None
            return int(gdb.parse_and_eval(f"(unsigned long)&'{name}'"))
        except gdb.error:
            return None

    def source(self, name: str) -> str | None:
        # Of a variable gdb may have read a header's declaration only; a function is where its body is.
        # Before gdb 15 functions are in the domain of variables.
        functions = getattr(gdb, "SYMBOL_FUNCTION_DOMAIN", gdb.SYMBOL_VAR_DOMAIN)
        for symbol in (gdb.lookup_global_symbol(name, functions), lookup(name)):
            if symbol is not None and symbol.symtab is not None:
                return str(symbol.symtab.filename)
        return None

    def functions_beside(self, variable: str) -> frozenset[str]:
        symbol = lookup(variable)
        if symbol is None or symbol.symtab is None:
            return frozenset()
        blocks = (symbol.symtab.global_block(), symbol.symtab.static_block())
        return frozenset(str(entry.name) for block in blocks for entry in block if entry.is_function)

    def struct(self, of: str, member: str = "") -> Struct:
        kind = _type(of, member)
        name = kind.tag or member or of
        if kind.code != gdb.TYPE_CODE_STRUCT or not kind.sizeof or not kind.fields():
            raise LayoutError(f"the debug information does not describe struct {name}: build it with -g")
        fields: dict[str, Field] = {}
        _flatten(kind, "", 0, fields)
        return Struct(name, kind.sizeof, fields, kind.alignof)

    def enum(self, of: str, member: str = "") -> dict[int, str]:
        kind = _type(of, member)
        if kind.code != gdb.TYPE_CODE_ENUM:
            raise LayoutError(f"{kind} is no enumeration: this version of the allocator is not known")
        return {int(value.enumval): str(value.name) for value in kind.fields()}

    def parameters(self, function: str) -> int | None:
        symbol = lookup(function)
        if symbol is None or symbol.type.code != gdb.TYPE_CODE_FUNC:
            return None
        return len(symbol.type.fields())


def lookup(name: str) -> gdb.Symbol | None:
    """Return the variable `name` with debug information, global or static, or None."""
    symbol = gdb.lookup_global_symbol(name, gdb.SYMBOL_VAR_DOMAIN)
    return symbol or gdb.lookup_static_symbol(name, gdb.SYMBOL_VAR_DOMAIN)


def _program_file(symbol: gdb.Symbol) -> Path | None:
    # That which the debug information belongs to, where it is apart.
    if symbol.symtab is None:
        return None
    objfile = symbol.symtab.objfile
    name = (objfile.owner or objfile).filename
    return STANDS_FOR.get(name, Path(name)) if name else None


def _type(of: str, member: str) -> gdb.Type:
    kind = None
    with contextlib.suppress(gdb.error):
        kind = gdb.lookup_type(of) if of.startswith(("struct ", "enum ")) else getattr(lookup(of), "type", None)
    if kind is None:
        raise LayoutError(f"the debug information does not describe {of}: build it with -g")
    kind = _pointed_to(kind)
    for name in member.split(".") if member else ():
        found = next((field.type for field in kind.fields() if field.name == name), None)
        if found is None:
            raise LayoutError(f"{kind} has no member {name}: this version of the allocator is not known")
        kind = _pointed_to(found)
    return kind


def _pointed_to(kind: gdb.Type) -> gdb.Type:
    # Arrays and typedefs are looked through too.
    kind = kind.strip_typedefs()
    while kind.code in (gdb.TYPE_CODE_PTR, gdb.TYPE_CODE_ARRAY):
        kind = kind.target().strip_typedefs()
    return kind


def _flatten(kind: gdb.Type, prefix: str, start: int, fields: dict[str, Field]) -> None:
    for member in kind.fields():
        if hasattr(member, "bitpos") and not member.bitsize and member.name is not None:
            inner = member.type.strip_typedefs()
            offset = start + member.bitpos // 8
            if inner.code == gdb.TYPE_CODE_STRUCT:
                _flatten(inner, f"{prefix}{member.name}.", offset, fields)
            else:
                signed = inner.code == gdb.TYPE_CODE_INT and inner.is_signed
                fields[prefix + member.name] = Field(offset, inner.sizeof, signed)


# -- what is missing -------------------------------------------------------------------------------------------


def why_no_allocator() -> str:
    """Say in one line why gdb's symbols describe no early allocator, and what to do."""
    if not any(objfile.is_valid() and objfile.filename for objfile in gdb.objfiles()):
        return "gdb has no symbols: load the kernel's with `file VMLINUX`"
    program = gdb.current_progspace().filename
    if program is None:
        return "gdb has no symbols of a kernel: load them with `file VMLINUX`"
    for name, what in _ALLOCATORS.items():
        if GdbSymbols().label(name) is not None:
            return (
                f"{program} has {what} but no debug information of it: build it with -g (Linux: CONFIG_DEBUG_INFO), "
                f"or load its debug file{_debug_files(program)}"
            )
    with contextlib.suppress(LmbError):
        elf = read_headers(Path(program))
        if not elf.has_symbols:
            what = f"{program} is stripped, and gdb has no debug file of it{_debug_files(program)}"
            return f"{what}: load the kernel's unstripped vmlinux"
        if not elf.loads:
            return f"{program} is no program: load the kernel's vmlinux with `file VMLINUX`"
    return f"{program} has no LMB (no variable `lmb`) and no memblock: is this the kernel that runs?"


def _debug_files(program: str) -> str:
    build_id = next((o.build_id for o in gdb.objfiles() if o.filename == program and o.build_id), None)
    if build_id is None:
        return ""
    folders = str(gdb.parameter("debug-file-directory")).split(":")
    return f" ({', '.join(f'{folder}/.build-id/{build_id[:2]}/{build_id[2:]}.debug' for folder in folders if folder)})"
