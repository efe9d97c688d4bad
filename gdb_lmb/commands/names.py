# SPDX-License-Identifier: GPL-2.0-or-later
"""What gdb knows by name: `$var`, `sizeof(type)`, symbols; as a plain number or as a physical address.

Nothing that could touch the guest is evaluated: `core.numbers` lets single names through only, and a
symbol's name is quoted, so that no macro stands for something else.
"""

from __future__ import annotations

import gdb

from gdb_lmb.core.errors import ReadError, UsageError
from gdb_lmb.core.numbers import address_range
from gdb_lmb.core.words import safe
from gdb_lmb.machine.current import current
from gdb_lmb.programs.base import AddressMap, address_map

_NUMBERS = (gdb.TYPE_CODE_INT, gdb.TYPE_CODE_ENUM, gdb.TYPE_CODE_BOOL, gdb.TYPE_CODE_CHAR)


class Names:
    """Looks names up at one stop; where addresses are translated is found out at the first need."""

    def __init__(self) -> None:
        self._map: AddressMap | None = None

    @property
    def map(self) -> AddressMap:
        """Return how addresses are translated at this stop. Raises: `LmbError`."""
        if self._map is None:
            self._map = address_map(current())
        return self._map

    def value(self, name: str) -> int:
        """Return `$var` or `sizeof(type)` as a number. Raises: `UsageError`, also for a symbol."""
        if not name.startswith(("$", "sizeof")):
            raise UsageError(
                f"{safe(name, 40)!r} is a name, and a symbol has an address but no size: "
                "give a number, $variable or sizeof(type)"
            )
        return _unsigned(_evaluate(name))

    def physical(self, name: str) -> int:
        """Return a symbol's or a pointer's physical address; a number in `$var` as it is. Raises: `LmbError`."""
        if name.startswith(("$", "sizeof")):
            return self.of_value(_evaluate(name))
        value = _evaluate(f"&'{name.removeprefix('&')}'")
        return self._translated(name, _unsigned(value), symbol=True)

    def range(self, text: str, bits: int) -> tuple[int, int]:
        """Return the half-open physical range that ADDRESS, A-B or A+SIZE means. Raises: `LmbError`."""
        return address_range(text, bits, self.physical, self.of_number, self.value)

    def of_value(self, value: gdb.Value) -> int:
        """Return the physical address that a value of gdb's means: a pointer is virtual. Raises: `LmbError`."""
        kind = value.type.strip_typedefs()
        if kind.code == gdb.TYPE_CODE_PTR:
            return self._translated("the pointer", _unsigned(value), symbol=False)
        if kind.code not in _NUMBERS:
            raise UsageError(f"a value of type {safe(str(value.type), 60)} is no address")
        return self.of_number(_unsigned(value))

    def of_number(self, value: int) -> int:
        """Return a number as a physical address: one of the kernel's virtual half is translated if it is mapped."""
        arch = current().architecture
        if arch is not None and arch.is_kernel_address(value):
            try:
                return self.map.of_virtual(value)
            except ReadError:
                return value
        return value

    def _translated(self, name: str, va: int, *, symbol: bool) -> int:
        try:
            return self.map.of_symbol(va) if symbol else self.map.of_virtual(va)
        except ReadError:
            raise UsageError(
                f"{safe(name, 40)} is at the virtual address {va:#x}, whose physical address is not known at this stop"
            ) from None


def _unsigned(value: gdb.Value) -> int:
    """Return a number as C converts it to `unsigned long`; a wider one, a `phys_addr_t`, as it is."""
    number = int(value)
    return number if number >= 0 else number & ((1 << current().bits) - 1)


def _evaluate(text: str) -> gdb.Value:
    """Return what gdb makes of one name. Raises: `UsageError`."""
    try:
        value = gdb.parse_and_eval(text)
        value.fetch_lazy()
        if value.type.code == gdb.TYPE_CODE_VOID:
            raise UsageError(f"{safe(text, 40)} is not set in gdb")
        if value.type.strip_typedefs().code not in (*_NUMBERS, gdb.TYPE_CODE_PTR):
            raise UsageError(f"{safe(text, 40)} is of type {safe(str(value.type), 60)}, which is not a number")
    except gdb.error as error:
        raise UsageError(f"{safe(text.removeprefix('&'), 40)}: {safe(' '.join(str(error).split()), 200)}") from None
    return value
