# SPDX-License-Identifier: GPL-2.0-or-later
"""Walking `struct list_head` lists that may be damaged, without losing what lies behind the damage.

A list is first followed from both ends as long as every link is mutual (`e->next->prev == e`). One bad
link stops each side at the same place, and both sides together still know every member. What remains
in a gap with two bad ends is followed leniently, but never into entries that another list owns. Every
step claims an entry not claimed before, or ends the walk: the work is bounded by the number of entries.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

from gdb_lmb.allocators.lmb.storage import Links
from gdb_lmb.core.snapshot import Walk


class NodeTable:
    """Turns the address of a list node into the index of its entry.

    Of each block the address of the first entry and the number of entries are known; `link` is offsetof(link).
    """

    def __init__(self, starts_va: Sequence[int], counts: Sequence[int], entry_size: int, link: int) -> None:
        runs = zip(starts_va, counts, accumulate(counts, initial=0), strict=False)
        rows = sorted((va, va + count * entry_size, at) for va, count, at in runs if count)
        columns: list[tuple[int, ...]] = list(zip(*rows, strict=True)) or [(), (), ()]
        self._starts, self._ends, self._first = columns
        self._entry_size = entry_size
        self._link = link

    def index(self, node_va: int) -> int | None:
        """Return the index of the entry whose link lies at `node_va`, None if that is in no block."""
        va = node_va - self._link
        row = bisect_right(self._starts, va) - 1
        if row < 0 or va >= self._ends[row]:
            return None
        slot, rest = divmod(va - self._starts[row], self._entry_size)
        return None if rest else self._first[row] + slot

    def follow(
        self, head_va: int, start_va: int, ahead: Sequence[int], behind: Sequence[int]
    ) -> tuple[array[int], bool]:
        """Follow `ahead` from the head while `behind` agrees; tell whether that led back to the head.

        No visited set is needed: a node's one `behind` link cannot agree with two predecessors. The body
        is `index()` once more, because a call for each entry would double the cost of the walk.
        """
        order = array("Q")
        append, starts, ends, first = order.append, self._starts, self._ends, self._first
        entry_size, link = self._entry_size, self._link
        find = bisect_right
        came_from, va = head_va, start_va
        while va != head_va:
            start = va - link
            row = find(starts, start) - 1
            if row < 0 or start >= ends[row]:
                return order, False
            offset = start - starts[row]
            slot = offset // entry_size
            i = first[row] + slot
            if slot * entry_size != offset or behind[i] != came_from:
                return order, False
            append(i)
            came_from, va = va, ahead[i]
        return order, True


@dataclass(frozen=True)
class Head:
    """A list's head: its own address and its two links."""

    va: int
    next_va: int
    prev_va: int


def walk_lists(heads: Sequence[Head], nodes: NodeTable, links: Links) -> list[tuple[array[int], Walk]]:
    """Return the members of each list as entry indexes in list order, as far as they can be known, and its walk.

    `links.va` holds node addresses. The walk of one list never depends on damage in another, save that
    a lenient walk stays out of what another list owns.
    """
    owned = bytearray(len(links.va))
    strict = []
    for head in heads:
        forward, returned = nodes.follow(head.va, head.next_va, links.next_va, links.prev_va)
        last_va = links.va[forward[-1]] if forward else head.va
        backward: list[int] = []
        # The forward walk may have skipped entries where it did not end at the head's prev link.
        if not returned or head.prev_va != last_va:
            found, _ = nodes.follow(head.va, head.prev_va, links.prev_va, links.next_va)
            known = set(forward)
            backward = [i for i in reversed(found) if i not in known]
        for i in chain(forward, backward):
            owned[i] = 1
        strict.append((forward, backward, returned))
    return [
        _join(head, forward, backward, returned, nodes, links, owned)
        for head, (forward, backward, returned) in zip(heads, strict, strict=True)
    ]


# The members of the forward and the backward walk, and those found between them.
def _join(
    head: Head,
    forward: array[int],
    tail: list[int],
    returned: bool,
    nodes: NodeTable,
    links: Links,
    owned: bytearray,
) -> tuple[array[int], Walk]:
    backward = deque(tail)

    def next_va() -> int:
        return links.next_va[forward[-1]] if forward else head.next_va

    def prev_va() -> int:
        return links.prev_va[backward[0]] if backward else head.prev_va

    def joined() -> bool:
        left = links.va[forward[-1]] if forward else head.va
        right = links.va[backward[0]] if backward else head.va
        return next_va() == right or prev_va() == left

    # Add the one member that both ends agree on, whose own links lead elsewhere: it is on this list too.
    def agreed() -> bool:
        i = nodes.index(next_va()) if next_va() == prev_va() else None
        if i is None or i in forward or i in backward:
            return False
        forward.append(i)
        owned[i] = 1
        return True

    complete = joined() or agreed()
    for follow, add in ((next_va, forward.append), (prev_va, backward.appendleft)):
        while not complete:
            i = nodes.index(follow())
            if i is None or owned[i]:
                break
            owned[i] = 1
            add(i)
            complete = joined()
    complete = complete or agreed()
    order = forward + array("Q", backward)
    mutual = returned and not tail and head.prev_va == (links.va[order[-1]] if order else head.va)
    return order, Walk(head.va, head.next_va, head.prev_va, complete, mutual)
