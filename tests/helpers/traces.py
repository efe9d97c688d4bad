# SPDX-License-Identifier: GPL-2.0-or-later
"""Saved traces written by hand."""

from __future__ import annotations

import json
from typing import Any

Json = dict[str, Any]


BEHAVIOR_6_12 = {
    "empty_dummy": False, "merges_all": False, "resize_panics": True, "strict_nid": False,
    "late_alloc_from_slab": True, "stamps_reserved": True, "marks_kernel": False, "kho_scratch": False,
    "late_free_to_buddy": False,
}  # fmt: skip


def rows(*regions: tuple[int, int, int, Any], name: str = "nid") -> list[Json]:
    return [{"base": hex(base), "size": hex(size), "flags": flags, name: last} for base, size, flags, last in regions]


def listed(regions: list[Json], **more: Any) -> Json:
    total = sum(int(row["size"], 16) for row in regions)
    return {"cnt": len(regions), **more, "total_size": hex(total), "regions": regions}


def memblock_state(memory: list[Json], reserved: list[Json], **changes: Any) -> Json:
    state = {
        "schema": "gdb-lmb/snapshot/1", "layout": "memblock", "arch": "x86_64", "byte_order": "little", "bits": 64,
        "page_size": "0x1000", "phase": None, "torn": False, "stop": None,
        "memory": listed(memory, max=128), "reserved": listed(reserved, max=128),
        "arrays": [{"list": name, "max": 128, "size": "0xc00", "static": True, "base": None}
                   for name in ("memory", "reserved")],
        "current_limit": "0xffffffffffffffff", "bottom_up": False, "refused": {}, "no_node": 1024,
        "firmware": [], "findings": [],
    }  # fmt: skip
    return {**state, **changes}


def lmb_state(memory: list[Json], reserved: list[Json], free: list[int]) -> Json:
    return {
        "schema": "gdb-lmb/snapshot/1", "layout": "lmb-list", "arch": "x86_64", "byte_order": "little", "bits": 64,
        "page_size": "0x1000", "torn": False, "stop": None,
        "memory": listed(memory), "reserved": listed(reserved), "free": [[0, slot] for slot in free],
        "nr_free": len(free), "blocks": [{"base": "0x0", "entries": 8, "static": True}], "nr_blocks": 1,
        "block_size": "0x1000", "entry_size": "0x28", "header_size": "0x28",
        "current_limit": "0xffffffffffffffff", "bottom_up": False, "may_grow": False, "closed": False,
        "handover": None, "firmware": [], "findings": [],
    }  # fmt: skip


def header(layout: str, initial: Json | None, **changes: Any) -> Json:
    return {
        "schema": "gdb-lmb/trace/1", "layout": layout, "arch": "x86_64", "byte_order": "little", "bits": 64,
        "page_size": "0x1000", "source": "breakpoints", "generation": {}, "initial": initial, **changes,
    }  # fmt: skip


def record(seq: int, op: str, result: Any, *callers: int, **arguments: Any) -> Json:
    values = {name: hex(value) if name in ("base", "size", "align", "min", "max") else value
              for name, value in arguments.items()}  # fmt: skip
    return {"seq": seq, "op": op, **values, "result": result, "callers": [hex(pc) for pc in callers], "phase": "early"}


# A boot of Linux 6.12: 16 MiB from 1 MiB on, a kernel at its foot, and an allocation from its top.
SOUND: list[Json] = [
    header("memblock", memblock_state([], []), generation=BEHAVIOR_6_12),
    record(1, "add_range", 0, 1, list="memory", base=0x100000, size=0x1000000, nid=1024, flags=0),
    record(2, "add_range", 0, 1, 2, list="reserved", base=0x100000, size=0x200000, nid=1024, flags=0),
    record(3, "alloc_range_nid", "0x10ff000", 1, 3, size=0x1000, align=0x1000, min=0, max=0, nid=-1, exact=False),
    record(4, "set_node", 0, 1, list="memory", base=0x100000, size=0x1000000, nid=0),
    {"symbols": {"0x1": {"function": "memblock_reserve", "offset": 16, "file": "mm/memblock.c", "line": 865},
                 "0x2": {"function": "setup_arch", "offset": 0, "file": None, "line": None},
                 "0x3": {"function": "early_pgtable_alloc", "offset": 0, "file": None, "line": None}}},
    {"end": {"records": 4, "final": memblock_state(
        rows((0x100000, 0x1000000, 0, 0)),
        rows((0x100000, 0x200000, 0, 1024), (0x10FF000, 0x1000, 0, 1024)))}},
]  # fmt: skip


# The list-based LMB from its own first call on: entry 0 stores the RAM, 1 and 2 what is reserved.
LOG: list[Json] = [
    header("lmb-list", None, source="log"),
    record(1, "init", 0, base=0, size=4096, flags=64, align=40, min=40, max=8),
    record(2, "add", 0, 10, base=0, size=0x100000, flags=0),
    record(3, "reserve", 0, 11, base=0x1000, size=0x1000, flags=4),
    record(4, "alloc", "0xff000", 12, size=64, align=4096, min=0, max=0, flags=0),
    {"end": {"records": 4, "final": lmb_state(
        rows((0, 0x100000, 0, [0, 0]), name="entry"),
        rows((0x1000, 0x1000, 4, [0, 1]), (0xFF000, 64, 0, [0, 2]), name="entry"),
        [3, 4, 5, 6, 7])}},
]  # fmt: skip


def text_of(trace: list[Json]) -> str:
    return "".join(json.dumps(row) + "\n" for row in trace)


def changed(trace: list[Json], line: int, **changes: Any) -> list[Json]:
    return [*trace[:line], {**trace[line], **changes}, *trace[line + 1 :]]
