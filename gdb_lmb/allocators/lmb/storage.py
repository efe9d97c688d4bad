# SPDX-License-Identifier: GPL-2.0-or-later
"""What the list-based LMB alone has: blocks of entries, the freelist, links, and its log of operations.

Mirrors `struct lmb`, `struct lmb_block` and `struct lmb_log` of lmb.h. An entry is known by its *index*: entries of
block 0 first, then block 1, and so on; `LmbStorage.entry` turns an index into (block, slot).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from gdb_lmb.core.errors import StateError
from gdb_lmb.core.ranges import Range
from gdb_lmb.core.snapshot import FLAG_NAMES, Entry, Snapshot, Storage, Walk

LMB_BLOCK = 0x80000000
"""Of a region on the reserved list, in revision 2 of the design: it is a block of entries."""

REVISIONS = (1, 2)
"""The revisions of the design that are known; a `struct lmb` without the member `revision` is of the first."""


@dataclass(frozen=True)
class Block:
    """One `struct lmb_block`: a run of `nr` entries that lies together in memory.

    `base` is its physical address, None for a static block 0 and where its header does not say; `size` is the
    memory in bytes that it takes up for itself, None in the same cases. `header_va` and `entries_va` are virtual, None
    where memory was not walked.
    """

    base: int | None
    nr: int
    static: bool
    size: int | None = None
    header_va: int | None = None
    entries_va: int | None = None

    @property
    def own_range(self) -> Range | None:
        """Return the physical memory that the block takes up for itself, None for a static one."""
        return None if self.base is None or self.size is None else (self.base, self.base + self.size)


def lies(base: int | None) -> str:
    """Return in words where a block is whose physical address is `base`."""
    return "at no physical address" if base is None else f"at {base:#x}"


@dataclass(frozen=True)
class Links:
    """The raw `struct list_head link` of every entry, by entry index, and the entry's own address."""

    va: Sequence[int]
    next_va: Sequence[int]
    prev_va: Sequence[int]


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
    def lost(self) -> int:
        """Return how many of the first records the ring has lost."""
        return self.nr - len(self.op) if self.nr > self.capacity else 0


@dataclass(frozen=True)
class LmbStorage(Storage):
    """What `struct lmb` has beside its lists of regions; sizes in bytes.

    `free` is the freelist as entry indexes, `nr_free` and `nr_blocks` the counters. `entry_size` is
    `sizeof(struct lmb_region)`, `header_size` the bytes before a grown block's first entry, None where not known.
    `links` and `free_walk` are None where no memory was walked, `log` where the program keeps none or nobody asked
    for it. `handover_nr` counts the ranges handed over, past the table's capacity too; None without a table. `mapped`
    is where page tables have the headers of some blocks, by number: the physical address of block 0's and of the first
    grown one's. `revision` is that of the design.
    """

    blocks: tuple[Block, ...] = ()
    nr_blocks: int = 0
    block_size: int | None = None
    entry_size: int | None = None
    header_size: int | None = None
    free: Sequence[int] = ()
    nr_free: int = 0
    free_walk: Walk | None = None
    links: Links | None = None
    may_grow: bool = False
    handover_nr: int | None = None
    log: OperationLog | None = None
    mapped: Mapping[int, int] = field(default_factory=dict)
    revision: int = 1
    first: tuple[int, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        """Number the entries: `first[i]` is the index of block i's first entry, the last one their number."""
        object.__setattr__(self, "first", tuple(accumulate((block.nr for block in self.blocks), initial=0)))

    @property
    def is_second(self) -> bool:
        """Tell whether the rules marked as new in the design's second revision hold of this state."""
        return self.revision == 2

    @property
    def nr_entries(self) -> int:
        """Return how many entries all blocks have together."""
        return self.first[-1]

    def entry(self, index: int) -> Entry:
        """Return where entry `index` lies."""
        block = bisect_right(self.first, index) - 1
        # Blocks without entries (a damaged header) share their first index with their successor.
        return Entry(block, index - self.first[block])

    def entry_va(self, index: int) -> int | None:
        """Return the virtual address of entry `index`, None where no memory was walked."""
        return self.links.va[index] if self.links else None


def storage_of(snapshot: Snapshot) -> LmbStorage:
    """Return the storage of a list-based LMB. Raises: `StateError` for another allocator's snapshot."""
    if not isinstance(snapshot.storage, LmbStorage):
        raise StateError(f"this state is of layout {snapshot.layout}, not a list-based LMB's")
    return snapshot.storage


def with_mapped(snapshot: Snapshot, translate: Callable[[int], int | None]) -> Snapshot:
    """Return the snapshot with what page tables say of its blocks; `translate` takes a virtual address."""
    storage = storage_of(snapshot)
    headers = {at: block.header_va for at, block in enumerate(storage.blocks[:2]) if block.size and block.header_va}
    mapped = {at: physical for at, va in headers.items() if (physical := translate(va)) is not None}
    return replace(snapshot, storage=replace(storage, mapped=mapped))


def flag_names(revision: int) -> Mapping[int, str]:
    """Return what the flags of regions are called."""
    return FLAG_NAMES if revision == 1 else {**FLAG_NAMES, LMB_BLOCK: "BLOCK"}


def unknown_revision(revision: int) -> str | None:
    """Return in a sentence that no rules of a revision are known, None where they are."""
    known = " and ".join(map(str, REVISIONS))
    return None if revision in REVISIONS else f"revision {revision} of the list-based LMB is not known: {known} are"
