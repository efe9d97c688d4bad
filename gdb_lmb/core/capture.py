# SPDX-License-Identifier: GPL-2.0-or-later
"""The bytes that a decoder has read, to be read again: equal bytes are an unchanged state."""

from __future__ import annotations

from gdb_lmb.core.errors import ReadError
from gdb_lmb.core.memory import Memory


class Capture:
    """A reader that keeps what was read through it, in order.

    A decoder does nothing but with the bytes it is given: the same bytes are the same state.
    """

    def __init__(self, memory: Memory) -> None:
        """Read through `memory`."""
        self._memory = memory
        self._held: list[tuple[int, int, bytes | None]] = []

    def read(self, address: int, size: int) -> bytes:
        """Return `size` bytes at `address`. Raises: `ReadError`."""
        data = self._try(address, size)
        self._held.append((address, size, data))
        if data is None:
            raise ReadError(address, size, "no such memory")
        return data

    def unchanged(self) -> bool:
        """Tell whether everything that was read is still the same in the guest."""
        return all(self._try(address, size) == data for address, size, data in self._held)

    def _try(self, address: int, size: int) -> bytes | None:
        try:
            return self._memory.read(address, size)
        except ReadError:
            return None
