# SPDX-License-Identifier: GPL-2.0-or-later
"""What an allocation may still get and what an operation would do, for people and as JSON: `lmb-free`, `lmb-whatif`."""

from __future__ import annotations

from collections.abc import Sequence

from gdb_lmb.allocators.base import allocator
from gdb_lmb.allocators.json_fields import STOP
from gdb_lmb.allocators.predict import Prediction, Row
from gdb_lmb.core.holes import Fit, FreeSpace
from gdb_lmb.core.json_values import Json
from gdb_lmb.core.snapshot import Snapshot, flag_names
from gdb_lmb.core.words import address, errno_name, human_size, plural, safe, written
from gdb_lmb.report.table import table
from gdb_lmb.report.terminal import HEADING, PLAIN, Terminal
from gdb_lmb.report.text import doubt_lines, doubts_json

FREE_SCHEMA = "gdb-lmb/free/1"
WHATIF_SCHEMA = "gdb-lmb/whatif/1"


def _function(prediction: Prediction) -> str:
    return allocator(prediction.before.layout).prefixes[0] + prediction.op


def _allocates(prediction: Prediction) -> bool:
    return allocator(prediction.before.layout).allocates(prediction.op)


def _regions(rows: Sequence[Row], snapshot: Snapshot) -> str:
    return ", ".join(_region(row, snapshot) for row in rows) or "nothing"


def _region(row: Row, snapshot: Snapshot) -> str:
    flags = f" {flag_names(row.flags, snapshot.flag_names)}" if row.flags else ""
    has_node = row.nid is not None and (snapshot.no_node is None or 0 <= row.nid < snapshot.no_node)
    return f"[{row.base:#x}, {row.end:#x}){flags}" + (f" node {row.nid}" if has_node else "")


def _given_away(prediction: Prediction, asked: Snapshot) -> str | None:
    # After the hand-over memblock still returns what it believes to be free.
    result = prediction.result
    gives = asked.handed_over and _allocates(prediction) and result is not None and result > 0
    return "memory that the page allocator has had since the hand-over" if gives else None


def outcome(prediction: Prediction) -> str:
    """Return what the function would return, in words, with the reason where it fails."""
    reason = f": {safe(prediction.reason, 1000)}" if prediction.reason else ""
    if prediction.result is None:
        return f"cannot be told{reason}"
    name = errno_name(prediction.result)
    if name is not None:
        return f"fails with -{name} ({prediction.result}){reason}"
    if _allocates(prediction):
        # memblock's way to say that there is no memory is address 0.
        return f"returns {prediction.result:#x}" if prediction.result else f"fails and returns 0{reason}"
    return f"returns {prediction.result}"


def prediction_text(prediction: Prediction, terminal: Terminal = PLAIN, asked: Snapshot | None = None) -> str:
    """Return what `lmb-whatif` prints: the outcome, then what would change; `asked` is the guest's own snapshot."""
    away = None if asked is None else _given_away(prediction, asked)
    told = outcome(prediction) + (f": {away}" if away else "")
    given = ", ".join(f"{name}={written(name, value)}" for name, value in prediction.arguments.items())
    warning = f"NOT verified: {safe(prediction.unverified, 1000)}\n" if prediction.unverified else ""
    title = warning + terminal.paint(f"{_function(prediction)}({given}) {told}", HEADING)
    if asked is not None and asked.handed_over and not asked.storage.closed:
        title = f"{doubt_lines(asked)[0]}\n{title}"
    if prediction.reason and not prediction.changes:
        return f"{title}\n  nothing changes"
    changes = [
        f"{change.list}: {_regions(change.before, prediction.after)} -> {_regions(change.after, prediction.after)}"
        for change in prediction.changes
    ]
    return "\n  ".join([title, *(changes or ["no region changes"]), *prediction.growth])


def _rows_json(rows: Sequence[Row]) -> list[Json]:
    return [
        {"base": hex(row.base), "size": hex(row.size), "flags": row.flags}
        | ({} if row.nid is None else {"nid": row.nid})
        for row in rows
    ]


def prediction_json(prediction: Prediction, asked: Snapshot) -> Json:
    """Return a prediction as JSON values of schema `gdb-lmb/whatif/1`; `asked` is the guest's own snapshot."""
    result = prediction.result
    return {
        "schema": WHATIF_SCHEMA,
        "layout": asked.layout,
        "arch": asked.arch,
        "closed": asked.handed_over,
        "stop": STOP.write(asked.stop),
        "function": _function(prediction),
        "arguments": {
            # Numbers are "0x..." strings, and "-1" is no node.
            name: value if isinstance(value, str | bool) else hex(value) if value >= 0 else str(value)
            for name, value in prediction.arguments.items()
        },
        "result": hex(result) if result is not None and result > 0 and _allocates(prediction) else result,
        "errno": errno_name(result),
        "reason": safe(prediction.reason, 1000) if prediction.reason else _given_away(prediction, asked),
        "changes": [
            {"list": change.list, "before": _rows_json(change.before), "after": _rows_json(change.after)}
            for change in prediction.changes
        ],
        "entries": {"popped": 0, "pushed": 0, "free": [0, 0]},
        "blocks": [],
        "arrays": [],
        **prediction.storage,
        **({"not_verified": safe(prediction.unverified, 1000)} if prediction.unverified else {}),
    }


# -- free memory -------------------------------------------------------------------------------------


def free_text(snapshot: Snapshot, space: FreeSpace, terminal: Terminal = PLAIN) -> str:
    """Return the tables of `lmb-free`: the holes, then the largest allocations, then fragmentation."""
    bits = snapshot.bits
    lines = doubt_lines(snapshot, terminal)
    title = (
        f"{snapshot.free_word} in [{space.min:#x}, {space.max:#x}): {plural(len(space.holes), 'hole')}, "
        f"{human_size(space.total)} ({space.total:,} bytes)"
    )
    lines.append(terminal.paint(title, HEADING))
    if not space.holes:
        return "\n".join(lines)
    rows = [
        [at, address(base, bits), address(end, bits), human_size(end - base), f"{end - base:,}"]
        for at, (base, end) in enumerate(space.holes)
    ]
    lines += table(rows, ["#", "base", "end", "size", "bytes"], ("#", "size", "bytes"), terminal, spare=("bytes",))
    largest = "largest range that was free" if snapshot.handed_over else "largest allocation possible"
    lines += ["", terminal.paint(f"{largest}, by the alignment of its base:", HEADING)]
    lines += _fits_lines(space, terminal)
    share = f"1 - largest hole / all {snapshot.free_word} bytes"
    lines += ["", f"fragmentation: {100 * space.fragmentation:.1f} % ({share})"]
    return "\n".join(lines)


def _fits_lines(space: FreeSpace, terminal: Terminal) -> list[str]:
    # A row for each alignment and a column for each limit; a row for each of both where that is too wide.
    limits = list(dict.fromkeys(fit.max for fit in space.fits))
    names = ["anywhere", *(f"below {human_size(limit)}" for limit in limits[1:])]
    found = {(fit.align, fit.max): fit for fit in space.fits}
    aligns = list(dict.fromkeys(fit.align for fit in space.fits))
    rows = [[human_size(align), *(_fit(found[align, limit]) for limit in limits)] for align in aligns]
    lines = table(rows, ["align", *names], ("align",), Terminal(color=terminal.color))
    if terminal.width is None or max(map(len, lines[1:])) <= terminal.columns:
        return lines
    rows = [
        [human_size(align), name, _fit(found[align, limit])]
        for align in aligns
        for limit, name in zip(limits, names, strict=True)
    ]
    return table(rows, ["align", "where", "largest"], ("align",), terminal)


def _fit(fit: Fit) -> str:
    return f"{human_size(fit.size)} at {fit.base:#x}" if fit.size else "none"


def free_json(snapshot: Snapshot, space: FreeSpace) -> Json:
    """Return what is free as JSON values of schema `gdb-lmb/free/1`."""
    return {
        "schema": FREE_SCHEMA,
        "layout": snapshot.layout,
        "arch": snapshot.arch,
        **doubts_json(snapshot),
        "stop": STOP.write(snapshot.stop),
        "min": hex(space.min),
        "max": hex(space.max),
        "state": snapshot.free_word,
        "free": hex(space.total),
        "holes": [{"base": hex(base), "size": hex(end - base)} for base, end in space.holes],
        "largest": [
            {
                "align": hex(fit.align),
                "max": hex(fit.max),
                "base": hex(fit.base) if fit.size else None,
                "size": hex(fit.size),
            }
            for fit in space.fits
        ],
        "fragmentation": round(space.fragmentation, 6),
    }
