# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs in gdb: writes what a plain read of memblock's bytes and types gives to the file `$image_file`, as JSON."""

import json

import gdb


def _fields(kind, prefix="", start=0):
    out = {}
    for field in kind.fields():
        base = field.type.strip_typedefs()
        name, at = prefix + field.name, start + field.bitpos // 8
        if base.code == gdb.TYPE_CODE_STRUCT:
            out.update(_fields(base, f"{name}.", at))
        else:
            signed = base.code == gdb.TYPE_CODE_INT and base.is_signed if hasattr(base, "is_signed") else name == "nid"
            out[name] = [at, base.sizeof, bool(signed)]
    return out


def _value(text):
    return int(gdb.parse_and_eval(text))


def _known(text):
    try:
        return _value(text)
    except gdb.error:
        return None


def _flags():
    kind = gdb.lookup_type("enum memblock_flags")
    return {field.enumval: field.name.removeprefix("MEMBLOCK_") for field in kind.fields() if field.enumval}


def _e820():
    count = _known("e820_table->nr_entries")
    entry = "e820_table->entries[%d]"
    names = ("addr", "size", "type")
    return count and [[_value(f"{entry % at}.{name}") for name in names] for at in range(count)]


def write():
    inferior = gdb.selected_inferior()
    region = gdb.lookup_type("struct memblock_region")
    whole = gdb.lookup_type("struct memblock")
    arrays = {name: f"memblock_{name}_init_regions" for name in ("memory", "reserved")}
    spans = [(_value("(unsigned long)&memblock"), whole.sizeof)]
    spans += [(_value(f"(unsigned long)&{name}"), _value(f"sizeof({name})")) for name in arrays.values()]
    image = {
        "segments": {hex(at): bytes(inferior.read_memory(at, size)).hex() for at, size in spans},
        "memblock": [whole.sizeof, _fields(whole)],
        "type": [gdb.lookup_type("struct memblock_type").sizeof, _fields(gdb.lookup_type("struct memblock_type"))],
        "region": [region.sizeof, _fields(region)],
        "arrays": {name: _value(f"(unsigned long)&{symbol}") for name, symbol in arrays.items()},
        "rooms": {name: _value(f"sizeof({symbol}) / sizeof({symbol}[0])") for name, symbol in arrays.items()},
        "names": {name: _value(f"(unsigned long)memblock.{name}.name") for name in arrays},
        "image": [_value("(unsigned long)&_text"), _value("(unsigned long)&_end")],
        "flags": _flags(),
        "e820": _e820(),
        "mapped": _known("max_pfn_mapped"),
        "nodes": _known("*(unsigned long *)node_states"),
    }
    with open(gdb.parse_and_eval("$image_file").string(), "w", encoding="ascii") as file:
        json.dump(image, file)


write()
