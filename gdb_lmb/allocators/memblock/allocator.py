# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux's memblock as an `Allocator`. Its model is imported when it is first needed: most commands need none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from gdb_lmb.allocators.base import Allocator, Call, CTest, Effect, Fixed, Role, TraceAdapter, TracedProgram
from gdb_lmb.allocators.difference import Difference, ValueRow
from gdb_lmb.allocators.json_fields import Description
from gdb_lmb.allocators.memblock.checks import CHECKS
from gdb_lmb.allocators.memblock.decode import decode
from gdb_lmb.allocators.memblock.operations import LISTS, OPERATIONS
from gdb_lmb.allocators.memblock.storage import DESCRIPTION, MemblockStorage, RegionArray, storage_of
from gdb_lmb.allocators.predict import Prediction, no_room
from gdb_lmb.allocators.section import NUMBER, POINTER, SIZE, TEXT, Column, Section
from gdb_lmb.core.address import Phase
from gdb_lmb.core.errors import LayoutError, LmbError, ReadError
from gdb_lmb.core.memory import Memory
from gdb_lmb.core.operation import Model, Operation, Record, TraceHeader
from gdb_lmb.core.snapshot import Place, Snapshot

# -- tracing: the smallest set of functions that sees every change ----------------------------------
#
# These are the functions of mm/memblock.c that change a list, plus the allocation, whose arguments say more than the
# reservation that it makes. Where the compiler has inlined such a function, the function around it is traced instead.

# Doubling an array reserves the new one and may free the old one.
_GROWING = ("add_range", "remove_range")

_ROLES: Mapping[str, Role] = {
    # setclr_flag() took no list, and meant memory, before "memblock: pass memblock_type to memblock_setclr_flag".
    "memblock_add_range": Role("add_range", within=_GROWING),
    "memblock_remove_range": Role("remove_range", within=_GROWING),
    "memblock_setclr_flag": Role("setclr_flag", {"list": "memory"}, within=_GROWING),
    "memblock_set_node": Role("set_node", within=_GROWING),
    "memblock_trim_memory": Role("trim_memory"),
    "memblock_cap_memory_range": Role("cap_memory_range", within=_GROWING),
    "memblock_alloc_range_nid": Role("alloc_range_nid", within=_GROWING),
    "memblock_set_current_limit": Role("set_current_limit"),
    "memblock_allow_resize": Role("allow_resize"),
    "memblock_free_all": Role("free_all", within=("setclr_flag", "set_node")),
    "memblock_discard": Role("discard"),
}

_SETS: Fixed = {"list": "memory", "set": True}
_CLEARS: Fixed = {"list": "memory", "set": False}
_ON_RESERVED: Fixed = {"list": "reserved", "set": True}

# Functions around one change that the compiler may have inlined into them, each as in mm/memblock.c.
# memblock_mark_mirror() is not here: it changes a list only where the command line asks for mirrored memory.
_CONTAINERS: Mapping[str, Role] = {
    "memblock_add": Role("add_range", {"list": "memory", "nid": "no_node", "flags": 0}, within=_GROWING),
    "memblock_add_node": Role("add_range", {"list": "memory", "flags": 0}, within=_GROWING),
    "memblock_reserve": Role("add_range", {"list": "reserved", "nid": "no_node", "flags": 0}, within=_GROWING),
    "__memblock_reserve": Role("add_range", {"list": "reserved"}, within=_GROWING),
    "memblock_physmem_add": Role("add_range", {"list": "physmem", "nid": "no_node", "flags": 0}),
    "memblock_remove": Role("remove_range", {"list": "memory"}, within=_GROWING),
    "memblock_phys_free": Role("remove_range", {"list": "reserved"}, within=_GROWING),
    "memblock_free": Role("remove_range", {"list": "reserved"}, within=_GROWING, pointer="ptr"),
    "memblock_mark_hotplug": Role("setclr_flag", _SETS, "HOTPLUG", _GROWING),
    "memblock_clear_hotplug": Role("setclr_flag", _CLEARS, "HOTPLUG", _GROWING),
    "memblock_mark_nomap": Role("setclr_flag", _SETS, "NOMAP", _GROWING),
    "memblock_clear_nomap": Role("setclr_flag", _CLEARS, "NOMAP", _GROWING),
    "memblock_mark_kho_scratch": Role("setclr_flag", _SETS, "KHO_SCRATCH", _GROWING),
    "memblock_clear_kho_scratch": Role("setclr_flag", _CLEARS, "KHO_SCRATCH", _GROWING),
    "memblock_reserved_mark_noinit": Role("setclr_flag", _ON_RESERVED, "RSRV_NOINIT", _GROWING),
    "memblock_reserved_mark_kern": Role("setclr_flag", _ON_RESERVED, "RSRV_KERN", _GROWING),
}

# The functions of mm/memblock.c that write to its lists, in any version.
CHANGING = frozenset((
    "memblock_add_range", "memblock_insert_region", "memblock_remove_region", "memblock_merge_regions",
    "memblock_isolate_range", "memblock_double_array", "memblock_remove_range", "memblock_setclr_flag",
    "memblock_set_node", "memblock_trim_memory", "memblock_cap_memory_range", "memblock_enforce_memory_limit",
    "memblock_mem_limit_remove_map", "memblock_discard",
))  # fmt: skip

_PHASES = {
    "allow_resize": Phase.COMPLETE.value, "free_all": Phase.HANDED_OVER.value, "discard": Phase.DISCARDED.value
}  # fmt: skip
# Parameters of the C functions that an operation calls otherwise.
_NAMES = {"start": "min", "end": "max", "exact_nid": "exact", "limit": "base", "flag": "flags"}


class MemblockAdapter(TraceAdapter):
    """Turns calls of a kernel's memblock into operations."""

    # The kernel's symbols must be where it runs.
    def __init__(self, where: TracedProgram) -> None:
        self._where = where
        self._program = program = where.program
        self.bits, self.page_size = program.bits, program.page_size
        self._va = program.memblock_va + where.offset
        self._lists = {
            self._va + program.memblock.fields[f"{name}.cnt"].offset: name for name in ("memory", "reserved")
        }
        if program.physmem_va is not None:
            self._lists[program.physmem_va + where.offset] = "physmem"
        self._flags = {name: value for value, name in program.flag_names.items()}

    def decode(self, memory: Memory) -> Snapshot:
        state = decode(self._program, memory, offset=self._where.offset)
        return replace(state, storage=MemblockStorage(arrays=tuple(map(self._placed, storage_of(state).arrays))))

    def _placed(self, array: RegionArray) -> RegionArray:
        with suppress(ReadError):
            if array.va is not None and not array.static:
                return replace(array, base=self._where.physical(array.va))
        return array

    def operation(self, call: Call) -> Operation:
        role = call.role
        values: dict[str, Any] = dict(role.fixed)
        if role.flag is not None:
            values["flags"] = self._flags[role.flag]
        for name, value in call.arguments.items():
            if name == "type":
                if value not in self._lists:
                    raise LayoutError(f"a list at {value:#x}, which is none of memblock's")
                values["list"] = self._lists[value]
            elif name == role.pointer:
                values["base"] = self._where.physical(value)
            else:
                values[_NAMES.get(name, name)] = bool(value) if name in ("exact_nid", "exact", "set") else value
        if values.get("nid") == "no_node":
            values["nid"] = 1 if self._program.no_node is None else self._program.no_node
        return OPERATIONS[role.op].call(role.op, **values)

    # The direction of the search and the limit.
    def switches(self) -> Mapping[str, int]:
        struct, order = self._program.memblock, self._program.byte_order
        size = max(struct.fields[name].offset + struct.fields[name].size for name in ("bottom_up", "current_limit"))
        raw = self._where.memory.read(self._va, size)
        return {
            "set_bottom_up": int(bool(struct.value(raw, "bottom_up", order))),
            "set_current_limit": struct.value(raw, "current_limit", order),
        }


# -- the allocator ----------------------------------------------------------------------------------

_ARRAYS = (
    Column("list", TEXT), Column("storage", TEXT, cut=True), Column("base", POINTER), Column("size", SIZE),
    Column("room", NUMBER), Column("address", POINTER, spare=True),
)  # fmt: skip


class MemblockAllocator(Allocator):
    """Linux's memblock: each list is one array, which is doubled when it is full."""

    name = "memblock"
    title = "memblock"
    list_names = LISTS
    prefixes = ("memblock_", "__memblock_")
    operations = OPERATIONS
    checks = CHECKS
    needs_facts = True
    # Linux always keeps one, but not from the first instruction on, nor to the end of the boot.
    no_firmware = "no map can be read at this stop"
    roles = _ROLES
    containers = _CONTAINERS
    # Inlined in every caller by their header: nothing is called, but the places where it happens are known.
    inlined_switches = ("memblock_set_bottom_up",)
    phases = _PHASES

    def own_ranges(self, snapshot: Snapshot, *, reserved: bool = False) -> Iterator[Place]:
        page = snapshot.page_size
        for array in storage_of(snapshot).arrays:
            if array.base is not None and not (reserved and array.static):
                # memblock_double_array() reserves PAGE_ALIGN(new_size).
                size = -(-array.size // page) * page if reserved else array.size
                yield Place(array.base, array.base + size, f"the array of {array.name}")

    def storage_sections(self, snapshot: Snapshot, part: str) -> Iterator[Section]:
        if part == "free":
            raise LmbError("memblock has no freelist: its regions lie in arrays (lmb-dump blocks)")
        if part in ("blocks", "all"):
            rows = [(a.name, _kind(a, snapshot), a.base, a.size, a.max, a.va) for a in storage_of(snapshot).arrays]
            yield Section("arrays:", _ARRAYS, rows)

    def counts(self, snapshot: Snapshot) -> Mapping[str, int]:
        return {**super().counts(snapshot), "array": len(storage_of(snapshot).arrays)}

    def described(self, storage: MemblockStorage) -> Description:
        return DESCRIPTION

    def bare_storage(self, data: Mapping[str, Any]) -> MemblockStorage:
        return MemblockStorage()

    # Arrays and reasons must be those of the snapshot's lists.
    def from_json(self, data: Mapping[str, Any]) -> Snapshot:
        snapshot = super().from_json(data)
        names = [regions.name for regions in snapshot.lists]
        for name in (*snapshot.refused, *(array.name for array in storage_of(snapshot).arrays)):
            if name not in names:
                raise ValueError(f"there is no list {name!r}")
        return snapshot

    def differences(self, expected: Snapshot, found: Snapshot) -> Iterator[Difference]:
        wanted = {array.name: array for array in storage_of(expected).arrays}
        for got in storage_of(found).arrays:
            want = wanted.get(got.name)
            if want is not None and got.name not in found.refused and _elsewhere(want, got):
                row = ValueRow(f"array of {got.name}", _place(want), _place(got))
                message = f"the array of {got.name} is {row.found}, but {row.expected} is expected"
                yield Difference(message, got.name, got.base, value=row)
        yield from super().differences(expected, found)

    # memblock_cap_memory_range() removes what lies outside its range.
    def effects(self, record: Record, limit: int, page_size: int) -> Sequence[Effect]:
        operation = record.operation
        if operation.op == "cap_memory_range" and operation.size:
            end = min(operation.base + operation.size, limit)
            return ("reserved", False, 0, operation.base), ("reserved", False, end, limit)
        return super().effects(record, limit, page_size)

    # 0 and 1 (MEMBLOCK_ALLOC_NOLEAKTRACE) are no bounds.
    def missing(self, snapshot: Snapshot, operation: Operation) -> str:
        why, fits = no_room(
            snapshot, operation.size, operation.align, operation.min, operation.max if operation.max > 1 else 0
        )
        return f"{why} that this allocation may have (node, mirror, hotplug)" if fits else why

    def resume(self, snapshot: Snapshot, facts: Mapping[str, Any]) -> Model:
        from gdb_lmb.allocators.memblock.resume import resume

        return resume(snapshot, facts)

    def facts_of(self, model: Any) -> dict[str, Any]:
        from gdb_lmb.allocators.memblock.resume import facts_of

        return facts_of(model)

    def unverified(self, facts: Mapping[str, Any]) -> str | None:
        unknown = facts.get("unknown")
        return f"this memblock has {', '.join(unknown)}, which no known generation has" if unknown else None

    def predict(self, snapshot: Snapshot, facts: Mapping[str, Any], op: str, **arguments: int) -> Prediction:
        from gdb_lmb.allocators.memblock.resume import predict_memblock, resume

        return predict_memblock(resume(snapshot, facts), op, **arguments)

    def adapter(self, where: TracedProgram) -> MemblockAdapter:
        return MemblockAdapter(where)

    def simulator_test(self, header: TraceHeader) -> CTest:
        from gdb_lmb.allocators.memblock.simulator import SimulatorTest

        return SimulatorTest(header)

    # No calls are made before the kernel is mapped.
    def phase_of(self, snapshot: Snapshot) -> str | None:
        early = (Phase.COMPRESSED.value, Phase.UNMAPPED.value, Phase.IDENTITY.value)
        return Phase.MAPPED.value if snapshot.phase in early else snapshot.phase


def _kind(array: RegionArray, snapshot: Snapshot) -> str:
    return "static array" if array.static else "doubled, freed" if array.name in snapshot.refused else "doubled"


# Whether an array lies elsewhere than expected; where a static array lies is for the linker to choose.
def _elsewhere(want: RegionArray, got: RegionArray) -> bool:
    if want.static or got.static:
        return want.static != got.static
    return want.base is not None and got.base is not None and want.base != got.base


def _place(array: RegionArray) -> str:
    grown = "a grown one" if array.base is None else f"a grown one at {array.base:#x}"
    return "the static one" if array.static else grown


ALLOCATOR = MemblockAllocator()
