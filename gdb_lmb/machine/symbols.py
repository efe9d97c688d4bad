# SPDX-License-Identifier: GPL-2.0-or-later
"""Variables, labels and types of the program in gdb, as plain values.

Debug information may be in a file of its own (`.gnu_debuglink`, build id), which has the program's headers but
none of its bytes. gdb follows such files by itself and tells whose they are.
"""

from __future__ import annotations

from pathlib import Path

import gdb

from gdb_lmb.core.errors import LayoutError
from gdb_lmb.core.fields import Field, Struct
from gdb_lmb.core.machine import Variable
from gdb_lmb.machine.code import at_entry, functions_at, linker_symbol, name_at

FUNCTIONS = getattr(gdb, "SYMBOL_FUNCTION_DOMAIN", gdb.SYMBOL_VAR_DOMAIN)
"""The domain in which functions are looked up; before gdb 15 that of variables."""

_STANDS_FOR: dict[str, Path] = {}
"""The program of each file that was made to place a program's symbols by."""


class GdbSymbols:
    """`core.machine.Symbols` by gdb."""

    symbol_at = staticmethod(linker_symbol)
    functions_at = staticmethod(functions_at)
    at_entry = staticmethod(at_entry)
    name_at = staticmethod(name_at)

    def variable(self, name: str) -> Variable | None:
        """Return the global or static variable `name`, None where there is none that has an address."""
        symbol = lookup(name)
        try:
            address = None if symbol is None else symbol.value().address
        except gdb.error:
            return None
        if symbol is None or address is None:
            return None
        return Variable(int(address), symbol.type.sizeof, program_file(symbol))

    def label(self, name: str, *, code: bool = False) -> int | None:
        """Return the address of a symbol of the linker or assembler; `code`: of a function or a label in code."""
        try:
            if code:
                # An expression takes gdb up to a tenth of a second where only the linker knows the name.
                places = gdb.decode_line(name)[1]
                return int(places[0].pc) if places else None
            return int(gdb.parse_and_eval(f"(unsigned long)&'{name}'"))
        except gdb.error:
            return None

    def source(self, name: str) -> str | None:
        """Return the source file that defines a function or a variable."""
        # Of a variable gdb may have read a header's declaration only; a function is where its body is.
        for symbol in (gdb.lookup_global_symbol(name, FUNCTIONS), lookup(name)):
            if symbol is not None and symbol.symtab is not None:
                return str(symbol.symtab.filename)
        return None

    def functions_beside(self, variable: str) -> frozenset[str]:
        """Return the functions of the source file that defines a variable."""
        symbol = lookup(variable)
        if symbol is None or symbol.symtab is None:
            return frozenset()
        blocks = (symbol.symtab.global_block(), symbol.symtab.static_block())
        return frozenset(str(entry.name) for block in blocks for entry in block if entry.is_function)

    def struct(self, of: str, member: str = "") -> Struct:
        """Return the field table of the structure type of a variable, of a member, or of a type's name."""
        kind = _type(of, member)
        name = kind.tag or member or of
        if kind.code != gdb.TYPE_CODE_STRUCT or not kind.sizeof or not kind.fields():
            raise LayoutError(f"the debug information does not describe struct {name}: build it with -g")
        fields: dict[str, Field] = {}
        _flatten(kind, "", 0, fields)
        return Struct(name, kind.sizeof, fields, kind.alignof)

    def enum(self, of: str, member: str = "") -> dict[int, str]:
        """Return {value: name} of an enumeration."""
        kind = _type(of, member)
        if kind.code != gdb.TYPE_CODE_ENUM:
            raise LayoutError(f"{kind} is no enumeration: this version of the allocator is not known")
        return {int(value.enumval): str(value.name) for value in kind.fields()}

    def parameters(self, function: str) -> int | None:
        """Return how many parameters a function takes, None where the program has none of that name."""
        symbol = lookup(function)
        is_function = symbol is not None and symbol.type.code == gdb.TYPE_CODE_FUNC
        return len(symbol.type.fields()) if symbol is not None and is_function else None


def lookup(name: str) -> gdb.Symbol | None:
    """Return the variable `name` with debug information, global or static, or None."""
    symbol = gdb.lookup_global_symbol(name, gdb.SYMBOL_VAR_DOMAIN)
    return symbol or gdb.lookup_static_symbol(name, gdb.SYMBOL_VAR_DOMAIN)


def program_file(symbol: gdb.Symbol) -> Path | None:
    """Return the program that defines `symbol`: that which the debug information belongs to, where it is apart."""
    objfile = symbol.symtab.objfile if symbol.symtab is not None else None
    if objfile is None:
        return None
    owner = objfile.owner
    if owner is not None and owner.filename in _STANDS_FOR:
        return _STANDS_FOR[owner.filename]
    name = (owner or objfile).filename
    return Path(name) if name else None


def note_stand_in(path: Path, program: Path) -> None:
    """Remember that the file at `path` was made to stand for `program`."""
    _STANDS_FOR[str(path)] = program


def _type(of: str, member: str) -> gdb.Type:
    """Return a type as `struct()` finds it. Raises: `LayoutError`."""
    if of.startswith(("struct ", "enum ")):
        try:
            kind = gdb.lookup_type(of)
        except gdb.error:
            raise LayoutError(f"the debug information does not describe {of}: build it with -g") from None
    else:
        symbol = lookup(of)
        if symbol is None:
            raise LayoutError(f"the debug information does not describe {of}: build it with -g")
        kind = symbol.type
    kind = _pointed_to(kind)
    for name in member.split(".") if member else ():
        found = next((field.type for field in kind.fields() if field.name == name), None)
        if found is None:
            raise LayoutError(f"{kind} has no member {name}: this version of the allocator is not known")
        kind = _pointed_to(found)
    return kind


def _pointed_to(kind: gdb.Type) -> gdb.Type:
    """Return what a pointer points to and an array consists of, through typedefs; any other type as it is."""
    kind = kind.strip_typedefs()
    while kind.code in (gdb.TYPE_CODE_PTR, gdb.TYPE_CODE_ARRAY):
        kind = kind.target().strip_typedefs()
    return kind


def _flatten(kind: gdb.Type, prefix: str, start: int, fields: dict[str, Field]) -> None:
    for member in kind.fields():
        if not hasattr(member, "bitpos") or member.bitsize or member.name is None:
            continue
        inner = member.type.strip_typedefs()
        offset = start + member.bitpos // 8
        if inner.code == gdb.TYPE_CODE_STRUCT:
            _flatten(inner, f"{prefix}{member.name}.", offset, fields)
        else:
            signed = inner.code == gdb.TYPE_CODE_INT and inner.is_signed
            fields[prefix + member.name] = Field(offset, inner.sizeof, signed)
