# SPDX-License-Identifier: GPL-2.0-or-later
"""The list-based LMB as an `Allocator`. Its model is imported when it is first needed: most commands need none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from gdb_lmb.allocators.base import Allocator, Effect, GuestLog, TracedProgram
from gdb_lmb.allocators.difference import SWITCHES, Difference, ValueRow, damage, value_differences
from gdb_lmb.allocators.json_fields import Description
from gdb_lmb.allocators.lmb.checks import CHECKS
from gdb_lmb.allocators.lmb.decode import decode
from gdb_lmb.allocators.lmb.operations import INIT, OPERATIONS
from gdb_lmb.allocators.lmb.program import LmbProgram, find_lmb, torn_in, with_page_size
from gdb_lmb.allocators.lmb.storage import BLOCKS, Block, LmbStorage, description, storage_of
from gdb_lmb.allocators.lmb.trace import BEFORE_GROWTH, CHECKPOINTS, GROWING, HANDED_OVER, PHASES, ROLES, LmbAdapter
from gdb_lmb.allocators.predict import Prediction
from gdb_lmb.allocators.section import (
    ADDRESS,
    NUMBER,
    POINTER,
    SIZE,
    TEXT,
    Column,
    Section,
    region_section,
)  # fmt: skip
from gdb_lmb.core.machine import Machine
from gdb_lmb.core.memory import BoundedMemory, Meter
from gdb_lmb.core.operation import Model, Operation, Record
from gdb_lmb.core.ranges import Range
from gdb_lmb.core.snapshot import Place, RegionList, Snapshot, Stop
from gdb_lmb.core.words import human_size, plural

_ENTRY = (Column("entry", TEXT), Column("entry address", POINTER, spare=True))
_FREE = (Column("#", NUMBER), Column("entry", TEXT), Column("entry address", POINTER))
_BLOCKS = (
    Column("#", NUMBER), Column("storage", TEXT, cut=True), Column("base", ADDRESS), Column("size", SIZE),
    Column("entries", NUMBER), Column("first entry address", POINTER, spare=True),
)  # fmt: skip


def _entry_cells(storage: LmbStorage, index: int) -> tuple[str, int | None]:
    where = storage.entry(index)
    return f"{where.block}:{where.slot}", storage.entry_va(index)


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
        stop = Stop(machine.pc(), machine.name_at(machine.pc()))
        return decode(sized, memory, with_log=with_log, torn=torn_in(machine), stop=stop)

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
        return region_section(snapshot, regions, _ENTRY, lambda at: _entry_cells(storage, regions.entry[at]))

    def storage_sections(self, snapshot: Snapshot, part: str) -> Iterator[Section]:
        """Yield the freelist and the blocks."""
        storage = storage_of(snapshot)
        if part in ("free", "all"):
            title = f"free: {plural(storage.nr_free, 'entry')} on the freelist, of {storage.nr_entries:,} in all"
            entries = storage.free if part == "free" else ()
            yield Section(title, _FREE, [(at, *_entry_cells(storage, index)) for at, index in enumerate(entries)])
        if part in ("blocks", "all"):
            size = human_size(storage.block_size)
            growth = f"grows by {size}" if storage.may_grow else f"may not grow yet (block size {size})"
            rows = [
                (number, "static array" if block.static else "klimit page" if number == 0 else "grown", block.base,
                 block.size or None, block.nr, block.entries_va)
                for number, block in enumerate(storage.blocks)
            ]  # fmt: skip
            yield Section(f"blocks: {plural(storage.nr_blocks, 'block')} of entries, {growth}", _BLOCKS, rows)

    def counts(self, snapshot: Snapshot) -> Mapping[str, int]:
        """Count entries, regions and blocks."""
        storage = storage_of(snapshot)
        return {"entry": storage.nr_entries, **super().counts(snapshot), "block": len(storage.blocks)}

    def described(self, storage: LmbStorage) -> Description:
        """Return what JSON holds of it; entries are known by their blocks."""
        return description(storage)

    def bare_storage(self, data: Mapping[str, Any]) -> LmbStorage:
        """Return the blocks, which number the entries."""
        return LmbStorage(blocks=BLOCKS.read(data["blocks"]))

    def from_json(self, data: Mapping[str, Any]) -> Snapshot:
        """Return the snapshot with the sizes of its blocks, which JSON leaves out: a klimit page, then grown blocks."""
        snapshot = super().from_json(data)
        storage = storage_of(snapshot)
        blocks = tuple(
            replace(block, size=0 if block.static else storage.block_size if number else snapshot.page_size)
            for number, block in enumerate(storage.blocks)
        )
        return replace(snapshot, storage=replace(storage, blocks=blocks, handover_nr=len(snapshot.handover or ())))

    def differences(self, expected: Snapshot, found: Snapshot) -> Iterator[Difference]:
        """Yield in what freelists, blocks, switches, counters and ranges handed over differ, and damage found."""
        want, got = storage_of(expected), storage_of(found)
        yield from _freelist(want, got)
        yield from _blocks(want, got)
        yield from value_differences(expected, found, SWITCHES)
        yield from value_differences(want, got, ("may_grow", "closed"))
        yield from value_differences(want, got, ("nr_free", "nr_blocks", "block_size"), redundant=True)
        if expected.handover is not None and found.handover is not None:
            yield from _handover(expected.handover, found.handover, want.handover_nr, got.handover_nr)
        yield from damage(found)
        walks = {found.memory.name: found.memory.walk, found.reserved.name: found.reserved.walk, "free": got.free_walk}
        for name, walk in walks.items():
            if walk is not None and not walk.mutual:
                yield Difference(f"the links of the {name} list do not agree with each other", name, redundant=True)

    def effects(self, record: Record, limit: int, page_size: int) -> Sequence[Effect]:
        """Return what an operation did; `lmb_init()` reserves a klimit page."""
        operation = record.operation
        if operation.op == "init" and operation.base and not (record.result or 0) < 0:
            return (("reserved", True, operation.base, operation.base + page_size),)
        return super().effects(record, limit, page_size)

    def resume(self, snapshot: Snapshot, facts: Mapping[str, Any]) -> Model:
        """Return a model that goes on from a walked state; there are no facts beside it."""
        from gdb_lmb.allocators.lmb.model import LmbModel

        return LmbModel.from_snapshot(snapshot)

    def created_model(self, operation: Operation, page_size: int) -> Model:
        """Return the model as `lmb_init()` leaves it."""
        from gdb_lmb.allocators.lmb.model import LmbModel

        return LmbModel.created(operation, page_size)

    def predict(self, snapshot: Snapshot, facts: Mapping[str, Any], op: str, **arguments: int) -> Prediction:
        """Return what `lmb_<op>()` would do."""
        from gdb_lmb.allocators.lmb.predict import predict_lmb

        return predict_lmb(snapshot, op, **arguments)

    def adapter(self, where: TracedProgram) -> LmbAdapter:
        """Return what turns traced calls into operations."""
        return LmbAdapter(where)

    def torn_in(self, machine: Machine) -> str | None:
        """Tell by the source files of the functions."""
        return torn_in(machine)

    def phase_of(self, snapshot: Snapshot) -> str | None:
        """Return how far the boot has come."""
        storage = storage_of(snapshot)
        return HANDED_OVER if storage.closed else GROWING if storage.may_grow else BEFORE_GROWTH

    def log(self, snapshot: Snapshot) -> GuestLog | None:
        """Return the guest's log (CONFIG_LMB_LOG)."""
        from gdb_lmb.allocators.lmb.log import guest_log

        return guest_log(snapshot)


def _freelist(want: LmbStorage, got: LmbStorage) -> Iterator[Difference]:
    pairs = zip_longest(want.free, got.free) if want.free != got.free else ()
    for at, (one, other) in enumerate(pairs):
        if one != other:  # the first is enough: what follows is often the whole rest, shifted by one
            row = ValueRow(f"freelist[{at}]", _entry(want, one), _entry(got, other))
            message = f"the freelist has {row.found} at place {at}, but {row.expected} is expected"
            if one is None or other is None:
                message = f"the freelist has {len(got.free)} entries, but {len(want.free)} are expected"
            yield Difference(message, value=row)
            return


def _entry(storage: LmbStorage, index: int | None) -> str:
    where = None if index is None else storage.entry(index)
    return "the end" if where is None else f"entry {where.block}:{where.slot}"


def _blocks(want: LmbStorage, got: LmbStorage) -> Iterator[Difference]:
    for number, (one, other) in enumerate(zip_longest(want.blocks, got.blocks)):
        row = ValueRow(f"block {number}", _block(one), _block(other))
        if row.expected != row.found:
            message = f"there are {len(got.blocks)} blocks, but {len(want.blocks)} are expected"
            if one is not None and other is not None:
                lies = f"block {number} lies at {other.base or 0:#x} with {other.nr} entries"
                message = f"{lies}, but {one.base or 0:#x} with {one.nr} is expected"
            yield Difference(message, value=row)


def _block(block: Block | None) -> str:
    return "none" if block is None else f"{block.nr} entries at {block.base or 0:#x}"


def _handover(want: Sequence[Range], got: Sequence[Range], want_nr: int, got_nr: int) -> Iterator[Difference]:
    row = ValueRow("ranges handed over", str(want_nr), f"{got_nr}, or other ones")
    at = next((at for at, (one, other) in enumerate(zip(want, got, strict=False)) if one != other), None)
    if want_nr != got_nr:
        message = f"{got_nr} ranges were handed over, but {want_nr} are expected"
        yield Difference(message, value=row, redundant=True)
    elif at is not None:
        one, other = (f"[{base:#x}, {end:#x})" for base, end in (got[at], want[at]))
        message = f"range {at} handed over is {one}, but {other} is expected"
        yield Difference(message, address=min(want[at][0], got[at][0]), value=row, redundant=True)


ALLOCATOR = LmbAllocator()
