# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of invariants: a `Snapshot` in, every `Finding` out, in a fixed order.

Each row of `CHECKS` is one rule of what always holds between two operations; its function yields what
breaks it. A check that cannot apply (no links in a model's snapshot, no firmware map) yields nothing.
This room never imports `model`: one mistake must not hide in both.

The order of the table is the order of the report: damaged structure first, then wrong contents, then
what the rest of the system makes of it. `log-divergence`, the last code, comes from `trace`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, pairwise
from operator import add, lt

from gdb_lmb.region import (
    FINDING,
    LMB_NOMAP,
    NOTE,
    Finding,
    Range,
    RegionList,
    Snapshot,
    Walk,
    column,
    covers,
    lie_in,
    subtract,
    union,
    whole_pages,
)

MAX_LISTED = {FINDING: 100, NOTE: 8}
"""How many of one code are listed; the rest is counted in one more of the same code."""

LOG_DIVERGENCE = "log-divergence"


@dataclass(frozen=True)
class Fault:
    """One breach of an invariant: a sentence and the addresses concerned."""

    message: str
    addresses: tuple[int, ...] = ()


@dataclass(frozen=True)
class Check:
    """One row of the table: a stable code, `finding` or `note`, and what yields the faults."""

    code: str
    severity: str
    run: Callable[[Facts], Iterator[Fault]]


def check(snapshot: Snapshot) -> list[Finding]:
    """Return every finding and note about `snapshot`, in the table's order."""
    findings: list[Finding] = []
    facts = Facts(snapshot)
    for row in CHECKS:
        faults = row.run(facts)
        listed = [
            Finding(row.code, row.severity, f.message, f.addresses) for f in islice(faults, MAX_LISTED[row.severity])
        ]
        findings += listed
        more = sum(1 for _ in faults)
        if more:
            findings.append(Finding(row.code, row.severity, f"{more} more of this kind, not listed"))
    return findings


class Facts:
    """A snapshot, and what more than one check wants to know of it, worked out once."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    @cached_property
    def members(self) -> tuple[_Member, ...]:
        """Return all three lists alike: name, entry indexes, walk."""
        snapshot = self.snapshot
        return (
            _Member("memory", snapshot.memory.entry, snapshot.memory.walk),
            _Member("reserved", snapshot.reserved.entry, snapshot.reserved.walk),
            _Member("free", snapshot.free, snapshot.free_walk),
        )

    @cached_property
    def owners(self) -> bytearray:
        """Return on how many lists each entry is."""
        count = bytearray(self.snapshot.nr_entries)
        for member in self.members:
            for index in member.order:
                count[index] += 1
        return count

    @cached_property
    def shared(self) -> dict[int, list[str]]:
        """Return the entries that are on more than one list, with the lists' names."""
        names: dict[int, list[str]] = {}
        if max(self.owners, default=0) > 1:
            for member in self.members:
                for index in member.order:
                    if self.owners[index] > 1:
                        names.setdefault(index, []).append(member.name)
        return names

    @cached_property
    def bad_links(self) -> list[tuple[str, Fault]]:
        """Return each link that does not lead to its neighbour, under the one code that names it best."""
        return list(_bad_links(self))

    @cached_property
    def columns(self) -> tuple[_Columns, _Columns]:
        """Return the memory and the reserved list with the ends of their regions."""
        limit = self.snapshot.phys_addr_max
        return _Columns(self.snapshot.memory, limit), _Columns(self.snapshot.reserved, limit)


class _Columns:
    """A list's regions with their ends, and whether its neighbours collide."""

    def __init__(self, regions: RegionList, limit: int) -> None:
        self.regions = regions
        self.name = regions.name
        self.limit = limit
        self.ends: Sequence[int]
        try:
            self.ends = column(map(add, regions.base, regions.size))
        except OverflowError:  # a region past 2^64, of which region-wraps tells
            self.ends = list(map(add, regions.base, regions.size))
        apart = all(map(lt, self.ends, islice(regions.base, 1, None)))
        self.collides = not apart or not all(regions.size) or max(self.ends, default=0) > limit

    @cached_property
    def sound_sorted(self) -> list[tuple[int, int, int, int]]:
        """Return (base, end, flags, position) of the regions that are neither empty nor wrap, by base."""
        rows = zip(self.regions.base, self.ends, self.regions.flags, range(len(self.regions)), strict=True)
        return sorted(row for row in rows if row[0] < row[1] <= self.limit)

    def covered(self, without_flags: int = 0) -> Iterable[Range]:
        """Yield the bytes covered by regions without the flags, sorted and merged, within the address space."""
        regions = self.regions
        if self.collides or without_flags:
            rows = zip(regions.base, self.ends, regions.flags, strict=True)
            return union((base, min(end, self.limit)) for base, end, flags in rows if not flags & without_flags)
        return zip(regions.base, self.ends, strict=True)


# -- links ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Member:
    """A list's name, its members' entry indexes, and its walk."""

    name: str
    order: Sequence[int]
    walk: Walk | None


def _bad_links(facts: Facts) -> Iterator[tuple[str, Fault]]:
    links = facts.snapshot.links
    if links is None:
        return
    suspects = []
    for member in facts.members:
        if member.walk is None or member.walk.mutual:
            continue
        head = member.walk.head_va
        vas = column(map(links.va.__getitem__, member.order))
        should_next, should_prev = vas + column([head]), column([head]) + vas
        is_next = column([member.walk.head_next]) + column(map(links.next_va.__getitem__, member.order))
        is_prev = column(map(links.prev_va.__getitem__, member.order)) + column([member.walk.head_prev])
        if is_next == should_next and is_prev == should_prev:
            continue
        suspects.append((member, vas, should_next, should_prev, is_next, is_prev))
    if not suspects:
        return
    index_of = {va: index for index, va in enumerate(links.va)}
    shared = facts.shared
    for member, vas, should_next, should_prev, is_next, is_prev in suspects:
        assert member.walk is not None
        owners = [member.walk.head_va, *vas]
        place = {va: at for at, va in enumerate(owners)}
        for at, (want, got) in enumerate(zip(should_next, is_next, strict=True)):
            # An entry on two lists has but one pair of links: entry-shared already says all there is.
            if want != got and not (at and member.order[at - 1] in shared):
                where = f"{member.name} list: next of {_who(member, at)}"
                if got in place and 0 < place[got] <= at:
                    yield (
                        "list-cycle",
                        Fault(f"{where} leads back to {_who(member, place[got])}", (owners[at], got)),
                    )
                else:
                    yield _link_fault(where, owners[at], got, index_of, member.walk)
        owners = [*vas, member.walk.head_va]
        for at, (want, got) in enumerate(zip(should_prev, is_prev, strict=True)):
            if want != got and not (at < len(vas) and member.order[at] in shared):
                who = _who(member, at + 1 if at < len(vas) else 0)
                yield _link_fault(f"{member.name} list: prev of {who}", owners[at], got, index_of, member.walk)


def _who(member: _Member, at: int) -> str:
    """Name the list's head (0) or its member number at - 1."""
    return f"member {at - 1}" if at else "the head"


def _link_fault(where: str, owner: int, got: int, index_of: dict[int, int], walk: Walk) -> tuple[str, Fault]:
    if got in index_of or got == walk.head_va:
        return "link-broken", Fault(f"{where} leads to {got:#x}, which does not lead back", (owner, got))
    return "link-wild", Fault(f"{where} leads to {got:#x}, which is no entry of any block", (owner, got))


def _links_with(code: str) -> Callable[[Facts], Iterator[Fault]]:
    def run(facts: Facts) -> Iterator[Fault]:
        return (fault for kind, fault in facts.bad_links if kind == code)

    return run


# -- entries and counts -----------------------------------------------------------------------------


def _entry_shared(facts: Facts) -> Iterator[Fault]:
    snapshot = facts.snapshot
    for index, names in sorted(facts.shared.items()):
        where = snapshot.entry(index)
        yield Fault(
            f"entry {where.block}:{where.slot} is on {len(names)} lists: {', '.join(names)}",
            (snapshot.entry_va(index),),
        )


def _entry_lost(facts: Facts) -> Iterator[Fault]:
    snapshot = facts.snapshot
    at = facts.owners.find(0)
    while at >= 0:
        where = snapshot.entry(at)
        yield Fault(f"entry {where.block}:{where.slot} is on no list", (snapshot.entry_va(at),))
        at = facts.owners.find(0, at + 1)


def _known(walk: Walk | None, counted: int, stored: int) -> bool:
    """Tell whether a counter can be judged: every member is known, or already too many are."""
    return walk is None or walk.complete or counted > stored


def _count_mismatch(facts: Facts) -> Iterator[Fault]:
    snapshot = facts.snapshot
    for regions in (snapshot.memory, snapshot.reserved):
        if regions.cnt != len(regions) and _known(regions.walk, len(regions), regions.cnt):
            yield Fault(f"{regions.name}.cnt is {regions.cnt}, but the list has {len(regions)} regions")


def _size_mismatch(facts: Facts) -> Iterator[Fault]:
    snapshot = facts.snapshot
    for regions in (snapshot.memory, snapshot.reserved):
        total = sum(regions.size) & snapshot.phys_addr_max
        if regions.total_size != total and (regions.walk is None or regions.walk.complete):
            yield Fault(f"{regions.name}.total_size is {regions.total_size:#x}, but its regions sum to {total:#x}")


def _free_count_mismatch(facts: Facts) -> Iterator[Fault]:
    snapshot = facts.snapshot
    if snapshot.nr_free != len(snapshot.free) and _known(snapshot.free_walk, len(snapshot.free), snapshot.nr_free):
        yield Fault(f"nr_free is {snapshot.nr_free}, but the freelist has {len(snapshot.free)} entries")


# -- regions ----------------------------------------------------------------------------------------


def _unsorted(facts: Facts) -> Iterator[Fault]:
    snapshot = facts.snapshot
    for regions in (snapshot.memory, snapshot.reserved):
        base = regions.base
        if all(map(lt, base, islice(base, 1, None))):
            continue
        for at, (low, high) in enumerate(pairwise(base)):
            if high < low:
                yield Fault(f"{regions.name}[{at + 1}] starts below {regions.name}[{at}]", (low, high))


def _overlap(facts: Facts) -> Iterator[Fault]:
    for columns in facts.columns:
        reach = (0, -1)
        for base, end, _, at in columns.sound_sorted if columns.collides else ():
            if base < reach[0]:
                yield Fault(f"{columns.name}[{at}] overlaps {columns.name}[{reach[1]}]", (base, reach[0]))
            reach = max(reach, (end, at))


def _unmerged(facts: Facts) -> Iterator[Fault]:
    for columns in facts.columns:
        for low, high in pairwise(columns.sound_sorted if columns.collides else ()):
            if low[1] == high[0] and low[2] == high[2]:
                yield Fault(
                    f"{columns.name}[{low[3]}] and {columns.name}[{high[3]}] touch, have equal flags, "
                    "and are not one region",
                    (low[0], high[0]),
                )


def _empty_region(facts: Facts) -> Iterator[Fault]:
    snapshot = facts.snapshot
    for regions in (snapshot.memory, snapshot.reserved):
        if all(regions.size):
            continue
        for at, (base, size) in enumerate(zip(regions.base, regions.size, strict=True)):
            if not size:
                yield Fault(f"{regions.name}[{at}] is empty", (base,))


def _region_wraps(facts: Facts) -> Iterator[Fault]:
    for columns in facts.columns:
        if max(columns.ends, default=0) <= columns.limit:
            continue
        for at, end in enumerate(columns.ends):
            if end > columns.limit:
                yield Fault(
                    f"{columns.name}[{at}] goes past the end of the {facts.snapshot.bits}-bit address space",
                    (columns.regions.base[at], end),
                )


# -- storage ----------------------------------------------------------------------------------------


def _storage_corrupt(facts: Facts) -> Iterator[Fault]:
    snapshot = facts.snapshot
    for defect in snapshot.defects:
        yield Fault(defect.what, defect.addresses)
    spans = []
    for number, block in enumerate(snapshot.blocks):
        if block.static:
            continue
        spans.append((block.base, block.base + block.size, number))
        if block.size and block.base % block.size:
            yield Fault(f"block {number} is not aligned to its size {block.size:#x}", (block.base,))
    for low, high in pairwise(sorted(spans)):
        if high[0] < low[1]:
            yield Fault(f"blocks {low[2]} and {high[2]} lie in the same memory", (low[0], high[0]))


def _block_unreserved(facts: Facts) -> Iterator[Fault]:
    blocks = facts.snapshot.blocks
    spans = ((block.base, block.base + block.size) for block in blocks)
    reserved = facts.columns[1]
    taken = union(spans)
    if not reserved.collides and covers(reserved.regions.base, reserved.ends, taken):
        return
    bare = subtract(taken, reserved.covered())
    for number, block in enumerate(blocks):
        end = block.base + block.size
        if any(base < end and block.base < stop for base, stop in bare):
            yield Fault(
                f"block {number} at {block.base:#x} (size {block.size:#x}) is not reserved: "
                "an allocation may overwrite the entries in it",
                (block.base,),
            )


def _freelist_exhausted(facts: Facts) -> Iterator[Fault]:
    snapshot = facts.snapshot
    if not len(snapshot.free) and (snapshot.free_walk is None or snapshot.free_walk.complete):
        yield Fault("the freelist is empty: the last entry must be kept to gain the next block")


# -- the rest of the system -------------------------------------------------------------------------


def _outside_firmware(facts: Facts) -> Iterator[Fault]:
    firmware = facts.snapshot.firmware
    if firmware is None:
        return
    memory, ram = facts.columns[0], firmware.ram()
    if not memory.collides and lie_in(memory.regions.base, memory.ends, ram):
        return
    for base, end in subtract(memory.covered(), ram):
        yield Fault(f"memory [{base:#x}, {end:#x}) is not RAM in the firmware map", (base, end))


def _handover_mismatch(facts: Facts) -> Iterator[Fault]:
    snapshot, given = facts.snapshot, facts.snapshot.handover
    if given is None:
        return
    memory, reserved = facts.columns
    should = whole_pages(subtract(memory.covered(LMB_NOMAP), reserved.covered()), snapshot.page_size)
    if snapshot.handover_nr != len(should):
        yield Fault(f"{snapshot.handover_nr} ranges were handed over, not {len(should)}")
    # A full table holds the lowest ranges: compare those.
    if snapshot.handover_nr > len(given):
        should = should[: len(given)]
    got = union(given)
    for base, end in subtract(got, should):
        yield Fault(f"[{base:#x}, {end:#x}) was handed over, but is reserved or no memory", (base, end))
    for base, end in subtract(should, got):
        yield Fault(f"[{base:#x}, {end:#x}) is free memory, but was not handed over", (base, end))


def _reserved_outside_memory(facts: Facts) -> Iterator[Fault]:
    memory, reserved = facts.columns
    for base, end in subtract(reserved.covered(), memory.covered()):
        yield Fault(f"reserved [{base:#x}, {end:#x}) is outside memory", (base, end))


CHECKS: tuple[Check, ...] = (
    Check("link-broken", FINDING, _links_with("link-broken")),
    Check("link-wild", FINDING, _links_with("link-wild")),
    Check("list-cycle", FINDING, _links_with("list-cycle")),
    Check("entry-shared", FINDING, _entry_shared),
    Check("entry-lost", FINDING, _entry_lost),
    Check("count-mismatch", FINDING, _count_mismatch),
    Check("size-mismatch", FINDING, _size_mismatch),
    Check("free-count-mismatch", FINDING, _free_count_mismatch),
    Check("unsorted", FINDING, _unsorted),
    Check("overlap", FINDING, _overlap),
    Check("unmerged", FINDING, _unmerged),
    Check("empty-region", FINDING, _empty_region),
    Check("region-wraps", FINDING, _region_wraps),
    Check("block-unreserved", FINDING, _block_unreserved),
    Check("storage-corrupt", FINDING, _storage_corrupt),
    Check("freelist-exhausted", FINDING, _freelist_exhausted),
    Check("outside-firmware", FINDING, _outside_firmware),
    Check("handover-mismatch", FINDING, _handover_mismatch),
    Check("reserved-outside-memory", NOTE, _reserved_outside_memory),
)
