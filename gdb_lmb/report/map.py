# SPDX-License-Identifier: GPL-2.0-or-later
"""A range of memory as rows of cells and as a table, and as JSON `gdb-lmb/map/1`: the output of `lmb-map`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice

from gdb_lmb.allocators.json_fields import STOP
from gdb_lmb.analysis.owners import History
from gdb_lmb.analysis.who import RESERVED, Stretch, Stretches, answer, own_places, pieces_in
from gdb_lmb.core.json_values import Json
from gdb_lmb.core.ranges import Range
from gdb_lmb.core.snapshot import Place, Snapshot
from gdb_lmb.core.words import address, human_size, plural, safe
from gdb_lmb.report.picture import Layers, grid_lines
from gdb_lmb.report.table import table
from gdb_lmb.report.terminal import HEADING, PLAIN, Terminal
from gdb_lmb.report.text import doubt_lines, doubts_json
from gdb_lmb.report.who import history_text, owner_text, piece_json

MAP_SCHEMA = "gdb-lmb/map/1"

MAX_LISTED = 40
"""Rows of the table under a map: where there are more parts, the smallest ones are summed up."""

_MAX_COUNTED = 1 << 20  # stretches are looked at for that table


@dataclass(frozen=True)
class Shown:
    """The input of a map: the snapshot, the range, the kernel image's ranges, known places, and the history or None."""

    snapshot: Snapshot
    range: Range
    image: Sequence[Range] = ()
    places: Sequence[Place] = ()
    history: History | None = None


@dataclass(frozen=True)
class _Row:
    # A row of the table under a map: one stretch, or the number of `parts` that are summed up.

    base: int
    end: int
    stretch: Stretch | None
    parts: int = 1


def map_text(shown: Shown, terminal: Terminal = PLAIN) -> str:
    """Return rows of cells, then what lies in the range, with owners where they are known."""
    snapshot, (base, end) = shown.snapshot, shown.range
    layers = Layers(snapshot, shown.image)
    drawing, cell = grid_lines(layers, shown.range, terminal)
    lines = doubt_lines(snapshot, terminal)
    title = f"map of [{base:#x}, {end:#x}), {human_size(end - base)}:"
    lines.append(f"{terminal.paint(title, HEADING)} {_totals(layers, shown.range)}")
    lines += ["", *drawing, ""]
    rows, more = _rows(shown, cell)
    cells = [each for row in rows for each in _cells(shown, row, layers)]
    lines += table(cells, ["base", "end", "size", "state", "what"], ("size",), terminal, cut=("what",))
    if more:
        lines.append("  ... and more: show a smaller range")
    if layers.reserved.within(base, end):
        lines.append(f"owners: {history_text(shown.history)}")
    return "\n".join(lines)


def _totals(layers: Layers, shown: Range) -> str:
    cell = layers.cell(*shown)
    nothing = cell.size - cell.reserved - cell.free - cell.kept
    parts = (
        (cell.reserved, "reserved"),
        (cell.free, layers.free_word),
        (cell.kept, "never given"),
        (nothing, "not memory"),
    )
    return ", ".join(f"{human_size(size)} {what}" for size, what in parts if size)


def _rows(shown: Shown, cell: int) -> tuple[list[_Row], bool]:
    # The stretches of a range as rows, runs of small ones as one where they are many; and if some are left.
    base, end = shown.range
    between = Stretches(shown.snapshot).between(base, end)
    rows = [_Row(max(each.base, base), min(each.end, end), each) for each in islice(between, _MAX_COUNTED)]
    if len(rows) > MAX_LISTED:
        rows = [joined for small, run in groupby(rows, lambda row: row.end - row.base < cell)
                for joined in (_joined(list(run)) if small else run)]  # fmt: skip
    return rows[:MAX_LISTED], len(rows) > MAX_LISTED or next(between, None) is not None


def _joined(run: list[_Row]) -> list[_Row]:
    return run if len(run) == 1 else [_Row(run[0].base, run[-1].end, None, len(run))]


def _cells(shown: Shown, row: _Row, layers: Layers) -> Iterator[list[str]]:
    # The cells of a row; a reserved stretch has one row for each piece of its own history.
    if row.stretch is None:
        totals = _totals(layers, (row.base, row.end))
        yield _line(shown, row.base, row.end, "mixed", f"{plural(row.parts, 'small part')}: {totals}")
        return
    history = shown.history
    owners = None if history is None else history.owners
    pieces = list(pieces_in(shown.snapshot, row.stretch, row.base, row.end, owners))
    if history is None or not pieces:
        yield _line(shown, row.base, row.end, row.stretch.state, _places_text(shown, row.base, row.end))
        return
    for piece in pieces:
        base, end = max(piece.base, row.base), min(piece.end, row.end)
        place = "-" if piece.storage else _places_text(shown, base, end)  # of its storage, the owner's name says it
        words = [word for word in (place, owner_text(piece, history)) if word != "-"]
        yield _line(shown, base, end, RESERVED, "; ".join(words))


def _line(shown: Shown, base: int, end: int, state: str, what: str) -> list[str]:
    bits = shown.snapshot.bits
    return [address(base, bits), address(end, bits), human_size(end - base), state, what]


def _places_text(shown: Shown, base: int, end: int) -> str:
    # What is known to lie in a range: the smallest place that holds all of it, else the largest ones it meets. A place
    # that goes on outside is said to be there partly: free memory may begin in the image's unused end.
    meeting = [place for place in (*shown.places, *own_places(shown.snapshot)) if place.base < end and base < place.end]
    holding = [place for place in meeting if place.base <= base and end <= place.end]
    if holding:
        return min(holding, key=lambda place: place.end - place.base).what
    largest = [place for place in meeting if not any(_within(place, other) for other in meeting)]
    inside = [place.what if base <= place.base and place.end <= end else f"partly {place.what}" for place in largest]
    return ", ".join(dict.fromkeys(inside)) or "-"


def _within(place: Place, other: Place) -> bool:
    larger = other.end - other.base > place.end - place.base
    return larger and other.base <= place.base and place.end <= other.end


def map_json(shown: Shown) -> Json:
    """Return a range as JSON values of schema `gdb-lmb/map/1`: its bytes by what they are, then part by part."""
    snapshot, history, (base, end) = shown.snapshot, shown.history, shown.range
    cell = Layers(snapshot, shown.image).cell(base, end)
    found = answer(snapshot, shown.range, shown.places, None if history is None else history.owners)
    return {
        "schema": MAP_SCHEMA,
        "layout": snapshot.layout,
        "arch": snapshot.arch,
        **doubts_json(snapshot),
        "stop": STOP.write(snapshot.stop),
        "base": hex(base),
        "size": hex(end - base),
        "bytes": {
            "reserved": hex(cell.reserved),
            "free": hex(0 if snapshot.handed_over else cell.free),
            **({snapshot.free_word: hex(cell.free)} if snapshot.handed_over else {}),
            "never given": hex(cell.kept),
            "not memory": hex(cell.size - cell.reserved - cell.free - cell.kept),
        },
        "image": [{"base": hex(low), "size": hex(high - low)} for low, high in shown.image],
        "history": None if history is None else history.source,
        "note": safe(history.note) if history is not None and history.note else None,
        "parts": [
            {
                "base": hex(part.base),
                "size": hex(part.end - part.base),
                "state": part.stretch.state,
                "places": [
                    {"base": hex(place.base), "size": hex(place.end - place.base), "what": place.what}
                    for place in part.places
                ],
                "owners": [] if history is None else [piece_json(piece, history) for piece in part.owners],
            }
            for part in found.parts
        ],
        "more": found.more,
    }
