# SPDX-License-Identifier: GPL-2.0-or-later
"""What one operation would do: run on a model that goes on from a walked state, told as a difference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from gdb_lmb.allocators.lmb.storage import Block, LmbStorage
from gdb_lmb.allocators.memblock.storage import MemblockStorage, RegionArray
from gdb_lmb.core.snapshot import Region, RegionList, Snapshot

Argument = int | str | bool


class Model(Protocol):
    """A reference model: operations are its methods, `snapshot` tells the state that they leave."""

    def snapshot(self) -> Snapshot:
        """Return the whole state."""


@dataclass(frozen=True)
class Row(Region):
    """A region with its node, None where the allocator knows no nodes."""

    nid: int | None = None


@dataclass(frozen=True)
class Change:
    """Regions of one list that became other regions: those of one stretch, in ascending order."""

    list: str
    before: tuple[Row, ...]
    after: tuple[Row, ...]


@dataclass(frozen=True)
class Doubling:
    """An array of memblock's that had to grow: how many regions it held, and where the new one lies."""

    list: str
    before: int
    array: RegionArray


@dataclass(frozen=True)
class Prediction:
    """What an operation would do: its result as the kernel returns it, and how `after` differs from `before`.

    `gained` are the blocks of a list-based LMB, numbered from `first_gained` on; `popped` and `pushed` the entries
    that leave the freelist and come back to it on balance, `free` its length before and after. `doubled` are
    memblock's arrays. `reason` says why it fails, empty where it does not; `result` is None where there would be
    none, or none that can be told.
    """

    op: str
    arguments: Mapping[str, Argument]
    result: int | None
    before: Snapshot
    after: Snapshot
    changes: tuple[Change, ...]
    gained: tuple[Block, ...] = ()
    first_gained: int = 0
    free: tuple[int, int] = (0, 0)
    popped: int = 0
    pushed: int = 0
    doubled: tuple[Doubling, ...] = ()
    reason: str = ""


def predict(model: Model, op: str, **arguments: Argument) -> Prediction:
    """Run `op` on the model, which is then in the state after it, and tell what that did."""
    before = model.snapshot()
    result: int | None = getattr(model, op)(**arguments)
    after = model.snapshot()
    prediction = Prediction(op, arguments, result, before, after, tuple(changes(before, after)))
    old, new = before.storage, after.storage
    if isinstance(old, LmbStorage) and isinstance(new, LmbStorage):
        left, taken = ({*state.memory.entry, *state.reserved.entry} for state in (before, after))
        return replace(
            prediction,
            gained=new.blocks[len(old.blocks) :],
            first_gained=len(old.blocks),
            popped=len(taken - left),
            pushed=len(left - taken),
            free=(len(old.free), len(new.free)),
        )
    if isinstance(old, MemblockStorage) and isinstance(new, MemblockStorage):
        grown = zip(old.arrays, new.arrays, strict=True)
        return replace(prediction, doubled=tuple(Doubling(a.name, a.max, b) for a, b in grown if a.max != b.max))
    return prediction


def changes(before: Snapshot, after: Snapshot) -> Iterator[Change]:
    """Yield what became of the regions that are not in both states, list by list, lowest first."""
    for old, new in zip(before.lists, after.lists, strict=True):
        gone, come = _rows(old), _rows(new)
        kept = set(gone) & set(come)
        yield from _stretches(old.name, (r for r in gone if r not in kept), (r for r in come if r not in kept))


def _rows(regions: RegionList) -> list[Row]:
    """Return the regions of a list; the dummy that means empty is none."""
    nids = regions.nid if len(regions.nid) else [None] * len(regions)
    rows = zip(regions.base, regions.size, regions.flags, nids, strict=True)
    return [] if regions.dummy else [Row(*row) for row in rows]


def _stretches(name: str, gone: Iterable[Row], come: Iterable[Row]) -> Iterator[Change]:
    """Yield the changes, each as wide as regions of either state touch one another."""
    rows = sorted([(row.base, row.end, 0, row) for row in gone] + [(row.base, row.end, 1, row) for row in come],
                  key=lambda row: row[:3])  # fmt: skip
    sides: tuple[list[Row], list[Row]] = ([], [])
    reach = -1
    for base, end, side, row in rows:
        if base > reach and reach >= 0:
            yield Change(name, tuple(sides[0]), tuple(sides[1]))
            sides = ([], [])
        sides[side].append(row)
        reach = max(reach, end)
    if reach >= 0:
        yield Change(name, tuple(sides[0]), tuple(sides[1]))
