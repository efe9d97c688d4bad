# SPDX-License-Identifier: GPL-2.0-or-later
"""Links and entries: every link is mutual, every entry is on exactly one list, counters are right."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gdb_lmb.allocators.check import Facts
from gdb_lmb.allocators.lmb.storage import storage_of
from gdb_lmb.core.snapshot import Defect, Walk, column


@dataclass(frozen=True)
class _Member:
    """A list's name, its members' entry indexes, and its walk."""

    name: str
    order: Sequence[int]
    walk: Walk | None


def _members(facts: Facts) -> tuple[_Member, ...]:
    """Return the three lists of entries: memory, reserved, free."""
    snapshot, storage = facts.snapshot, storage_of(facts.snapshot)
    lists = (_Member(regions.name, regions.entry, regions.walk) for regions in (snapshot.memory, snapshot.reserved))
    return (*lists, _Member("free", storage.free, storage.free_walk))


def _owners(facts: Facts) -> bytearray:
    """Return on how many lists each entry is."""
    count = bytearray(storage_of(facts.snapshot).nr_entries)
    for member in facts.once(_members):
        for index in member.order:
            count[index] += 1
    return count


def _shared(facts: Facts) -> dict[int, list[str]]:
    """Return the entries that are on more than one list, with the lists' names."""
    names: dict[int, list[str]] = {}
    owners = facts.once(_owners)
    if max(owners, default=0) > 1:
        for member in facts.once(_members):
            for index in member.order:
                if owners[index] > 1:
                    names.setdefault(index, []).append(member.name)
    return names


def _bad_links(facts: Facts) -> list[tuple[str, Defect]]:
    """Return each link that does not lead to its neighbour, under the one code that names it best."""
    return list(_each_bad_link(facts))


def _each_bad_link(facts: Facts) -> Iterator[tuple[str, Defect]]:
    links = storage_of(facts.snapshot).links
    if links is None:
        return
    index_of: dict[int, int] = {}
    for member in facts.once(_members):
        if member.walk is None or member.walk.mutual:
            continue
        head, vas = member.walk.head_va, column(map(links.va.__getitem__, member.order))
        is_next = column([member.walk.head_next]) + column(map(links.next_va.__getitem__, member.order))
        is_prev = column(map(links.prev_va.__getitem__, member.order)) + column([member.walk.head_prev])
        if is_next == vas + column([head]) and is_prev == column([head]) + vas:
            continue
        index_of = index_of or {va: index for index, va in enumerate(links.va)}
        # By number: the head is 0, the list's first member 1.
        ring = [head, *vas]
        number_of = {va: number for number, va in enumerate(ring)}
        for word, found, step in (("next", is_next, 0), ("prev", is_prev, 1)):
            for at, got in enumerate(found):
                number = (at + step) % len(ring)
                want = ring[(number + 1 - 2 * step) % len(ring)]
                # An entry on two lists has one pair of links only: entry-shared reports it.
                if got == want or (number and member.order[number - 1] in facts.once(_shared)):
                    continue
                where, before = f"{member.name} list: {word} of {_who(number)}", number_of.get(got, 0)
                if word == "next" and 0 < before <= number:
                    yield "list-cycle", Defect(f"{where} leads back to {_who(before)}", (ring[number], got))
                else:
                    yield _link_fault(where, ring[number], got, index_of, member.walk)


def _who(number: int) -> str:
    """Name the list's head (0) or its member number - 1."""
    return f"member {number - 1}" if number else "the head"


def _link_fault(where: str, owner: int, got: int, index_of: dict[int, int], walk: Walk) -> tuple[str, Defect]:
    if got in index_of or got == walk.head_va:
        return "link-broken", Defect(f"{where} leads to {got:#x}, which does not lead back", (owner, got))
    return "link-wild", Defect(f"{where} leads to {got:#x}, which is no entry of any block", (owner, got))


def links_with(code: str) -> Callable[[Facts], Iterator[Defect]]:
    """Return the check that yields the bad links of one code."""

    def run(facts: Facts) -> Iterator[Defect]:
        return (fault for kind, fault in facts.once(_bad_links) if kind == code)

    return run


def _entry_fault(facts: Facts, index: int, what: str) -> Defect:
    storage = storage_of(facts.snapshot)
    where = storage.entry(index)
    return Defect(f"entry {where.block}:{where.slot} is {what}", (storage.entry_va(index) or 0,))


def entry_shared(facts: Facts) -> Iterator[Defect]:
    """Yield entries that are on more than one list."""
    for index, names in sorted(facts.once(_shared).items()):
        yield _entry_fault(facts, index, f"on {len(names)} lists: {', '.join(names)}")


def entry_lost(facts: Facts) -> Iterator[Defect]:
    """Yield entries that are on no list."""
    owners = facts.once(_owners)
    at = owners.find(0)
    while at >= 0:
        yield _entry_fault(facts, at, "on no list")
        at = owners.find(0, at + 1)


def _known(walk: Walk | None, counted: int, stored: int) -> bool:
    """Tell whether a counter can be judged: every member is known, or already too many are."""
    return walk is None or walk.complete or counted > stored


def count_mismatch(facts: Facts) -> Iterator[Defect]:
    """Yield a cnt that is not the number of regions on its list."""
    snapshot = facts.snapshot
    for regions in (snapshot.memory, snapshot.reserved):
        if regions.cnt != len(regions) and _known(regions.walk, len(regions), regions.cnt):
            yield Defect(f"{regions.name}.cnt is {regions.cnt}, but the list has {len(regions)} regions")


def size_mismatch(facts: Facts) -> Iterator[Defect]:
    """Yield a total_size that is not the sum of its list's regions, modulo 2^W."""
    snapshot = facts.snapshot
    for regions in (snapshot.memory, snapshot.reserved):
        total = sum(regions.size) & snapshot.phys_addr_max
        if regions.total_size != total and (regions.walk is None or regions.walk.complete):
            yield Defect(f"{regions.name}.total_size is {regions.total_size:#x}, but its regions sum to {total:#x}")


def free_count_mismatch(facts: Facts) -> Iterator[Defect]:
    """Yield an nr_free that is not the freelist's length."""
    storage = storage_of(facts.snapshot)
    if storage.nr_free != len(storage.free) and _known(storage.free_walk, len(storage.free), storage.nr_free):
        yield Defect(f"nr_free is {storage.nr_free}, but the freelist has {len(storage.free)} entries")
