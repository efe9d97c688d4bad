# SPDX-License-Identifier: GPL-2.0-or-later
"""Goldens: cutting an allocator's lists to items that last, and comparing two boots item by item.

Which reservations are merged to one region differs from boot to boot. So a region is cut to pieces, each with one
owner, or one role where no history tells, and the pieces are compared. They are matched by what they are called, then
by place, size and order. An address that has changed is no change where it stands still by one of its anchors: the
image where it lies in it, the end of RAM where RAM has another size, or the neighbour that the allocator has placed
before it (the next higher piece where it searches top-down) where that itself has changed: of a run that one change
has shifted, only that change is told.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property

from gdb_lmb.analysis.golden.items import MEMORY, PAGE_TABLES, RESERVED, regions_of
from gdb_lmb.analysis.golden.matching import Match, Matcher
from gdb_lmb.analysis.golden.relation import Relation, relation_of
from gdb_lmb.analysis.golden.words import Words
from gdb_lmb.core.golden import (
    APPEARED,
    DIRECTION,
    FLAGS,
    GREW,
    LIMIT,
    MERGED,
    MOVED,
    NODE,
    OWNED,
    OWNER,
    ROLE,
    SHRANK,
    SPLIT,
    VANISHED,
    WITH_AMOUNT,
    Change,
    Golden,
    GoldenStop,
    Item,
    Rule,
    Share,
)
from gdb_lmb.core.words import plural

_COPIES = 4
"""How many copies of its command line a kernel keeps, at most."""
_COARSE = 2 << 20
"""Bytes: what is more than `PMD_SIZE` is a coarse alignment."""
_SECTION_MAP_BYTES = 2 << 20
"""The memory map of a section. Source: `SECTION_SIZE_BITS` of x86-64 and arm64, with 64 bytes a page."""


class _Lists:
    # One list of two boots, matched, and the changes in it.

    def __init__(self, before: Sequence[Item], after: Sequence[Item], relation: Relation, words: Words) -> None:
        self.relation, self.words = relation, words
        self.match = Matcher(before, after, relation).run()
        self.before, self.after = self.match.before, self.match.after
        self.sources = {new: old for old, new in self.match.pairs.items()}

    def changes(self) -> Iterator[Change]:
        """Yield the changes in ascending order of address."""
        match, words = self.match, self.words
        rows: list[tuple[int, Change]] = []
        for at in match.gone:
            rows.append((self.before[at].base, words.change(VANISHED, self.before[at], None)))
        for at in match.new:
            rows.append((self.after[at].base, words.change(APPEARED, None, self.after[at])))
        for at, parts in match.splits.items():
            rows.append((self.before[at].base, words.split(self.before[at], [self.after[part] for part in parts])))
        for at, parts in match.merges.items():
            rows.append((self.after[at].base, words.merged([self.before[part] for part in parts], self.after[at])))
        for old, new in match.pairs.items():
            rows += ((self.after[new].base, change) for change in self._pair(old, new))
        rows.sort(key=lambda row: row[0])
        kept = self._within_totals([change for _, change in rows])
        yield from kept
        yield from self._order()

    def _pair(self, old: int, new: int) -> Iterator[Change]:
        before, after = self.before[old], self.after[new]
        relation, words = self.relation, self.words
        base = after.base in relation.edges(before.base)
        end = after.end in relation.edges(before.end)
        if not (base and end):
            scaled = before.list != MEMORY and relation.size_fits(before.size, after.size)
            near = (base or end) and before.size != after.size
            # Where more or less was taken before it, another hole may be the first one that a small piece fits in.
            fills = relation.loose and max(before.size, after.size) < relation.page_size
            # Only what is allocated goes where there is room.
            placed = before.list == RESERVED and (fills or old in self._displaced or self._follows(old, new))
            moved = not near and not placed
            if before.size != after.size and not scaled:
                yield words.resized(before, after, moved=moved)
            elif moved:
                anchors = relation.edges(before.base)
                anchor = min(anchors, key=lambda one: abs(after.base - one))
                yield words.moved(before, after, anchor, anchors[anchor])
        if before.flags != after.flags:
            yield words.change(FLAGS, before, after)
        if before.node != after.node:
            yield words.change(NODE, before, after)
        if before.name != after.name:
            yield words.change(OWNED, before, after)

    @cached_property
    def _displaced(self) -> set[int]:
        # What is elsewhere since the image, which has moved, or what that has displaced, lies where it was to be. The
        # allocator takes the first hole that fits: of its two places the first in the search was taken in the other
        # boot.
        found: list[int] = []
        displaces: defaultdict[int, list[int]] = defaultdict(list)
        for old, new in self.match.pairs.items() if self.relation.image_moved else ():
            for other in self._taken_by(old, new):
                if other is None:
                    found.append(old)
                else:
                    displaces[other].append(old)
        out: set[int] = set()
        while found:
            old = found.pop()
            if old not in out:
                out.add(old)
                found += displaces[old]
        return out

    def _taken_by(self, old: int, new: int) -> Iterator[int | None]:
        # What has moved and takes one of an item's two places in the other boot: others by their places in `before`,
        # None for the image, and for what has no counterpart, which is told by itself.
        relation, before, after = self.relation, self.before[old], self.after[new]
        images = relation.images
        if images is None:
            return
        rows = zip((before, after), images, strict=True)
        if any(low <= item.base and item.end <= high for item, (low, high) in rows):
            return  # it is a part of the image, not allocated
        anchors = relation.edges(before.base)
        for anchor in () if after.base in anchors else anchors:
            later = (after.base < anchor) == relation.top_down
            base = anchor if later else after.base - (anchor - before.base)
            end = base + (before if later else after).size
            items, pairs, own = (self.after, self.sources, new) if later else (self.before, self.match.pairs, old)
            low, high = images[1 if later else 0]
            if low < end and base < high:
                yield None
            first = bisect_left(items, base, key=lambda item: item.end - 1)
            for other in range(first, bisect_left(items, end, key=lambda item: item.base)):
                if other not in pairs:
                    yield None
                elif other != own:
                    yield pairs[other] if later else other

    def _follows(self, old: int, new: int) -> bool:
        # Whether an item is where it is since what the allocator took before it is there, or since what it touches
        # ends there.
        before, after = self.before[old], self.after[new]
        if old and new and self.match.pairs.get(old - 1) == new - 1:
            below, now = self.before[old - 1], self.after[new - 1]
            touches = below.end == before.base and now.end == after.base
            if touches and now.base in self.relation.edges(below.base):
                return True
        down = self.relation.top_down
        was, is_ = self._neighbour(self.before, old, 0), self._neighbour(self.after, new, 1)
        if was is None or is_ is None:
            return False
        gaps = [at - (item.end if down else item.base) for at, item in ((was[1], before), (is_[1], after))]
        alignment = (before.base | after.base) & -(before.base | after.base) if down else 1
        # A coarse alignment is believed only beside the neighbour: any address of many megabytes may have it.
        beside = 0 <= min(gaps) <= max(gaps) < alignment
        if abs(gaps[0] - gaps[1]) >= (alignment if beside else min(alignment, _COARSE)):
            return False
        same = self.match.pairs.get(was[0]) == is_[0] if was[0] is not None else is_[0] is None
        if same:
            return was[1] != is_[1]
        changed = (was[0] is not None and was[0] not in self.match.pairs) or (
            is_[0] is not None and is_[0] not in self.sources
        )
        if self.relation.loose and not changed:
            # Which small piece is which cannot be told there, and need not be.
            changed = None in [items[row[0]].name for items, row in ((self.before, was), (self.after, is_))
                               if row[0] is not None]  # fmt: skip
        return changed

    def _neighbour(self, items: Sequence[Item], at: int, which: int) -> tuple[int | None, int] | None:
        # The next item and the address of its near edge; past the last one it is the end of RAM.
        down = self.relation.top_down
        beside = at + (1 if down else -1)
        if 0 <= beside < len(items):
            return beside, items[beside].base if down else items[beside].end
        if down and self.relation.rams is not None:
            return None, self.relation.rams[which]
        return None

    def _within_totals(self, changes: list[Change]) -> list[Change]:
        # Where memory or the command line have another size, how many pieces there are of a name, and of what nobody
        # owns where they lie, may differ: their total must fit. Where the image has moved, that is so of the latter.
        relation = self.relation
        loose = relation.loose
        tables = [sum(item.size for item in items if _is_page_table(item)) for items in (self.before, self.after)]
        totals: tuple[Counter[str | None], ...] = (Counter(), Counter())
        for total, items in zip(totals, (self.before, self.after), strict=True):
            for item in items:
                total[item.name] += item.size

        def free(change: Change) -> bool:
            item = change.before or change.after
            if item is None or item.list != RESERVED or change.kind not in _OF_PLACES:
                return False
            if item.name is not None and change.kind == MOVED:
                return False
            if _is_page_table(item) and relation.tables_fit(*tables):
                return True
            # An owner's pieces are as many wherever the image is; and what has moved was asked for that before.
            if not loose and (item.name is not None or change.kind == MOVED):
                return False
            if not loose and not relation.around_image(change.before or item, change.after or item):
                return False
            within = relation.size_fits(totals[0][item.name], totals[1][item.name], _COPIES)
            # Of the memory map a part may be of sections that RAM does not fill: it is not known as such.
            rest = abs(totals[1][item.name] - totals[0][item.name])
            return within or (relation.resized and item.name is None and rest <= _SECTION_MAP_BYTES)

        return [change for change in changes if not free(change)]

    def _order(self) -> Iterator[Change]:
        # What is left out of the longest run of operations that come in the same order has changed its place.
        rows = sorted(
            {(old.seq, new.seq): (old, new)
             for old, new in ((self.before[a], self.after[b]) for a, b in self.match.pairs.items())
             if old.seq is not None and new.seq is not None}.items()
        )  # fmt: skip
        kept = _rising([after for (_, after), _ in rows])
        for at, ((was, is_), (old, new)) in enumerate(rows):
            if at in kept:
                continue
            # Beside which one it is seen: the nearest that it has changed places with. Of two with the same owner it is
            # not certain which is which.
            swapped = [
                row
                for place, row in enumerate(rows)
                if place in kept and (row[0][0] < was) != (row[0][1] < is_) and row[1][1].name != new.name
            ]
            if not swapped:
                continue
            beside = min(swapped, key=lambda row: abs(row[0][1] - is_))
            later = beside[0][1] < is_
            yield self.words.order(old, new, beside[1][1], later=later)


def _is_page_table(item: Item) -> bool:
    return PAGE_TABLES in (item.role, item.name)


_OF_PLACES = (APPEARED, VANISHED, MOVED, GREW, SHRANK, SPLIT, MERGED)


def _rising(values: Sequence[int]) -> set[int]:
    # The places of one longest rising subsequence.
    tails: list[int] = []
    before: list[int | None] = []
    for at, value in enumerate(values):
        low = bisect_left(tails, value, key=values.__getitem__)
        before.append(tails[low - 1] if low else None)
        tails[low:low + 1] = [at]  # fmt: skip
    kept = set()
    last = tails[-1] if tails else None
    while last is not None:
        kept.add(last)
        last = before[last]
    return kept


def compare(before: Golden, after: Golden) -> tuple[list[Change], int]:
    """Return what has changed at the stops that both have, and how many changes more the rules of `before` ignore."""
    changes = [one for was, is_ in stops_of(before, after) for one in _of_stop(before, after, was, is_)]
    told = [change for change in changes if not any(allows(rule, change) for rule in before.rules)]
    return _together(told), len(changes) - len(told)


def _together(changes: Iterable[Change]) -> list[Change]:
    # Of many regions with the same change of their flags or their node, the first is told, and how many there are.
    out: list[Change] = []
    first: dict[tuple[object, ...], int] = {}
    more: Counter[int] = Counter()
    for change in changes:
        if change.kind in (FLAGS, NODE) and change.before is not None and change.after is not None:
            ends = [(one.flags if change.kind == FLAGS else one.node) for one in (change.before, change.after)]
            at = first.setdefault((change.at, change.kind, change.list, *ends), len(out))
            if at < len(out):
                more[at] += 1
                continue
        out.append(change)
    for at, count in more.items():
        out[at] = replace(out[at], words=f"{out[at].words}; and so {plural(count, 'more region')}")
    return out


def stops_of(before: Golden, after: Golden) -> list[tuple[GoldenStop, GoldenStop]]:
    """Return the stops that both have; where each has but one, these."""
    if len(before.stops) == len(after.stops) == 1:
        return [(before.stops[0], after.stops[0])]
    there = {stop.at: stop for stop in after.stops}
    return [(stop, there[stop.at]) for stop in before.stops if stop.at in there]


def same_names(before: GoldenStop, after: GoldenStop) -> bool:
    """Tell whether both are called by the same: owners, or roles alone, or nothing."""
    return _called_by(before) == _called_by(after)


def _called_by(stop: GoldenStop) -> str | None:
    kinds = {item.by for item in stop.items}
    return OWNER if OWNER in kinds else ROLE if ROLE in kinds else None


def matches(before: Golden, after: Golden, was: GoldenStop, is_: GoldenStop) -> Iterator[Match]:
    """Yield for each list of a stop which items are which, whatever they are called by."""
    relation = relation_of(before, after, was, is_)
    for _, old, new in _by_list(was.items, is_.items):
        yield Matcher(old, new, relation).run()


def _by_list(before: Sequence[Item], after: Sequence[Item]) -> Iterator[tuple[str, list[Item], list[Item]]]:
    for name in dict.fromkeys(item.list for item in (*before, *after)):
        yield name, [one for one in before if one.list == name], [one for one in after if one.list == name]


def _of_stop(before: Golden, after: Golden, was: GoldenStop, is_: GoldenStop) -> Iterator[Change]:
    relation = relation_of(before, after, was, is_)
    words = Words(was.at, {**before.environment.flag_names, **after.environment.flag_names})
    old, new = was.items, is_.items
    if not same_names(was, is_):
        old, new = tuple(regions_of(old)), tuple(regions_of(new))
    for _, some, others in _by_list(old, new):
        yield from _Lists(some, others, relation, words).changes()
    limits = was.current_limit, is_.current_limit
    at_end = relation.rams is not None and limits == relation.rams
    if limits[1] not in relation.edges(limits[0]) and not at_end:
        yield words.told(LIMIT, f"the limit of allocations is {limits[1]:#x}, and was {limits[0]:#x}")
    if was.bottom_up != is_.bottom_up:
        ways = ("bottom-up", "top-down") if is_.bottom_up else ("top-down", "bottom-up")
        yield words.told(DIRECTION, f"the search for free memory goes {ways[0]}, and went {ways[1]}")


def allows(rule: Rule, change: Change) -> bool:
    """Tell whether a rule lets a change pass."""
    item = change.before or change.after
    wanted = ((rule.kind, {change.kind}), (rule.list, {change.list}))
    names = {one.name for one in (change.before, change.after) if one is not None}
    if any(value is not None and value not in some for value, some in (*wanted, (rule.name, names))):
        return False
    if rule.bytes is None and rule.percent is None:
        return True
    if item is None or change.kind not in WITH_AMOUNT:
        return False
    amount, of = _amount(change, item)
    within = (rule.bytes, None if rule.percent is None else of * rule.percent / 100)
    return any(most is not None and amount <= most for most in within)


def _amount(change: Change, item: Item) -> tuple[int, int]:
    # By how many bytes it has changed, and the size before.
    if change.before is None or change.after is None:
        return item.size, item.size
    if change.moved_by is not None:
        return abs(change.moved_by), item.size
    return abs(change.after.size - change.before.size), item.size


def budget(before: GoldenStop, after: GoldenStop) -> list[Share]:
    """Return the bytes reserved by each owner, or of each role, the largest change first."""
    totals: list[Counter[str | None]] = [Counter(), Counter()]
    for total, stop in zip(totals, (before, after), strict=True):
        for item in stop.items:
            if item.list == RESERVED:
                total[item.name] += item.size
    shares = [Share(name, totals[0][name], totals[1][name]) for name in {**totals[0], **totals[1]}]
    return sorted(shares, key=lambda one: (-abs(one.change), -one.after, str(one.name)))
