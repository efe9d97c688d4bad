# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs in gdb: writes what a plain read of LMB's bytes, lists and types gives to the file `$image_file`, as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gdb


def _fields(kind: Any, prefix: str = "", start: int = 0) -> dict[str, list[int]]:
    out = {}
    for field in kind.fields():
        base = field.type.strip_typedefs()
        name, at = prefix + field.name, start + field.bitpos // 8
        if base.code == gdb.TYPE_CODE_STRUCT:
            out.update(_fields(base, f"{name}.", at))
        else:
            out[name] = [at, base.sizeof, int(str(base) == "int")]
    return out


def _value(text: str) -> int:
    return int(gdb.parse_and_eval(text))


def _nodes(head: str) -> list[int]:
    out, node = [], _value(f"{head}.next")
    while node != _value(f"&{head}"):
        out.append(node)
        node = _value(f"((struct list_head *){node})->next")
    return out


def _write() -> None:
    inferior = gdb.selected_inferior()
    kinds = {
        name: gdb.parse_and_eval(f"*({text} *)0").type.strip_typedefs()
        for name, text in (
            ("lmb", "struct lmb"),
            ("lmb_region", "struct lmb_region"),
            ("lmb_block", "struct lmb_block"),
        )
    }
    tables = {
        "log": ("lmb_log", "ring"),
        "handover": ("lmb_handover", "ranges"),
        "firmware": ("firmware_map", "ranges"),
    }
    for table, items in tables.values():
        kinds[table] = gdb.parse_and_eval(table).type
        kinds[f"{table}.{items}"] = gdb.parse_and_eval(f"{table}.{items}[0]").type.strip_typedefs()
    variables = ("lmb", "lmb_static_entries", "lmb_static_block", *(table for table, _ in tables.values()))
    spans = [(_value(f"(unsigned long)&{name}"), _value(f"sizeof({name})")) for name in variables]
    blocks = _nodes("lmb.blocks")
    spans += [(va, _value("lmb.block_size")) for va in blocks[1:]]
    spans += [(_value(f"(unsigned long)lmb.{name}.name"), len(name) + 1) for name in ("memory", "reserved")]
    ops = gdb.parse_and_eval("lmb_log.ring[0].op").type.strip_typedefs().fields()
    image = {
        "segments": {hex(at): bytes(inferior.read_memory(at, size)).hex() for at, size in spans},
        "structs": {name: [kind.sizeof, _fields(kind)] for name, kind in kinds.items()},
        "lmb": _value("(unsigned long)&lmb"),
        "tables": {name: _value(f"(unsigned long)&{table}") for name, (table, _) in tables.items()},
        "static": [_value("(unsigned long)lmb_static_entries"),
                   _value("sizeof(lmb_static_entries) / sizeof(lmb_static_entries[0])")],
        "lists": {head: _nodes(f"lmb.{head}") for head in ("memory.regions", "reserved.regions", "freelist")},
        "ops": {field.enumval: field.name for field in ops},
        "image": [_value("(unsigned long)&_image_start"), _value("(unsigned long)&_image_end")],
    }  # fmt: skip
    Path(gdb.parse_and_eval("$image_file").string()).write_text(json.dumps(image))


_write()
