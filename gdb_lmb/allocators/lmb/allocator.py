# SPDX-License-Identifier: GPL-2.0-or-later
"""The list-based LMB as an `Allocator`: its words and JSON, what traced calls mean, in what states differ.

Its model is imported when it is first needed: most commands need none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from gdb_lmb.allocators import json_fields as fields
from gdb_lmb.allocators.base import Allocator, Call, Effect, GuestLog, Role, TraceAdapter, TracedProgram
from gdb_lmb.allocators.difference import SWITCHES, Difference, ValueRow, damage, value_differences
from gdb_lmb.allocators.lmb.checks import CHECKS
from gdb_lmb.allocators.lmb.decode import decode
from gdb_lmb.allocators.lmb.operations import INIT, OPERATIONS
from gdb_lmb.allocators.lmb.program import LmbProgram, find_lmb, torn_in, with_page_size
from gdb_lmb.allocators.lmb.storage import Block, LmbStorage, lies, storage_of, with_mapped
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
from gdb_lmb.core.address import Phase
from gdb_lmb.core.errors import InputError, ReadError
from gdb_lmb.core.json_values import checked
from gdb_lmb.core.machine import Machine
from gdb_lmb.core.memory import BoundedMemory, Memory, Meter
from gdb_lmb.core.operation import Model, Operation, Record
from gdb_lmb.core.ranges import Range
from gdb_lmb.core.snapshot import Place, RegionList, Snapshot, Stop, column
from gdb_lmb.core.words import human_size, plural

_ENTRY = (Column("entry", TEXT), Column("entry address", POINTER, spare=True))
_FREE = (Column("#", NUMBER), Column("entry", TEXT), Column("entry address", POINTER))
_BLOCKS = (
    Column("#", NUMBER), Column("storage", TEXT, cut=True), Column("base", ADDRESS), Column("size", SIZE),
    Column("entries", NUMBER), Column("first entry address", POINTER, spare=True),
)  # fmt: skip

_JSON_BLOCKS = fields.each(fields.record(Block, {
    "base": ("base", fields.KNOWN_HEX), "entries": ("nr", fields.NUMBER), "static": ("static", fields.TRUTH),
}))  # fmt: skip

# Functions of lmb.h that an operation calls otherwise, and parameters likewise.
_FUNCTIONS = {"set_limit": "set_current_limit", "enforce_limit": "enforce_memory_limit"}
_PARAMETERS = {"limit": "base", "enable": "flags", "flag": "flags"}

BEFORE_GROWTH, GROWING = "before growth", "growing"


class LmbAdapter(TraceAdapter):
    """Turns calls of a program's LMB into operations."""

    # The program's log, firmware map and names say nothing that the model has, and are not read at every stop.
    def __init__(self, where: TracedProgram) -> None:
        self._where = where
        program = with_page_size(where.machine, where.program, where.memory)
        self._program = replace(program, log=None, ops=None, firmware=None, image=())
        self.bits, self.page_size = program.bits, program.page_size

    def decode(self, memory: Memory) -> Snapshot:
        return decode(self._program, memory)

    def operation(self, call: Call) -> Operation:
        op = call.role.op
        if op in INIT:
            return INIT[op].call(op)
        takes = OPERATIONS[op].arguments
        if len(takes) == 1:  # whatever C calls it
            return OPERATIONS[op].call(op, **dict(zip(takes, call.arguments.values(), strict=True)))
        values = {_PARAMETERS.get(name, name): value for name, value in call.arguments.items()}
        if op == "alloc":
            del values["base"]
        return OPERATIONS[op].call(op, **values)

    def facts(self) -> dict[str, Any]:
        # The member came with revision 2. It may be 0 before `lmb_init()`, and the kernel not mapped yet.
        program, raw = self._program, bytes(self._program.lmb.size)
        with suppress(ReadError):
            raw = self._where.memory.read(program.lmb_va, program.lmb.size)
        return {"revision": program.revision(raw) or 2}

    def settled(self, call: Call, operation: Operation, result: int | None) -> tuple[Operation, int | None]:
        program = self._program
        if operation.op == "alloc" and result == 0:
            raw = self._where.memory.read(call.arguments["base"], program.bits // 8)
            return operation, int.from_bytes(raw, program.byte_order)
        if operation.op == "init" and result == 0:
            first = storage_of(self.decode(self._where.memory)).blocks[0]
            operation = replace(
                operation,
                base=first.base or 0,
                size=call.arguments["block_size"],
                flags=program.bits,
                align=program.header_size,
                min=program.region.size,
                # A klimit page is one block: then it is the page that tells, and not the argument.
                max=call.arguments["nr_static"] if first.static else first.nr,
            )
        return operation, result


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
    roles = {f"lmb_{_FUNCTIONS.get(op, op)}": Role(op) for op in (*INIT, *OPERATIONS)}
    # Where the fixture kernel's own faults have struck, if any: nothing but a look can tell there.
    checkpoints = ("lmb_ready", "lmb_scenario_done")
    phases = {"init": BEFORE_GROWTH, "allow_growth": GROWING, "free_all": Phase.HANDED_OVER.value}

    def probe(self, machine: Machine) -> LmbProgram | None:
        return find_lmb(machine)

    def take(self, machine: Machine, program: LmbProgram, *, with_log: bool, meter: Meter | None) -> Snapshot:
        memory = BoundedMemory(machine.virtual(), meter)
        sized = with_page_size(machine, program, memory)
        stop = Stop(machine.pc(), machine.name_at(machine.pc()))
        found = decode(sized, memory, with_log=with_log, torn=torn_in(machine), stop=stop)
        return with_mapped(found, machine.translate)

    def own_ranges(self, snapshot: Snapshot, *, reserved: bool = False) -> Iterator[Place]:
        for number, block in enumerate(storage_of(snapshot).blocks):
            if block.own_range is not None:
                yield Place(*block.own_range, f"block {number} of entries")

    def region_section(self, snapshot: Snapshot, regions: RegionList, entries: bool) -> Section:
        if not entries:
            return region_section(snapshot, regions)
        storage = storage_of(snapshot)
        cells = [(str(storage.entry(index)), storage.entry_va(index)) for index in regions.entry]
        return region_section(snapshot, regions, _ENTRY, cells.__getitem__)

    def storage_sections(self, snapshot: Snapshot, part: str) -> Iterator[Section]:
        storage = storage_of(snapshot)
        if part in ("free", "all"):
            title = f"free: {plural(storage.nr_free, 'entry')} on the freelist, of {storage.nr_entries:,} in all"
            free = enumerate(storage.free if part == "free" else ())
            yield Section(title, _FREE, [(at, str(storage.entry(i)), storage.entry_va(i)) for at, i in free])
        if part in ("blocks", "all"):
            size = "not known" if storage.block_size is None else human_size(storage.block_size)
            growth = f"grows by {size}" if storage.may_grow else f"may not grow yet (block size {size})"
            rows = [
                (number, "static array" if block.static else "klimit page" if number == 0 else "grown", block.base,
                 block.size, block.nr, block.entries_va)
                for number, block in enumerate(storage.blocks)
            ]  # fmt: skip
            yield Section(f"blocks: {plural(storage.nr_blocks, 'block')} of entries, {growth}", _BLOCKS, rows)

    def counts(self, snapshot: Snapshot) -> Mapping[str, int]:
        storage = storage_of(snapshot)
        return {"entry": storage.nr_entries, **super().counts(snapshot), "block": len(storage.blocks)}

    def described(self, storage: LmbStorage) -> fields.Description:
        def read_entry(pair: Any) -> int:
            block, slot = map(int, pair)
            if not 0 <= slot < storage.blocks[block].nr:
                raise ValueError(f"there is no entry {block}:{slot}")
            return storage.first[block] + slot

        pairs: list[list[int]] = []

        def write_entry(index: int) -> list[int]:
            if not pairs:
                pairs.extend([at, slot] for at, block in enumerate(storage.blocks) for slot in range(block.nr))
            return pairs[index]

        entry = fields.Codec(write_entry, read_entry)
        last = (
            fields.Field("free", fields.each(entry, column), stored=True),
            fields.Field("nr_free", fields.NUMBER, stored=True),
            fields.Field("blocks", _JSON_BLOCKS, stored=True),
            fields.Field("nr_blocks", fields.NUMBER, stored=True),
            fields.Field("block_size", fields.HEX, stored=True),
            # Snapshots written before these two were there cannot be gone on from; all else works.
            fields.Field("entry_size", fields.KNOWN_HEX, stored=True, default="0x0"),
            fields.Field("header_size", fields.KNOWN_HEX, stored=True, default="0x0"),
            *fields.COMMON,
            fields.Field("may_grow", fields.TRUTH, stored=True),
            fields.Field("closed", fields.TRUTH, stored=True),
            # Older snapshots are of revision 1, whose flags have the names that all regions have.
            fields.Field("revision", fields.NUMBER, stored=True, default=1),
            fields.Field("flag_names", fields.FLAGS, default=None),
            fields.Field("handover", fields.RANGES),
            # More than there are ranges where the program's table is full; older snapshots do not tell.
            fields.Field("handover_nr", fields.optional(fields.NUMBER), stored=True, default=None),
            fields.FIRMWARE,
        )
        return fields.Description(
            (fields.torn("an LMB function"), fields.Field("stop", fields.STOP)), last, {**fields.REGION, "entry": entry}
        )

    def bare_storage(self, data: Mapping[str, Any]) -> LmbStorage:
        return LmbStorage(blocks=_JSON_BLOCKS.read(data["blocks"]))

    def from_json(self, data: Mapping[str, Any]) -> Snapshot:
        # JSON leaves out the sizes of blocks: a klimit page, then grown blocks.
        snapshot = super().from_json(data)
        storage = storage_of(snapshot)
        blocks = tuple(
            block if block.base is None else replace(block, size=storage.block_size if number else snapshot.page_size)
            for number, block in enumerate(storage.blocks)
        )
        nr = storage.handover_nr
        if nr is None and snapshot.handover is not None:
            nr = len(snapshot.handover)
        return replace(snapshot, storage=replace(storage, blocks=blocks, handover_nr=nr))

    def differences(self, expected: Snapshot, found: Snapshot) -> Iterator[Difference]:
        want, got = storage_of(expected), storage_of(found)
        yield from _freelist(want, got)
        yield from _blocks(want, got)
        yield from value_differences(expected, found, SWITCHES)
        yield from value_differences(want, got, ("may_grow", "closed", "revision"))
        yield from value_differences(want, got, ("nr_free", "nr_blocks", "block_size"), redundant=True)
        if expected.handover is not None and found.handover is not None:
            yield from _handover(expected.handover, found.handover, want.handover_nr, got.handover_nr)
        yield from damage(found)
        for name, walk in (*((regions.name, regions.walk) for regions in found.lists), ("free", got.free_walk)):
            if walk is not None and not walk.mutual:
                yield Difference(f"the links of the {name} list do not agree with each other", name, redundant=True)

    def effects(self, record: Record, limit: int, page_size: int) -> Sequence[Effect]:
        # lmb_init() reserves a klimit page.
        operation = record.operation
        if operation.op == "init" and operation.base and not INIT["init"].failed(record.result):
            return (("reserved", True, operation.base, operation.base + page_size),)
        return super().effects(record, limit, page_size)

    # That many bytes of memory end there or above.
    def may_take_off(self, record: Record, limit: int) -> Range | None:
        operation = record.operation
        return (operation.size, limit) if operation.op == "enforce_limit" and record.result == 0 else None

    def resume(self, snapshot: Snapshot, facts: Mapping[str, Any]) -> Model:
        from gdb_lmb.allocators.lmb.model import LmbModel

        revision = storage_of(snapshot).revision
        if _revision(facts, revision) != revision:
            raise InputError(f"the header is of revision {facts['revision']}, but its state of revision {revision}")
        return LmbModel.from_snapshot(snapshot)

    def facts_of(self, model: Any) -> dict[str, Any]:
        return {"revision": model.rules.revision}

    def facts_in(self, snapshot: Snapshot) -> dict[str, Any]:
        return {"revision": storage_of(snapshot).revision}

    def created_model(self, operation: Operation, page_size: int, facts: Mapping[str, Any]) -> Model:
        from gdb_lmb.allocators.lmb.model import LmbModel

        return LmbModel.created(operation, page_size, _revision(facts, 1))

    def missing(self, snapshot: Snapshot, operation: Operation) -> str | None:
        given = {name: operation.arguments[name] for name in ("size", "align", "min", "max", "flags")}
        return self.predict(snapshot, {}, "alloc", **given).reason

    def predict(self, snapshot: Snapshot, facts: Mapping[str, Any], op: str, **arguments: int) -> Prediction:
        from gdb_lmb.allocators.lmb.predict import predict_lmb

        return predict_lmb(snapshot, op, **arguments)

    def adapter(self, where: TracedProgram) -> LmbAdapter:
        return LmbAdapter(where)

    def torn_in(self, machine: Machine) -> str | None:
        return torn_in(machine)

    def phase_of(self, snapshot: Snapshot) -> str | None:
        storage = storage_of(snapshot)
        return Phase.HANDED_OVER.value if storage.closed else GROWING if storage.may_grow else BEFORE_GROWTH

    def settled(self, snapshot: Snapshot) -> bool:
        return self.phase_of(snapshot) == GROWING

    def log(self, snapshot: Snapshot) -> GuestLog | None:
        from gdb_lmb.allocators.lmb.log import guest_log

        return guest_log(snapshot)


# The revision that a trace's header tells, or `default` where it tells none.
def _revision(facts: Mapping[str, Any], default: int) -> int:
    revision = facts.get("revision", default)
    return int(checked("revision", revision, lambda value: type(value) is int, "a number"))


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
    return "the end" if index is None else f"entry {storage.entry(index)}"


def _blocks(want: LmbStorage, got: LmbStorage) -> Iterator[Difference]:
    for number, (one, other) in enumerate(zip_longest(want.blocks, got.blocks)):
        row = ValueRow(f"block {number}", _block(one), _block(other))
        if row.expected != row.found:
            message = f"there are {len(got.blocks)} blocks, but {len(want.blocks)} are expected"
            if one is not None and other is not None:
                message = (
                    f"block {number} lies {lies(other.base)} with {other.nr} entries, but {lies(one.base)} "
                    f"with {one.nr} is expected"
                )
            yield Difference(message, value=row)


def _block(block: Block | None) -> str:
    return "none" if block is None else f"{block.nr} entries {lies(block.base)}"


def _handover(
    want: Sequence[Range], got: Sequence[Range], want_nr: int | None, got_nr: int | None
) -> Iterator[Difference]:
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
