# SPDX-License-Identifier: GPL-2.0-or-later
"""The owner of an address, as text and as `gdb-lmb/who/1`; and the owners of all that is reserved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gdb_lmb.allocators.json_fields import STOP
from gdb_lmb.analysis.owners import History, Piece
from gdb_lmb.analysis.who import FREE, GONE, KEPT, NOTHING, Answer, Part, Stretch
from gdb_lmb.core.json_values import Json
from gdb_lmb.core.operation import Symbol
from gdb_lmb.core.snapshot import RegionList, Snapshot, firmware_type, flag_names
from gdb_lmb.core.words import address, human_size, safe
from gdb_lmb.report.divergence import site
from gdb_lmb.report.table import more_line, table
from gdb_lmb.report.terminal import HEADING, PLAIN, Terminal
from gdb_lmb.report.text import doubt_lines, doubts_json

WHO_SCHEMA = "gdb-lmb/who/1"

_MAX_CALLERS_SHOWN = 3
_GAPS = {FREE: "hole", GONE: "hole", KEPT: "kept", NOTHING: "gap"}


@dataclass(frozen=True)
class Known:
    """What an answer is told with: the snapshot, the history or None, and the image's symbol at an address."""

    snapshot: Snapshot
    history: History | None
    symbol: Callable[[int], str | None]


def owner_text(piece: Piece, history: History) -> str:
    """Return who owns a piece, in a few words."""
    if piece.record is not None:
        pc = history.owner(piece.record)
        return "an unknown caller" if pc is None else site(pc, history.look(pc))
    if piece.storage:
        return f"the allocator itself: {piece.storage}"
    return "reserved before the history begins" if piece.initial else "nobody that the history tells of"


def _range(base: int, end: int) -> str:
    return f"[{base:#x}, {end:#x})"


def _region(regions: RegionList, at: int, snapshot: Snapshot) -> str:
    region = regions[at]
    text = f"{_range(region.base, region.end)}, region {at}"
    if len(regions.nid) and snapshot.no_node is not None and 0 <= regions.nid[at] < snapshot.no_node:
        text += f", node {regions.nid[at]}"
    if region.flags:
        text += f", {flag_names(region.flags, snapshot.flag_names)}"
    where = snapshot.storage.entry(regions.entry[at])
    if where is not None:
        text += f", entry {where}"
    return text


def _part_lines(part: Part, known: Known) -> list[str]:
    snapshot, stretch = known.snapshot, part.stretch
    rows: list[tuple[str, str]] = []
    if stretch.reserved is not None:
        rows.append(("reserved", _region(snapshot.reserved, stretch.reserved, snapshot)))
    if stretch.memory is not None:
        rows.append(("memory", _region(snapshot.memory, stretch.memory, snapshot)))
    if stretch.reserved is None:
        rows.append((_GAPS[stretch.state], _range(stretch.base, stretch.end)))
    rows += [("firmware", f"{_range(base, end)} {firmware_type(kind)}")
             for base, end, kind in part.firmware]  # fmt: skip
    rows += [("is", f"{_range(place.base, place.end)} {place.what}") for place in part.places]
    symbol = known.symbol(part.base)
    if symbol is not None:
        rows.append(("symbol", safe(symbol)))
    if known.history is not None:
        for piece in part.owners:
            rows += _owner_rows(piece, known.history)
    return [f"  {name:9} {text}" for name, text in rows]


def _owner_rows(piece: Piece, history: History) -> Iterator[tuple[str, str]]:
    record = piece.record
    yield "owner", f"{_range(piece.base, piece.end)} {owner_text(piece, history)}"
    if record is not None:
        phase = f", {safe(record.phase)}" if record.phase else ""
        log = " of the guest's log" if piece.logged else ""
        yield "when", f"operation {record.seq}{log}, {record.operation}{phase}"
        for pc in history.callers(record)[1 : 1 + _MAX_CALLERS_SHOWN]:
            yield "from", site(pc, history.look(pc))


def who_text(answer: Answer, known: Known, terminal: Terminal = PLAIN) -> str:
    """Return what `lmb-who` prints."""
    snapshot, history = known.snapshot, known.history
    lines = doubt_lines(snapshot, terminal)
    hidden = terminal.left_out(len(answer.parts))
    for part in answer.parts[: len(answer.parts) - hidden]:
        where = hex(part.base) if answer.end - answer.base == 1 else _range(part.base, part.end)
        lines.append(terminal.paint(f"{where}: {part.stretch.state}", HEADING))
        lines += _part_lines(part, known)
    lines += more_line(hidden)
    if answer.more:
        lines.append("... and more, not shown")
    for name, one in (("below", answer.below), ("above", answer.above)):
        around = "the end of the address space" if one is None else f"{one.state} {_range(one.base, one.end)}"
        lines.append(f"  {name:9} {around}")
    if any(part.stretch.reserved is not None for part in answer.parts):
        lines.append(f"  history   {history_text(history)}")
    return "\n".join(lines)


def history_text(history: History | None) -> str:
    """Return where owners are known from, and what that lacks."""
    if history is None:
        return "none: who reserved it is not known (no trace, and no operation log in this kernel)"
    return history.source + (f"; {safe(history.note)}" if history.note else "")


def owners_lines(snapshot: Snapshot, history: History | None, terminal: Terminal = PLAIN) -> list[str]:
    """Return the table of who reserved each region, piece by piece, for `lmb-dump --owners`."""
    if history is None:
        return [f"owners: {history_text(None)}"]
    bits = snapshot.bits
    rows = [
        [at, address(piece.base, bits), address(piece.end, bits), human_size(piece.end - piece.base),
         "-" if piece.record is None else piece.record.seq, owner_text(piece, history)]
        for at, pieces in enumerate(history.owners.cover(snapshot)) for piece in pieces
    ]  # fmt: skip
    headers = ["#", "base", "end", "size", "operation", "owner"]
    lines = [terminal.paint(f"owners of what is reserved, by {history_text(history)}:", HEADING)]
    return lines + (table(rows, headers, ("#", "size", "operation"), terminal, cut=("owner",)) if rows else [])


# -- JSON -------------------------------------------------------------------------------------------


def _safe(text: str | None) -> str | None:
    return None if text is None else safe(text)


def _stretch_json(stretch: Stretch | None) -> Json | None:
    if stretch is None:
        return None
    return {"base": hex(stretch.base), "size": hex(stretch.end - stretch.base), "state": stretch.state}


def _region_json(regions: RegionList, at: int | None) -> Json | None:
    if at is None:
        return None
    base, size, flags = hex(regions.base[at]), hex(regions.size[at]), regions.flags[at]
    node = {"nid": regions.nid[at]} if len(regions.nid) else {}
    return {"index": at, "base": base, "size": size, "flags": flags, **node}


def _site_json(pc: int, symbol: Symbol | None) -> Json:
    if symbol is None:
        return {"pc": hex(pc)}
    return {
        "pc": hex(pc), "function": safe(symbol.function), "offset": symbol.offset, "file": _safe(symbol.file),
        "line": symbol.line,
    }  # fmt: skip


def piece_json(piece: Piece, history: History) -> Json:
    """Return a piece of a reservation with its owner as JSON values."""
    row: Json = {"base": hex(piece.base), "size": hex(piece.end - piece.base), "owner": owner_text(piece, history)}
    record = piece.record
    if record is None:
        return row
    callers = [_site_json(pc, history.look(pc)) for pc in history.callers(record)]
    return {
        **row, "seq": record.seq, "call": str(record.operation), "phase": _safe(record.phase), "callers": callers,
    }  # fmt: skip


def owners_json(snapshot: Snapshot, history: History | None) -> Json | None:
    """Return who reserved each region, in list order, as JSON values; None where nothing is known."""
    if history is None:
        return None
    return {
        "history": history.source,
        "note": safe(history.note) if history.note else None,
        "reserved": [[piece_json(piece, history) for piece in pieces] for pieces in history.owners.cover(snapshot)],
    }


def who_json(answer: Answer, known: Known) -> Json:
    """Return an answer as JSON values of schema `gdb-lmb/who/1`."""
    snapshot, history = known.snapshot, known.history
    return {
        "schema": WHO_SCHEMA,
        "layout": snapshot.layout,
        "arch": snapshot.arch,
        **doubts_json(snapshot),
        "stop": STOP.write(snapshot.stop),
        "base": hex(answer.base),
        "size": hex(answer.end - answer.base),
        "history": None if history is None else history.source,
        "note": safe(history.note) if history is not None and history.note else None,
        "parts": [
            {
                "base": hex(part.base),
                "size": hex(part.end - part.base),
                "state": part.stretch.state,
                "stretch": _stretch_json(part.stretch),
                "memory": _region_json(snapshot.memory, part.stretch.memory),
                "reserved": _region_json(snapshot.reserved, part.stretch.reserved),
                "firmware": [{"base": hex(b), "size": hex(e - b), "type": kind} for b, e, kind in part.firmware],
                "places": [
                    {"base": hex(place.base), "size": hex(place.end - place.base), "what": place.what}
                    for place in part.places
                ],
                "symbol": _safe(known.symbol(part.base)),
                "owners": [piece_json(piece, history) for piece in part.owners] if history is not None else [],
            }
            for part in answer.parts
        ],
        "below": _stretch_json(answer.below),
        "above": _stretch_json(answer.above),
    }
