# SPDX-License-Identifier: GPL-2.0-or-later
"""Two states of an allocator compared: everything in which they differ, in a fixed order.

`differences` is the one walk over both; `compare` takes its first difference, `diff` makes tables of all. What
the lists of regions do not hold is compared by the allocator itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

from gdb_lmb.allocators.base import allocator
from gdb_lmb.allocators.difference import EXPECTED, FOUND, Difference, RegionRow, ValueRow, value_differences
from gdb_lmb.core.snapshot import Entry, RegionList, Snapshot

MAX_ROWS = 1000
"""How many differing regions are kept; the rest is counted."""


@dataclass(frozen=True)
class StateDiff:
    """All that differs; `omitted` counts the region rows past `MAX_ROWS`."""

    regions: tuple[RegionRow, ...] = ()
    values: tuple[ValueRow, ...] = ()
    omitted: int = 0


def compare(expected: Snapshot, found: Snapshot, *, whole: bool = False) -> Difference | None:
    """Return the first difference between two states, None where there is none.

    Lists that `found` refuses are left out. Unless the `whole` state is compared, so are counters that only repeat
    the lists' contents (`Allocator.counters_repeat`).
    """
    if expected.layout != found.layout:
        return Difference(f"the allocator is {found.layout}, but {expected.layout} is expected")
    every = whole or not allocator(expected.layout).counters_repeat
    return next((one for one in differences(expected, found) if every or not one.redundant), None)


def diff(expected: Snapshot, found: Snapshot) -> StateDiff:
    """Return every difference between two states of one layout as tables, regions of a list in ascending order."""
    regions: list[RegionRow] = []
    values: list[ValueRow] = []
    for one in differences(expected, found):
        regions += one.regions
        if one.value is not None:
            values.append(one.value)
    return StateDiff(tuple(regions[:MAX_ROWS]), tuple(values), max(0, len(regions) - MAX_ROWS))


def differences(expected: Snapshot, found: Snapshot) -> Iterator[Difference]:
    """Yield each difference between two states of one layout: of the lists, then what their allocator compares."""
    got = {regions.name: regions for regions in found.lists}
    for want in expected.lists:
        if want.name in got and want.name not in found.refused:
            yield from _list_differences(expected, found, want, got[want.name])
    yield from allocator(expected.layout).differences(expected, found)


def _list_differences(expected: Snapshot, found: Snapshot, want: RegionList, got: RegionList) -> Iterator[Difference]:
    if not (
        want.base == got.base
        and want.size == got.size
        and want.flags == got.flags
        and want.nid == got.nid
        and (want.max is not None or want.entry == got.entry)
    ):  # mostly equal: whole columns are compared in C
        yield from _region_difference(expected, found, want, got)
    yield from value_differences(want, got, ("cnt", "max", "total_size"), got.name, redundant=True)


def _region_difference(expected: Snapshot, found: Snapshot, want: RegionList, got: RegionList) -> Iterator[Difference]:
    nodes = len(want.nid) == len(want) and len(got.nid) == len(got)
    wanted, gotten = _keys(expected, want, nodes), _keys(found, got, nodes)
    at = next((at for at, (a, b) in enumerate(zip_longest(wanted, gotten)) if a != b), None)
    if at is None:
        return
    if at < min(len(want), len(got)):
        one, other = wanted[at], gotten[at]
        if one[:4] != other[:4]:
            message = f"{got.name}[{at}] is {_region(other)}, but {_region(one)} is expected"
            address = min(one[0], other[0]) if one[0] != other[0] else min(one[0] + one[1], other[0] + other[1])
        else:
            message = (
                f"{got.name}[{at}] at {other[0]:#x} is stored in another entry than expected "
                f"(index {got.entry[at]}, not {want.entry[at]})"
            )
            address = other[0]
    else:
        message = f"the {got.name} list has {len(got)} regions, but {len(want)} are expected"
        address = (want if len(want) > len(got) else got).base[at]
    rows = sorted(
        [*_only(wanted, Counter(gotten), EXPECTED, got.name), *_only(gotten, Counter(wanted), FOUND, got.name)],
        key=lambda row: (row.base, row.base + row.size, row.sign != EXPECTED, row.position),
    )
    order = ValueRow(f"order of {got.name}", "sorted as expected", "the same regions in another order")
    yield Difference(message, got.name, address, tuple(rows), None if rows else order)


_Key = tuple[int, int, int, "int | None", "Entry | None"]


def _keys(snapshot: Snapshot, regions: RegionList, nodes: bool) -> list[_Key]:
    nids: list[int | None] = list(regions.nid) if nodes else [None] * len(regions)
    entries = map(snapshot.storage.entry, regions.entry)
    return list(zip(regions.base, regions.size, regions.flags, nids, entries, strict=True))


def _only(keys: list[_Key], others: Counter[_Key], sign: str, name: str) -> Iterator[RegionRow]:
    # What `keys` has more often than `others`.
    for position, key in enumerate(keys):
        if others[key]:
            others[key] -= 1
        else:
            yield RegionRow(sign, name, position, *key)


def _region(key: _Key) -> str:
    base, size, flags, nid, _ = key
    return f"[{base:#x}, {base + size:#x}) flags {flags:#x}" + ("" if nid is None else f" node {nid}")
