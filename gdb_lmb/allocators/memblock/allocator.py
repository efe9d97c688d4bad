# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux's memblock as an `Allocator`. Its model is imported when it is first needed: most commands need none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gdb_lmb.allocators.base import Allocator, CTest, Effect, TracedProgram
from gdb_lmb.allocators.difference import Difference, ValueRow
from gdb_lmb.allocators.json_fields import Description
from gdb_lmb.allocators.memblock.checks import CHECKS
from gdb_lmb.allocators.memblock.operations import OPERATIONS
from gdb_lmb.allocators.memblock.storage import DESCRIPTION, MemblockStorage, RegionArray, storage_of
from gdb_lmb.allocators.memblock.trace import CONTAINERS, EARLY, INLINED_SWITCHES, PHASES, ROLES, MemblockAdapter
from gdb_lmb.allocators.predict import Prediction
from gdb_lmb.allocators.section import NUMBER, POINTER, SIZE, TEXT, Column, Section
from gdb_lmb.core.address import Phase
from gdb_lmb.core.errors import LmbError
from gdb_lmb.core.operation import Model, Record, TraceHeader
from gdb_lmb.core.snapshot import Place, Snapshot

_ARRAYS = (
    Column("list", TEXT), Column("storage", TEXT, cut=True), Column("base", POINTER), Column("size", SIZE),
    Column("room", NUMBER), Column("address", POINTER, spare=True),
)  # fmt: skip


class MemblockAllocator(Allocator):
    """Linux's memblock: each list is one array, which is doubled when it is full."""

    name = "memblock"
    title = "memblock"
    prefixes = ("memblock_", "__memblock_")
    operations = OPERATIONS
    checks = CHECKS
    needs_facts = True
    # Linux always keeps one, but not from the first instruction on, nor to the end of the boot.
    no_firmware = "no map can be read at this stop"
    roles = ROLES
    containers = CONTAINERS
    inlined_switches = INLINED_SWITCHES
    phases = PHASES

    def own_ranges(self, snapshot: Snapshot, *, reserved: bool = False) -> Iterator[Place]:
        """Yield the arrays, as far as their physical addresses are known."""
        page = snapshot.page_size
        for array in storage_of(snapshot).arrays:
            if array.base is not None and not (reserved and array.static):
                # memblock_double_array() reserves PAGE_ALIGN(new_size).
                size = -(-array.size // page) * page if reserved else array.size
                yield Place(array.base, array.base + size, f"the array of {array.name}")

    def storage_sections(self, snapshot: Snapshot, part: str) -> Iterator[Section]:
        """Yield the arrays."""
        if part == "free":
            raise LmbError("memblock has no freelist: its regions lie in arrays (lmb-dump blocks)")
        if part in ("blocks", "all"):
            rows = [(a.name, _kind(a, snapshot), a.base, a.size, a.max, a.va) for a in storage_of(snapshot).arrays]
            yield Section("arrays:", _ARRAYS, rows)

    def counts(self, snapshot: Snapshot) -> Mapping[str, int]:
        """Count regions and arrays."""
        return {**super().counts(snapshot), "array": len(storage_of(snapshot).arrays)}

    def described(self, storage: MemblockStorage) -> Description:
        """Return what JSON holds of it."""
        return DESCRIPTION

    def bare_storage(self, data: Mapping[str, Any]) -> MemblockStorage:
        """Return no arrays: all can be read at once."""
        return MemblockStorage()

    def from_json(self, data: Mapping[str, Any]) -> Snapshot:
        """Return the snapshot, whose arrays and reasons must be those of its lists."""
        snapshot = super().from_json(data)
        names = [regions.name for regions in snapshot.lists]
        for name in (*snapshot.refused, *(array.name for array in storage_of(snapshot).arrays)):
            if name not in names:
                raise ValueError(f"there is no list {name!r}")
        return snapshot

    def differences(self, expected: Snapshot, found: Snapshot) -> Iterator[Difference]:
        """Yield in what the arrays differ, and common values."""
        wanted = {array.name: array for array in storage_of(expected).arrays}
        for got in storage_of(found).arrays:
            want = wanted.get(got.name)
            if want is not None and got.name not in found.refused and _elsewhere(want, got):
                row = ValueRow(f"array of {got.name}", _place(want), _place(got))
                message = f"the array of {got.name} is {row.found}, but {row.expected} is expected"
                yield Difference(message, got.name, got.base, value=row)
        yield from super().differences(expected, found)

    def effects(self, record: Record, limit: int, page_size: int) -> Sequence[Effect]:
        """Return what an operation did; `memblock_cap_memory_range()` removes what lies outside its range."""
        operation = record.operation
        if operation.op == "cap_memory_range" and operation.size:
            end = min(operation.base + operation.size, limit)
            return ("reserved", False, 0, operation.base), ("reserved", False, end, limit)
        return super().effects(record, limit, page_size)

    def resume(self, snapshot: Snapshot, facts: Mapping[str, Any]) -> Model:
        """Return a model that goes on from a walked state; `facts` are those of `facts_of()`."""
        from gdb_lmb.allocators.memblock.resume import resume

        return resume(snapshot, facts)

    def facts_of(self, model: Any) -> dict[str, Any]:
        """Return how this kernel's memblock behaves, and the switches that no list shows."""
        from gdb_lmb.allocators.memblock.resume import facts_of

        return facts_of(model)

    def predict(self, snapshot: Snapshot, facts: Mapping[str, Any], op: str, **arguments: int) -> Prediction:
        """Return what the call that `op` stands for would do."""
        from gdb_lmb.allocators.memblock.resume import predict_memblock, resume

        return predict_memblock(resume(snapshot, facts), op, **arguments)

    def adapter(self, where: TracedProgram) -> MemblockAdapter:
        """Return what turns traced calls into operations."""
        return MemblockAdapter(where)

    def simulator_test(self, header: TraceHeader) -> CTest:
        """Return what writes a trace as a test for tools/testing/memblock."""
        from gdb_lmb.allocators.memblock.simulator import SimulatorTest

        return SimulatorTest(header)

    def phase_of(self, snapshot: Snapshot) -> str | None:
        """Return how far the boot has come; calls are made only once the kernel is mapped."""
        return Phase.MAPPED.value if snapshot.phase in EARLY else snapshot.phase


def _kind(array: RegionArray, snapshot: Snapshot) -> str:
    if array.static:
        return "static array"
    return "doubled, freed" if array.name in snapshot.refused else "doubled"


def _elsewhere(want: RegionArray, got: RegionArray) -> bool:
    """Tell whether an array lies elsewhere than expected; where a static array lies is for the linker to choose."""
    if want.static or got.static:
        return want.static != got.static
    return want.base is not None and got.base is not None and want.base != got.base


def _place(array: RegionArray) -> str:
    if array.static:
        return "the static one"
    return "a grown one" if array.base is None else f"a grown one at {array.base:#x}"


ALLOCATOR = MemblockAllocator()
