# SPDX-License-Identifier: GPL-2.0-or-later
"""In what two states of a list-based LMB differ beside their lists of regions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

from gdb_lmb.allocators.difference import Difference, ValueRow, damage, value_differences
from gdb_lmb.allocators.lmb.storage import Block, LmbStorage, storage_of
from gdb_lmb.core.snapshot import Snapshot


def storage_differences(want: LmbStorage, got: LmbStorage) -> Iterator[Difference]:
    """Yield the first difference of the freelists, and each of the blocks."""
    if want.free != got.free:
        yield from _freelist(want, got)
    for number, (block, other) in enumerate(zip_longest(want.blocks, got.blocks)):
        row = ValueRow(f"block {number}", _block(block), _block(other))
        if row.expected == row.found:
            continue
        message = f"there are {len(got.blocks)} blocks, but {len(want.blocks)} are expected"
        if block is not None and other is not None:
            message = (
                f"block {number} lies at {other.base or 0:#x} with {other.nr} entries, but {block.base or 0:#x} with "
                f"{block.nr} is expected"
            )
        yield Difference(message, value=row)


def _freelist(want: LmbStorage, got: LmbStorage) -> Iterator[Difference]:
    for at, (one, other) in enumerate(zip_longest(want.free, got.free)):
        if one != other:  # the first is enough: what follows is often the whole rest, shifted by one
            row = ValueRow(f"freelist[{at}]", _entry(want, one), _entry(got, other))
            message = f"the freelist has {len(got.free)} entries, but {len(want.free)} are expected"
            if one is not None and other is not None:
                message = f"the freelist has {row.found} at place {at}, but {row.expected} is expected"
            yield Difference(message, value=row)
            return


def _entry(storage: LmbStorage, index: int | None) -> str:
    if index is None:
        return "the end"
    where = storage.entry(index)
    return f"entry {where.block}:{where.slot}"


def _block(block: Block | None) -> str:
    return "none" if block is None else f"{block.nr} entries at {block.base or 0:#x}"


def value_differences_of(expected: Snapshot, found: Snapshot) -> Iterator[Difference]:
    """Yield in what switches, counters and the ranges handed over differ, and links that do not agree."""
    want, got = storage_of(expected), storage_of(found)
    yield from value_differences(want, got, ("may_grow", "closed"))
    yield from value_differences(want, got, ("nr_free", "nr_blocks", "block_size"), redundant=True)
    yield from _handover(expected, found, want.handover_nr, got.handover_nr)
    yield from damage(found)
    walks = {found.memory.name: found.memory.walk, found.reserved.name: found.reserved.walk, "free": got.free_walk}
    for name, walk in walks.items():
        if walk is not None and not walk.mutual:
            yield Difference(f"the links of the {name} list do not agree with each other", name, redundant=True)


def _handover(expected: Snapshot, found: Snapshot, want_nr: int, got_nr: int) -> Iterator[Difference]:
    if expected.handover is None or found.handover is None:
        return  # `closed` tells; and some programs keep no table
    row = ValueRow("ranges handed over", str(want_nr), f"{got_nr}, or other ones")
    if want_nr != got_nr:
        message = f"{got_nr} ranges were handed over, but {want_nr} are expected"
        yield Difference(message, value=row, redundant=True)
        return
    for at, (want, got) in enumerate(zip(expected.handover, found.handover, strict=False)):
        if want != got:
            message = (
                f"range {at} handed over is [{got[0]:#x}, {got[1]:#x}), but [{want[0]:#x}, {want[1]:#x}) is expected"
            )
            yield Difference(message, address=min(want[0], got[0]), value=row, redundant=True)
            return
