# SPDX-License-Identifier: GPL-2.0-or-later
"""From `gdb.Type` to the field tables of `layout`: offsets, sizes and byte order, nothing assumed."""

from __future__ import annotations

import gdb

from gdb_lmb.core.errors import LayoutError
from gdb_lmb.core.fields import ByteOrder, Field, Struct


def byte_order() -> ByteOrder:
    """Return the target's byte order, as gdb lays out an integer for it."""
    probe = gdb.Value(b"\x01\x00", gdb.selected_inferior().architecture().integer_type(16, False))
    return "little" if int(probe) == 1 else "big"


def struct_of(kind: gdb.Type, name: str) -> Struct:
    """Return the field table of structure type `kind`, nested structures flattened to dotted names.

    Raises: `LayoutError` where the type is no complete structure.
    """
    kind = kind.strip_typedefs()
    if kind.code != gdb.TYPE_CODE_STRUCT or not kind.sizeof or not kind.fields():
        raise LayoutError(f"the debug information does not describe struct {name}: build it with -g")
    fields: dict[str, Field] = {}
    _flatten(kind, "", 0, fields)
    return Struct(name, kind.sizeof, fields, kind.alignof)


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


def member_type(kind: gdb.Type, name: str) -> gdb.Type:
    """Return the type of member `name`. Raises: `LayoutError`."""
    for member in kind.strip_typedefs().fields():
        if member.name == name:
            return member.type.strip_typedefs()
    raise LayoutError(f"{kind} has no member {name}: this is not the list-based LMB we know")


def element_type(kind: gdb.Type, name: str) -> gdb.Type:
    """Return the element type of array member `name`. Raises: `LayoutError`."""
    member = member_type(kind, name)
    if member.code != gdb.TYPE_CODE_ARRAY:
        raise LayoutError(f"member {name} of {kind} is no array: this is not the list-based LMB we know")
    return member.target().strip_typedefs()


def enum_names(kind: gdb.Type, prefix: str) -> dict[int, str]:
    """Return {value: name} of an enumeration, names without `prefix` and in lower case."""
    kind = kind.strip_typedefs()
    if kind.code != gdb.TYPE_CODE_ENUM:
        raise LayoutError(f"{kind} is no enumeration: this is not the list-based LMB we know")
    return {int(f.enumval): f.name.removeprefix(prefix).lower() for f in kind.fields()}
