# SPDX-License-Identifier: GPL-2.0-or-later
"""The list-based LMB as an `Allocator`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gdb_lmb.allocators.base import Allocator, Effect, GuestLog, TracedProgram
from gdb_lmb.allocators.difference import Difference
from gdb_lmb.allocators.lmb import shown
from gdb_lmb.allocators.lmb.checks import CHECKS
from gdb_lmb.allocators.lmb.decode import decode
from gdb_lmb.allocators.lmb.differences import storage_differences, value_differences_of
from gdb_lmb.allocators.lmb.log import guest_log
from gdb_lmb.allocators.lmb.model import LmbModel
from gdb_lmb.allocators.lmb.operations import INIT, OPERATIONS
from gdb_lmb.allocators.lmb.predict import predict_lmb
from gdb_lmb.allocators.lmb.program import LmbProgram, find_lmb, torn_in, with_page_size
from gdb_lmb.allocators.lmb.storage import storage_of
from gdb_lmb.allocators.lmb.trace import BEFORE_GROWTH, CHECKPOINTS, GROWING, HANDED_OVER, PHASES, ROLES, LmbAdapter
from gdb_lmb.allocators.predict import Prediction
from gdb_lmb.allocators.section import Section, region_section
from gdb_lmb.core.machine import Machine
from gdb_lmb.core.memory import BoundedMemory, Meter
from gdb_lmb.core.operation import Model, Operation
from gdb_lmb.core.record import Record
from gdb_lmb.core.snapshot import Place, RegionList, Snapshot


class LmbAllocator(Allocator):
    """The list-based LMB: lists of regions in blocks of entries that it allocates itself."""

    name = "lmb-list"
    title = "LMB"
    variable = "lmb"
    prefixes = ("lmb_", "__lmb_")
    operations = OPERATIONS
    checks = CHECKS
    counters_repeat = True
    keeps_log = True
    init = INIT
    roles = ROLES
    checkpoints = CHECKPOINTS
    phases = PHASES

    def probe(self, machine: Machine) -> LmbProgram | None:
        """Return where the program keeps its LMB."""
        return find_lmb(machine)

    def take(
        self, machine: Machine, program: LmbProgram, *, with_log: bool = False, meter: Meter | None = None
    ) -> Snapshot:
        """Read it at its virtual addresses."""
        memory = BoundedMemory(machine.virtual(), meter)
        sized = with_page_size(machine, program, memory)
        return decode(sized, memory, with_log=with_log, torn=torn_in(machine), stop=machine.stop())

    def own_ranges(self, snapshot: Snapshot, *, reserved: bool = False) -> Iterator[Place]:
        """Yield the blocks of entries."""
        for number, block in enumerate(storage_of(snapshot).blocks):
            if block.own_range is not None:
                yield Place(*block.own_range, f"block {number} of entries")

    def region_section(self, snapshot: Snapshot, regions: RegionList, entries: bool) -> Section:
        """Return the table of one list, with the entry that stores each region where `entries`."""
        if not entries:
            return region_section(snapshot, regions)
        storage = storage_of(snapshot)
        return region_section(snapshot, regions, shown.ENTRY, lambda at: shown.entry_cells(storage, regions.entry[at]))

    def storage_sections(self, snapshot: Snapshot, part: str) -> Iterator[Section]:
        """Yield the freelist and the blocks."""
        storage = storage_of(snapshot)
        if part in ("free", "all"):
            yield shown.freelist(storage, listed=part == "free")
        if part in ("blocks", "all"):
            yield shown.blocks(storage)

    def counts(self, snapshot: Snapshot) -> Mapping[str, int]:
        """Count entries, regions and blocks."""
        storage = storage_of(snapshot)
        return {"entry": storage.nr_entries, **super().counts(snapshot), "block": len(storage.blocks)}

    def to_json(self, snapshot: Snapshot) -> dict[str, Any]:
        """Return the members of a snapshot's JSON object."""
        return shown.to_json(snapshot)

    def from_json(self, data: Mapping[str, Any]) -> Snapshot:
        """Return the snapshot of a JSON object."""
        return shown.from_json(data)

    def differences(self, expected: Snapshot, found: Snapshot) -> Iterator[Difference]:
        """Yield in what the freelists and the blocks differ."""
        return storage_differences(storage_of(expected), storage_of(found))

    def late_differences(self, expected: Snapshot, found: Snapshot) -> Iterator[Difference]:
        """Yield in what switches, counters, the hand-over and the soundness of the links differ."""
        return value_differences_of(expected, found)

    def effects(self, record: Record, bits: int, page_size: int) -> Iterator[Effect]:
        """Yield what an operation did; `lmb_init()` reserves a klimit page."""
        operation = record.operation
        if operation.op == "init" and operation.base and not (record.result or 0) < 0:
            yield Effect("reserved", True, operation.base, operation.base + page_size)
        yield from super().effects(record, bits, page_size)

    def resume(self, snapshot: Snapshot, facts: Mapping[str, Any]) -> Model:
        """Return a model that goes on from a walked state; there are no facts beside it."""
        return LmbModel.from_snapshot(snapshot)

    def created_model(self, operation: Operation, page_size: int) -> Model:
        """Return the model as `lmb_init()` leaves it."""
        return LmbModel.created(operation, page_size)

    def predict(self, snapshot: Snapshot, facts: Mapping[str, Any], op: str, **arguments: int) -> Prediction:
        """Return what `lmb_<op>()` would do."""
        return predict_lmb(snapshot, op, **arguments)

    def adapter(self, where: TracedProgram) -> LmbAdapter:
        """Return what turns traced calls into operations."""
        return LmbAdapter(where)

    def phase_of(self, snapshot: Snapshot) -> str | None:
        """Return how far the boot has come."""
        storage = storage_of(snapshot)
        return HANDED_OVER if storage.closed else GROWING if storage.may_grow else BEFORE_GROWTH

    def log(self, snapshot: Snapshot) -> GuestLog | None:
        """Return the guest's log (CONFIG_LMB_LOG)."""
        return guest_log(snapshot)


ALLOCATOR = LmbAllocator()
