# SPDX-License-Identifier: GPL-2.0-or-later
"""Guest memory at virtual addresses: through gdb, one request for each read."""

from __future__ import annotations

import gdb

from gdb_lmb.core.errors import InfrastructureError, ReadError

_VALUES_HAVE_BYTES = hasattr(gdb.Value, "bytes")
"""Since gdb 15."""


class GdbMemory:
    """Reads the selected inferior's memory at virtual addresses."""

    def read(self, address: int, size: int) -> bytes:
        """Return `size` bytes at virtual `address`.

        Raises: `ReadError` where the guest has no such memory; `InfrastructureError` where the guest is
        gone, which must never look like damage in it.
        """
        try:
            return read_bytes(address, size)
        except (gdb.MemoryError, OverflowError) as error:
            raise ReadError(address, size, " ".join(str(error).split())) from None
        except gdb.error as error:
            if gdb.selected_thread() is not None:
                raise ReadError(address, size, " ".join(str(error).split())) from None
            reason = " ".join(str(error).split()).rstrip(".")
            raise InfrastructureError(f"the connection to the guest was lost while reading: {reason}") from None


def read_bytes(address: int, size: int) -> bytes:
    """Return `size` bytes at `address`, which the selected CPU translates. Raises: `gdb.error`, `OverflowError`."""
    if not size:
        return b""  # gdb 14 and later refuse it
    inferior = gdb.selected_inferior()
    if _VALUES_HAVE_BYTES:
        # Since gdb 14 read_memory() asks the first CPU instead, which takes two packets more. And where the connection
        # breaks meanwhile, a thread stays selected that is none, and gdb ends itself as soon as it looks at that.
        byte = inferior.architecture().integer_type(8, False)
        # A pointer may be narrower than a physical address.
        if address >= 0 and address + size <= 1 << (8 * byte.pointer().sizeof):
            limit = gdb.parameter("max-value-size") or size
            pieces = ((at, min(limit, address + size - at)) for at in range(address, address + size, limit))
            return b"".join(_value_bytes(byte, at, length) for at, length in pieces)
    return bytes(inferior.read_memory(address, size))


def _value_bytes(byte: gdb.Type, address: int, size: int) -> bytes:
    return bytes(gdb.Value(address).cast(_array(byte, size).pointer()).dereference().bytes)


_ARRAYS: dict[tuple[str, int], gdb.Type] = {}
"""Array types by their element's and their size: gdb never forgets a type that it has made."""


def _array(byte: gdb.Type, size: int) -> gdb.Type:
    """Return the type of an array of `size` bytes of the selected architecture."""
    key = (gdb.selected_inferior().architecture().name(), size)
    if key not in _ARRAYS:
        _ARRAYS[key] = byte.array(size - 1)
    return _ARRAYS[key]
