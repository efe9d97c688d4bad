# SPDX-License-Identifier: GPL-2.0-or-later
"""What a program with a list-based LMB looks like: its structures and where it keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gdb_lmb.core.fields import ByteOrder, Struct

LMB_FIELDS = (
    "memory.regions.next", "memory.regions.prev", "memory.cnt", "memory.total_size",
    "reserved.regions.next", "reserved.regions.prev", "reserved.cnt", "reserved.total_size",
    "freelist.next", "freelist.prev", "nr_free", "blocks.next", "blocks.prev", "nr_blocks",
    "block_size", "current_limit", "bottom_up", "may_grow", "closed",
)  # fmt: skip
BLOCK_FIELDS = ("link.next", "link.prev", "base", "nr", "entries")
REGION_FIELDS = ("link.next", "link.prev", "base", "size", "flags")


@dataclass(frozen=True)
class Table:
    """A counted array in the guest: a structure with a counter and an array of records.

    `va` is the structure's virtual address, `count` and `items` name its members.
    """

    va: int
    struct: Struct
    record: Struct
    count: str
    items: str

    @property
    def capacity(self) -> int:
        """Return how many records the array holds."""
        return self.struct.fields[self.items].size // self.record.size


@dataclass(frozen=True)
class LmbProgram:
    """Where a program keeps its LMB and what its structures look like; addresses are virtual.

    `static_entries` is (address, number) of the static array where the program has one; `ops` maps
    `enum lmb_op` to operation names. Tables that the program lacks are None. `page_size` is in bytes.
    """

    arch: str
    byte_order: ByteOrder
    lmb_va: int
    lmb: Struct
    region: Struct
    block: Struct
    page_size: int
    static_entries: tuple[int, int] | None = None
    log: Table | None = None
    ops: Mapping[int, str] | None = None
    handover: Table | None = None
    firmware: Table | None = None

    def __post_init__(self) -> None:
        """Check that every member that the decoder uses exists. Raises: `LayoutError`."""
        self.lmb.require(*LMB_FIELDS)
        self.region.require(*REGION_FIELDS)
        self.block.require(*BLOCK_FIELDS)

    @property
    def bits(self) -> int:
        """Return the width of `phys_addr_t`."""
        return 8 * self.region.fields["base"].size

    @property
    def header_size(self) -> int:
        """Return the bytes before the first entry of a grown block."""
        align = self.region.align
        return -(-self.block.size // align) * align
