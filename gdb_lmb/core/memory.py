# SPDX-License-Identifier: GPL-2.0-or-later
"""The one interface between us and any machine: `read(address, size)`.

A reader gives exactly the bytes asked for or raises `ReadError`; whether addresses are virtual or
physical is the reader's business and said where it is made.
"""

from __future__ import annotations

import contextlib
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
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
    """A reader in front of another that refuses absurd requests, counts, and asks for nothing twice.

    `meter` counts what went to the machine. Made for one stop, it holds what was read. Where a part of a range laid
    in with `read_ahead()` is wanted first, all of it is fetched in one request.
    """

    def __init__(self, memory: Memory, meter: Meter | None = None) -> None:
        self._memory = memory
        self._ahead: list[Range] = []
        self._bases: list[int] = []
        self._data: list[bytes] = []
        self.meter = meter or Meter()

    def read_ahead(self, ranges: Iterable[Range]) -> None:
        """Fetch each of these ranges whole once a part of it is wanted; nothing is fetched now."""
        self._ahead += ranges

    def read(self, address: int, size: int) -> bytes:
        found = self._held(address, size)
        if found is not None:
            return found
        for low, high in self._ahead:
            if low <= address and address + size <= high:
                self._ahead.remove((low, high))
                with contextlib.suppress(ReadError):  # perhaps only a part of it is there
                    return self._hold(low, high - low)[address - low : address - low + size]
                break
        return self._hold(address, size)

    def _held(self, address: int, size: int) -> bytes | None:
        index = bisect_right(self._bases, address) - 1
        if index < 0:
            return None
        start = address - self._bases[index]
        data = self._data[index][start : start + size]
        return data if len(data) == size else None

    def _hold(self, address: int, size: int) -> bytes:
        data = self._fetch(address, size)
        index = bisect_left(self._bases, address)
        if self._bases[index : index + 1] == [address]:
            self._data[index] = data  # it was shorter
        else:
            self._bases.insert(index, address)
            self._data.insert(index, data)
        return data

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


def read_together(memory: Memory, places: Sequence[tuple[int, int]], most: int) -> list[bytes]:
    """Return the bytes at each (address, size); in one request if all lie in `most` bytes. Raises: `ReadError`."""
    low, high = min(at for at, _ in places), max(at + size for at, size in places)
    if high - low > most:
        return [memory.read(at, size) for at, size in places]
    data = memory.read(low, high - low)
    return [data[at - low : at - low + size] for at, size in places]


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
