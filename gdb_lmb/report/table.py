# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables for people, drawn by the package tabulate, which is imported at the first table, and made to fit a width.

To fit, first addresses lose the zeros that all of their column begin with, which loses nothing. Then cells of text are
cut in the middle, the longest first. Where too little would be left of them, they follow their row on lines of their
own. Then columns are left out that say nothing, or nothing that another does not, and at last what a row is about is
cut. What identifies a row (its number, base, end, size) never gives way: a terminal that is too narrow for that breaks
the line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

from gdb_lmb.core.errors import LmbError
from gdb_lmb.report.terminal import HEADING, PLAIN, Terminal

_INDENT = "  "

GUTTER = 2
"""Columns between two columns of a table."""

HEADING_ROOM = 2
"""By how much tabulate makes a column wider than its heading."""

MIN_CUT = 16
"""A column of text is not cut shorter than this."""

IDENTIFYING = ("", "#", "base", "end", "size")
"""Columns that are never left out."""

Columns = list[list[str]]
"""A table column by column: its heading, then its cells."""


def table(
    rows: Sequence[Sequence[Any]],
    headers: Sequence[str],
    right: Sequence[str],
    terminal: Terminal = PLAIN,
    *,
    cut: Sequence[str] = (),
    spare: Sequence[str] = (),
    last: Sequence[str] = (),
) -> list[str]:
    """Return the lines of a table, indented by two; columns named in `right` are aligned to the right.

    On a `terminal` with a width the columns named in `cut` are cut, those in `spare` left out, and at last those in
    `last` cut, to fit. Of more rows than it takes, the first ones are shown.
    """
    hidden = terminal.left_out(len(rows))
    rows = rows[: len(rows) - hidden]
    try:
        from tabulate import tabulate  # imported late: gdb starts faster, and JSON works without it
    except ImportError:
        raise LmbError(
            "the Python package tabulate is not found: start gdb with `gdb-lmb gdb`, use the lines that "
            "`gdb-lmb gdbinit` prints, or ask for --json"
        ) from None
    below: Sequence[Sequence[str]] = ()
    if terminal.width is not None:
        rows, headers, below = fitted(rows, headers, terminal.columns - len(_INDENT), terminal, cut, spare, last)
    align = ["right" if header in right else "left" for header in headers]
    text = tabulate(rows, headers=headers, tablefmt="simple", colalign=align, disable_numparse=True)
    head, rule, *lines = (f"{_INDENT}{line}".rstrip() for line in text.splitlines())
    out = [terminal.paint(head, HEADING), rule]
    for line, more in zip_longest(lines, below, fillvalue=()):
        out += [str(line), *(f"{_INDENT}{_INDENT}{text}" for text in more)]
    return [*out, *more_line(hidden)]


def more_line(hidden: int) -> list[str]:
    """Return what stands below a table of which rows are left out; nothing where none is."""
    return [f"{_INDENT}... and {hidden:,} more: --all shows them"] if hidden else []


class Fitted(NamedTuple):
    """A table that fits: rows, headings, and what follows each row on lines of its own."""

    rows: list[list[str]]
    headers: list[str]
    below: list[list[str]]


def fitted(
    rows: Sequence[Sequence[object]],
    headers: Sequence[str],
    room: int,
    terminal: Terminal,
    cut: Sequence[str] = (),
    spare: Sequence[str] = (),
    last: Sequence[str] = (),
) -> Fitted:
    """Return a table that takes at most `room` columns if that can be.

    `cut` names the columns of text, `spare` those that can be left out, the first one first, `last` those whose text is
    what a row is about.
    """
    columns: Columns = [[header, *(str(row[at]) for row in rows)] for at, header in enumerate(headers)]
    texts: Columns = []
    if _width(columns) > room:
        columns = [_without_zeros(column) for column in columns]
    if _width(columns) > room and not _cut(columns, cut, room, terminal):
        texts = [column for column in columns if column[0] in cut]
        columns = [column for column in columns if column[0] not in cut]
    empty = [column[0] for column in columns if set(column[1:]) <= {"-"} and column[0] not in IDENTIFYING]
    for name in [*empty, *spare]:
        if _width(columns) <= room:
            break
        columns = [column for column in columns if column[0] != name]
    if _width(columns) > room:
        _cut(columns, last, room, terminal)
    numbers = range(1, len(rows) + 1)
    below = [
        _together([f"{text[0]}: {text[at]}" for text in texts if text[at] != "-"], room - GUTTER, terminal)
        for at in numbers
    ]
    return Fitted(
        [[column[at] for column in columns] for at in numbers],
        [column[0] for column in columns],
        below if texts else [],
    )


# On one line, where there is room for all of them.
def _together(texts: list[str], room: int, terminal: Terminal) -> list[str]:
    line = ", ".join(texts)
    return [line] if texts and len(line) <= room else [terminal.cut(text, room) for text in texts]


def _size(column: Sequence[str]) -> int:
    return max(len(column[0]) + HEADING_ROOM, *map(len, column[1:]), 0)


def _width(columns: Columns) -> int:
    return sum(map(_size, columns)) + GUTTER * (len(columns) - 1)


def _without_zeros(column: list[str]) -> list[str]:
    # A column of addresses of equal length gets no more digits than the largest one needs.
    found = [cell for cell in column[1:] if cell != "-"]
    if not found or len(set(map(len, found))) > 1 or not all(re.fullmatch("0x[0-9a-f]+", cell) for cell in found):
        return column
    digits = max(len(f"{int(cell, 16):x}") for cell in found)
    return [column[0], *(cell if cell == "-" else f"0x{cell[len(cell) - digits :]}" for cell in column[1:])]


def _cut(columns: Columns, names: Sequence[str], room: int, terminal: Terminal) -> bool:
    # Cut the columns of text, those that are longer than some length to that one; tell whether that is enough.
    texts = [at for at, column in enumerate(columns) if column[0] in names]
    sizes = {at: _size(columns[at]) for at in texts}
    least = {at: min(sizes[at], max(MIN_CUT, len(columns[at][0]) + HEADING_ROOM)) for at in texts}
    left = room - (_width(columns) - sum(sizes.values()))
    if sum(least.values()) > left:
        return not texts
    ranked = sorted(texts, key=lambda at: sizes[at])
    for rank, at in enumerate(ranked):
        # What the shorter ones do not need, the longer ones get; but each of them gets its least.
        others = sum(least[other] for other in ranked[rank + 1 :])
        size = min(sizes[at], max(least[at], min(left // (len(ranked) - rank), left - others)))
        columns[at] = [terminal.cut(cell, size) for cell in columns[at]]
        left -= size
    return True
