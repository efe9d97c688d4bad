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
        """Return each named member of all structures in `raw`, which lie back to back, as one array.

        Aligned members are copied by strided slices, which costs nanoseconds an element and nothing but
        the column's own memory; packed ones are taken one by one.
        """
        whole = memoryview(raw)[: len(raw) // self.size * self.size]
        return [self._column(whole, self.fields[name], order) for name in names]

    def _column(self, raw: memoryview, field: Field, order: ByteOrder) -> array[int]:
        code: Any = _CODES.get((field.size, field.signed))
        if code is None or self.size % field.size or field.offset % field.size:
            starts = range(field.offset, len(raw), self.size)
            numbers = (int.from_bytes(raw[at : at + field.size], order, signed=field.signed) for at in starts)
            return array(code or ("q" if field.signed else "Q"), numbers)
        column: array[int] = array(code)
        column.frombytes(raw.cast(code)[field.offset // field.size :: self.size // field.size].tobytes())
        if order != sys.byteorder:
            column.byteswap()
        return column
