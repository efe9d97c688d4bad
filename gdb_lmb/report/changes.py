# SPDX-License-Identifier: GPL-2.0-or-later
"""What has changed between two boots: as text, and as JSON of schema `gdb-lmb/diff/1`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gdb_lmb.analysis.golden.compare import budget, compare, same_names, stops_of
from gdb_lmb.analysis.golden.relation import differences_of_environment
from gdb_lmb.core.golden import Change, Golden, Item, Share
from gdb_lmb.core.words import human_size, plural, safe
from gdb_lmb.report.table import table
from gdb_lmb.report.terminal import BAD, CLEAN, HEADING, PLAIN, Terminal

DIFF_SCHEMA = "gdb-lmb/diff/1"


@dataclass(frozen=True)
class Comparison:
    """Two goldens, called `names`, and how they differ; `notes` say in words what else is not the same.

    `budgets` are those of each stop, by where it is. The rules of the first golden ignore so many more changes as
    `ignored` says.
    """

    names: tuple[str, str]
    changes: tuple[Change, ...]
    notes: tuple[str, ...]
    budgets: tuple[tuple[str, tuple[Share, ...]], ...]
    ignored: int


def comparison(before: Golden, after: Golden, names: tuple[str, str]) -> Comparison:
    """Compare two goldens, by the rules of the first."""
    stops = stops_of(before, after)
    notes = differences_of_environment(before.environment, after.environment)
    if not all(same_names(was, is_) for was, is_ in stops):
        notes.append("owners are known of one of them only: whole regions are compared")
    there = {was.at for was, _ in stops} | {is_.at for _, is_ in stops}
    notes += [f"only one of them has a stop at {stop.at}" for one in (before, after) for stop in one.stops
              if stop.at not in there]  # fmt: skip
    budgets = tuple((is_.at, tuple(budget(was, is_))) for was, is_ in stops)
    changes, ignored = compare(before, after)
    return Comparison(names, tuple(changes), tuple(notes), budgets, ignored)


def change_lines(changes: Iterable[Change], *, stops: bool = False) -> list[str]:
    """Return one line for each change; `stops` tells that there are several, and each line says at which it is."""
    return [f"{safe(one.at)}: {safe(one.words, 2000)}" if stops and one.at else safe(one.words, 2000)
            for one in changes]  # fmt: skip


def budget_lines(shares: Sequence[Share], terminal: Terminal = PLAIN) -> list[str]:
    """Return the table of who has how much reserved, of those with whom that has changed."""
    rows = [
        [safe(one.name or "unknown owner"), human_size(one.before), human_size(one.after), signed(one.change)]
        for one in shares
        if one.change
    ]
    total = Share(None, sum(one.before for one in shares), sum(one.after for one in shares))
    rows.append(["all", human_size(total.before), human_size(total.after), signed(total.change)])
    return table(rows, ["reserved by", "before", "after", "change"], ("before", "after", "change"), terminal)


def signed(size: int) -> str:
    """Return a change of a size: "+4 KiB", "-12 bytes", "0"."""
    return f"{'+' if size > 0 else '-'}{human_size(abs(size))}" if size else "0"


def ignored_words(found: Comparison) -> str:
    """Return what a last line says of changes that the rules ignore: ", 2 more ignored by its rules", or nothing."""
    many = f"{found.ignored} more" if found.changes else plural(found.ignored, "change")
    return f", {many} ignored by its rules" if found.ignored else ""


def diff_text(found: Comparison, terminal: Terminal = PLAIN) -> str:
    """Return what `gdb-lmb diff` prints."""
    several = len(found.budgets) > 1
    lines = [f"note: {note}" for note in found.notes]
    lines += change_lines(found.changes, stops=several)
    for at, shares in found.budgets:
        if any(one.change for one in shares):
            place = f" at {safe(at)}" if several else ""
            lines += ["", terminal.paint(f"bytes reserved{place}:", HEADING), *budget_lines(shares, terminal), ""]
    last = plural(len(found.changes), "change") if found.changes else "no change"
    role = BAD if found.changes else CLEAN
    last += f" from {safe(found.names[0])} to {safe(found.names[1])}{ignored_words(found)}"
    lines.append(terminal.paint(last, role))
    return "\n".join(lines)


# -- JSON -------------------------------------------------------------------------------------------


def item_json(item: Item | None) -> dict[str, Any] | None:
    """Return an item as JSON values."""
    if item is None:
        return None
    return {
        "list": item.list,
        "base": hex(item.base),
        "size": hex(item.size),
        "flags": item.flags,
        "node": item.node,
        "name": None if item.name is None else safe(item.name),
        "by": item.by,
        "seq": item.seq,
    }


def change_json(change: Change) -> dict[str, Any]:
    """Return a change as JSON values."""
    return {
        "kind": change.kind,
        "list": change.list,
        "at": None if change.at is None else safe(change.at),
        "words": safe(change.words, 2000),
        "before": item_json(change.before),
        "after": item_json(change.after),
    }


def diff_json(found: Comparison) -> dict[str, Any]:
    """Return a comparison as JSON values of schema `gdb-lmb/diff/1`."""
    return {
        "schema": DIFF_SCHEMA,
        "before": safe(found.names[0]),
        "after": safe(found.names[1]),
        "notes": [safe(note, 1000) for note in found.notes],
        "changes": [change_json(change) for change in found.changes],
        "ignored": found.ignored,
        "budget": [
            {
                "at": safe(at),
                "owners": [
                    {
                        "name": None if one.name is None else safe(one.name),
                        "before": hex(one.before),
                        "after": hex(one.after),
                    }
                    for one in shares
                ],
            }
            for at, shares in found.budgets
        ],
    }
