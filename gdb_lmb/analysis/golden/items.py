# SPDX-License-Identifier: GPL-2.0-or-later
"""Cutting an allocator's lists to items: pieces of regions, each with one owner or one role."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from heapq import heappop, heappush
from itertools import islice, pairwise, takewhile
from typing import NamedTuple

from gdb_lmb.core.golden import OWNER, ROLE, Item
from gdb_lmb.core.roles import Role
from gdb_lmb.core.snapshot import Place, RegionList

MEMORY, RESERVED = "memory", "reserved"
PAGE_TABLES = Role.PAGE_TABLES.value


class Owned(NamedTuple):
    """The reserved bytes [base, end), the function that reserved them, and the number of the operation."""

    base: int
    end: int
    name: str
    seq: int | None


def items_of(
    regions: RegionList, no_node: int | None, roles: Sequence[Place] = (), owned: Sequence[Owned] = ()
) -> Iterator[Item]:
    """Yield a list's regions in ascending order, what is reserved cut by owner, else by role.

    `owned` are disjoint; of `roles` that overlap the largest one counts.
    """
    nid: Sequence[int] = regions.nid or [-1] * len(regions)
    rows = sorted(zip(regions.base, regions.size, regions.flags, nid, strict=True))
    roles = sorted(roles, key=lambda role: role.base)
    owned = sorted(owned)
    for base, size, flags, node in rows:
        if not size:
            continue
        known = no_node is not None and 0 <= node < no_node
        whole = Item(regions.name, base, size, flags, node if known else None)
        if regions.name == RESERVED:
            yield from _cut(whole, roles, owned)
        else:
            yield whole


def _cut(whole: Item, roles: Sequence[Place], owned: Sequence[Owned]) -> Iterator[Item]:
    at = whole.base
    tables = [role for role in roles if role.what == PAGE_TABLES]
    first = max(bisect_right(owned, whole.base, key=lambda piece: piece.base) - 1, 0)
    for piece in takewhile(lambda piece: piece.base < whole.end, islice(owned, first, None)):
        base, end = max(piece.base, whole.base), min(piece.end, whole.end)
        if base < end:
            yield from _by_role(whole, at, base, roles)
            own = replace(whole, base=base, size=end - base, name=piece.name, by=OWNER, seq=piece.seq)
            inside = [part.name for part in _by_role(own, base, end, tables)]
            yield replace(own, role=PAGE_TABLES) if inside == [PAGE_TABLES] else own
            at = end
    yield from _by_role(whole, at, whole.end, roles)


def _by_role(whole: Item, base: int, end: int, roles: Sequence[Place]) -> Iterator[Item]:
    here = [role for role in roles if role.base < end and base < role.end]
    edges = sorted({base, end, *(at for role in here for at in (role.base, role.end) if base < at < end)})
    open_: list[tuple[int, int, str]] = []  # the largest first
    last: Item | None = None
    for low, high in pairwise(edges):
        while here and here[0].base <= low:
            role = here.pop(0)
            heappush(open_, (role.base - role.end, role.end, role.what))
        while open_ and open_[0][1] <= low:
            heappop(open_)
        name = open_[0][2] if open_ else None
        if last is not None and last.name == name:
            last = replace(last, size=high - last.base)
            continue
        if last is not None:
            yield last
        last = replace(whole, base=low, size=high - low, name=name, by=None if name is None else ROLE)
    if last is not None:
        yield last


def regions_of(items: Iterable[Item]) -> Iterator[Item]:
    """Yield items without their names, touching ones as one: what is comparable whoever has cut them."""
    last: Item | None = None
    for item in items:
        item = replace(item, name=None, by=None, seq=None, role=None)
        if last is not None and last.end == item.base and replace(item, base=last.base, size=last.size) == last:
            last = replace(last, size=last.size + item.size)
            continue
        if last is not None:
            yield last
        last = item
    if last is not None:
        yield last
