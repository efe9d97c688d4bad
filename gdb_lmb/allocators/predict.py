# SPDX-License-Identifier: GPL-2.0-or-later
"""What one operation would do: run on a model that goes on from a walked state, told as a difference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gdb_lmb.core.holes import bounds, holes, largest
from gdb_lmb.core.operation import Model
from gdb_lmb.core.snapshot import Region, RegionList, Snapshot

Argument = int | str | bool


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
class Prediction:
    """What an operation would do: its result as the kernel returns it, and how `after` differs from `before`.

    `reason` says why it fails, empty where it does not; `result` is None where there would be none, or none that
    can be told. `growth` tells in sentences what becomes of the allocator's own storage, `storage` the same as
    members of schema `gdb-lmb/whatif/1`: "entries", "blocks" and "arrays", as far as the allocator has them.
    """

    op: str
    arguments: Mapping[str, Argument]
    result: int | None
    before: Snapshot
    after: Snapshot
    changes: tuple[Change, ...]
    reason: str = ""
    growth: tuple[str, ...] = ()
    storage: Mapping[str, Any] = field(default_factory=dict)


def predict(model: Model, op: str, **arguments: Argument) -> Prediction:
    """Run the model's method `op`, which leaves it in the state after it, and tell what that did."""
    before = model.snapshot()
    result: int | None = getattr(model, op)(**arguments)
    after = model.snapshot()
    return Prediction(op, arguments, result, before, after, tuple(changes(before, after)))


def no_room(state: Snapshot, size: int, align: int, min: int, max: int) -> tuple[str, bool]:
    """Return that there is no memory in [min, max), and whether `size` bytes aligned to `align` would fit there."""
    low, high = bounds(state, min, max)
    base, end = largest(holes(state, low, high) if high > low else (), align or 1)
    most = f"the largest allocation possible there is {end - base:#x} bytes" if end else "nothing is free there"
    fits = end - base >= size
    return f"no memory in [{low:#x}, {high:#x})" + ("" if fits else f": {most}"), fits


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
