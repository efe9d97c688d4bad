# SPDX-License-Identifier: GPL-2.0-or-later
"""The sentences in which changes are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gdb_lmb.core.golden import FLAGS, GREW, MERGED, MOVED, NODE, ORDER, OWNER, SHRANK, SPLIT, Change, Item
from gdb_lmb.core.snapshot import flag_names
from gdb_lmb.core.words import human_size


def range_of(item: Item) -> str:
    return f"[{item.base:#x}, {item.end:#x})"


def called(item: Item) -> str:
    """Return what an item is called: "reserved [0x1000, 0x2000) by setup_arch"; a role is in brackets."""
    where = f"{item.list} {range_of(item)}"
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
        if kind == FLAGS:
            names = [flag_names(item.flags, self.flag_names) for item in (before, after)]
            return f"{called(after)} has flags {names[1]}, and had {names[0]}"
        if kind == NODE:
            nodes = ["no node" if item.node is None else f"node {item.node}" for item in (before, after)]
            return f"{called(after)} is of {nodes[1]}, and was of {nodes[0]}"
        names = ["an unknown owner" if item.name is None else item.name for item in (before, after)]
        return f"{after.list} {range_of(after)} belongs to {names[1]}, and belonged to {names[0]}"

    def moved(self, before: Item, after: Item, anchor: int, of: str) -> Change:
        """Return that an item has moved from `anchor`, where it would stand still; `of` is what that counts from."""
        by = after.base - anchor
        way = "up" if by > 0 else "down"
        words = f"{called(before)} moved {way} by {human_size(abs(by))} to {range_of(after)}"
        if anchor != before.base:
            words += f", counted from {of}"
        return replace(self.told(MOVED, words, before, after), moved_by=by)

    def resized(self, before: Item, after: Item, *, moved: bool) -> Change:
        """Return that an item grew or shrank."""
        kind = GREW if after.size > before.size else SHRANK
        by = human_size(abs(after.size - before.size))
        words = f"{called(before)} {kind} by {by} to {range_of(after)}" + (", elsewhere" if moved else "")
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
        words = f"{called(after)} is taken {now} {range_of(beside)} by {beside.name}, and was taken {then} it"
        return self.told(ORDER, words, before, after)


def _listed(items: Sequence[Item]) -> str:
    ranges = [range_of(item) for item in items]
    return ", ".join(ranges[:-1]) + " and " + ranges[-1]
