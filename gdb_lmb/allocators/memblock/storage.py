# SPDX-License-Identifier: GPL-2.0-or-later
"""What memblock alone has: the array that each list lies in."""

from __future__ import annotations

from dataclasses import dataclass

from gdb_lmb.allocators.json_fields import (
    COMMON,
    FIRMWARE,
    FIRMWARE_EDITED,
    FLAGS,
    HEX,
    NO_NODE,
    NUMBER,
    STOP,
    TEXT,
    TRUTH,
    Codec,
    Description,
    Field,
    each,
    optional,
    record,
    torn,
)  # fmt: skip
from gdb_lmb.core.snapshot import Snapshot, Storage

# More than any kernel's array has: `cnt` or `max` is damaged, and a damaged file must not fill our memory.
MAX_REGIONS = 1 << 16


@dataclass(frozen=True)
class RegionArray:
    """The array that one of memblock's lists lies in: `max` regions, `size` bytes.

    `va` is its virtual address, `base` the physical one; None where not known. `static` tells that it is the one in
    the kernel image, and `room` how many regions that one has; `held` is how many fit from `base` to the end of the
    reservation that it lies in; None where not known.
    """

    name: str
    va: int | None
    max: int
    static: bool
    size: int
    base: int | None = None
    room: int | None = None
    held: int | None = None

    @property
    def capacity(self) -> int:
        """Return how many regions the array has: `max`, unless that is damaged."""
        if self.static and self.room is not None:
            return self.room
        return self.max if self.held is None else min(self.max, self.held)


@dataclass(frozen=True)
class MemblockStorage(Storage):
    """The arrays of memblock's lists; a list whose array is not known has none here.

    What else the program knows, None where it does not: `trimmed` are the bytes that `memblock_trim_memory()` can have
    cut off at most, `nodes` the numbers that nodes may have, `limits` the values that `current_limit` may have.
    """

    arrays: tuple[RegionArray, ...] = ()
    trimmed: int | None = None
    nodes: frozenset[int] | None = None
    limits: frozenset[int] | None = None


def storage_of(snapshot: Snapshot) -> MemblockStorage:
    """Return the storage of a memblock's state."""
    assert isinstance(snapshot.storage, MemblockStorage)
    return snapshot.storage


# -- JSON -------------------------------------------------------------------------------------------

_ARRAY = {
    "list": ("name", TEXT), "max": ("max", NUMBER), "size": ("size", HEX), "static": ("static", TRUTH),
    "base": ("base", optional(HEX)),
}  # fmt: skip

DESCRIPTION = Description(
    (Field("phase", optional(TEXT)), torn("a memblock function"), Field("stop", STOP)),
    (
        Field("refused", Codec(dict, lambda data: {str(name): str(why) for name, why in data.items()}), default={}),
        Field("arrays", each(record(RegionArray, _ARRAY, va=None)), stored=True),
        *COMMON,
        # These two came to the schema later than the rest.
        Field("flag_names", FLAGS, default=None),
        Field("no_node", NO_NODE, default=None),
        FIRMWARE,
        FIRMWARE_EDITED,
    ),
)
