# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the members of a C structure lie, and how to take them out of bytes.

A `Struct` is one row of `pahole` output as a value. Nested members carry dotted names
("memory.regions.next"), so a decoder names what the C names.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gdb_lmb.core.errors import LayoutError

ByteOrder = Literal["little", "big"]

_CODES = {
    (size, signed): code.lower() if signed else code
    for code in "BHIQL"
    for size in [array(code).itemsize]
    for signed in (False, True)
}


@dataclass(frozen=True)
class Field:
    """One member: `offset` and `size` in bytes, whether its C type is signed."""

    offset: int
    size: int
    signed: bool = False


@dataclass(frozen=True)
class Struct:
    """A C structure: its `sizeof` and `_Alignof` in bytes and its members by dotted name.

    A member that is an array is one field that spans it.
    """

    name: str
    size: int
    fields: Mapping[str, Field]
    align: int = 1

    def require(self, *names: str) -> None:
        """Check that the members exist. Raises: `LayoutError` naming the missing ones."""
        missing = [name for name in names if name not in self.fields]
        if missing:
            raise LayoutError(
                f"struct {self.name} has no member {', '.join(missing)}: this is not the list-based LMB we know"
            )

    def value(self, raw: bytes | bytearray, name: str, order: ByteOrder, at: int = 0) -> int:
        """Return member `name` of the structure at offset `at` of `raw`."""
        field = self.fields[name]
        start = at + field.offset
        return int.from_bytes(raw[start : start + field.size], order, signed=field.signed)

    def columns(self, raw: bytes | bytearray, names: tuple[str, ...], order: ByteOrder) -> list[array[int]]:
        """Return each named member of all structures in `raw`, which lie back to back, as one array."""
        out = [self.empty_column(name) for name in names]
        self.extend_columns(out, raw, names, order)
        return out

    def empty_column(self, name: str) -> array[int]:
        """Return an array for values of member `name`."""
        field = self.fields[name]
        return array(_CODES.get((field.size, field.signed), "q" if field.signed else "Q"))

    def extend_columns(
        self, columns: list[array[int]], raw: bytes | bytearray, names: tuple[str, ...], order: ByteOrder
    ) -> None:
        """Append each named member of all structures in `raw` to its array.

        Aligned members are copied by strided slices, which costs nanoseconds an element and nothing but
        the column's own memory; packed ones are taken one by one.
        """
        whole = len(raw) // self.size * self.size
        for column, name in zip(columns, names, strict=True):
            field = self.fields[name]
            if field.size == column.itemsize and self.size % field.size == 0 and field.offset % field.size == 0:
                code: Any = column.typecode
                words = memoryview(raw)[:whole].cast(code)
                part: array[int] = array(code)
                part.frombytes(words[field.offset // field.size :: self.size // field.size].tobytes())
                if order != sys.byteorder:
                    part.byteswap()
                column.extend(part)
            else:
                column.extend(self.value(raw, name, order, at) for at in range(0, whole, self.size))
