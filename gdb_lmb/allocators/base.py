# SPDX-License-Identifier: GPL-2.0-or-later
"""What an allocator is to the rest of the tool, and the registry of those that are known.

An allocator is one package: a decoder, checks, a reference model with its operations, trace points, and its
words and JSON. Everybody else gets it from `allocator(snapshot.layout)` and asks it; no other room compares
names of allocators. The packages are imported at the first use, since gdb's start-up needs none of them.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from gdb_lmb.allocators.check import Check, Facts
from gdb_lmb.allocators.difference import SWITCHES, Difference, damage, value_differences
from gdb_lmb.allocators.json_fields import (
    COMMON,
    FIRMWARE,
    HEAD,
    STATE,
    Description,
    read,
    read_list,
    write,
    write_list,
)  # fmt: skip
from gdb_lmb.allocators.predict import Prediction, no_room
from gdb_lmb.allocators.section import Section, firmware_section, region_section
from gdb_lmb.core.errors import InputError, LmbError, StateError
from gdb_lmb.core.machine import Machine
from gdb_lmb.core.memory import Memory, Meter
from gdb_lmb.core.operation import BASE, Kind, Model, Operation, Record, TraceHeader
from gdb_lmb.core.ranges import Range
from gdb_lmb.core.snapshot import Finding, Place, RegionList, Snapshot, Storage

Fixed = Mapping[str, int | str | bool]

Effect = tuple[str, bool, int, int]
"""What an operation did to the list of this name: whether it added the half-open physical range or took it off."""


@dataclass(frozen=True)
class Role:
    """What a traced function does: operation `op`, with `fixed` arguments that its parameters do not say.

    `flag` names a flag whose value the debug information has. `within` names operations that it may call as
    parts of itself. `pointer` names a parameter that holds the virtual address of `base`. Both are None where there is
    none.
    """

    op: str
    fixed: Fixed = field(default_factory=dict)
    flag: str | None = None
    within: tuple[str, ...] = ()
    pointer: str | None = None


@dataclass(frozen=True)
class LogVerdict:
    """What replaying a guest's own log of operations showed.

    `replayed` counts the operations run on the model. `not_verified` says in one sentence why the lists
    were not compared, None where they were; `reason` is its code. `divergence` is what did not agree.
    """

    replayed: int
    not_verified: str | None = None
    reason: str | None = None
    divergence: Finding | None = None


@dataclass(frozen=True)
class GuestLog:
    """A guest's own log: `nr` records were ever written, of which the first `lost` are not there any more.

    `records(strict)` yields the others, numbered from 1 as they were written, up to the first that is damaged, at
    which it raises `InputError` if `strict`. `model` is the state after the first record, a sentence where that cannot
    be, None where it is lost. `unverified` says why no model is this kernel's, None where one is.
    """

    nr: int
    lost: int
    records: Callable[[bool], Iterator[Record]]
    model: Model | str | None = None
    unverified: str | None = None


class Call(Protocol):
    """One call of a traced function: its role, and its arguments by the names of the C parameters."""

    @property
    def role(self) -> Role:
        """Return what the function does."""

    @property
    def arguments(self) -> Mapping[str, int]:
        """Return the arguments."""


class TracedProgram(Protocol):
    """A program that runs, as tracing sees it: `program` is the allocator's own description of it.

    `offset` is the difference between run-time and linked addresses, `memory` reads the program's virtual addresses.
    """

    machine: Machine
    program: Any
    offset: int
    memory: Memory

    def physical(self, va: int) -> int:
        """Return the physical address of `va`. Raises: `LmbError`."""


class TraceAdapter(ABC):
    """What tracing asks of an allocator at each stop.

    `bits` is the width of `phys_addr_t`, `page_size` is in bytes.
    """

    bits: int
    page_size: int

    @abstractmethod
    def decode(self, memory: Memory) -> Snapshot:
        """Read the state out of `memory`, which reads as `TracedProgram.memory` does. Raises: `LmbError`."""

    @abstractmethod
    def operation(self, call: Call) -> Operation:
        """Return what a call that begins asks for. Raises: `LmbError`."""

    def settled(self, call: Call, operation: Operation, result: int | None) -> tuple[Operation, int | None]:
        """Return the operation and its result, now that the call has returned. Raises: `LmbError`."""
        return operation, result

    def facts(self) -> dict[str, Any]:
        """Return what a trace's header must say where there is no state to begin with. Raises: `LmbError`."""
        return {}

    def switches(self) -> Mapping[str, int]:
        """Return the settings that inlined code may change, by the operation that sets them."""
        return {}


class CTest(Protocol):
    """A trace on its way to a test in C for the kernel's own simulator of its allocator.

    `agrees` is None where kernel and model agree, else a sentence that says where they do not.
    """

    agrees: str | None

    def see(self, record: Record, model: Any) -> None:
        """Take the next record; `model` is in the state after it."""

    def finish(self, final: Snapshot, agrees: str | None, owner: Callable[[Record], str]) -> None:
        """Take the state in the end; `owner` names who called. Raises: `InputError` where it is damaged."""

    def lines(self, name: str, records: Iterable[Record]) -> Iterator[str]:
        """Yield the C file in pieces; `records` are all once more. Raises: `InputError`."""


class Allocator(ABC):
    """One early-boot allocator; an instance holds no state.

    `name` is the value of "layout" in JSON. `title` is its name in sentences ("LMB", "memblock"). `list_names` are
    those of all lists of regions that it may have, in their order; the first two there always are.
    `variable` is the global variable that a program keeps it in: its file is the program (None: not known).
    `prefixes` are what the names of its own functions begin with, for finding the caller outside of it.
    `operations` is the table of its operations; `init` has the operation that creates it, which only a trace
    without an initial state begins with (empty for one that exists from the first instruction on).
    `roles` are the functions to stop at in a trace; `containers` those that a compiler may have inlined one of
    them into; `inlined_switches` are functions that are always inlined.
    `no_firmware` says why a snapshot has no firmware map. `keeps_log` tells that a guest may keep its own log.
    `needs_facts` tells that `resume()` must know more than the state.
    `counters_repeat` tells that counters only repeat what the lists show, so that a state may be compared without.
    `checkpoints` are functions at which a trace also compares the state. `phases` tell how far the boot has come after
    an operation. `checks` are its invariants.
    """

    name: str
    title: str
    list_names: tuple[str, ...] = ("memory", "reserved")
    variable: str | None = None
    prefixes: tuple[str, ...] = ()
    operations: Mapping[str, Kind] = {}
    init: Mapping[str, Kind] = {}
    roles: Mapping[str, Role] = {}
    containers: Mapping[str, Role] = {}
    inlined_switches: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()
    phases: Mapping[str, str] = {}
    checks: tuple[Check, ...] = ()
    no_firmware: str = "this program keeps no map"
    keeps_log: bool = False
    needs_facts: bool = False
    counters_repeat: bool = False

    # -- the state --------------------------------------------------------------------------------------

    def probe(self, machine: Machine) -> Any | None:
        """Return the allocator's variables and structures in the program of `machine`, None where it has none.

        Raises: `LayoutError` where the program has this allocator, but not as it is known.
        """
        return None

    def take(self, machine: Machine, program: Any, *, with_log: bool, meter: Meter | None) -> Snapshot:
        """Read and decode the whole state; `program` is what `probe()` found, `meter` counts what reading costs.

        Raises: `NotReadyError` where the allocator is not initialised yet, `ReadError` where its root is unreadable.
        """
        raise InputError(f"{self.title} is known from files only")

    @abstractmethod
    def own_ranges(self, snapshot: Snapshot, *, reserved: bool = False) -> Iterator[Place]:
        """Yield the physical ranges that the allocator's own storage occupies, in any order.

        What lies at an unknown physical address is left out. With `reserved` only what the allocator has reserved
        for itself, as far as it has reserved it: whole pages.
        """

    def sections(self, snapshot: Snapshot, part: str, entries: bool) -> Iterator[Section]:
        """Yield the tables of one part of `lmb-dump`: "memory", "reserved", "free", "blocks", "firmware" or "all".

        `entries` adds where each region is stored. Raises: `LmbError` for a part that this allocator lacks.
        """
        for regions in snapshot.lists:
            if part in (regions.name, "all"):
                yield self.region_section(snapshot, regions, entries)
        yield from self.storage_sections(snapshot, part)
        if part == "firmware":
            yield firmware_section(snapshot.firmware, self.no_firmware)
            if snapshot.firmware_edited is not None:
                yield firmware_section(snapshot.firmware_edited, "", "as the kernel edited it")

    def region_section(self, snapshot: Snapshot, regions: RegionList, entries: bool) -> Section:
        """Return the table of one list of regions; `entries` adds where each is stored."""
        return region_section(snapshot, regions)

    def storage_sections(self, snapshot: Snapshot, part: str) -> Iterator[Section]:
        """Yield the tables of the storage that belong to a part of `lmb-dump`. Raises: `LmbError` if it has none."""
        if part in ("free", "blocks"):
            raise LmbError(f"{self.title} has no storage of its own to show")
        yield from ()

    def counts(self, snapshot: Snapshot) -> Mapping[str, int]:
        """Return how many things a check has looked at, by nouns in the singular: {"region": 12}."""
        return {"region": sum(len(regions) for regions in snapshot.lists if not regions.dummy)}

    def differences(self, expected: Snapshot, found: Snapshot) -> Iterator[Difference]:
        """Yield in what two states differ beside their lists of regions: storage, switches, counters, damage."""
        yield from value_differences(expected, found, SWITCHES)
        yield from damage(found)

    def described(self, storage: Any) -> Description:
        """Return what JSON holds, from "page_size" on; of `storage` only what `bare_storage()` has is looked at."""
        return Description(STATE, (*COMMON, FIRMWARE))

    def bare_storage(self, data: Mapping[str, Any]) -> Storage:
        """Return a storage with what must be known of a JSON object before the rest of it can be read."""
        return Storage()

    def to_json(self, snapshot: Snapshot) -> dict[str, Any]:
        """Return the members of schema `gdb-lmb/snapshot/1` between "page_size" and "findings"."""
        first, last, columns = self.described(snapshot.storage)
        lists = {regions.name: write_list(regions, columns) for regions in snapshot.lists}
        return {**write(first, snapshot), **lists, **write(last, snapshot)}

    def from_json(self, data: Mapping[str, Any]) -> Snapshot:
        """Return the snapshot of a JSON object that `to_json()` made a part of.

        Raises: `ValueError`, `KeyError`, `TypeError` and their like for what is no such object.
        """
        bare = self.bare_storage(data)
        first, last, columns = self.described(bare)
        fields = (*HEAD, *first, *last)
        common = read(fields, data)
        names = (*self.list_names[:2], *(name for name in self.list_names[2:] if name in data))
        lists = [read_list(name, data[name], columns, nodes=common.get("no_node") is not None) for name in names]
        storage = replace(bare, **read(fields, data, stored=True))
        return Snapshot(lists[0], lists[1], others=tuple(lists[2:]), layout=self.name, storage=storage, **common)

    def settled(self, snapshot: Snapshot) -> bool:
        """Tell whether all memory and all that has an address of its own are known to it, and it still has them."""
        return False

    # -- operations and the model -----------------------------------------------------------------------

    def apply(self, model: Any, operation: Operation) -> int | None:
        """Run one operation on a model of this allocator.

        Return 0 or a negative errno, the base of an allocation, the number of pages given away, or None for a
        function that returns void.
        """
        return self.kind(operation.op).run(model, operation)

    def allocates(self, op: str) -> bool:
        """Tell whether an operation asks for memory anywhere, and so returns an address."""
        return op in self.operations and self.operations[op].returns == BASE

    def kind(self, op: str) -> Kind:
        """Return the row of an operation, the one that creates the allocator included."""
        return self.operations[op] if op in self.operations else self.init[op]

    def missing(self, snapshot: Snapshot, operation: Operation) -> str | None:
        """Return why an allocation fails in the state of `snapshot`: which hole is missing; None where none is."""
        why, fits = no_room(snapshot, operation.size, operation.align, operation.min, operation.max)
        return f"{why} that this allocation may have" if fits else why

    def touched(self, record: Record) -> Range | None:
        """Return the physical range that an operation is about, None where it is about none or failed to get one."""
        operation, result = record.operation, record.result
        kind = self.operations.get(operation.op)
        if kind is None or not operation.size or (kind.returns == BASE and (result is None or result <= 0)):
            return None
        if kind.returns != BASE and "base" not in kind.arguments:
            return None
        base = result if kind.returns == BASE and result else operation.base
        return base, base + operation.size

    def effects(self, record: Record, limit: int, page_size: int) -> Sequence[Effect]:
        """Return what a recorded operation did to lists of regions; nothing for one that failed.

        `limit` is `PHYS_ADDR_MAX`, `page_size` is in bytes. What a call does beyond the range that it is about must
        be told by the allocator itself.
        """
        operation, result = record.operation, record.result
        kind = self.operations.get(operation.op)
        if kind is None or kind.changes is None or (result is not None and result < 0):
            return ()
        touched, (list, adds) = self.touched(record), kind.changes
        return () if touched is None else ((list or operation.list, adds, touched[0], min(touched[1], limit)),)

    def may_take_off(self, record: Record, limit: int) -> Range | None:
        """Return in which range a recorded operation may have taken reservations off, where it does not tell which.

        `limit` is `PHYS_ADDR_MAX`; None where it has done no such thing.
        """
        return None

    @abstractmethod
    def resume(self, snapshot: Snapshot, facts: Mapping[str, Any]) -> Model:
        """Return a model that goes on from a walked state.

        `facts` are those of `facts_of()`: plain values beside the lists, as a trace's header keeps them in
        "generation". Raises: `StateError` for a torn or damaged state, `InputError` for unusable facts.
        """

    def facts_of(self, model: Any) -> dict[str, Any]:
        """Return what a trace's header must say of a model beside its state, as JSON values."""
        return {}

    def facts_in(self, snapshot: Snapshot) -> dict[str, Any]:
        """Return what a trace's header must say where only a state is at hand, and no model of it."""
        return {}

    def unverified(self, facts: Mapping[str, Any]) -> str | None:
        """Return in a sentence why what the model says may not hold of this kernel, None where it is known."""
        return None

    def initial_model(self, header: TraceHeader) -> Model | None:
        """Return the model in the state in which a trace begins; None where its first operation is in `init`.

        Raises: `InputError` where no model can be in that state.
        """
        try:
            return None if header.initial is None else self.resume(header.initial, header.behavior)
        except StateError as error:
            raise InputError(f"the initial state: {error}") from None

    def created_model(self, operation: Operation, page_size: int, facts: Mapping[str, Any]) -> Model:
        """Return the model as the operation in `init` leaves it; `facts` are those of a trace's header.

        Raises: `InputError` where that would fail.
        """
        raise InputError(f"a trace of {self.title} has an initial state")

    def predict(self, snapshot: Snapshot, facts: Mapping[str, Any], op: str, **arguments: int) -> Prediction:
        """Return what an operation of `lmb-whatif` would do in the state of `snapshot`.

        Raises: `StateError` where no model can go on from it, `UsageError` for arguments that it does not take.
        """
        raise InputError(f"{self.title} has no model to ask")

    def log(self, snapshot: Snapshot) -> GuestLog | None:
        """Return the guest's own log of operations as it was read into `snapshot`, None where it keeps none."""
        return None

    # -- tracing ----------------------------------------------------------------------------------------

    def adapter(self, where: TracedProgram) -> TraceAdapter:
        """Return what turns traced calls of a program into operations. Raises: `LmbError`."""
        raise InputError(f"{self.title} cannot be traced")

    def torn_in(self, machine: Machine) -> str | None:
        """Return the allocator's function that the selected CPU is in the middle of, None where it is in none."""
        own = (one.name for one in machine.functions_on_stack() if one.name.startswith(self.prefixes))
        return next(own, None)

    def simulator_test(self, header: TraceHeader) -> CTest:
        """Return what writes a trace as a test for the kernel's own simulator. Raises: `InputError`."""
        raise InputError(f"the kernel's simulator knows memblock only, not {self.name}")

    def phase_of(self, snapshot: Snapshot) -> str | None:
        """Return how far the boot has come where calls go on from a state, None where the state does not tell."""
        return snapshot.phase


# The allocators that come with the package: the variable by which one is found in a program, so that none is imported
# in vain, which is its package's name too; there `allocator` holds its instance as `ALLOCATOR`.
_PACKAGES = {"lmb-list": "lmb", "memblock": "memblock"}

# Those imported or registered so far, by name.
ALLOCATORS: dict[str, Allocator] = {}


def register(one: Allocator) -> None:
    """Make an allocator known; one of the same name is replaced."""
    ALLOCATORS[one.name] = one


def names() -> tuple[str, ...]:
    """Return the names of all allocators, in the order in which a program is searched for them."""
    return tuple(dict.fromkeys((*_PACKAGES, *ALLOCATORS)))


def likely(machine: Machine) -> Iterator[Allocator]:
    """Yield the allocators that a program may hold, by the debugger's symbols of it; `probe()` tells for certain."""
    for name in names():
        if name not in _PACKAGES or machine.variable(_PACKAGES[name]) is not None:
            yield allocator(name)


def allocator(name: str) -> Allocator:
    """Return the allocator that JSON calls `name`. Raises: `InputError` for an unknown one."""
    if name not in ALLOCATORS:
        if name not in _PACKAGES:
            raise InputError(f"{name[:80]!r} is no layout that is known: {' or '.join(names())}")
        register(importlib.import_module(f"gdb_lmb.allocators.{_PACKAGES[name]}.allocator").ALLOCATOR)
    return ALLOCATORS[name]


def check(snapshot: Snapshot, *, everything: bool = False) -> list[Finding]:
    """Return every finding and note about `snapshot`, in the order of its allocator's table.

    Of one code only so many as a person reads, unless `everything` is asked for.
    """
    facts = Facts(snapshot)
    return [finding for row in allocator(snapshot.layout).checks for finding in row.findings(facts, everything)]
