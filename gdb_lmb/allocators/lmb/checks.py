# SPDX-License-Identifier: GPL-2.0-or-later
"""What always holds of a list-based LMB between two operations: its table of checks."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, pairwise
from operator import itemgetter

from gdb_lmb.allocators import check as common
from gdb_lmb.allocators.check import Check, Facts
from gdb_lmb.allocators.lmb.storage import LMB_BLOCK, storage_of
from gdb_lmb.core.ranges import Range, covers, subtract, union, whole_pages
from gdb_lmb.core.snapshot import LMB_NOMAP, Defect, Walk, column
from gdb_lmb.core.words import FINDING, NOTE

# -- links, entries and counters ----------------------------------------------------------------------


# The three lists of entries: name, members' entry indexes, walk.
def _members(facts: Facts) -> tuple[tuple[str, Sequence[int], Walk | None], ...]:
    storage = storage_of(facts.snapshot)
    lists = ((regions.name, regions.entry, regions.walk) for regions in facts.snapshot.lists)
    return (*lists, ("free", storage.free, storage.free_walk))


# On how many lists each entry is.
def _owners(facts: Facts) -> bytearray:
    count = bytearray(storage_of(facts.snapshot).nr_entries)
    for _, order, _ in facts.once(_members):
        for index in order:
            count[index] += 1
    return count


# The entries that are on more than one list, with the lists' names.
def _shared(facts: Facts) -> dict[int, list[str]]:
    names: dict[int, list[str]] = {}
    owners = facts.once(_owners)
    if max(owners, default=0) > 1:
        for name, order, _ in facts.once(_members):
            for index in order:
                if owners[index] > 1:
                    names.setdefault(index, []).append(name)
    return names


# Each link that does not lead to its neighbour, under the one code that names it best.
def _bad_links(facts: Facts) -> list[tuple[str, Defect]]:
    bad: list[tuple[str, Defect]] = []
    links = storage_of(facts.snapshot).links
    if links is None:
        return bad
    entries_va: set[int] = set()
    for name, order, walk in facts.once(_members):
        if walk is None or walk.mutual:
            continue
        head, vas = walk.head_va, column(map(links.va.__getitem__, order))
        is_next = column([walk.head_next]) + column(map(links.next_va.__getitem__, order))
        is_prev = column(map(links.prev_va.__getitem__, order)) + column([walk.head_prev])
        if is_next == vas + column([head]) and is_prev == column([head]) + vas:
            continue
        entries_va = entries_va or set(links.va)
        # By number: the head is 0, the list's first member 1.
        ring = [head, *vas]
        number_of = {va: number for number, va in enumerate(ring)}
        for word, found, step in (("next", is_next, 0), ("prev", is_prev, 1)):
            for at, got in enumerate(found):
                number = (at + step) % len(ring)
                want = ring[(number + 1 - 2 * step) % len(ring)]
                # An entry on two lists has one pair of links only: entry-shared reports it.
                if got == want or (number and order[number - 1] in facts.once(_shared)):
                    continue
                code, before = "link-wild", number_of.get(got)
                what = f"leads to {got:#x}, which is no entry of any block"
                if word == "next" and before is not None and 0 < before <= number:
                    code = "list-cycle"
                    what = f"leads back to {_who(before)}"
                elif got in entries_va or got == head:
                    code = "link-broken"
                    what = f"leads to {got:#x}, which does not lead back"
                bad.append((code, Defect(f"{name} list: {word} of {_who(number)} {what}", (ring[number], got))))
    return bad


# The list's head (0) or its member number - 1.
def _who(number: int) -> str:
    return f"member {number - 1}" if number else "the head"


def links_with(code: str) -> Check:
    """Return the check that yields the bad links of one code."""
    return Check(code, FINDING, lambda facts: (fault for kind, fault in facts.once(_bad_links) if kind == code))


def _entry_fault(facts: Facts, index: int, what: str) -> Defect:
    storage = storage_of(facts.snapshot)
    va = storage.entry_va(index)
    return Defect(f"entry {storage.entry(index)} is {what}", () if va is None else (va,))


def entry_shared(facts: Facts) -> Iterator[Defect]:
    """Yield entries that are on more than one list."""
    for index, names in sorted(facts.once(_shared).items()):
        yield _entry_fault(facts, index, f"on {len(names)} lists: {', '.join(names)}")


def entry_lost(facts: Facts) -> Iterator[Defect]:
    """Yield entries that are on no list."""
    owners = facts.once(_owners)
    at = owners.find(0)
    while at >= 0:
        yield _entry_fault(facts, at, "on no list")
        at = owners.find(0, at + 1)


# A counter can be judged where every member is known, or already too many are.
def _known(walk: Walk | None, counted: int, stored: int) -> bool:
    return walk is None or walk.complete or counted > stored


def count_mismatch(facts: Facts) -> Iterator[Defect]:
    """Yield a cnt that is not the number of regions on its list."""
    for regions in facts.snapshot.lists:
        if regions.cnt != len(regions) and _known(regions.walk, len(regions), regions.cnt):
            yield Defect(f"{regions.name}.cnt is {regions.cnt}, but the list has {len(regions)} regions")


def size_mismatch(facts: Facts) -> Iterator[Defect]:
    """Yield a total_size that is not the sum of its list's regions, modulo 2^W."""
    for regions in facts.snapshot.lists:
        total = sum(regions.size) & facts.snapshot.phys_addr_max
        if regions.total_size != total and (regions.walk is None or regions.walk.complete):
            yield Defect(f"{regions.name}.total_size is {regions.total_size:#x}, but its regions sum to {total:#x}")


def free_count_mismatch(facts: Facts) -> Iterator[Defect]:
    """Yield an nr_free that is not the freelist's length."""
    storage = storage_of(facts.snapshot)
    if storage.nr_free != len(storage.free) and _known(storage.free_walk, len(storage.free), storage.nr_free):
        yield Defect(f"nr_free is {storage.nr_free}, but the freelist has {len(storage.free)} entries")


# -- regions and blocks -------------------------------------------------------------------------------


# Where each block lies: what its header says, unless page tables or all others show it to be wrong.
# Grown blocks are never freed, so all lie in one linear map: virtual less physical is the same for most.
def _block_bases(facts: Facts) -> list[int | None]:
    storage = storage_of(facts.snapshot)
    blocks, mapped = storage.blocks, storage.mapped
    grown = [block.header_va - block.base for block in blocks[1:] if block.header_va and block.base]
    if 1 in mapped and blocks[1].header_va:
        grown = [blocks[1].header_va - mapped[1]]
    (offset, votes), *_ = Counter(grown).most_common(1) or [(0, 0)]
    wrong = votes * 2 > len(grown)
    bases = [b.header_va - offset if wrong and at and b.header_va and b.base else b.base for at, b in enumerate(blocks)]
    return [mapped.get(0, base) if at == 0 else base for at, base in enumerate(bases)]


def unmerged(facts: Facts) -> Iterator[Defect]:
    """Yield neighbours that touch and have equal flags, which must be one region (rule 2 of the design)."""
    for columns in facts.columns:
        for low, high in pairwise(columns.by_base() if columns.touches else ()):
            if low[1] == high[0] and low[2] == high[2]:
                yield Defect(
                    f"{columns.name}[{low[3]}] and {columns.name}[{high[3]}] touch, have equal flags, "
                    "and are not one region",
                    (low[0], high[0]),
                )


def storage_corrupt(facts: Facts) -> Iterator[Defect]:
    """Yield the damage that the decoder found, and blocks whose physical address cannot be right."""
    yield from common.defects(facts)
    blocks, bases, spans = storage_of(facts.snapshot).blocks, facts.once(_block_bases), []
    for number, (block, base) in enumerate(zip(blocks, bases, strict=True)):
        if base is None or block.size is None:
            continue
        spans.append((base, base + block.size, number))
        if base % block.size:
            yield Defect(f"block {number} is not aligned to its size {block.size:#x}", (base,))
    for low, high in pairwise(sorted(spans)):
        if high[0] < low[1]:
            yield Defect(f"blocks {low[2]} and {high[2]} lie in the same memory", (low[0], high[0]))
    for number, (block, base) in enumerate(zip(blocks, bases, strict=True)):
        if base is not None and block.base is not None and base != block.base:
            yield Defect(
                f"block {number} says that it lies at {block.base:#x}, but its entries are used at {base:#x}",
                (block.base, base),
            )


# The number of each block that takes up memory, and where: but a static block 0.
def _block_spans(facts: Facts) -> list[tuple[int, int, int]]:
    bases = enumerate(zip(facts.once(_block_bases), storage_of(facts.snapshot).blocks, strict=True))
    return [
        (number, base, base + block.size)
        for number, (base, block) in bases
        if base is not None and block.size is not None
    ]


# The bytes of reserved regions with LMB_BLOCK, in the revisions that have that flag.
def _flagged(facts: Facts) -> list[Range]:
    regions, limit = facts.snapshot.reserved, facts.snapshot.phys_addr_max
    rows = zip(regions.base, regions.size, regions.flags, strict=True)
    return union((base, min(base + size, limit)) for base, size, flags in rows if flags & LMB_BLOCK)


def block_unflagged(facts: Facts) -> Iterator[Defect]:
    """Yield blocks in reserved regions without LMB_BLOCK (rules 1, 6 and 8 of the design)."""
    if not storage_of(facts.snapshot).is_second:
        return
    spans = facts.once(_block_spans)
    bare = subtract(union((base, end) for _, base, end in spans), facts.once(_flagged))
    reserved = list(facts.columns[1].covered()) if bare else []
    for base, end in bare:
        # What is not reserved at all is of another code.
        for low, high in subtract([(base, end)], subtract([(base, end)], reserved)):
            number = next(number for number, start, stop in spans if start <= low < stop)
            yield Defect(
                f"block {number} lies in [{low:#x}, {high:#x}), which is reserved without the flag BLOCK", (low, high)
            )


def no_block(facts: Facts) -> Iterator[Defect]:
    """Yield what is reserved with LMB_BLOCK, but is no block (rule 8 of the design).

    Not all blocks are known where the chain is cut off, a header does not say where it lies, or two say the same.
    """
    storage, spans = storage_of(facts.snapshot), facts.once(_block_spans)
    blocks = union((base, end) for _, base, end in spans)
    known = storage.nr_blocks == len(storage.blocks) and all(one.static or one.own_range for one in storage.blocks)
    apart = sum(end - base for base, end in blocks) == sum(end - base for _, base, end in spans)
    if storage.is_second and known and apart:
        for base, end in subtract(facts.once(_flagged), blocks):
            yield Defect(f"[{base:#x}, {end:#x}) is reserved with the flag BLOCK, but no block lies there", (base, end))


def bad_flags(facts: Facts) -> Iterator[Defect]:
    """Yield regions of memory with LMB_BLOCK, a flag of reserved ones (rule 3 of the design)."""
    memory = facts.snapshot.memory
    for at, flags in enumerate(memory.flags if storage_of(facts.snapshot).is_second else ()):
        if flags & LMB_BLOCK:
            yield Defect(f"memory[{at}] has the flag BLOCK, which none of memory has", (memory.base[at],))


def outside_firmware(facts: Facts) -> Iterator[Defect]:
    """Yield ranges of the memory list that are not RAM in the firmware's map (rule 10 of the design)."""
    return common.outside_firmware(facts, alone=storage_of(facts.snapshot).is_second)


def block_unreserved(facts: Facts) -> Iterator[Defect]:
    """Yield blocks that do not lie in reserved memory (rule 6 of the design)."""
    spans = facts.once(_block_spans)
    reserved, taken = facts.columns[1], union((base, end) for _, base, end in spans)
    if covers(reserved.regions.base, reserved.ends, taken):
        return
    bare = subtract(taken, reserved.covered())
    for number, base, end in spans:
        at = bisect_right(bare, base, key=itemgetter(1))
        if at < len(bare) and bare[at][0] < end:
            yield Defect(
                f"block {number} at {base:#x} (size {end - base:#x}) is not reserved: "
                "an allocation may overwrite the entries in it",
                (base,),
            )


def freelist_exhausted(facts: Facts) -> Iterator[Defect]:
    """Yield an empty freelist: the last entry is kept to reserve the next block (rule 6 of the design)."""
    storage = storage_of(facts.snapshot)
    if not len(storage.free) and (storage.free_walk is None or storage.free_walk.complete):
        yield Defect("the freelist is empty: the last entry must be kept to gain the next block")


def bad_limit(facts: Facts) -> Iterator[Defect]:
    """Yield a current_limit below which there is nothing to hand out, until the hand-over (rule 4 of the design)."""
    snapshot = facts.snapshot
    if storage_of(snapshot).closed:
        return
    least = snapshot.page_size
    usable = (max(base, least) for base, end in snapshot.memory.ranges(without_flags=LMB_NOMAP) if end > least)
    first = next(usable, None)
    if first is not None and all(snapshot.current_limit <= low for low in chain((first,), usable)):
        yield Defect(f"current_limit is {snapshot.current_limit:#x}: all of memory is above it")


def handover_mismatch(facts: Facts) -> Iterator[Defect]:
    """Yield where the ranges handed over are not the free whole pages.

    Source: `lmb_free_all()` (rule 9 of the design).
    """
    snapshot, given = facts.snapshot, facts.snapshot.handover
    storage = storage_of(snapshot)
    if not storage.closed and storage.handover_nr and snapshot.torn is None:
        yield Defect(f"{storage.handover_nr} ranges were handed over, but the allocator is not closed")
    if given is None:
        return
    memory, reserved = facts.columns
    should = whole_pages(subtract(memory.covered(LMB_NOMAP), reserved.covered()), snapshot.page_size)
    if storage.handover_nr != len(should):
        yield Defect(f"{storage.handover_nr} ranges were handed over, not {len(should)}")
    # A full table holds the lowest ranges: compare those.
    if storage.handover_nr is not None and storage.handover_nr > len(given):
        should = should[: len(given)]
    got = union(given)
    for base, end in subtract(got, should):
        yield Defect(f"[{base:#x}, {end:#x}) was handed over, but is reserved or no memory", (base, end))
    for base, end in subtract(should, got):
        yield Defect(f"[{base:#x}, {end:#x}) is free memory, but was not handed over", (base, end))


CHECKS: tuple[Check, ...] = (
    links_with("link-broken"),
    links_with("link-wild"),
    links_with("list-cycle"),
    Check("entry-shared", FINDING, entry_shared),
    Check("entry-lost", FINDING, entry_lost),
    Check("count-mismatch", FINDING, count_mismatch),
    Check("size-mismatch", FINDING, size_mismatch),
    Check("free-count-mismatch", FINDING, free_count_mismatch),
    Check("unsorted", FINDING, common.unsorted),
    Check("overlap", FINDING, common.overlap),
    Check("unmerged", FINDING, unmerged),
    Check("empty-region", FINDING, common.empty_region),
    Check("region-wraps", FINDING, common.region_wraps),
    Check("block-unreserved", FINDING, block_unreserved),
    Check("block-unflagged", FINDING, block_unflagged),
    Check("no-block", FINDING, no_block),
    Check("bad-flags", FINDING, bad_flags),
    Check("storage-corrupt", FINDING, storage_corrupt),
    Check("bad-name", FINDING, partial(common.defects, code="bad-name")),
    Check("bad-limit", FINDING, bad_limit),
    Check("freelist-exhausted", FINDING, freelist_exhausted),
    Check("outside-firmware", FINDING, outside_firmware),
    Check("handover-mismatch", FINDING, handover_mismatch),
    Check("required-unreserved", FINDING, common.required_unreserved),
    Check("required-not-memory", FINDING, common.required_not_memory),
    Check("required-overlap", FINDING, common.required_overlap),
    Check("reserved-outside-memory", NOTE, common.reserved_outside_memory),
)
