# SPDX-License-Identifier: GPL-2.0-or-later
"""JSON both ways: `gdb-lmb/snapshot/1`, `gdb-lmb/check/1`, `gdb-lmb/verdict/1`.

Addresses and sizes are "0x…" strings, so that no reader loses bits to floating point; counts and flags
are numbers. One writer serves guest and model. The schemas are documented in docs/json.md.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from typing import Any

from gdb_lmb.allocators.base import LogVerdict
from gdb_lmb.core.errors import InputError
from gdb_lmb.core.snapshot import (
    FLAG_NAMES,
    Block,
    Entry,
    Finding,
    FirmwareMap,
    RegionArray,
    RegionList,
    Snapshot,
    Stop,
    column,
)
from gdb_lmb.core.words import safe

SNAPSHOT_SCHEMA = "gdb-lmb/snapshot/1"
CHECK_SCHEMA = "gdb-lmb/check/1"
VERDICT_SCHEMA = "gdb-lmb/verdict/1"

MAX_NODES = 1 << 16

Json = dict[str, Any]


def _entry(snapshot: Snapshot, index: int) -> list[int]:
    where = snapshot.entry(index)
    return [where.block, where.slot]


def _regions(snapshot: Snapshot, regions: RegionList) -> Json:
    rows = zip(regions.base, regions.size, regions.flags, regions.entry, strict=True)
    return {
        "cnt": regions.cnt,
        "total_size": hex(regions.total_size),
        "regions": [
            {"base": hex(base), "size": hex(size), "flags": flags, "entry": _entry(snapshot, entry)}
            for base, size, flags, entry in rows
        ],
    }


def finding_json(finding: Finding) -> Json:
    """Return one finding as JSON values."""
    return {
        "code": finding.code,
        "severity": finding.severity,
        "message": safe(finding.message, 1000),
        "addresses": [hex(value) for value in finding.addresses],
    }


def stop_json(snapshot: Snapshot) -> Json | None:
    """Return where the guest stands as JSON values, None for a model."""
    if snapshot.stop is None:
        return None
    symbol = snapshot.stop.symbol
    return {"pc": hex(snapshot.stop.pc), "symbol": None if symbol is None else safe(symbol)}


def _memblock_regions(regions: RegionList) -> Json:
    rows = zip(regions.base, regions.size, regions.flags, strict=True)
    out = [{"base": hex(base), "size": hex(size), "flags": flags} for base, size, flags in rows]
    for row, nid in zip(out, regions.nid, strict=False):
        row["nid"] = nid
    return {"cnt": regions.cnt, "max": regions.max, "total_size": hex(regions.total_size), "regions": out}


def _machine(snapshot: Snapshot) -> Json:
    """Return what every snapshot begins with."""
    return {
        "schema": SNAPSHOT_SCHEMA,
        "layout": snapshot.layout,
        "arch": snapshot.arch,
        "byte_order": snapshot.byte_order,
        "bits": snapshot.bits,
        "page_size": hex(snapshot.page_size),
    }


def _memblock_json(snapshot: Snapshot, findings: Sequence[Finding]) -> Json:
    firmware = snapshot.firmware or FirmwareMap()
    lists = {regions.name: _memblock_regions(regions) for regions in snapshot.lists}
    return {
        **_machine(snapshot),
        "phase": snapshot.phase,
        "torn": snapshot.torn is not None,
        "stop": stop_json(snapshot),
        **lists,
        "refused": dict(snapshot.refused),
        "arrays": [
            {"list": at.name, "max": at.max, "size": hex(at.size), "static": at.static,
             "base": None if at.base is None else hex(at.base)}
            for at in snapshot.arrays
        ],
        "current_limit": hex(snapshot.current_limit),
        "bottom_up": snapshot.bottom_up,
        "flag_names": {hex(flag): safe(name) for flag, name in snapshot.flag_names.items()},
        "no_node": snapshot.no_node,
        "firmware": _firmware(firmware),
        "findings": [finding_json(finding) for finding in findings],
    }  # fmt: skip


def _firmware(firmware: FirmwareMap) -> list[Json]:
    rows = zip(firmware.base, firmware.size, firmware.type, strict=True)
    return [{"base": hex(base), "size": hex(size), "type": kind} for base, size, kind in rows]


def snapshot_json(snapshot: Snapshot, findings: Sequence[Finding] = ()) -> Json:
    """Return `snapshot` as JSON values of schema `gdb-lmb/snapshot/1`."""
    if snapshot.layout == "memblock":
        return _memblock_json(snapshot, findings)
    firmware = snapshot.firmware or FirmwareMap()
    return {
        **_machine(snapshot),
        "torn": snapshot.torn is not None,
        "stop": stop_json(snapshot),
        "memory": _regions(snapshot, snapshot.memory),
        "reserved": _regions(snapshot, snapshot.reserved),
        "free": [_entry(snapshot, index) for index in snapshot.free],
        "nr_free": snapshot.nr_free,
        "blocks": [{"base": hex(block.base), "entries": block.nr, "static": block.static} for block in snapshot.blocks],
        "nr_blocks": snapshot.nr_blocks,
        "block_size": hex(snapshot.block_size),
        "entry_size": hex(snapshot.entry_size),
        "header_size": hex(snapshot.header_size),
        "current_limit": hex(snapshot.current_limit),
        "bottom_up": snapshot.bottom_up,
        "may_grow": snapshot.may_grow,
        "closed": snapshot.closed,
        "handover": None
        if snapshot.handover is None
        else [{"base": hex(base), "size": hex(end - base)} for base, end in snapshot.handover],
        "firmware": _firmware(firmware),
        "findings": [finding_json(finding) for finding in findings],
    }


def check_json(snapshot: Snapshot, findings: Sequence[Finding], log: LogVerdict | None) -> Json:
    """Return a check's outcome as JSON values of schema `gdb-lmb/check/1`; `log` None: not asked for."""
    return {
        "schema": CHECK_SCHEMA,
        "layout": snapshot.layout,
        "arch": snapshot.arch,
        "torn": snapshot.torn is not None,
        "stop": stop_json(snapshot),
        "checked": {
            "entries": snapshot.nr_entries,
            "regions": sum(map(len, snapshot.lists)),
            "blocks": len(snapshot.blocks),
            "operations": None if log is None or log.not_verified else log.replayed,
        },
        "not_verified": not_verified(snapshot, log),
        "findings": [finding_json(finding) for finding in findings],
    }


def not_verified(snapshot: Snapshot, log: LogVerdict | None) -> list[str]:
    """Return the codes of what keeps a check from meaning anything: "torn", "freed", "log-wrapped".

    A kernel built without a log was never promised a replay, so that is no reason.
    """
    reasons = (["torn"] if snapshot.torn else []) + (["freed"] if snapshot.refused else [])
    if log is not None and log.reason not in (None, "torn", "no-log"):
        reasons.append(str(log.reason))
    return reasons


def dumps(value: Json) -> str:
    """Write JSON on one line, ASCII only."""
    return json.dumps(value)


# -- reading ----------------------------------------------------------------------------------------


def snapshot_from_json(text: str | bytes) -> Snapshot:
    """Read a snapshot of schema `gdb-lmb/snapshot/1` back. Raises: `InputError`.

    What only live memory holds (links, the log) is not in the JSON and not in the result.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"this is no snapshot of schema {SNAPSHOT_SCHEMA}: {type(error).__name__}: {error}") from None
    return snapshot_from(data)


def snapshot_from(data: Json) -> Snapshot:
    """Return the snapshot that JSON values of schema `gdb-lmb/snapshot/1` tell of. Raises: `InputError`."""
    try:
        if data["schema"] != SNAPSHOT_SCHEMA:
            raise InputError(f"this is {safe(str(data['schema']))!r}, not a snapshot of schema {SNAPSHOT_SCHEMA}")
        if data["layout"] not in ("lmb-list", "memblock"):
            raise InputError(f"{safe(str(data['layout']))!r} is no layout that is known: lmb-list or memblock")
        return _memblock(data) if data["layout"] == "memblock" else _snapshot(data)
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, AttributeError) as error:
        why = safe(f"{type(error).__name__}: {error}")
        raise InputError(f"this is no snapshot of schema {SNAPSHOT_SCHEMA}: {why}") from None


def _hex(value: Any) -> int:
    if not isinstance(value, str) or not value.startswith("0x"):
        raise ValueError(f'{value!r} is no "0x…" string')
    return int(value, 16)


def _snapshot(data: Json) -> Snapshot:
    blocks = tuple(Block(_hex(row["base"]), int(row["entries"]), bool(row["static"])) for row in data["blocks"])
    first = [sum(block.nr for block in blocks[:number]) for number in range(len(blocks))]

    def index(pair: Any) -> int:
        where = Entry(*map(int, pair))
        if not 0 <= where.slot < blocks[where.block].nr:
            raise ValueError(f"there is no entry {where.block}:{where.slot}")
        return first[where.block] + where.slot

    def regions(name: str) -> RegionList:
        rows = data[name]["regions"]
        return RegionList(
            name=name,
            cnt=int(data[name]["cnt"]),
            total_size=_hex(data[name]["total_size"]),
            base=column(_hex(row["base"]) for row in rows),
            size=column(_hex(row["size"]) for row in rows),
            flags=column(int(row["flags"]) for row in rows),
            entry=column(index(row["entry"]) for row in rows),
        )

    page_size, block_size = _hex(data["page_size"]), _hex(data["block_size"])
    sized = tuple(
        Block(block.base, block.nr, block.static, 0 if block.static else page_size if not at else block_size)
        for at, block in enumerate(blocks)
    )
    handover = data["handover"]
    return Snapshot(
        memory=regions("memory"),
        reserved=regions("reserved"),
        free=column(index(pair) for pair in data["free"]),
        nr_free=int(data["nr_free"]),
        blocks=sized,
        nr_blocks=int(data["nr_blocks"]),
        block_size=block_size,
        # Snapshots written before these two were there cannot be gone on from; all else works.
        entry_size=_hex(data.get("entry_size", "0x0")),
        header_size=_hex(data.get("header_size", "0x0")),
        bits=int(data["bits"]),
        page_size=page_size,
        current_limit=_hex(data["current_limit"]),
        bottom_up=bool(data["bottom_up"]),
        may_grow=bool(data["may_grow"]),
        closed=bool(data["closed"]),
        layout=str(data["layout"]),
        arch=str(data["arch"]),
        byte_order=str(data["byte_order"]),
        torn="an LMB function" if data["torn"] else None,
        stop=_read_stop(data["stop"]),
        firmware=_read_firmware(data["firmware"]),
        handover=None
        if handover is None
        else tuple((_hex(row["base"]), _hex(row["base"]) + _hex(row["size"])) for row in handover),
        handover_nr=0 if handover is None else len(handover),
    )


def _memblock(data: Json) -> Snapshot:
    flag_names, no_node = data.get("flag_names"), data.get("no_node")
    if no_node is not None and not 0 < int(no_node) <= MAX_NODES:
        raise ValueError(f"{no_node!r} nodes are more than any kernel has")

    def regions(name: str) -> RegionList:
        rows = data[name]["regions"]
        with_nodes = no_node is not None or any("nid" in row for row in rows)
        return RegionList(
            name=name,
            cnt=int(data[name]["cnt"]),
            total_size=_hex(data[name]["total_size"]),
            base=column(_hex(row["base"]) for row in rows),
            size=column(_hex(row["size"]) for row in rows),
            flags=column(int(row["flags"]) for row in rows),
            entry=column(range(len(rows))),
            max=int(data[name]["max"]),
            nid=array("q", (int(row["nid"]) for row in rows)) if with_nodes else (),
        )

    def listed(name: Any) -> str:
        if name not in ("memory", "reserved", "physmem") or name not in data:
            raise ValueError(f"there is no list {name!r}")
        return str(name)

    return Snapshot(
        memory=regions("memory"),
        reserved=regions("reserved"),
        physmem=regions("physmem") if "physmem" in data else None,
        arrays=tuple(
            RegionArray(
                listed(row["list"]),
                va=0,
                max=int(row["max"]),
                static=bool(row["static"]),
                size=_hex(row["size"]),
                base=None if row["base"] is None else _hex(row["base"]),
            )
            for row in data["arrays"]
        ),
        bits=int(data["bits"]),
        page_size=_hex(data["page_size"]),
        current_limit=_hex(data["current_limit"]),
        bottom_up=bool(data["bottom_up"]),
        layout="memblock",
        arch=str(data["arch"]),
        byte_order=str(data["byte_order"]),
        phase=None if data["phase"] is None else str(data["phase"]),
        torn="a memblock function" if data["torn"] else None,
        refused={listed(name): str(why) for name, why in data.get("refused", {}).items()},
        stop=_read_stop(data["stop"]),
        firmware=_read_firmware(data["firmware"]),
        flag_names=FLAG_NAMES if flag_names is None else {_hex(flag): str(name) for flag, name in flag_names.items()},
        no_node=None if no_node is None else int(no_node),
    )


def _read_stop(stop: Any) -> Stop | None:
    return None if stop is None else Stop(_hex(stop["pc"]), stop["symbol"])


def _read_firmware(rows: Any) -> FirmwareMap | None:
    """Return the map; a writer without one (the model) writes an empty one."""
    if not rows:
        return None
    return FirmwareMap(
        column(_hex(row["base"]) for row in rows),
        column(_hex(row["size"]) for row in rows),
        column(int(row["type"]) for row in rows),
    )
