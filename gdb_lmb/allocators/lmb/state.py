# SPDX-License-Identifier: GPL-2.0-or-later
"""What the list-based LMB's model is made of: its configuration, its lists as tables, and plans of changes.

A plan says what an operation will do to one list, before anything is done: rules 2, 3 and 5 of the design.
Of a walked state the model asks only what the ten rules build upon, by means of this module's own: the checks
look for more, and share nothing with the model.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from gdb_lmb.allocators.lmb.rules import NEWEST, RULES, Rules
from gdb_lmb.allocators.lmb.storage import LMB_BLOCK, storage_of, unknown_revision
from gdb_lmb.allocators.predict import require_whole, unfit
from gdb_lmb.core.errors import StateError
from gdb_lmb.core.operation import Operation
from gdb_lmb.core.ranges import subtract, union
from gdb_lmb.core.snapshot import RegionList, Snapshot

EINVAL = -22
EBUSY = -16
ENOMEM = -12


@dataclass(frozen=True)
class LmbConfig:
    """What is fixed when `lmb_init()` runs; sizes in bytes.

    `static` is the number of entries in the initial array; with `klimit` (a physical base, page
    aligned) the initial storage is the page there instead and `static` is not looked at. `revision` is the
    design's, one that is known.
    """

    static: int = 64
    klimit: int | None = None
    block_size: int = 4096
    entry_size: int = 40
    header_size: int = 40
    bits: int = 64
    page_size: int = 4096
    revision: int = NEWEST

    @property
    def rules(self) -> Rules:
        """Return what holds in this revision of the design."""
        return RULES[self.revision]

    @property
    def block_entries(self) -> int:
        """Return the entries of a grown block (rule 1)."""
        return (self.block_size - self.header_size) // self.entry_size

    @property
    def first_entries(self) -> int:
        """Return the entries of block 0 (rule 1)."""
        return self.static if self.klimit is None else (self.page_size - self.header_size) // self.entry_size

    def refusal(self) -> str | None:
        """Return why `lmb_init()` gives -EINVAL, or None where it does not (rule 1)."""
        if self.block_size <= 0 or self.block_size & (self.block_size - 1):
            return f"block size {self.block_size} is no power of two"
        if self.block_size < self.header_size + 2 * self.entry_size:
            return (
                f"block size {self.block_size} holds no header of {self.header_size} and two entries of "
                f"{self.entry_size} bytes"
            )
        if self.first_entries < 2:
            return f"the initial storage of {self.first_entries} entries is less than 2"
        if self.klimit is not None and (
            self.klimit + self.page_size >= 1 << self.bits or (self.rules.page_aligned and self.klimit % self.page_size)
        ):
            return f"there is no page at {self.klimit:#x}"
        return None


@dataclass
class Table:
    """One sorted list: parallel columns, `entry` the index of the entry that stores each region."""

    base: list[int]
    end: list[int]
    flags: list[int]
    entry: list[int]

    def touching(self, base: int, end: int) -> tuple[int, int]:
        """Return the slice [i, j) of regions that overlap or touch [base, end)."""
        return bisect_left(self.end, base), bisect_right(self.base, end)

    def overlapping(self, base: int, end: int) -> tuple[int, int]:
        """Return the slice [i, j) of regions that share a byte with [base, end)."""
        return bisect_right(self.end, base), bisect_left(self.base, end)

    @classmethod
    def of(cls, regions: RegionList) -> Table:
        """Return one list of a walked state as the model keeps it."""
        end = [base + size for base, size in zip(regions.base, regions.size, strict=True)]
        return cls(list(regions.base), end, list(regions.flags), list(regions.entry))


# base, end, flags and the position (in its table) of the region whose entry it keeps, or None.
Piece = tuple[int, int, int, "int | None"]


@dataclass(frozen=True)
class Plan:
    """What an operation will do to a table: put `pieces` where the slice [i, j) is."""

    table: Table
    i: int
    j: int
    pieces: list[Piece]


def plan_add(table: Table, base: int, end: int, flags: int) -> Plan:
    """Plan to add the uncovered pieces of [base, end) and to merge what then touches."""
    i, j = table.touching(base, end)
    raw: list[Piece] = []
    at = base
    for k in range(i, j):
        if at < table.base[k] and at < end:
            raw.append((at, min(table.base[k], end), flags, None))
        raw.append((table.base[k], table.end[k], table.flags[k], k))
        at = max(at, table.end[k])
    if at < end:
        raw.append((at, end, flags, None))
    return Plan(table, i, j, _joined(raw))


# Nothing on a list touched with equal flags before, so every join has a piece in it that is new or has new flags.
def _joined(raw: Iterable[Piece]) -> list[Piece]:
    pieces: list[Piece] = []
    for piece in raw:
        if pieces and pieces[-1][1] == piece[0] and pieces[-1][2] == piece[2]:
            last = pieces[-1]
            pieces[-1] = (last[0], piece[1], last[2], piece[3] if last[3] is None else last[3])
        else:
            pieces.append(piece)
    return pieces


def plan_flags(table: Table, base: int, end: int, change: Callable[[int], int]) -> Plan:
    """Plan to change the flags of what the table has in [base, end), splitting and merging at its ends."""
    i, j = table.touching(base, end)
    raw: list[Piece] = []
    for k in range(i, j):
        low, high, flags = table.base[k], table.end[k], table.flags[k]
        keeper: int | None = k
        for start, stop, own in (
            (low, min(high, base), flags), (max(low, base), min(high, end), change(flags)), (max(low, end), high, flags)
        ):  # fmt: skip
            if start < stop:
                raw.append((start, stop, own, keeper))
                keeper = None
    return Plan(table, i, j, _joined(raw))


def plan_remove(table: Table, base: int, end: int) -> Plan:
    """Plan to trim, split or drop what overlaps [base, end)."""
    i, j = table.overlapping(base, end)
    pieces: list[Piece] = []
    for k in range(i, j):
        keeper: int | None = k
        if table.base[k] < base:
            pieces.append((table.base[k], base, table.flags[k], keeper))
            keeper = None
        if end < table.end[k]:
            pieces.append((end, table.end[k], table.flags[k], keeper))
    return Plan(table, i, j, pieces)


# -- from a walked state, or a log ------------------------------------------------------------------


def created_config(init: Operation, page_size: int, revision: int) -> LmbConfig:
    """Return what `lmb_init()` was called with, as the first record of a log tells. Nothing is checked."""
    return LmbConfig(
        static=init.max,
        klimit=init.base or None,
        block_size=init.size,
        header_size=init.align,
        entry_size=init.min,
        bits=init.flags,
        page_size=page_size,
        revision=revision,
    )


def config_of(snapshot: Snapshot) -> LmbConfig:
    """Return what was fixed when `lmb_init()` ran, of a state that the model can stand on.

    Raises: `StateError` naming the first rule that does not hold.
    """
    require_whole(snapshot, "lmb-list", "a list-based LMB's")
    storage = storage_of(snapshot)
    if why := unknown_revision(storage.revision):
        raise StateError(why)
    if not storage.blocks:
        raise StateError("this state has no block of entries")
    if storage.entry_size is None or storage.header_size is None or storage.block_size is None:
        raise StateError("this state does not tell the size of an entry, of a block and of its header")
    first = storage.blocks[0]
    config = LmbConfig(
        static=first.nr,
        klimit=None if first.static else first.base,
        block_size=storage.block_size,
        entry_size=storage.entry_size,
        header_size=storage.header_size,
        bits=snapshot.bits,
        page_size=snapshot.page_size,
        revision=storage.revision,
    )
    why = config.refusal()
    if why:
        raise StateError(f"no model goes on from here: {why}")
    for why in _unsound(snapshot, config):
        raise unfit(why)
    return config


def _unsound(snapshot: Snapshot, config: LmbConfig) -> Iterator[str]:
    storage = storage_of(snapshot)
    for name, walk in (("memory", snapshot.memory.walk), ("reserved", snapshot.reserved.walk),
                       ("free", storage.free_walk)):  # fmt: skip
        if walk is not None and not (walk.complete and walk.mutual):
            yield f"the {name} list's links are damaged"
    # Rule 2: sorted, disjoint, merged, nothing empty or past the end.
    for regions in (snapshot.memory, snapshot.reserved):
        end, flags = -1, -1
        for base, size, own in zip(regions.base, regions.size, regions.flags, strict=True):
            if not size or base + size > snapshot.phys_addr_max:
                yield f"{regions.name} region [{base:#x}, {base + size:#x}) is empty or wraps"
            if base < end or (base == end and own == flags):
                yield f"{regions.name} region [{base:#x}, {base + size:#x}) is out of order, overlaps or is not merged"
            end, flags = base + size, own
    # Rules 1, 6 and 8: entries and blocks.
    members = [*snapshot.memory.entry, *snapshot.reserved.entry, *storage.free]
    if len(members) != storage.nr_entries or len(set(members)) != len(members):
        yield "an entry is on no list, or on two"
    if storage.nr_free != len(storage.free) or not storage.nr_free:
        yield f"nr_free is {storage.nr_free}, but {len(storage.free)} entries are on the freelist"
    if storage.nr_blocks != len(storage.blocks):
        yield f"nr_blocks is {storage.nr_blocks}, but the chain has {len(storage.blocks)} blocks"
    for number, block in enumerate(storage.blocks):
        if block.nr != (config.block_entries if number else config.first_entries) or (number and block.static):
            yield f"block {number} has {block.nr} entries"
        if not block.static and block.own_range is None:
            yield f"block {number} has no physical address"
    blocks = union(block.own_range for block in storage.blocks if block.own_range)
    if subtract(blocks, union(snapshot.reserved.ranges())):
        yield "a block of entries is not reserved"
    if config.rules.block_flags:
        flagged = zip(snapshot.reserved.base, snapshot.reserved.size, snapshot.reserved.flags, strict=True)
        carried = union((base, base + size) for base, size, flags in flagged if flags & LMB_BLOCK)
        if carried != blocks or any(flags & LMB_BLOCK for flags in snapshot.memory.flags):
            yield "LMB_BLOCK is not the flag of the blocks of entries alone"
