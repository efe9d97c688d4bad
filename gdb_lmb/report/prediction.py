# SPDX-License-Identifier: GPL-2.0-or-later
"""What an operation would do, for people and as `gdb-lmb/whatif/1`: what `lmb-whatif` prints."""

from __future__ import annotations

from collections.abc import Sequence

from gdb_lmb.allocators.base import allocator
from gdb_lmb.allocators.json_fields import Json
from gdb_lmb.allocators.predict import Change, Prediction, Row
from gdb_lmb.core.snapshot import Snapshot, flag_names
from gdb_lmb.core.words import errno_name, safe, written
from gdb_lmb.report.jsonio import stop_json
from gdb_lmb.report.terminal import HEADING, PLAIN, Terminal

WHATIF_SCHEMA = "gdb-lmb/whatif/1"


def function_of(prediction: Prediction) -> str:
    """Return the kernel's name of the function that was asked about."""
    return allocator(prediction.before.layout).prefixes[0] + prediction.op


def _allocates(prediction: Prediction) -> bool:
    return allocator(prediction.before.layout).allocates(prediction.op)


def _argument_json(value: int | str | bool) -> str | bool:
    """Return an argument as the schema has it: numbers are "0x..." strings, "-1" is no node."""
    if isinstance(value, str | bool):
        return value
    return hex(value) if value >= 0 else str(value)


def _node(row: Row, snapshot: Snapshot) -> str:
    if row.nid is None or (snapshot.no_node is not None and not 0 <= row.nid < snapshot.no_node):
        return ""
    return f" node {row.nid}"


def _regions(rows: Sequence[Row], snapshot: Snapshot) -> str:
    if not rows:
        return "nothing"
    return ", ".join(
        f"[{row.base:#x}, {row.end:#x})"
        + (f" {flag_names(row.flags, snapshot.flag_names)}" if row.flags else "")
        + _node(row, snapshot)
        for row in rows
    )


def _change_line(change: Change, snapshot: Snapshot) -> str:
    return f"  {change.list}: {_regions(change.before, snapshot)} -> {_regions(change.after, snapshot)}"


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


def prediction_text(prediction: Prediction, terminal: Terminal = PLAIN) -> str:
    """Return what `lmb-whatif` prints: the outcome, then what would change."""
    given = ", ".join(f"{name}={written(name, value)}" for name, value in prediction.arguments.items())
    lines = [terminal.paint(f"{function_of(prediction)}({given}) {outcome(prediction)}", HEADING)]
    lines += [_change_line(change, prediction.after) for change in prediction.changes]
    if not prediction.changes:
        lines.append("  nothing changes" if prediction.reason else "  no region changes")
        if prediction.reason:
            return "\n".join(lines)
    return "\n".join([*lines, *(f"  {line}" for line in prediction.growth)])


def _rows_json(rows: Sequence[Row]) -> list[Json]:
    return [
        {"base": hex(row.base), "size": hex(row.size), "flags": row.flags}
        | ({} if row.nid is None else {"nid": row.nid})
        for row in rows
    ]


def prediction_json(prediction: Prediction, asked: Snapshot) -> Json:
    """Return a prediction as JSON values of schema `gdb-lmb/whatif/1`; `asked` is the guest's own snapshot."""
    result: int | str | None = prediction.result
    if _allocates(prediction) and prediction.result is not None and prediction.result > 0:
        result = hex(prediction.result)
    return {
        "schema": WHATIF_SCHEMA,
        "layout": asked.layout,
        "arch": asked.arch,
        "stop": stop_json(asked),
        "function": function_of(prediction),
        "arguments": {name: _argument_json(value) for name, value in prediction.arguments.items()},
        "result": result,
        "errno": errno_name(prediction.result),
        "reason": safe(prediction.reason, 1000) or None,
        "changes": [
            {"list": change.list, "before": _rows_json(change.before), "after": _rows_json(change.after)}
            for change in prediction.changes
        ],
        "entries": {"popped": 0, "pushed": 0, "free": [0, 0]},
        "blocks": [],
        "arrays": [],
        **prediction.storage,
    }
