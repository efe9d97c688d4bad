# SPDX-License-Identifier: GPL-2.0-or-later
"""Which items of two boots are the same: by operation, by place, by size and order."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from gdb_lmb.analysis.golden.relation import Relation
from gdb_lmb.core.golden import Item, sorted_by

_MOST_ALIGNED = 2000
"""How many items of one name are aligned by their sizes; more are taken in order."""


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


class Matcher:
    def __init__(self, before: Sequence[Item], after: Sequence[Item], relation: Relation) -> None:
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
