# SPDX-License-Identifier: GPL-2.0-or-later
"""Going on from a walked state: may a model do so, and what would one operation do there, told as a difference.

What must hold of any walked state is checked here; the rest is each allocator's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gdb_lmb.core.errors import GuestPanicError, StateError
from gdb_lmb.core.holes import bounds, holes, largest
from gdb_lmb.core.operation import Model
from gdb_lmb.core.snapshot import Region, RegionList, Snapshot

Argument = int | str | bool


def unfit(why: str) -> StateError:
    """Return the error for a state that is damaged: what is wrong with it, in words."""
    return StateError(f"no model goes on from here: {why} (lmb-check lists all)")


def require_whole(snapshot: Snapshot, layout: str, owner: str) -> None:
    """Check that a state is one of `layout`, not torn, and that it was read without a defect.

    `owner` names the expected allocator ("a memblock's"). Raises: `StateError`.
    """
    if snapshot.layout != layout:
        raise StateError(f"this state is of layout {snapshot.layout}, not {owner}")
    if snapshot.torn:
        raise StateError(
            f"the stop is inside {snapshot.torn}, so the lists may be between two states: `finish` it first"
        )
    for defect in snapshot.defects:
        raise unfit(defect.what)


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

    `reason` says why it fails, None where it does not; `result` is None where there would be none, or none that
    can be told. `growth` tells in sentences what becomes of the allocator's own storage, `storage` the same as
    members of schema `gdb-lmb/whatif/1`: "entries", "blocks" and "arrays", as far as the allocator has them.
    `unverified` says why the model may not be this kernel's.
    """

    op: str
    arguments: Mapping[str, Argument]
    result: int | None
    before: Snapshot
    after: Snapshot
    changes: tuple[Change, ...]
    reason: str | None = None
    growth: tuple[str, ...] = ()
    storage: Mapping[str, Any] = field(default_factory=dict)
    unverified: str | None = None


def predict(model: Model, op: str, **arguments: Argument) -> Prediction:
    """Run the model's method `op`, which leaves it in the state after it, and tell what that did."""
    result = reason = None
    before = after = model.snapshot()
    try:
        result = getattr(model, op)(**arguments)
        after = model.snapshot()
    except GuestPanicError as end:
        reason = f"the kernel {'overwrites its own lists' if end.overwrites else 'stops with'}: {end}"
    return Prediction(op, arguments, result, before, after, tuple(changes(before, after)), reason)


def no_room(state: Snapshot, size: int, align: int, min: int, max: int) -> tuple[str, bool]:
    """Return that there is no memory in [min, max), and whether `size` bytes aligned to `align` would fit there."""
    low, high = bounds(state, min, max)
    base, end = largest(holes(state, low, high), align or 1)
    most = f"the largest allocation possible there is {end - base:#x} bytes" if end else "nothing is free there"
    fits = end - base >= size
    return f"no memory in [{low:#x}, {high:#x})" + ("" if fits else f": {most}"), fits


def changes(before: Snapshot, after: Snapshot) -> Iterator[Change]:
    """Yield what became of the regions that are not in both states, list by list, lowest first."""
    for old, new in zip(before.lists, after.lists, strict=True):
        gone, come = _rows(old), _rows(new)
        differing = [(row, 0) for row in gone - come] + [(row, 1) for row in come - gone]
        reach, stretches = -1, list[tuple[list[Row], list[Row]]]()
        for row, side in sorted(differing, key=lambda one: (one[0].base, one[0].end, one[1])):
            if row.base > reach:  # a change is as wide as regions of either state touch one another
                stretches.append(([], []))
            stretches[-1][side].append(row)
            reach = max(reach, row.end)
        yield from (Change(old.name, tuple(one), tuple(other)) for one, other in stretches)


def _rows(regions: RegionList) -> set[Row]:
    nids = regions.nid if len(regions.nid) else [None] * len(regions)
    rows = zip(regions.base, regions.size, regions.flags, nids, strict=True)
    return set() if regions.dummy else {Row(*row) for row in rows}
