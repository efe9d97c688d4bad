# SPDX-License-Identifier: GPL-2.0-or-later
"""What always holds of a list-based LMB between two operations: its table of checks."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from gdb_lmb.allocators import check as regions
from gdb_lmb.allocators.check import Check, Facts
from gdb_lmb.allocators.lmb import check_links as links
from gdb_lmb.allocators.lmb.storage import storage_of
from gdb_lmb.core.ranges import covers, subtract, union, whole_pages
from gdb_lmb.core.snapshot import FINDING, LMB_NOMAP, NOTE, Defect


def _block_bases(facts: Facts) -> list[int | None]:
    """Return where each block lies: what its header says, unless all others show it to be wrong.

    Grown blocks are never freed, so all lie in one linear map: virtual less physical is the same for most.
    """
    blocks = storage_of(facts.snapshot).blocks
    bases = [block.base for block in blocks]
    grown = [block.header_va - block.base for block in blocks[1:] if block.header_va and block.base]
    (offset, votes), *_ = Counter(grown).most_common(1) or [(0, 0)]
    if votes * 2 <= len(grown):
        return bases
    return bases[:1] + [b.header_va - offset if b.header_va and b.base else b.base for b in blocks[1:]]


def unmerged(facts: Facts) -> Iterator[Defect]:
    """Yield neighbours that touch and have equal flags, which must be one region (rule 2 of the design)."""
    for columns in facts.columns:
        for low, high in pairwise(columns.sound_sorted if columns.collides else ()):
            if low[1] == high[0] and low[2] == high[2]:
                yield Defect(
                    f"{columns.name}[{low[3]}] and {columns.name}[{high[3]}] touch, have equal flags, "
                    "and are not one region",
                    (low[0], high[0]),
                )


def storage_corrupt(facts: Facts) -> Iterator[Defect]:
    """Yield the damage that the decoder found, and blocks whose physical address cannot be right."""
    yield from regions.defects(facts)
    blocks, bases, spans = storage_of(facts.snapshot).blocks, facts.once(_block_bases), []
    for number, (block, base) in enumerate(zip(blocks, bases, strict=True)):
        if base is None or not block.size:
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


def block_unreserved(facts: Facts) -> Iterator[Defect]:
    """Yield blocks that do not lie in reserved memory (rule 6 of the design)."""
    blocks = storage_of(facts.snapshot).blocks
    spans = [
        (base or 0, (base or 0) + block.size) for base, block in zip(facts.once(_block_bases), blocks, strict=True)
    ]
    reserved = facts.columns[1]
    taken = union(spans)
    if not reserved.collides and covers(reserved.regions.base, reserved.ends, taken):
        return
    bare = subtract(taken, reserved.covered())
    stops = [stop for _, stop in bare]
    for number, (base, end) in enumerate(spans):
        at = bisect_right(stops, base)
        if base < end and at < len(bare) and bare[at][0] < end:
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
    if storage.handover_nr > len(given):
        should = should[: len(given)]
    got = union(given)
    for base, end in subtract(got, should):
        yield Defect(f"[{base:#x}, {end:#x}) was handed over, but is reserved or no memory", (base, end))
    for base, end in subtract(should, got):
        yield Defect(f"[{base:#x}, {end:#x}) is free memory, but was not handed over", (base, end))


CHECKS: tuple[Check, ...] = (
    Check("link-broken", FINDING, links.links_with("link-broken")),
    Check("link-wild", FINDING, links.links_with("link-wild")),
    Check("list-cycle", FINDING, links.links_with("list-cycle")),
    Check("entry-shared", FINDING, links.entry_shared),
    Check("entry-lost", FINDING, links.entry_lost),
    Check("count-mismatch", FINDING, links.count_mismatch),
    Check("size-mismatch", FINDING, links.size_mismatch),
    Check("free-count-mismatch", FINDING, links.free_count_mismatch),
    Check("unsorted", FINDING, regions.unsorted),
    Check("overlap", FINDING, regions.overlap),
    Check("unmerged", FINDING, unmerged),
    Check("empty-region", FINDING, regions.empty_region),
    Check("region-wraps", FINDING, regions.region_wraps),
    Check("block-unreserved", FINDING, block_unreserved),
    Check("storage-corrupt", FINDING, storage_corrupt),
    Check("freelist-exhausted", FINDING, freelist_exhausted),
    Check("outside-firmware", FINDING, regions.outside_firmware),
    Check("handover-mismatch", FINDING, handover_mismatch),
    Check("reserved-outside-memory", NOTE, regions.reserved_outside_memory),
)
