# SPDX-License-Identifier: GPL-2.0-or-later
"""What memblock alone has: the array that each list lies in."""

from __future__ import annotations

from dataclasses import dataclass

from gdb_lmb.core.errors import StateError
from gdb_lmb.core.snapshot import Snapshot, Storage


@dataclass(frozen=True)
class RegionArray:
    """The array that one of memblock's lists lies in: `max` regions, `size` bytes.

    `va` is its virtual address, `base` the physical one; None where not known. `static` tells that it is the one in
    the kernel image.
    """

    name: str
    va: int | None
    max: int
    static: bool
    size: int
    base: int | None = None


@dataclass(frozen=True)
class MemblockStorage(Storage):
    """The arrays of memblock's lists; a list whose array is not known has none here."""

    arrays: tuple[RegionArray, ...] = ()


def storage_of(snapshot: Snapshot) -> MemblockStorage:
    """Return the storage of a memblock. Raises: `StateError` for another allocator's snapshot."""
    if not isinstance(snapshot.storage, MemblockStorage):
        raise StateError(f"this state is of layout {snapshot.layout}, not a memblock")
    return snapshot.storage
