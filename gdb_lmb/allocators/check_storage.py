# SPDX-License-Identifier: GPL-2.0-or-later
"""Storage of the list-based LMB: blocks, their chain, and the freelist."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise

from gdb_lmb.allocators.check import Facts, Fault
from gdb_lmb.core.snapshot import covers, subtract, union


def storage_corrupt(facts: Facts) -> Iterator[Fault]:
    snapshot = facts.snapshot
    for defect in snapshot.defects:
        yield Fault(defect.what, defect.addresses)
    spans = []
    for number, (block, base) in enumerate(zip(snapshot.blocks, facts.block_bases, strict=True)):
        if not block.size:
            continue
        spans.append((base, base + block.size, number))
        if base % block.size:
            yield Fault(f"block {number} is not aligned to its size {block.size:#x}", (base,))
    for low, high in pairwise(sorted(spans)):
        if high[0] < low[1]:
            yield Fault(f"blocks {low[2]} and {high[2]} lie in the same memory", (low[0], high[0]))
    for number, base in enumerate(facts.block_bases):
        block = snapshot.blocks[number]
        if base != block.base:
            yield Fault(
                f"block {number} says that it lies at {block.base:#x}, but its entries are used at {base:#x}",
                (block.base, base),
            )


def block_unreserved(facts: Facts) -> Iterator[Fault]:
    blocks = facts.snapshot.blocks
    spans = [(base, base + block.size) for base, block in zip(facts.block_bases, blocks, strict=True)]
    reserved = facts.columns[1]
    taken = union(spans)
    if not reserved.collides and covers(reserved.regions.base, reserved.ends, taken):
        return
    bare = subtract(taken, reserved.covered())
    stops = [stop for _, stop in bare]
    for number, (base, end) in enumerate(spans):
        at = bisect_right(stops, base)
        if base < end and at < len(bare) and bare[at][0] < end:
            yield Fault(
                f"block {number} at {base:#x} (size {end - base:#x}) is not reserved: "
                "an allocation may overwrite the entries in it",
                (base,),
            )


def freelist_exhausted(facts: Facts) -> Iterator[Fault]:
    snapshot = facts.snapshot
    if not len(snapshot.free) and (snapshot.free_walk is None or snapshot.free_walk.complete):
        yield Fault("the freelist is empty: the last entry must be kept to gain the next block")
