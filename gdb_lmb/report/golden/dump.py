# SPDX-License-Identifier: GPL-2.0-or-later
"""What `lmb-dump --json` writes, as a stop of a golden and its environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gdb_lmb.allocators.json_fields import FLAGS
from gdb_lmb.analysis.golden.items import MEMORY, RESERVED, Owned, items_of
from gdb_lmb.core.errors import InputError
from gdb_lmb.core.golden import Environment, GoldenStop
from gdb_lmb.core.json_values import Json
from gdb_lmb.core.ranges import Range
from gdb_lmb.core.snapshot import FLAG_NAMES, Place, RegionList
from gdb_lmb.core.words import FINDING, safe
from gdb_lmb.report.json_base import SNAPSHOT_SCHEMA

_IMAGE = "kernel image"  # `Role.IMAGE`


def stop_of(data: Json, at: str | None = None) -> GoldenStop:
    """Return a stop from JSON of `lmb-dump --json --owners --roles --all`; `at` is where it was asked for.

    Raises: `InputError`.
    """
    try:
        no_node = data.get("no_node")
        names = dict.fromkeys([MEMORY, RESERVED, *(name for name, value in data.items() if _is_list(value))])
        lists = [_regions(name, data[name]["regions"]) for name in names]
        roles = [Place(base, end, row["role"]) for row in data.get("roles", ()) for base, end in [_row_range(row)]]
        owners = data.get("owners") or {"reserved": ()}
        owned = [
            Owned(*_row_range(row), _owner(row), row["seq"])
            for pieces in owners["reserved"]
            for row in pieces
            if row.get("seq") is not None
        ]
        symbol = (data["stop"] or {}).get("symbol")
        return GoldenStop(
            at=at or symbol or "unknown",
            items=tuple(item for one in lists for item in items_of(one, no_node, roles, owned)),
            current_limit=int(data["current_limit"], 16),
            bottom_up=bool(data["bottom_up"]),
            phase=data.get("phase"),
            closed=bool(data.get("closed", False)),
            findings=tuple(sorted({row["code"] for row in data["findings"] if row["severity"] == FINDING})),
        )
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError) as error:
        why = safe(f"{type(error).__name__}: {error}")
        raise InputError(f"this is no snapshot of schema {SNAPSHOT_SCHEMA}: {why}") from None


def _regions(name: str, rows: Sequence[Json]) -> RegionList:
    return RegionList(
        name,
        len(rows),
        0,
        [int(row["base"], 16) for row in rows],
        [int(row["size"], 16) for row in rows],
        [int(row["flags"]) for row in rows],
        range(len(rows)),
        nid=[int(row["nid"]) for row in rows] if any("nid" in row for row in rows) else (),
    )


def _is_list(value: Any) -> bool:
    return isinstance(value, dict) and "regions" in value


def _row_range(row: Json) -> Range:
    base = int(row["base"], 16)
    return base, base + int(row["size"], 16)


def _owner(row: Json) -> str:
    # The function, without what the compiler adds to its copies, such as ".isra.0".
    for caller in row.get("callers", ())[:1]:
        if caller.get("function"):
            return str(caller["function"]).partition(".")[0]
    return str(row["owner"])


def environment_of(data: Json, kernel: str, **more: Any) -> Environment:
    """Return the environment of a dump's JSON; `more` are members that it does not tell. Raises: `InputError`."""
    try:
        image = [_row_range(row) for row in data.get("roles", ()) if row["role"] == _IMAGE]
        rows = [_row_range(row) for row in data[MEMORY]["regions"]]
        names = data.get("flag_names")
        return Environment(
            kernel=kernel,
            layout=data["layout"],
            arch=data["arch"],
            byte_order=data["byte_order"],
            bits=data["bits"],
            page_size=int(data["page_size"], 16),
            flag_names=FLAG_NAMES if names is None else FLAGS.read(names),
            image=(min(one[0] for one in image), max(one[1] for one in image)) if image else None,
            ram_end=max((end for _, end in rows), default=None),
            **{"history": "log" if data.get("owners") else None, **more},
        )
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError) as error:
        why = safe(f"{type(error).__name__}: {error}")
        raise InputError(f"this is no snapshot of schema {SNAPSHOT_SCHEMA}: {why}") from None
