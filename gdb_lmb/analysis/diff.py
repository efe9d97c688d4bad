# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything in which two states differ: regions with their entries, and values; for a table of - and +."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from gdb_lmb.analysis.compare import array_place, elsewhere, shown
from gdb_lmb.core.snapshot import Entry, RegionList, Snapshot

EXPECTED, FOUND = "-", "+"

MAX_ROWS = 1000
"""How many differing regions are kept; the rest is counted."""


@dataclass(frozen=True)
class RegionRow:
    """A region that only one of the states has: `sign` is "-" for the expected one, "+" for the one found.

    `position` is its place in the list; `nid` is None where the kernel knows no nodes, `entry` where regions
    lie in an array. Base and size are bytes.
    """

    sign: str
    list: str
    position: int
    base: int
    size: int
    flags: int
    nid: int | None = None
    entry: Entry | None = None


@dataclass(frozen=True)
class ValueRow:
    """A counter, a switch or a place that is not what it should be, both ways in words."""

    name: str
    expected: str
    found: str


@dataclass(frozen=True)
class StateDiff:
    """All that differs; `omitted` counts the region rows past `MAX_ROWS`."""

    regions: tuple[RegionRow, ...] = ()
    values: tuple[ValueRow, ...] = ()
    omitted: int = 0


def diff(expected: Snapshot, found: Snapshot) -> StateDiff:
    """Return every difference between two states of one layout, regions in ascending order."""
    rows: list[RegionRow] = []
    values: list[ValueRow] = []
    for name in ("memory", "reserved", "physmem"):
        want, got = getattr(expected, name), getattr(found, name)
        if want is None or got is None or name in found.refused:
            continue
        only = _only_in_one(expected, want, EXPECTED, found, got, FOUND)
        rows += only
        if not only and list(want.base) != list(got.base):
            values.append(ValueRow(f"order of {name}", "sorted as expected", "the same regions in another order"))
        values += _values(want, got, ("cnt", "max", "total_size"), f"{name}.")
    values += _freelists(expected, found)
    values += _blocks(expected, found)
    arrays = {array.name: array for array in expected.arrays}
    values += [
        ValueRow(f"array of {got.name}", array_place(arrays[got.name]), array_place(got))
        for got in found.arrays
        if got.name in arrays and got.name not in found.refused and elsewhere(arrays[got.name], got)
    ]
    switches = ["current_limit", "bottom_up"]
    if expected.layout != "memblock":
        switches += ["may_grow", "closed", "nr_free", "nr_blocks", "block_size"]
    values += _values(expected, found, tuple(switches))
    values += _handover(expected, found)
    values += [ValueRow("walk", "no damage", defect.what) for defect in found.defects]
    return StateDiff(tuple(rows[:MAX_ROWS]), tuple(values), max(0, len(rows) - MAX_ROWS))


_Key = tuple[int, int, int, "int | None", "Entry | None"]


def _keys(snapshot: Snapshot, regions: RegionList) -> list[_Key]:
    nids: list[int | None] = list(regions.nid) if len(regions.nid) == len(regions) else [None] * len(regions)
    entries = [snapshot.entry(index) if snapshot.blocks else None for index in regions.entry]
    return list(zip(regions.base, regions.size, regions.flags, nids, entries, strict=True))


def _only_in_one(
    expected: Snapshot, want: RegionList, minus: str, found: Snapshot, got: RegionList, plus: str
) -> list[RegionRow]:
    wanted, gotten = _keys(expected, want), _keys(found, got)
    rows = [
        *_rows(wanted, Counter(gotten), minus, want.name),
        *_rows(gotten, Counter(wanted), plus, got.name),
    ]
    return sorted(rows, key=lambda row: (row.base, row.base + row.size, row.sign != minus, row.position))


def _rows(keys: list[_Key], others: Counter[_Key], sign: str, name: str) -> Iterator[RegionRow]:
    """Yield what `keys` has more often than `others`."""
    for position, key in enumerate(keys):
        if others[key]:
            others[key] -= 1
        else:
            yield RegionRow(sign, name, position, *key)


def _values(want: object, got: object, names: tuple[str, ...], prefix: str = "") -> Iterator[ValueRow]:
    for name in names:
        expected, found = getattr(want, name), getattr(got, name)
        if expected != found:
            yield ValueRow(prefix + name, shown(name, expected), shown(name, found))


def _freelists(expected: Snapshot, found: Snapshot) -> Iterator[ValueRow]:
    if expected.free == found.free:
        return
    for at in range(max(len(expected.free), len(found.free))):
        want, got = _free_entry(expected, at), _free_entry(found, at)
        if want != got:  # the first is enough: what follows is often the whole rest, shifted by one
            yield ValueRow(f"freelist[{at}]", want, got)
            return


def _free_entry(snapshot: Snapshot, at: int) -> str:
    if at >= len(snapshot.free):
        return "the end"
    where = snapshot.entry(snapshot.free[at])
    return f"entry {where.block}:{where.slot}"


def _blocks(expected: Snapshot, found: Snapshot) -> Iterator[ValueRow]:
    for number in range(max(len(expected.blocks), len(found.blocks))):
        want, got = _block(expected, number), _block(found, number)
        if want != got:
            yield ValueRow(f"block {number}", want, got)


def _block(snapshot: Snapshot, number: int) -> str:
    if number >= len(snapshot.blocks):
        return "none"
    block = snapshot.blocks[number]
    return f"{block.nr} entries at {block.base:#x}"


def _handover(expected: Snapshot, found: Snapshot) -> Iterator[ValueRow]:
    if expected.handover is None or found.handover is None or expected.handover == found.handover:
        return
    yield ValueRow("ranges handed over", str(expected.handover_nr), f"{found.handover_nr}, or other ones")
