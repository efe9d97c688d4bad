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

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from heapq import heappop, heappush
from itertools import islice, pairwise, takewhile
from math import ceil, floor, log2
from typing import NamedTuple

from gdb_lmb.core.golden import (
    APPEARED,
    DIRECTION,
    FLAGS,
    GREW,
    LIMIT,
    MERGED,
    MOVED,
    NODE,
    ORDER,
    OWNED,
    OWNER,
    ROLE,
    SHRANK,
    SPLIT,
    VANISHED,
    Change,
    Environment,
    Golden,
    GoldenStop,
    Item,
    Rule,
    Share,
    sorted_by,
)
from gdb_lmb.core.ranges import Range
from gdb_lmb.core.snapshot import Place, RegionList, flag_names
from gdb_lmb.core.words import human_size, plural

MEMORY, RESERVED = "memory", "reserved"

_MOST_ALIGNED = 2000
"""How many items of one name are aligned by their sizes; more are taken in order."""
_ALIGNED_TO = 64
"""Bytes: `SMP_CACHE_BYTES`, to which memblock aligns by default."""
_ROUNDED_PAGES = 16
"""How many pages what scales with RAM may be off: page tables do not map all of it."""
_COPIES = 4
"""How many copies of its command line a kernel keeps, at most."""
_SECTION_MAP_BYTES = 2 << 20
"""The memory map of a section. Source: `SECTION_SIZE_BITS` of x86-64 and arm64, with 64 bytes a page."""


class Owned(NamedTuple):
    """The reserved bytes [base, end), the function that reserved them, and the number of the operation."""

    base: int
    end: int
    name: str
    seq: int | None


# -- items ------------------------------------------------------------------------------------------


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
    first = max(bisect_right(owned, whole.base, key=lambda piece: piece.base) - 1, 0)
    for piece in takewhile(lambda piece: piece.base < whole.end, islice(owned, first, None)):
        base, end = max(piece.base, whole.base), min(piece.end, whole.end)
        if base < end:
            yield from _by_role(whole, at, base, roles)
            yield replace(whole, base=base, size=end - base, name=piece.name, by=OWNER, seq=piece.seq)
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
        item = replace(item, name=None, by=None, seq=None)
        if last is not None and last.end == item.base and replace(item, base=last.base, size=last.size) == last:
            last = replace(last, size=last.size + item.size)
            continue
        if last is not None:
            yield last
        last = item
    if last is not None:
        yield last


# -- what two boots have in common ------------------------------------------------------------------


@dataclass(frozen=True)
class _Relation:
    # By what addresses and sizes of two boots may differ. `images` and `rams` are those before and after, None where
    # one is not known. `resized` tells that RAM was meant to have another size; sizes then lie between `scale` times
    # the former ones. `slack` is by how much the command lines differ.
    images: tuple[Range, Range] | None
    rams: tuple[int, int] | None
    resized: bool
    scale: tuple[float, float]
    slack: int
    page_size: int
    top_down: bool

    def edges(self, at: int) -> set[int]:
        """Return where an address before may be now, and stand still."""
        found = {at}
        if self.images is not None:
            (base, end), (now, past) = self.images
            if base <= at <= end:
                found |= {now + at - base, past - (end - at)}
        if self.resized and self.rams is not None:
            found.add(at + self.rams[1] - self.rams[0])
        return found

    @property
    def loose(self) -> bool:
        """Tell whether RAM, the number of CPUs or the command line are not the same."""
        return self.resized or bool(self.slack) or self.scale != (1.0, 1.0)

    @property
    def image_moved(self) -> bool:
        return self.images is not None and self.images[0][0] != self.images[1][0]

    def around_image(self, before: Item, after: Item) -> bool:
        """Tell whether the image, which has moved, was or is where the allocator comes by before it takes this."""
        if self.images is None or not self.image_moved:
            return False
        (base, end), (now, past) = self.images
        if self.top_down:
            return base >= before.end or now >= after.end
        return end <= before.base or past <= after.base

    def size_fits(self, before: int, after: int, copies: int = 1) -> bool:
        """Tell whether a size is the same, or what another size of RAM or of the command line makes of it."""
        low, high = self.scale
        rounded = _ROUNDED_PAGES * self.page_size if low != high else 0
        slack = self.slack * copies
        return before * low - rounded - slack <= after <= before * high + rounded + slack


def _relation(before: Golden, after: Golden, was: GoldenStop, is_: GoldenStop) -> _Relation:
    old, new = before.environment, after.environment
    rams = _ram(was), _ram(is_)
    images = old.image, new.image
    resized = None not in (old.memory, new.memory) and old.memory != new.memory
    ratio = 1.0
    if resized and rams[0][1] and rams[1][1]:
        ratio = rams[1][1] / rams[0][1]
    # What scales may be rounded to a power of two, as hash tables are. Source: `alloc_large_system_hash()`.
    low, high = min(1.0, 2.0 ** floor(log2(ratio))), max(1.0, 2.0 ** ceil(log2(ratio)))
    if old.smp and new.smp:
        low, high = low * min(1.0, new.smp / old.smp), high * max(1.0, new.smp / old.smp)
    slack = 0
    if old.append is not None and new.append is not None and len(old.append) != len(new.append):
        slack = abs(len(old.append) - len(new.append))
        slack += _ALIGNED_TO  # what is allocated below starts at a multiple of it; a device tree has a property more
    return _Relation(
        None if images[0] is None or images[1] is None else (images[0], images[1]),
        None if rams[0][0] is None or rams[1][0] is None else (rams[0][0], rams[1][0]),
        resized,
        (low, high),
        slack,
        old.page_size,
        not is_.bottom_up,
    )


def _ram(stop: GoldenStop) -> tuple[int | None, int]:
    # The end of memory, and its size.
    rows = [item for item in stop.items if item.list == MEMORY]
    return max((item.end for item in rows), default=None), sum(item.size for item in rows)


def differences_of_environment(before: Environment, after: Environment) -> list[str]:
    """Return in words what is not the same about two boots, and what that means for their comparison."""
    notes = []
    for name, what in (("kernel", "the kernel"), ("arch", "the architecture"), ("layout", "the allocator")):
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            notes.append(f"{what} is {new}, and was {old}")
    if before.build_id != after.build_id and before.kernel == after.kernel and before.build_id and after.build_id:
        notes.append("it is another build of the kernel")
    if before.memory != after.memory and before.memory and after.memory:
        notes.append(
            f"RAM is {after.memory}, and was {before.memory}: sizes may grow with it, and addresses count from its end"
        )
    if before.smp != after.smp and before.smp and after.smp:
        notes.append(f"there are {after.smp} CPUs, and were {before.smp}: sizes may grow with them")
    if before.append != after.append and None not in (before.append, after.append):
        notes.append("the command line is another one: what holds it may have another size")
    if before.machine != after.machine:
        notes.append(f"QEMU's machine is {after.machine or 'the default one'}, and was {before.machine or 'that'}")
    if before.image and after.image and before.image[0] != after.image[0]:
        notes.append(f"the image lies at {after.image[0]:#x}, and lay at {before.image[0]:#x}")
    return notes


# -- matching ---------------------------------------------------------------------------------------


@dataclass
class Match:
    """Which items of a list are which: by their places in `before` and `after`, both in ascending order."""

    before: Sequence[Item]
    after: Sequence[Item]
    pairs: dict[int, int]
    splits: dict[int, list[int]]
    merges: dict[int, list[int]]

    @property
    def gone(self) -> list[int]:
        """Return what has vanished."""
        merged = {at for parts in self.merges.values() for at in parts}
        return [at for at in range(len(self.before)) if at not in self.pairs and at not in self.splits | self.merges
                and at not in merged]  # fmt: skip

    @property
    def new(self) -> list[int]:
        """Return what has appeared."""
        known = {*self.pairs.values(), *self.merges, *(at for parts in self.splits.values() for at in parts)}
        return [at for at in range(len(self.after)) if at not in known]


class _Matcher:
    def __init__(self, before: Sequence[Item], after: Sequence[Item], relation: _Relation) -> None:
        self.relation = relation
        self.found = Match(before, after, {}, {}, {})
        self.before, self.after = before, after
        self.left = dict.fromkeys(range(len(before)))
        self.free = dict.fromkeys(range(len(after)))
        self.by_edges = defaultdict(list)
        for at, item in enumerate(after):
            self.by_edges[item.base, item.end].append(at)

    def run(self) -> Match:
        self._by_operation()
        self._in_place(self._alike)
        self._divided(self.before, self.after, self.left, self.free, self.found.splits, forward=True)
        self._divided(self.after, self.before, self.free, self.left, self.found.merges, forward=False)
        self._one_edge()
        self._aligned()
        if not self.relation.loose:
            self._in_place(lambda old, new: True)  # what now has another owner
        return self.found

    def _alike(self, old: Item, new: Item) -> bool:
        # Where many pieces lie elsewhere, one that nobody owns may have come to where another one lay.
        if old.name is None and self.relation.loose and (old.flags, old.node) != (new.flags, new.node):
            return False
        return old.name == new.name

    def _pair(self, old: int, new: int) -> None:
        self.found.pairs[old] = new
        del self.left[old], self.free[new]

    def _by_operation(self) -> None:
        # What a function has made by just as many operations, of the same sizes one after the other, is that.
        groups: tuple[dict[str | None, list[int]], ...] = ({}, {})
        for group, items in zip(groups, (self.before, self.after), strict=True):
            for at, item in enumerate(items):
                group.setdefault(item.name, []).append(at)
        for name, old in groups[0].items():
            new = groups[1].get(name, [])
            numbered = all(self.before[at].seq is not None for at in old) and all(
                self.after[at].seq is not None for at in new
            )
            if name is None or not numbered or len(old) != len(new):
                continue
            old.sort(key=lambda at: (sorted_by(self.before[at].seq), self.before[at].base))
            new.sort(key=lambda at: (sorted_by(self.after[at].seq), self.after[at].base))
            if [self.before[at].size for at in old] == [self.after[at].size for at in new]:
                for one, other in zip(old, new, strict=True):
                    self._pair(one, other)

    def _in_place(self, alike: Callable[[Item, Item], bool]) -> None:
        for old in list(self.left):
            item = self.before[old]
            places = [(low, high) for low in self.relation.edges(item.base) for high in self.relation.edges(item.end)]
            for new in (at for place in places for at in self.by_edges.get(place, ())):
                if new in self.free and alike(item, self.after[new]):
                    self._pair(old, new)
                    break

    def _divided(
        self, wholes: Sequence[Item], parts: Sequence[Item], left: dict[int, None], free: dict[int, None],
        found: dict[int, list[int]], *, forward: bool,
    ) -> None:  # fmt: skip
        # What one item was, several are, from its base to its end.
        def stands(whole: int, part: int) -> bool:
            return part in self.relation.edges(whole) if forward else whole in self.relation.edges(part)

        for one in list(left):
            whole = wholes[one]
            run: list[int] = []
            for at in free:  # ascending
                part = parts[at]
                if part.name != whole.name:
                    continue
                if stands(whole.base, part.base):
                    run = [at]
                elif run:
                    run.append(at)
                if run and stands(whole.end, part.end):
                    break
                if run and part.end - parts[run[0]].base > whole.size:
                    run = []
            else:
                run = []
            if len(run) > 1:
                found[one] = run
                del left[one]
                for at in run:
                    del free[at]

    def _one_edge(self) -> None:
        # What has one edge where it was has grown or shrunk.
        for old in list(self.left):
            item = self.before[old]
            low, high = self.relation.edges(item.base), self.relation.edges(item.end)
            for new in self.free:
                other = self.after[new]
                if self._alike(item, other) and (other.base in low or other.end in high):
                    self._pair(old, new)
                    break

    def _aligned(self) -> None:
        names = dict.fromkeys(self.before[at].name for at in self.left)
        for name in names:
            old = [at for at in self.left if self.before[at].name == name]
            new = [at for at in self.free if self.after[at].name == name]
            for tag, a, b, c, d in self._opcodes(old, new):
                # What nobody owns is the same only where its size is.
                if tag == "equal" or (tag == "replace" and name is not None):
                    for one, other in zip(old[a:b], new[c:d], strict=False):
                        self._pair(one, other)

    def _opcodes(self, old: list[int], new: list[int]) -> list[tuple[str, int, int, int, int]]:
        if max(len(old), len(new)) > _MOST_ALIGNED:
            return [("replace", 0, len(old), 0, len(new))]
        both = ((self.before, old), (self.after, new))
        # A kernel that keeps no nodes on this list has those of another one to be matched with.
        nodes = all(items[at].node is not None for items, some in both for at in some)
        keys = [[(items[at].size, items[at].flags, items[at].node if nodes else None) for at in some]
                for items, some in both]  # fmt: skip
        if Counter(keys[0]) == Counter(keys[1]) and keys[0] != keys[1]:
            # Only the order differs: by size, so that none seems to have vanished here and appeared there.
            for one, some in zip(keys, (old, new), strict=True):
                some[:] = [at for _, at in sorted(zip(one, some, strict=True))]
            return [("equal", 0, len(old), 0, len(new))]
        return list(SequenceMatcher(None, keys[0], keys[1], autojunk=False).get_opcodes())


# -- comparing --------------------------------------------------------------------------------------


class _Lists:
    # One list of two boots, matched, and the changes in it.

    def __init__(self, before: Sequence[Item], after: Sequence[Item], relation: _Relation, words: Words) -> None:
        self.relation, self.words = relation, words
        self.match = _Matcher(before, after, relation).run()
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
            moved = not near and not fills and not relation.around_image(before, after) and not self._follows(old, new)
            if before.size != after.size and not scaled:
                yield words.resized(before, after, moved=moved)
            elif moved:
                yield words.change(MOVED, before, after)
        if before.flags != after.flags:
            yield words.change(FLAGS, before, after)
        if before.node != after.node:
            yield words.change(NODE, before, after)
        if before.name != after.name:
            yield words.change(OWNED, before, after)

    def _follows(self, old: int, new: int) -> bool:
        # Whether an item is where it is since what the allocator took before it is there, or since what it touches
        # ends there.
        before, after = self.before[old], self.after[new]
        if old and new and self.match.pairs.get(old - 1) == new - 1:
            below, now = self.before[old - 1], self.after[new - 1]
            touches = below.end == before.base and now.end == after.base
            if touches and now.base in self.relation.edges(below.base):
                return True
        step = 1 if self.relation.top_down else -1
        was, is_ = self._neighbour(self.before, old, step, 0), self._neighbour(self.after, new, step, 1)
        if was is None or is_ is None:
            return False
        edge = ("end", "base") if step > 0 else ("base", "end")
        gaps = [at - getattr(item, edge[0]) for at, item in ((was[1], before), (is_[1], after))]
        lowest = (before.base | after.base) & -(before.base | after.base) if step > 0 else 0
        slack = abs(gaps[0] - gaps[1])
        same = self.match.pairs.get(was[0]) == is_[0] if was[0] is not None else is_[0] is None
        if same:
            return was[1] != is_[1] and slack < max(lowest, 1)
        changed = (was[0] is not None and was[0] not in self.match.pairs) or (
            is_[0] is not None and is_[0] not in self.sources
        )
        if self.relation.loose and not changed:
            # Which small piece is which cannot be told there, and need not be.
            changed = None in [items[row[0]].name for items, row in ((self.before, was), (self.after, is_))
                               if row[0] is not None]  # fmt: skip
        return changed and slack < max(lowest, 1)

    def _neighbour(self, items: Sequence[Item], at: int, step: int, which: int) -> tuple[int | None, int] | None:
        # The next item and the address of its near edge; past the last one it is the end of RAM.
        beside = at + step
        if 0 <= beside < len(items):
            return beside, items[beside].base if step > 0 else items[beside].end
        if step > 0 and self.relation.rams is not None:
            return None, self.relation.rams[which]
        return None

    def _within_totals(self, changes: list[Change]) -> list[Change]:
        # Where memory or the command line have another size, or the image lies among what is allocated, how many
        # pieces there are of a name, and of what nobody owns where they lie, may differ: their total must fit.
        relation = self.relation
        loose = relation.loose
        if not loose and not relation.image_moved:
            return changes
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
            around = relation.around_image(change.before or item, change.after or item)
            if not loose and not around:
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


_OF_PLACES = (APPEARED, VANISHED, MOVED, GREW, SHRANK, SPLIT, MERGED)


def _rising(values: Sequence[int]) -> set[int]:
    # The places of one longest rising subsequence.
    tails: list[int] = []
    before: list[int | None] = []
    for at, value in enumerate(values):
        low, high = 0, len(tails)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if values[tails[middle]] < value else (low, middle)
        before.append(tails[low - 1] if low else None)
        tails[low:low + 1] = [at]  # fmt: skip
    kept = set()
    last = tails[-1] if tails else None
    while last is not None:
        kept.add(last)
        last = before[last]
    return kept


def compare(before: Golden, after: Golden) -> list[Change]:
    """Return what has changed at the stops that both have, without what the rules of `before` let vary."""
    changes = (one for was, is_ in stops_of(before, after) for one in _of_stop(before, after, was, is_))
    return _together(change for change in changes if not any(allows(rule, change) for rule in before.rules))


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
    relation = _relation(before, after, was, is_)
    for _, old, new in _by_list(was.items, is_.items):
        yield _Matcher(old, new, relation).run()


def _by_list(before: Sequence[Item], after: Sequence[Item]) -> Iterator[tuple[str, list[Item], list[Item]]]:
    for name in dict.fromkeys(item.list for item in (*before, *after)):
        yield name, [one for one in before if one.list == name], [one for one in after if one.list == name]


def _of_stop(before: Golden, after: Golden, was: GoldenStop, is_: GoldenStop) -> Iterator[Change]:
    relation = _relation(before, after, was, is_)
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
    if item is None:
        return False
    amount, of = _amount(change, item)
    within = (rule.bytes, None if rule.percent is None else of * rule.percent / 100)
    return any(most is not None and amount <= most for most in within)


def _amount(change: Change, item: Item) -> tuple[int, int]:
    # By how many bytes it has changed, and what of.
    if change.before is None or change.after is None:
        return item.size, item.size
    if change.kind == MOVED:
        return abs(change.after.base - change.before.base), change.before.base
    return abs(change.after.size - change.before.size), change.before.size


# -- words ------------------------------------------------------------------------------------------


def _range(item: Item) -> str:
    return f"[{item.base:#x}, {item.end:#x})"


def called(item: Item) -> str:
    """Return what an item is called: "reserved [0x1000, 0x2000) by setup_arch"; a role is in brackets."""
    where = f"{item.list} {_range(item)}"
    if item.name is None:
        return where
    return f"{where} by {item.name}" if item.by == OWNER else f"{where} ({item.name})"


@dataclass(frozen=True)
class Words:
    """Makes changes with their sentences, at the stop `at`."""

    at: str
    flag_names: dict[int, str]

    def told(self, kind: str, words: str, before: Item | None = None, after: Item | None = None) -> Change:
        item = before or after
        return Change(kind, "" if item is None else item.list, words, before, after, self.at)

    def change(self, kind: str, before: Item | None, after: Item | None) -> Change:
        """Return a change of one item."""
        return self.told(kind, self._sentence(kind, before, after), before, after)

    def _sentence(self, kind: str, before: Item | None, after: Item | None) -> str:
        if before is None or after is None:
            item = before or after
            assert item is not None
            return f"{called(item)}, {human_size(item.size)}, {kind}"
        if kind == MOVED:
            by = after.base - before.base
            way = "up" if by > 0 else "down"
            return f"{called(before)} moved {way} by {human_size(abs(by))} to {_range(after)}"
        if kind == FLAGS:
            names = [flag_names(item.flags, self.flag_names) for item in (before, after)]
            return f"{called(after)} has flags {names[1]}, and had {names[0]}"
        if kind == NODE:
            nodes = ["no node" if item.node is None else f"node {item.node}" for item in (before, after)]
            return f"{called(after)} is of {nodes[1]}, and was of {nodes[0]}"
        names = ["nobody's that is known" if item.name is None else f"{item.name}'s" for item in (before, after)]
        return f"{after.list} {_range(after)} is {names[1]}, and was {names[0]}"

    def resized(self, before: Item, after: Item, *, moved: bool) -> Change:
        """Return that an item grew or shrank."""
        kind = GREW if after.size > before.size else SHRANK
        by = human_size(abs(after.size - before.size))
        words = f"{called(before)} {kind} by {by} to {_range(after)}" + (", elsewhere" if moved else "")
        return self.told(kind, words, before, after)

    def split(self, before: Item, after: Sequence[Item]) -> Change:
        """Return that an item is in several parts now."""
        parts = _listed(after)
        hole = before.size - sum(item.size for item in after)
        left = f", without {human_size(hole)} of it" if hole > 0 else ""
        return self.told(SPLIT, f"{called(before)} was split into {parts}{left}", before, after[0])

    def merged(self, before: Sequence[Item], after: Item) -> Change:
        """Return that several items are one now."""
        return self.told(MERGED, f"{called(after)} was merged from {_listed(before)}", before[0], after)

    def order(self, before: Item, after: Item, beside: Item, *, later: bool) -> Change:
        """Return that an item is taken before or after another one now."""
        now, then = ("after", "before") if later else ("before", "after")
        words = f"{called(after)} is taken {now} {_range(beside)} by {beside.name}, and was taken {then} it"
        return self.told(ORDER, words, before, after)


def _listed(items: Sequence[Item]) -> str:
    ranges = [_range(item) for item in items]
    return ", ".join(ranges[:-1]) + " and " + ranges[-1]


# -- the budget -------------------------------------------------------------------------------------


def budget(before: GoldenStop, after: GoldenStop) -> list[Share]:
    """Return the bytes reserved by each owner, or of each role, the largest change first."""
    totals: list[Counter[str | None]] = [Counter(), Counter()]
    for total, stop in zip(totals, (before, after), strict=True):
        for item in stop.items:
            if item.list == RESERVED:
                total[item.name] += item.size
    shares = [Share(name, totals[0][name], totals[1][name]) for name in {**totals[0], **totals[1]}]
    return sorted(shares, key=lambda one: (-abs(one.change), -one.after, str(one.name)))
