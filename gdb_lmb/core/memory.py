# SPDX-License-Identifier: GPL-2.0-or-later
"""The one interface between us and any machine: `read(address, size)`.

A reader gives exactly the bytes asked for or raises `ReadError`; whether addresses are virtual or
physical is the reader's business and said where it is made.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gdb_lmb.core.errors import ReadError
from gdb_lmb.core.ranges import Range

# No table in any early allocator is larger; a larger request comes from damaged memory.
MAX_READ_BYTES = 256 << 20


class Memory(Protocol):
    """Anything that can be read: a guest through gdb, a dump, bytes in a test."""

    def read(self, address: int, size: int) -> bytes:
        """Return `size` bytes at `address`. Raises: `ReadError`."""


class BytesMemory:
    """Memory made of segments of bytes, for tests and for what was read before."""

    def __init__(self, segments: dict[int, bytes]) -> None:
        self._bases = sorted(segments)
        self._data = [segments[base] for base in self._bases]

    def read(self, address: int, size: int) -> bytes:
        index = bisect_right(self._bases, address) - 1
        if index >= 0:
            start = address - self._bases[index]
            data = self._data[index][start : start + size]
            if len(data) == size:
                return data
        raise ReadError(address, size, "no such memory")


@dataclass
class Meter:
    """What reading has cost: requests to the machine, bytes, and seconds."""

    requests: int = 0
    bytes_read: int = 0
    seconds: float = 0.0


class BoundedMemory:
    """A reader in front of another that refuses absurd requests, counts, and can hold bytes read ahead.

    `meter` counts what went to the machine. Bytes laid in with `preload()` are served without asking
    again, so a decoder can fetch one large range and then look at its parts.
    """

    def __init__(self, memory: Memory, meter: Meter | None = None) -> None:
        self._memory = memory
        self._held: list[tuple[int, bytes]] = []
        self.meter = meter or Meter()

    def preload(self, address: int, size: int) -> None:
        """Fetch `size` bytes at `address` in one request and hold them. Raises: `ReadError`."""
        self._held.append((address, self._fetch(address, size)))

    def read(self, address: int, size: int) -> bytes:
        for base, data in self._held:
            if base <= address and address + size <= base + len(data):
                return data[address - base : address - base + size]
        return self._fetch(address, size)

    def _fetch(self, address: int, size: int) -> bytes:
        if not 0 <= size <= MAX_READ_BYTES:
            raise ReadError(address, size, f"more than {MAX_READ_BYTES} bytes at once is not believable")
        self.meter.requests += 1
        start = time.perf_counter()
        try:
            data = self._memory.read(address, size)
        finally:
            self.meter.seconds += time.perf_counter() - start
        if len(data) != size:
            raise ReadError(address, size, f"the reader gave {len(data)} bytes")
        self.meter.bytes_read += size
        return data


class RamOnly:
    """A reader of physical addresses that reads RAM alone: a read of what else is there may change a device.

    `again` returns where RAM is now, and is asked once: some may have been plugged in since.
    """

    def __init__(
        self, memory: Memory, ram: Sequence[Range], again: Callable[[], Sequence[Range]] | None = None
    ) -> None:
        self._memory, self._ram, self._again = memory, ram, again

    def read(self, address: int, size: int) -> bytes:
        if not self._holds(address, size) and self._again is not None:
            self._ram, self._again = self._again(), None
        if not self._holds(address, size):
            raise ReadError(address, size, "this is not RAM")
        return self._memory.read(address, size)

    def _holds(self, address: int, size: int) -> bool:
        return any(base <= address and address + size <= end for base, end in self._ram)


class Capture:
    """A reader that keeps what was read through it, in order.

    A decoder does nothing but with the bytes it is given: the same bytes are the same state.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._held: list[tuple[int, int, bytes | None]] = []

    def read(self, address: int, size: int) -> bytes:
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
