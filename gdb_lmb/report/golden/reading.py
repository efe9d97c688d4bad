# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads goldens, and snapshots of version 1."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gdb_lmb.core.errors import InputError, UsageError
from gdb_lmb.core.golden import OWNER, ROLE, Environment, Golden, GoldenStop, Item
from gdb_lmb.core.json_values import Json, checked, read_number, short
from gdb_lmb.core.numbers import literal
from gdb_lmb.core.snapshot import FLAG_NAMES
from gdb_lmb.core.words import safe
from gdb_lmb.report.golden import GOLDEN_SCHEMA
from gdb_lmb.report.golden.comments import GoldenFile, comments_of
from gdb_lmb.report.golden.dump import environment_of, stop_of
from gdb_lmb.report.golden.rules import rules_of
from gdb_lmb.report.golden.toml import are_tables, table_of, text_of, tomllib
from gdb_lmb.report.json_base import SNAPSHOT_SCHEMA

_FAMILY = GOLDEN_SCHEMA.rpartition("/")[0] + "/"
_MAX_BYTES = 64 << 20


def read_golden(path: Path) -> GoldenFile:
    """Read a golden, or a snapshot of version 1. Raises: `UsageError`, `InputError`."""
    try:
        raw = path.read_bytes()[: _MAX_BYTES + 1]
    except OSError as error:
        raise UsageError(f"cannot read {safe(str(path), 200)}: {error.strerror}") from None
    try:
        if len(raw) > _MAX_BYTES:
            raise InputError(f"it is larger than {_MAX_BYTES >> 20} MiB")
        return golden_from(raw, path.name)
    except InputError as error:
        raise InputError(f"{safe(str(path), 200)}: {error}") from None


def golden_from(raw: bytes, name: str = "") -> GoldenFile:
    """Return the golden that a file of this name holds. Raises: `InputError`."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise InputError("this is neither a golden nor a snapshot: it is not UTF-8") from None
    if text.lstrip().startswith("{"):
        return GoldenFile(_from_json(text, name))
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"this is no TOML: {safe(str(error))}") from None
    _require_schema(data.get("schema"), GOLDEN_SCHEMA)
    return GoldenFile(_from_toml(data), comments_of(text))


def _require_schema(found: Any, expected: str) -> None:
    if found == expected:
        return
    version = found.removeprefix(_FAMILY) if isinstance(found, str) and found.startswith(_FAMILY) else ""
    if version.isdecimal() and int(version) > int(GOLDEN_SCHEMA.removeprefix(_FAMILY)):
        raise InputError(
            f"it is of schema {safe(str(found))}, which is newer than this gdb-lmb ({GOLDEN_SCHEMA}): update gdb-lmb"
        )
    raise InputError(f'its "schema" is {short(found)}, but a golden has {GOLDEN_SCHEMA}')


def _from_json(text: str, name: str) -> Golden:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError("this is no JSON") from None
    _require_schema(data.get("schema"), SNAPSHOT_SCHEMA)
    return Golden(environment_of(data, name), (stop_of(data),))


def _from_toml(data: Json) -> Golden:
    own = table_of(data, "environment")
    names = {
        read_number("flag_names", flag, 32): str(word) for flag, word in table_of(own, "flag_names", missing={}).items()
    }
    bits = checked("bits", own.get("bits"), (32, 64).__contains__, "32 or 64")
    image = own.get("image")
    if image is not None:
        checked("image", image, lambda value: isinstance(value, list) and len(value) == 2, "its base and its end")
        image = (read_number("image", image[0], 65), read_number("image", image[1], 65))
    texts: Json = {
        name: text_of(own, name) for name in ("release", "build_id", "append", "memory", "machine", "history")
    }
    for name in ("kernel", "layout", "arch", "byte_order"):
        texts[name] = checked(name, own.get(name), str, "a string")
    environment = Environment(
        **texts,
        bits=bits,
        page_size=read_number("page_size", own.get("page_size"), 32),
        flag_names=names or FLAG_NAMES,
        image=image,
        ram_end=None if "ram_end" not in own else read_number("ram_end", own["ram_end"], 65),
        relocatable=None
        if "relocatable" not in own
        else checked("relocatable", own["relocatable"], bool, "true or false"),
        smp=None if "smp" not in own else read_number("smp", own["smp"], 31),
    )
    stops = checked("stop", data.get("stop"), are_tables, "one [[stop]] or more")
    return Golden(environment, tuple(_stop(row, environment) for row in stops), rules_of(data, environment.layout))


def _stop(row: Json, environment: Environment) -> GoldenStop:
    at = str(checked("at", row.get("at"), str, "a string"))
    try:
        items = [
            _item(name, item, environment)
            for name, rows in row.items()
            if name != "findings" and isinstance(rows, list)
            for item in rows
        ]
        return GoldenStop(
            at=at,
            items=tuple(items),
            current_limit=read_number("current_limit", row.get("current_limit"), environment.bits),
            bottom_up=bool(checked("bottom_up", row.get("bottom_up", False), bool, "true or false")),
            phase=text_of(row, "phase"),
            closed=bool(checked("closed", row.get("closed", False), bool, "true or false")),
            findings=tuple(map(str, checked("findings", row.get("findings", []), list, "a list"))),
        )
    except InputError as error:
        raise InputError(f"at {safe(at)}: {error}") from None


_MEMBERS = ("base", "size", "flags", "node", OWNER, ROLE, "seq", "place")


def _item(name: str, row: Any, environment: Environment) -> Item:
    checked(name, row, dict, 'a region, { base = "0x…", size = "0x…" }')
    for member in row.keys() - {*_MEMBERS}:
        raise InputError(f"a region has {short(member)}; expected {', '.join(_MEMBERS)}")
    by = next((kind for kind in (OWNER, ROLE) if kind in row), None)
    return Item(
        list=name,
        base=read_number("base", row.get("base"), environment.bits),
        size=read_number("size", row.get("size"), environment.bits + 1),
        flags=_flags(row["flags"], environment.flag_names) if "flags" in row else 0,
        node=None if "node" not in row else read_number("node", row["node"], 31),
        name=None if by is None else text_of(row, by),
        by=by,
        seq=None if "seq" not in row else read_number("seq", row["seq"], 64),
        role=text_of(row, ROLE) if by == OWNER else None,
    )


def _flags(value: Any, names: Mapping[int, str]) -> int:
    known = {name: bit for bit, name in names.items()}
    if isinstance(value, str):
        parts = [known.get(word, literal(word)) for word in value.split("|")]
        if None not in parts:
            return sum(part for part in parts if part is not None)
    return read_number("flags", value, 32)
