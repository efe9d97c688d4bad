# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's variables by name, read at their physical addresses: also before paging, and wherever KASLR put them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import gdb

from gdb_lmb.core.errors import ReadError
from gdb_lmb.core.fields import Struct
from gdb_lmb.core.memory import BoundedMemory, Memory
from gdb_lmb.machine.physical import physical_memory
from gdb_lmb.machine.program import lookup
from gdb_lmb.machine.translate import AddressMap, address_map
from gdb_lmb.machine.types import byte_order, struct_of

MAX_BYTES = 1 << 20
"""No variable that is looked at here is larger."""


class Variables:
    """Reads variables through `memory`, whose addresses are physical; what cannot be read is None."""

    def __init__(self, memory: Memory, where: AddressMap) -> None:
        """Translate with `where`."""
        self.memory = memory
        self.map = where
        self.order = byte_order()

    def word(self, name: str) -> int | None:
        """Return a variable of an integer, enumeration or pointer type, unsigned."""
        raw = self.raw(name)
        return None if raw is None else int.from_bytes(raw, self.order)

    def raw(self, name: str) -> bytes | None:
        """Return a variable's bytes."""
        symbol = lookup(name)
        if symbol is None or not 0 < symbol.type.sizeof <= MAX_BYTES:
            return None
        try:
            at = self.map.of_symbol(int(symbol.value().address))
            return self.memory.read(at, symbol.type.sizeof)
        except (ReadError, gdb.error, TypeError):
            return None

    def struct(self, name: str) -> tuple[Struct, bytes] | None:
        """Return the field table and the bytes of a variable of a structure type. Raises: `LayoutError`."""
        symbol, raw = lookup(name), self.raw(name)
        if symbol is None or raw is None:
            return None
        return struct_of(symbol.type, name), raw


@contextlib.contextmanager
def variables() -> Iterator[Variables]:
    """Open the guest's variables at this stop. Raises: `LmbError` where physical memory cannot be read."""
    where = address_map()
    with physical_memory() as physical:
        yield Variables(BoundedMemory(physical), where)


def label(name: str) -> int | None:
    """Return the address that gdb has of a symbol of the linker or assembler, None where there is none."""
    try:
        return int(gdb.parse_and_eval(f"(unsigned long)&'{name}'"))
    except gdb.error:
        return None
