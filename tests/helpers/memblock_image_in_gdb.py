# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs in gdb: writes what a plain read of memblock's bytes and types gives to the file `$image_file`, as JSON."""

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


def _known(text: str) -> int | None:
    try:
        return _value(text)
    except gdb.error:
        return None


def _ram_ends() -> list[list[int]] | None:
    rows = []
    for at in range(_known("e820_table->nr_entries") or 0):
        base, size, kind = (_value(f"e820_table->entries[{at}].{name}") for name in ("addr", "size", "type"))
        rows += [[base, base + size]] if kind == 1 else []
    return rows or None


def _write() -> None:
    inferior = gdb.selected_inferior()
    kinds = {name: gdb.lookup_type(f"struct {name}") for name in ("memblock", "memblock_type", "memblock_region")}
    flags = gdb.lookup_type("enum memblock_flags").fields()
    arrays = {name: f"memblock_{name}_init_regions" for name in ("memory", "reserved")}
    spans = [(_value(f"(unsigned long)&{name}"), _value(f"sizeof({name})")) for name in ("memblock", *arrays.values())]
    image = {
        "segments": {hex(at): bytes(inferior.read_memory(at, size)).hex() for at, size in spans},
        "structs": {name: [kind.sizeof, _fields(kind)] for name, kind in kinds.items()},
        "flags": {field.name.removeprefix("MEMBLOCK_"): field.enumval for field in flags if field.enumval},
        "arrays": {name: _value(f"(unsigned long)&{symbol}") for name, symbol in arrays.items()},
        "rooms": {name: _value(f"sizeof({symbol}) / sizeof({symbol}[0])") for name, symbol in arrays.items()},
        "names": {name: _value(f"(unsigned long)memblock.{name}.name") for name in arrays},
        "image": [_value("(unsigned long)&_text"), _value("(unsigned long)&_end")],
        "ram": _ram_ends(),
        "mapped": _known("max_pfn_mapped"),
        "nodes": _known("*(unsigned long *)node_states"),
    }
    Path(gdb.parse_and_eval("$image_file").string()).write_text(json.dumps(image))


_write()
