# SPDX-License-Identifier: GPL-2.0-or-later
"""In what two states of a list-based LMB differ beside their lists of regions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from gdb_lmb.allocators.difference import SWITCHES, Difference, ValueRow, damage, value_differences
from gdb_lmb.allocators.lmb.storage import Block, LmbStorage, storage_of
from gdb_lmb.core.ranges import Range
from gdb_lmb.core.snapshot import Snapshot


def differences(expected: Snapshot, found: Snapshot) -> Iterator[Difference]:
    """Yield in what freelists, blocks, switches, counters and ranges handed over differ, and damage that was met."""
    want, got = storage_of(expected), storage_of(found)
    yield from _freelist(want, got)
    yield from _blocks(want, got)
    yield from value_differences(expected, found, SWITCHES)
    yield from value_differences(want, got, ("may_grow", "closed"))
    yield from value_differences(want, got, ("nr_free", "nr_blocks", "block_size"), redundant=True)
    if expected.handover is not None and found.handover is not None:
        yield from _handover(expected.handover, found.handover, want.handover_nr, got.handover_nr)
    yield from damage(found)
    walks = {found.memory.name: found.memory.walk, found.reserved.name: found.reserved.walk, "free": got.free_walk}
    for name, walk in walks.items():
        if walk is not None and not walk.mutual:
            yield Difference(f"the links of the {name} list do not agree with each other", name, redundant=True)


def _freelist(want: LmbStorage, got: LmbStorage) -> Iterator[Difference]:
    pairs = zip_longest(want.free, got.free) if want.free != got.free else ()
    for at, (one, other) in enumerate(pairs):
        if one != other:  # the first is enough: what follows is often the whole rest, shifted by one
            row = ValueRow(f"freelist[{at}]", _entry(want, one), _entry(got, other))
            message = f"the freelist has {row.found} at place {at}, but {row.expected} is expected"
            if one is None or other is None:
                message = f"the freelist has {len(got.free)} entries, but {len(want.free)} are expected"
            yield Difference(message, value=row)
            return


def _entry(storage: LmbStorage, index: int | None) -> str:
    where = None if index is None else storage.entry(index)
    return "the end" if where is None else f"entry {where.block}:{where.slot}"


def _blocks(want: LmbStorage, got: LmbStorage) -> Iterator[Difference]:
    for number, (one, other) in enumerate(zip_longest(want.blocks, got.blocks)):
        row = ValueRow(f"block {number}", _block(one), _block(other))
        if row.expected != row.found:
            message = f"there are {len(got.blocks)} blocks, but {len(want.blocks)} are expected"
            if one is not None and other is not None:
                lies = f"block {number} lies at {other.base or 0:#x} with {other.nr} entries"
                message = f"{lies}, but {one.base or 0:#x} with {one.nr} is expected"
            yield Difference(message, value=row)


def _block(block: Block | None) -> str:
    return "none" if block is None else f"{block.nr} entries at {block.base or 0:#x}"


def _handover(want: Sequence[Range], got: Sequence[Range], want_nr: int, got_nr: int) -> Iterator[Difference]:
    row = ValueRow("ranges handed over", str(want_nr), f"{got_nr}, or other ones")
    at = next((at for at, (one, other) in enumerate(zip(want, got, strict=False)) if one != other), None)
    if want_nr != got_nr:
        message = f"{got_nr} ranges were handed over, but {want_nr} are expected"
        yield Difference(message, value=row, redundant=True)
    elif at is not None:
        one, other = (f"[{base:#x}, {end:#x})" for base, end in (got[at], want[at]))
        message = f"range {at} handed over is {one}, but {other} is expected"
        yield Difference(message, address=min(want[at][0], got[at][0]), value=row, redundant=True)
