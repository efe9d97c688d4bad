# SPDX-License-Identifier: GPL-2.0-or-later
"""A memblock laid out by hand for any word size and byte order."""

from __future__ import annotations

from dataclasses import dataclass

from gdb_lmb.allocators.memblock.decode import MemblockProgram
from gdb_lmb.arches.x86.boot import KERNEL_MAP_VA
from tests.helpers.image import Abi, c_struct

FLAGS = {1: "HOTPLUG", 2: "MIRROR", 4: "NOMAP", 8: "DRIVER_MANAGED", 16: "RSRV_NOINIT"}
Row = tuple[int, int, int, int]

MEMORY: list[Row] = [(0x1000, 0x9E000, 0, 1024), (0x100000, 0x1FEE0000, 0, 0), (0x20000000, 0x1000, 4, 0)]
RESERVED: list[Row] = [(0, 0x100000, 0, 1024), (0x1000000, 0x2811000, 0, 1024), (0x1FFFF000, 0x800, 16, 1024)]


@dataclass
class Case:
    """What a memblock holds: regions of both lists, and what `cnt`, `max` and `total_size` say."""

    memory: list[Row]
    reserved: list[Row]
    max: int = 128
    cnt: int | None = None
    total: int | None = None
    doubled: int | None = None


def image(case: Case, abi: Abi, numa: bool = True) -> tuple[MemblockProgram, dict[int, bytes]]:
    """Lay a memblock out as a compiler would; `case.doubled` is where the reserved array lies instead."""
    p, a, order = abi.pointer, abi.phys, abi.order
    members: list[tuple[str, int]] = [("base", a), ("size", a), ("flags", 4)] + ([("nid", 4)] if numa else [])
    region = c_struct("memblock_region", members)
    kind = c_struct("memblock_type", [("cnt", p), ("max", p), ("total_size", a), ("regions", p), ("name", p)])
    memblock = c_struct("memblock", [("bottom_up", 1), ("current_limit", a), ("memory", kind), ("reserved", kind)])
    high = 0xC0000000 if p == 4 else KERNEL_MAP_VA + 0x2000000
    arrays = {"memory": high + 0x1000, "reserved": high + 0x3000}
    raw = bytearray(memblock.size)

    def put(target: bytearray, struct: object, at: int, name: str, value: int) -> None:
        place = struct.fields[name]  # type: ignore[attr-defined]
        target[at + place.offset : at + place.offset + place.size] = value.to_bytes(place.size, order)

    put(raw, memblock, 0, "current_limit", (1 << abi.bits) - 1)
    segments: dict[int, bytes] = {}
    for name, rows in (("memory", case.memory), ("reserved", case.reserved)):
        first = name == "memory"
        where = case.doubled if case.doubled and not first else arrays[name]
        room = case.max * (2 if where != arrays[name] else 1)
        data = bytearray(max(room, len(rows)) * region.size)
        for at, (base, size, flags, nid) in enumerate(rows):
            for member, value in (("base", base), ("size", size), ("flags", flags), ("nid", nid)):
                if member in region.fields:
                    put(data, region, at * region.size, member, value)
        segments[where] = bytes(data)
        put(raw, memblock, 0, f"{name}.cnt", case.cnt if case.cnt is not None and first else len(rows))
        put(raw, memblock, 0, f"{name}.max", room)
        total = sum(row[1] for row in rows) % (1 << abi.bits)
        put(raw, memblock, 0, f"{name}.total_size", case.total if case.total is not None and first else total)
        put(raw, memblock, 0, f"{name}.regions", where)
    segments[high] = bytes(raw)
    program = MemblockProgram(
        arch="test", byte_order=order, memblock_va=high, memblock=memblock, type=kind, region=region,
        page_size=4096, flag_names=FLAGS, init_arrays=arrays, no_node=1024 if numa else None,
        rooms=dict.fromkeys(arrays, case.max),
    )  # fmt: skip
    return program, segments
