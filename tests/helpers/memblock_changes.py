# SPDX-License-Identifier: GPL-2.0-or-later
"""Single changes of memblock's own fields, and what each must come to: a table for any image of a sound memblock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from gdb_lmb.allocators.base import check
from gdb_lmb.allocators.memblock.decode import MemblockProgram, decode
from gdb_lmb.allocators.memblock.storage import storage_of
from gdb_lmb.core.memory import BytesMemory
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.core.words import FINDING

SOUND = ""


@dataclass
class MemblockImage:
    """The bytes of a sound memblock whose arrays are the static ones, by virtual address, and what is known beside."""

    program: MemblockProgram
    segments: dict[int, bytearray]
    offset: int = 0
    phase: str = "allocator complete"
    trimmed: int | None = None
    nodes: frozenset[int] | None = None
    limits: frozenset[int] | None = None

    def copy(self) -> MemblockImage:
        return replace(self, segments={va: bytearray(data) for va, data in self.segments.items()})

    def _place(self, name: str) -> tuple[bytearray, int, int, bool]:
        # "reserved.cnt", or "reserved[2].base" in the array.
        name, _, member = name.partition("]")
        of, _, at = name.partition("[")
        if not at:
            field, va, start = self.program.memblock.fields[name], self.program.memblock_va, 0
        else:
            region = self.program.region
            field, va, start = region.fields[member[1:]], self.program.init_arrays[of], int(at) * region.size
        return self.segments[va + self.offset], start + field.offset, field.size, field.signed

    def get(self, name: str) -> int:
        data, at, size, signed = self._place(name)
        return int.from_bytes(data[at : at + size], self.program.byte_order, signed=signed)

    def set(self, name: str, value: int) -> None:
        data, at, size, _ = self._place(name)
        data[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, self.program.byte_order)

    def snapshot(self) -> Snapshot:
        memory = BytesMemory({va: bytes(data) for va, data in self.segments.items()})
        found = decode(self.program, memory, offset=self.offset, phase=self.phase)
        known = replace(storage_of(found), trimmed=self.trimmed, nodes=self.nodes, limits=self.limits)
        return replace(found, storage=known)

    def codes(self) -> set[str]:
        """Return the codes of the findings."""
        return {one.code for one in check(self.snapshot()) if one.severity == FINDING}


Change = Callable[[MemblockImage], None]


def _to(name: str, value: int) -> Change:
    return lambda image: image.set(name, value)


def _by(name: str, value: int) -> Change:
    return lambda image: image.set(name, image.get(name) + value)


def _both(*changes: Change) -> Change:
    def run(image: MemblockImage) -> None:
        for change in changes:
            change(image)

    return run


def _from(name: str, other: str) -> Change:
    return lambda image: image.set(name, image.get(other))


def _rooms(name: str, times: int, more: int) -> Change:
    # What the static array has room for, `times` over.
    return lambda image: image.set(name, image.program.rooms[name.partition(".")[0]] * times + more)


def _swap(image: MemblockImage) -> None:
    for name in ("cnt", "max", "total_size", "regions", "name"):
        one, other = image.get(f"memory.{name}"), image.get(f"reserved.{name}")
        image.set(f"memory.{name}", other)
        image.set(f"reserved.{name}", one)


def _wipe(image: MemblockImage) -> None:
    image.segments[image.program.memblock_va + image.offset][:] = bytes(image.program.memblock.size)


def _flag(of: str, *, own: bool) -> Change:
    # A flag that this kernel has for one of the lists only; 0 where it has none.
    def run(image: MemblockImage) -> None:
        wanted = (of == "reserved") == own
        bits = (bit for bit, name in image.program.flag_names.items() if name.startswith("RSRV_") == wanted)
        image.set(f"{of}[1].flags", next(bits, 0))

    return run


def _no_node(more: int) -> Change:
    return lambda image: image.set("memory[1].nid", (image.program.no_node or 0) + more)


def _untrim(image: MemblockImage) -> None:
    image.set("memory.total_size", sum(image.get(f"memory[{at}].size") for at in range(image.get("memory.cnt"))))


ABSURD = 1 << 20
CHANGES: list[tuple[str, Change, str]] = [
    ("nothing", _both(), SOUND),
    *((f"{of}.cnt {less:+}", _by(f"{of}.cnt", less), "total-size") for of in ("memory", "reserved") for less in (-1,)),
    ("reserved.cnt -5", _by("reserved.cnt", -5), "total-size"),
    *((f"{of}.cnt 1 too many", _rooms(f"{of}.cnt", 1, 1), "count-over-max") for of in ("memory", "reserved")),
    *((f"{of}.cnt 0", _both(_to(f"{of}.cnt", 0), _to(f"{of}.total_size", 0)), "list-empty")
      for of in ("memory", "reserved")),
    *((f"{of}.max {most}", _to(f"{of}.max", most), "bad-max")
      for of in ("memory", "reserved") for most in (0, ABSURD, 1 << 62)),
    *((f"{of}.max {times} * room {more:+}", _rooms(f"{of}.max", times, more), "bad-max")
      for of in ("memory", "reserved") for times, more in ((1, -1), (1, 1), (2, 0), (8, 0))),
    *((f"{of} cnt and max absurd", _both(_to(f"{of}.cnt", ABSURD), _to(f"{of}.max", ABSURD)), "count-over-max")
      for of in ("memory", "reserved")),
    *((f"{of}.total_size {more:+#x}", _by(f"{of}.total_size", more), "total-size")
      for of in ("memory", "reserved") for more in (1, 0x1000, 1 << 30, -0x1000)),
    ("reserved.total_size -1", _by("reserved.total_size", -1), "total-size"),
    *((f"{of}.total_size 0", _to(f"{of}.total_size", 0), "total-size") for of in ("memory", "reserved")),
    ("memory.total_size as its regions", _untrim, SOUND),
    *((f"{of}.regions {more:+#x}", _by(f"{of}.regions", more), "array-pointer")
      for of in ("memory", "reserved") for more in (1, 24, -24, 0x1000, 0x20_0000, -1 << 28)),
    *((f"{of}.regions 0", _to(f"{of}.regions", 0), "array-pointer") for of in ("memory", "reserved")),
    ("memory.regions of reserved", _from("memory.regions", "reserved.regions"), "array-pointer"),
    ("reserved.regions of memory", _from("reserved.regions", "memory.regions"), "array-pointer"),
    *((f"{of}.name {more:+#x}", _by(f"{of}.name", more), "bad-name")
      for of in ("memory", "reserved") for more in (1, 0x1000, 0x20_0000, -0x20_0000)),
    *((f"{of}.name 0", _to(f"{of}.name", 0), "bad-name") for of in ("memory", "reserved")),
    ("the two lists swapped", _swap, "bad-name"),
    ("all of memblock zero", _wipe, "array-pointer"),
    *((f"{of} flag 1 << 30", _to(f"{of}[1].flags", 1 << 30), "bad-flags") for of in ("memory", "reserved")),
    *((f"{of} all flags", _to(f"{of}[1].flags", -1), "bad-flags") for of in ("memory", "reserved")),
    ("reserved flag of memory", _flag("reserved", own=False), "bad-flags"),
    ("memory flag of its own", _flag("memory", own=True), SOUND),
    ("reserved flag of its own", _flag("reserved", own=True), SOUND),
    *((f"{of} nid {nid}", _to(f"{of}[1].nid", nid), "bad-nid")
      for of in ("memory", "reserved") for nid in (-2, -1 << 31, 9, 5000, (1 << 31) - 1)),
    ("memory nid MAX_NUMNODES", _no_node(0), SOUND),
    ("memory nid past MAX_NUMNODES", _no_node(1), "bad-nid"),
    ("memory nid NUMA_NO_NODE", _to("memory[1].nid", -1), SOUND),
    *((f"current_limit {limit:#x}", _to("current_limit", limit), "bad-limit") for limit in (0, 1, 0x1000)),
    ("current_limit anywhere", _to("current_limit", -1), SOUND),
    ("bottom_up 1", _to("bottom_up", 1), SOUND),
    *((f"bottom_up {value}", _to("bottom_up", value), "bad-bottom-up") for value in (2, 3, 0x80, 0xFF)),
    ("reserved[1].size 0", _to("reserved[1].size", 0), "empty-region"),
    ("reserved[1].size +1", _by("reserved[1].size", 1), "total-size"),
    ("memory[1].size -4096", _by("memory[1].size", -4096), "total-size"),
    ("memory[1].size wraps", _to("memory[1].size", -1), "region-wraps"),
    ("reserved[1].base of [0]", _from("reserved[1].base", "reserved[0].base"), "overlap"),
    ("memory[1].base 0", _to("memory[1].base", 0), "unsorted"),
]  # fmt: skip
"""Name, change, and the code of a finding that must come of it: `SOUND` where none may."""
