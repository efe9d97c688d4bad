# SPDX-License-Identifier: GPL-2.0-or-later
"""The values every room speaks of: `Snapshot` in columns, `Finding`, and interval arithmetic.

Mirrors `struct lmb`, `struct lmb_type`, `struct lmb_region` and `struct lmb_block` of the list-based
LMB. A snapshot of 100,000 regions is a handful of arrays, not 100,000 objects: `Region`, `Entry` and
`Block` are views made on demand. Addresses are physical unless named `_va`; sizes are bytes; ranges
are half-open.

An entry is known by its *index*: entries of block 0 first, then block 1, and so on; `Snapshot.entry`
turns an index into (block, slot).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

LMB_HOTPLUG = 1
LMB_MIRROR = 2
LMB_NOMAP = 4
FLAG_NAMES = {LMB_HOTPLUG: "HOTPLUG", LMB_MIRROR: "MIRROR", LMB_NOMAP: "NOMAP"}

FIRMWARE_RAM = 1
FIRMWARE_RESERVED = 2
FIRMWARE_TYPES = {FIRMWARE_RAM: "RAM", FIRMWARE_RESERVED: "reserved", 3: "ACPI tables", 4: "ACPI NVS", 5: "unusable"}

FINDING = "finding"
NOTE = "note"

Range = tuple[int, int]
"""A half-open physical range: base and end."""


@dataclass(frozen=True)
class Region:
    """One region of a list: `phys_addr_t base, size` in bytes, `unsigned int flags`."""

    base: int
    size: int
    flags: int = 0

    @property
    def end(self) -> int:
        """Return the first address past the region."""
        return self.base + self.size


@dataclass(frozen=True)
class Entry:
    """Where a region is stored: the number of the block and the slot in it."""

    block: int
    slot: int


@dataclass(frozen=True)
class Block:
    """One `struct lmb_block`: a run of `nr` entries that lies together in memory.

    `base` is its physical address (0 for a static block 0), `size` its memory in bytes (0 when static),
    `header_va` and `entries_va` are virtual (0 where nobody walked memory), `nr_stored` is what the
    header says where that is not believable, and `readable` tells whether the entries could be read.
    """

    base: int
    nr: int
    static: bool
    size: int = 0
    header_va: int = 0
    entries_va: int = 0
    nr_stored: int = -1
    readable: bool = True


@dataclass(frozen=True)
class Walk:
    """What following a list's links showed.

    `head_va` is the head's address, `head_next` and `head_prev` its links. `complete` tells that every
    member between the head's two links is known: reached from one side or the other. `mutual` tells that
    the walk went round once and every link on the way, the head's too, agreed with its neighbour's.
    """

    head_va: int
    head_next: int
    head_prev: int
    complete: bool
    mutual: bool = False


@dataclass(frozen=True)
class RegionList:
    """One `struct lmb_type` or `struct memblock_type` in columns, in list order.

    `entry` is where each region is stored: an entry's index, or the place in memblock's array. `walk` is
    None where no links exist (a model, an array). Of memblock only: `max`, the array's capacity (None for
    a list), and `nid`, the node of each region (empty where the kernel knows no nodes).
    """

    name: str
    cnt: int
    total_size: int
    base: Sequence[int]
    size: Sequence[int]
    flags: Sequence[int]
    entry: Sequence[int]
    walk: Walk | None = None
    max: int | None = None
    nid: Sequence[int] = ()

    @property
    def dummy(self) -> bool:
        """Tell whether this is memblock's way of saying empty: one region of size 0 (until June 2024)."""
        return self.max is not None and len(self) == 1 and not self.size[0]

    def __len__(self) -> int:
        """Return the number of regions that the list really has."""
        return len(self.base)

    def __getitem__(self, position: int) -> Region:
        """Return the region at `position` as a view."""
        return Region(self.base[position], self.size[position], self.flags[position])

    def regions(self) -> Iterator[Region]:
        """Yield the regions in list order."""
        return map(Region, self.base, self.size, self.flags)

    def ranges(self, *, without_flags: int = 0) -> Iterator[Range]:
        """Yield (base, end) of the regions that have none of the flags `without_flags`."""
        for base, size, flags in zip(self.base, self.size, self.flags, strict=True):
            if not flags & without_flags:
                yield base, base + size


@dataclass(frozen=True)
class RegionArray:
    """The array that one of memblock's lists lies in: `va` is virtual, `max` its regions, `size` its bytes.

    `static` tells that it is the one in the kernel image; `base` is its physical address, None where that
    cannot be told.
    """

    name: str
    va: int
    max: int
    static: bool
    size: int
    base: int | None = None


@dataclass(frozen=True)
class Links:
    """The raw `struct list_head link` of every entry, by entry index, and the entry's own address."""

    va: Sequence[int]
    next_va: Sequence[int]
    prev_va: Sequence[int]


@dataclass(frozen=True)
class FirmwareMap:
    """What the firmware said about memory, in columns: base, size in bytes, type as in e820."""

    base: Sequence[int] = ()
    size: Sequence[int] = ()
    type: Sequence[int] = ()

    def ram(self) -> list[Range]:
        """Return the RAM as sorted, merged ranges."""
        rows = zip(self.base, self.size, self.type, strict=True)
        return union((base, base + size) for base, size, kind in rows if kind == FIRMWARE_RAM)


@dataclass(frozen=True)
class Place:
    """Something that is known to lie at the physical range [base, end): `what` says it in a few words."""

    base: int
    end: int
    what: str


@dataclass(frozen=True)
class OperationLog:
    """The guest's ring of operations, decoded, oldest first; `nr` counts the records ever written.

    `op` holds the names of `trace` operations ("init", "reserve", …; "?17" for what is none).
    """

    nr: int
    capacity: int
    op: Sequence[str] = ()
    flags: Sequence[int] = ()
    error: Sequence[int] = ()
    base: Sequence[int] = ()
    size: Sequence[int] = ()
    align: Sequence[int] = ()
    min: Sequence[int] = ()
    max: Sequence[int] = ()
    result: Sequence[int] = ()
    caller: Sequence[int] = ()

    @property
    def wrapped(self) -> bool:
        """Tell whether the ring has lost its beginning."""
        return self.nr > self.capacity


@dataclass(frozen=True)
class Defect:
    """Something the decoder met that no column can hold, for `checks` to put into words.

    `what` is one sentence; `addresses` are virtual or physical as the sentence says.
    """

    what: str
    addresses: tuple[int, ...] = ()


@dataclass(frozen=True)
class Stop:
    """Where the guest stands: `pc` and its symbol (None where unknown)."""

    pc: int
    symbol: str | None = None


@dataclass(frozen=True)
class Snapshot:
    """The whole state of an early allocator at one moment, of a guest or of a model.

    `layout` says which: "lmb-list" or "memblock". `bits` is the width of `phys_addr_t`, `page_size` is in
    bytes. `torn` names the allocator's function that the stop is in. `phase` is the boot's, where known.
    `refused` names the lists that are left empty because they are not true any more, with the reason.

    Of the list-based LMB only: the freelist, the blocks and their size in bytes, the log; `entry_size` is
    `sizeof(struct lmb_region)` and `header_size` the bytes before a grown block's first entry (0 where nobody
    knows); `links`, None where no memory was walked; `handover`, None before `lmb_free_all()`, else the
    ranges given, which `handover_nr` counts even past the table's capacity. Of memblock only: `arrays`,
    `physmem` (s390), the names of flags and the number that means no node.
    """

    memory: RegionList
    reserved: RegionList
    bits: int
    page_size: int
    current_limit: int
    bottom_up: bool
    layout: str = "lmb-list"
    arch: str = "model"
    byte_order: str = "little"
    phase: str | None = None
    torn: str | None = None
    stop: Stop | None = None
    firmware: FirmwareMap | None = None
    defects: tuple[Defect, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    free: Sequence[int] = ()
    nr_free: int = 0
    blocks: tuple[Block, ...] = ()
    nr_blocks: int = 0
    block_size: int = 0
    entry_size: int = 0
    header_size: int = 0
    may_grow: bool = False
    closed: bool = False
    handover: tuple[Range, ...] | None = None
    handover_nr: int = 0
    log: OperationLog | None = None
    links: Links | None = None
    free_walk: Walk | None = None
    physmem: RegionList | None = None
    arrays: tuple[RegionArray, ...] = ()
    flag_names: Mapping[int, str] = field(default_factory=lambda: FLAG_NAMES)
    no_node: int | None = None
    first: tuple[int, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        """Number the entries: `first[i]` is the index of block i's first entry."""
        first, total = [], 0
        for block in self.blocks:
            first.append(total)
            total += block.nr
        object.__setattr__(self, "first", tuple(first))

    @property
    def phys_addr_max(self) -> int:
        """Return `PHYS_ADDR_MAX`, 2^W - 1."""
        return (1 << self.bits) - 1

    @property
    def lists(self) -> tuple[RegionList, ...]:
        """Return every list of regions there is."""
        return (self.memory, self.reserved, *([self.physmem] if self.physmem is not None else []))

    @property
    def nr_entries(self) -> int:
        """Return how many entries all blocks have together."""
        return self.first[-1] + self.blocks[-1].nr if self.blocks else 0

    def entry(self, index: int) -> Entry:
        """Return where entry `index` lies."""
        block = bisect_right(self.first, index) - 1
        # Blocks without entries (a damaged header) share their first index with their successor.
        return Entry(block, index - self.first[block])

    def entry_va(self, index: int) -> int:
        """Return the virtual address of entry `index`; 0 where no memory was walked."""
        return self.links.va[index] if self.links else 0


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (`finding`) or worth knowing (`note`) about the guest.

    `code` is stable, `message` one sentence, `addresses` what it is about.
    """

    code: str
    severity: str
    message: str
    addresses: tuple[int, ...] = ()


_NO_HOLE: Range = (1 << 128, 1 << 128)
"""A hole past every address: what follows the last one."""


def column(values: Iterable[int]) -> array[int]:
    """Return `values` (each below 2^64) as one array."""
    return array("Q", values)


def union(ranges: Iterable[Range]) -> list[Range]:
    """Return sorted ranges covering the same bytes, touching ones joined; empty ones vanish."""
    out: list[Range] = []
    for base, end in sorted(ranges):
        if base >= end:
            continue
        if out and base <= out[-1][1]:
            if end > out[-1][1]:
                out[-1] = (out[-1][0], end)
        else:
            out.append((base, end))
    return out


def subtract(ranges: Iterable[Range], holes: Iterable[Range]) -> list[Range]:
    """Return what of `ranges` is not in `holes`; both sorted and disjoint, so is the result.

    Both are read once and nothing of them is kept: columns can be passed as `zip(base, end)`.
    """
    out: list[Range] = []
    rest = iter(holes)
    hole_base, hole_end = next(rest, _NO_HOLE)
    for base, end in ranges:
        while hole_end <= base:
            hole_base, hole_end = next(rest, _NO_HOLE)
        while hole_base < end:
            if hole_base > base:
                out.append((base, hole_base))
            base = hole_end
            if base >= end:
                break
            hole_base, hole_end = next(rest, _NO_HOLE)
        if base < end:
            out.append((base, end))
    return out


def covers(base: Sequence[int], end: Sequence[int], ranges: Iterable[Range]) -> bool:
    """Tell whether each of a few ranges lies in one region of sorted, disjoint columns."""
    for low, high in ranges:
        at = bisect_right(base, low) - 1
        if at < 0 or end[at] < high:
            return False
    return True


def lie_in(base: Sequence[int], end: Sequence[int], ranges: Iterable[Range]) -> bool:
    """Tell whether every region of sorted, disjoint columns lies in one of a few disjoint ranges."""
    inside = 0
    for low, high in ranges:
        first, last = bisect_left(base, low), bisect_right(end, high)
        inside += max(0, last - first)
    return inside == len(base)


def whole_pages(ranges: Iterable[Range], page_size: int) -> list[Range]:
    """Return the whole pages inside each of `ranges`, page 0 left out."""
    out = []
    for base, end in ranges:
        first = max(-(-base // page_size), 1) * page_size
        last = end // page_size * page_size
        if first < last:
            out.append((first, last))
    return out
