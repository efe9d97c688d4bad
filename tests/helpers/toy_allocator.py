# SPDX-License-Identifier: GPL-2.0-or-later
"""A toy allocator: three regions in a fixed table. It is no part of the package: a test registers it.

gdb's `source toy_allocator.py` registers it too, so it imports nothing but the package and what Python has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gdb_lmb.allocators.base import Allocator, Call, Role, TracedProgram, register
from gdb_lmb.allocators.check import Check, Facts, overlap, reserved_outside_memory
from gdb_lmb.allocators.difference import Difference, value_differences
from gdb_lmb.allocators.json_fields import COMMON, FIRMWARE, NUMBER, STATE, Description, Field
from gdb_lmb.allocators.section import NUMBER as COUNT
from gdb_lmb.allocators.section import Column, Section
from gdb_lmb.core.errors import StateError
from gdb_lmb.core.memory import BoundedMemory, Memory, Meter
from gdb_lmb.core.operation import ERROR, Kind, Operation
from gdb_lmb.core.snapshot import Defect, Place, RegionList, Snapshot, Stop, Storage, column
from gdb_lmb.core.words import FINDING, NOTE

SLOTS = 3
FREE, MEMORY, RESERVED = 0, 1, 2
ENOSPC = -28


@dataclass(frozen=True)
class ToyStorage(Storage):
    """How many of the table's slots hold a region, as the program counts them."""

    used: int = 0


def state(rows: list[tuple[int, int, int]], used: int | None = None, **more: Any) -> Snapshot:
    """Return the state that a table of (base, size, kind) is."""

    def regions(name: str, kind: int) -> RegionList:
        own = [(base, size) for base, size, its in rows if its == kind]
        base, size = column(b for b, _ in own), column(s for _, s in own)
        nothing = column([0] * len(own))
        return RegionList(name, len(own), sum(size), base, size, nothing, column(range(len(own))), max=SLOTS)

    return Snapshot(
        memory=regions("memory", MEMORY), reserved=regions("reserved", RESERVED), bits=64, page_size=4096,
        current_limit=(1 << 64) - 1, bottom_up=False, layout="toy",
        storage=ToyStorage(used=len([row for row in rows if row[2] != FREE]) if used is None else used), **more,
    )  # fmt: skip


class ToyModel:
    """The table as a list of (base, size, kind)."""

    layout = "toy"

    def __init__(self, rows: list[tuple[int, int, int]]) -> None:
        self.rows = rows

    def take(self, base: int, size: int) -> int:
        """Reserve a range in the first free slot."""
        if len(self.rows) == SLOTS:
            return ENOSPC
        self.rows.append((base, size, RESERVED))
        return 0

    def snapshot(self) -> Snapshot:
        """Return the state."""
        return state(self.rows)


def used_wrong(facts: Facts) -> Iterator[Defect]:
    """Yield a counter that is not the number of regions."""
    storage, regions = facts.snapshot.storage, sum(map(len, facts.snapshot.lists))
    assert isinstance(storage, ToyStorage)
    if storage.used != regions:
        yield Defect(f"toy.used is {storage.used}, but {regions} slots hold a region")


def decode(program: Any, memory: Memory, **more: Any) -> Snapshot:
    """Read the table at its virtual address."""
    variable, struct, slot, order = program
    raw = memory.read(variable.address, struct.size)
    start = struct.fields["slots"].offset
    columns = slot.columns(raw[start : start + SLOTS * slot.size], ("base", "size", "kind"), order)
    return state([*zip(*columns, strict=True)], struct.value(raw, "used", order), **more)


class ToyAdapter:
    """Turns calls of a program's toy into operations: their arguments have the same names."""

    bits, page_size = 64, 4096

    def __init__(self, where: TracedProgram) -> None:
        self._where = where

    def decode(self, memory: Memory) -> Snapshot:
        return decode(self._where.program, memory, arch=self._where.machine.arch)

    def operation(self, call: Call) -> Operation:
        return TOY.operations[call.role.op].call(call.role.op, **call.arguments)

    def settled(self, call: Call, operation: Operation, result: int | None) -> tuple[Operation, int | None]:
        return operation, result

    def switches(self) -> Mapping[str, int]:
        return {}


class ToyAllocator(Allocator):
    """Three regions in a fixed table."""

    name = "toy"
    title = "toy"
    variable = "toy"
    prefixes = ("toy_",)
    operations = {"take": Kind(("base", "size"), ERROR, lambda m, o: m.take(o.base, o.size), ("reserved", True))}
    roles = {"toy_take": Role("take")}
    checkpoints = ("toy_ready",)
    checks = (
        Check("overlap", FINDING, overlap),
        Check("used-wrong", FINDING, used_wrong),
        Check("reserved-outside-memory", NOTE, reserved_outside_memory),
    )

    def probe(self, machine: Any) -> Any:
        """Return where the table is, and what a slot looks like."""
        found = machine.variable("toy")
        return found and (found, machine.struct("toy"), machine.struct("toy", "slots"), machine.byte_order)

    def take(self, machine: Any, program: Any, *, with_log: bool = False, meter: Meter | None = None) -> Snapshot:
        """Read the table at its virtual address."""
        memory = BoundedMemory(machine.virtual(), meter)
        return decode(program, memory, arch=machine.arch, stop=Stop(machine.pc(), machine.name_at(machine.pc())))

    def own_ranges(self, snapshot: Snapshot, *, reserved: bool = False) -> Iterator[Place]:
        """Yield nothing: the table lies in the program."""
        yield from ()

    def storage_sections(self, snapshot: Snapshot, part: str) -> Iterator[Section]:
        """Yield how full the table is."""
        assert isinstance(snapshot.storage, ToyStorage)
        if part in ("blocks", "all"):
            yield Section("table:", (Column("slots", COUNT), Column("used", COUNT)), [(SLOTS, snapshot.storage.used)])

    def differences(self, expected: Snapshot, found: Snapshot) -> Iterator[Difference]:
        """Compare the counter too."""
        yield from super().differences(expected, found)
        yield from value_differences(expected.storage, found.storage, ("used",))

    def described(self, storage: Any) -> Description:
        """Add the counter to what all have."""
        return Description(STATE, (*COMMON, FIRMWARE, Field("used", NUMBER, stored=True)))

    def bare_storage(self, data: Mapping[str, Any]) -> ToyStorage:
        """Return a storage to fill in."""
        return ToyStorage()

    def resume(self, snapshot: Snapshot, facts: Mapping[str, Any]) -> ToyModel:
        """Go on from a table."""
        if snapshot.torn:
            raise StateError("torn")
        lists = ((MEMORY, snapshot.memory), (RESERVED, snapshot.reserved))
        return ToyModel([(base, end - base, kind) for kind, regions in lists for base, end in regions.ranges()])

    def adapter(self, where: TracedProgram) -> ToyAdapter:
        """Return what turns calls into operations."""
        return ToyAdapter(where)


TOY = ToyAllocator()

if __name__ == "__main__":  # sourced by gdb
    register(TOY)
