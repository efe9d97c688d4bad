# SPDX-License-Identifier: GPL-2.0-or-later
"""JSON both ways: `gdb-lmb/snapshot/1`, `gdb-lmb/check/1`, `gdb-lmb/verdict/1`.

Addresses and sizes are "0x…" strings, so that no reader loses bits to floating point; counts and flags
are numbers. One writer serves guest and model. The schemas are documented in docs/json.md.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from gdb_lmb.allocators.base import LogVerdict, allocator
from gdb_lmb.allocators.json_fields import HEAD, STOP, write
from gdb_lmb.core.errors import InputError
from gdb_lmb.core.json_values import Json
from gdb_lmb.core.snapshot import Finding, Snapshot
from gdb_lmb.core.words import safe
from gdb_lmb.programs.base import RoleRange
from gdb_lmb.report.json_base import SNAPSHOT_SCHEMA, finding_json

CHECK_SCHEMA = "gdb-lmb/check/1"
VERDICT_SCHEMA = "gdb-lmb/verdict/1"


def snapshot_json(snapshot: Snapshot, findings: Sequence[Finding] = ()) -> Json:
    """Return `snapshot` as JSON values of schema `gdb-lmb/snapshot/1`."""
    return {
        "schema": SNAPSHOT_SCHEMA,
        "layout": snapshot.layout,
        **write(HEAD, snapshot),
        **allocator(snapshot.layout).to_json(snapshot),
        "findings": [finding_json(finding) for finding in findings],
    }


def roles_json(snapshot: Snapshot, table: Sequence[RoleRange]) -> list[Json]:
    """Return what lies where without any history, in ascending order, as JSON values.

    That is the program's table of ranges by role, what it must have reserved by now, and the allocator's own storage.
    """
    rows = [(one.base, one.end, one.role.value) for one in table]
    rows += [(one.base, one.end, one.what) for one in snapshot.required]
    rows += [(one.base, one.end, one.what) for one in allocator(snapshot.layout).own_ranges(snapshot)]
    return [{"base": hex(base), "size": hex(end - base), "role": safe(role)} for base, end, role in sorted({*rows})]


def check_json(snapshot: Snapshot, findings: Sequence[Finding], log: LogVerdict | None) -> Json:
    """Return a check's outcome as JSON values of schema `gdb-lmb/check/1`; `log` None: not asked for."""
    counts = allocator(snapshot.layout).counts(snapshot)
    lacking = {"uncompared": snapshot.uncompared, "unsettled": snapshot.unsettled}
    return {
        "schema": CHECK_SCHEMA,
        "layout": snapshot.layout,
        "arch": snapshot.arch,
        "torn": snapshot.torn is not None,
        "stop": STOP.write(snapshot.stop),
        "checked": {
            "entries": counts.get("entry", 0),
            "regions": sum(map(len, snapshot.lists)),
            "blocks": counts.get("block", 0),
            "operations": None if log is None or log.not_verified else log.replayed,
        },
        "not_verified": not_verified(snapshot, log),
        **{name: [safe(what, 1000) for what in some] for name, some in lacking.items() if some},
        "findings": [finding_json(finding) for finding in findings],
    }


def not_verified(snapshot: Snapshot, log: LogVerdict | None) -> list[str]:
    """Return the codes of the reasons why a check proves nothing: "torn", "freed", "uncompared", "log-wrapped".

    That a kernel keeps no log is no such reason.
    """
    logged = None if log is None or log.reason in ("torn", "no-log") else log.reason
    uncompared = ("uncompared", snapshot.uncompared)
    reasons = (("torn", snapshot.torn), ("freed", snapshot.refused), uncompared, (logged, logged))
    return [code for code, holds in reasons if code and holds]


MAX_JSON_ROWS = 10_000
"""Elements of one list in what a command writes as JSON without --all: more than any sound machine has."""


def bounded(value: Json) -> Json:
    """Return JSON values with the first `MAX_JSON_ROWS` elements of each list; "left_out" counts the rest, by path.

    Objects in a list are its rows, in which no list is long.
    """
    left_out: dict[str, int] = {}

    def cut(path: str, inner: Any) -> Any:
        if isinstance(inner, dict):
            return {name: cut(f"{path}.{name}" if path else name, one) for name, one in inner.items()}
        if not isinstance(inner, list):
            return inner
        if len(inner) > MAX_JSON_ROWS:
            left_out[path] = len(inner) - MAX_JSON_ROWS
            inner = inner[:MAX_JSON_ROWS]
        nested = bool(inner) and isinstance(inner[0], list)
        return [cut(f"{path}[{at}]", one) for at, one in enumerate(inner)] if nested else inner

    out = cut("", value)
    return {**out, "left_out": left_out} if left_out else value


def dumps(value: Json) -> str:
    """Write JSON on one line, ASCII only."""
    return json.dumps(value)


# -- reading ----------------------------------------------------------------------------------------


def snapshot_from(data: Json) -> Snapshot:
    """Return the snapshot that JSON values of schema `gdb-lmb/snapshot/1` tell of. Raises: `InputError`.

    What only live memory holds (links, the log) is not in the JSON and not in the result.
    """
    try:
        if data["schema"] != SNAPSHOT_SCHEMA:
            raise InputError(f"this is {safe(str(data['schema']))!r}, not a snapshot of schema {SNAPSHOT_SCHEMA}")
        if "left_out" in data:
            raise InputError("this snapshot is not whole: lmb-dump --json --all writes all of it")
        return allocator(str(data["layout"])).from_json(data)
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, AttributeError) as error:
        why = safe(f"{type(error).__name__}: {error}")
        raise InputError(f"this is no snapshot of schema {SNAPSHOT_SCHEMA}: {why}") from None
