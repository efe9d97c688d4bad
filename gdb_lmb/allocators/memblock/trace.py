# SPDX-License-Identifier: GPL-2.0-or-later
"""What tracing must know of memblock: the smallest set of functions that sees every change, and what a call means.

These are the functions of mm/memblock.c that change a list, plus the allocation, whose arguments say more than the
reservation that it makes. Where the compiler has inlined such a function, the function around it is traced instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gdb_lmb.allocators.base import Call, Fixed, Role, TracedProgram
from gdb_lmb.allocators.memblock.decode import decode
from gdb_lmb.allocators.memblock.operations import OPERATIONS
from gdb_lmb.allocators.memblock.storage import MemblockStorage, RegionArray, storage_of
from gdb_lmb.core.address import Phase
from gdb_lmb.core.errors import LayoutError, ReadError
from gdb_lmb.core.memory import Memory
from gdb_lmb.core.operation import Operation
from gdb_lmb.core.snapshot import Snapshot

_GROWING = ("add_range", "remove_range")
"""Doubling an array reserves the new one and may free the old one."""

ROLES: Mapping[str, Role] = {
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

CONTAINERS: Mapping[str, Role] = {
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
"""Functions around one change that the compiler may have inlined into them, each as in mm/memblock.c.

memblock_mark_mirror() is not here: it changes a list only where the command line asks for mirrored memory.
"""

INLINED_SWITCHES = ("memblock_set_bottom_up",)
"""Inlined in every caller by their header: nothing is called, but the places where it happens are known."""


CHANGING = frozenset((
    "memblock_add_range", "memblock_insert_region", "memblock_remove_region", "memblock_merge_regions",
    "memblock_isolate_range", "memblock_double_array", "memblock_remove_range", "memblock_setclr_flag",
    "memblock_set_node", "memblock_trim_memory", "memblock_cap_memory_range", "memblock_enforce_memory_limit",
    "memblock_mem_limit_remove_map", "memblock_discard",
))  # fmt: skip
"""The functions of mm/memblock.c that write to its lists, in any version."""

PHASES = {
    "allow_resize": Phase.COMPLETE.value, "free_all": Phase.HANDED_OVER.value, "discard": Phase.DISCARDED.value
}  # fmt: skip
EARLY = (Phase.COMPRESSED.value, Phase.UNMAPPED.value, Phase.IDENTITY.value)
"""No calls are made before the kernel is mapped."""

_NAMES = {"start": "min", "end": "max", "exact_nid": "exact", "limit": "base", "flag": "flags"}
"""Parameters of the C functions that an operation calls otherwise."""

_TRUTHS = ("exact", "set")


class MemblockAdapter:
    """Turns calls of a kernel's memblock into operations."""

    def __init__(self, where: TracedProgram) -> None:
        """Take the kernel, whose symbols must be where it runs."""
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
        """Read the state, with the physical addresses of doubled arrays."""
        state = decode(self._program, memory, offset=self._where.offset)
        return replace(state, storage=MemblockStorage(arrays=tuple(map(self._placed, storage_of(state).arrays))))

    def _placed(self, array: RegionArray) -> RegionArray:
        if array.static or array.va is None:
            return array
        try:
            return replace(array, base=self._where.physical(array.va))
        except ReadError:
            return array

    def operation(self, call: Call) -> Operation:
        """Return the call in memblock's words: the list by its name, a flag by its value."""
        role = call.role
        values: dict[str, Any] = dict(role.fixed)
        if role.flag:
            values["flags"] = self._flags[role.flag]
        for name, value in call.arguments.items():
            if name == "type":
                values["list"] = self._list(value)
            elif name == role.pointer:
                values["base"] = self._where.physical(value)
            else:
                own = _NAMES.get(name, name)
                values[own] = bool(value) if own in _TRUTHS else value
        if values.get("nid") == "no_node":
            values["nid"] = 1 if self._program.no_node is None else self._program.no_node
        return OPERATIONS[role.op].call(role.op, **values)

    def _list(self, va: int) -> str:
        if va not in self._lists:
            raise LayoutError(f"a list at {va:#x}, which is none of memblock's")
        return self._lists[va]

    def settled(self, call: Call, operation: Operation, result: int | None) -> tuple[Operation, int | None]:
        """Return both as they are."""
        return operation, result

    def switches(self) -> Mapping[str, int]:
        """Read the direction of the search and the limit."""
        struct, order = self._program.memblock, self._program.byte_order
        size = max(struct.fields[name].offset + struct.fields[name].size for name in ("bottom_up", "current_limit"))
        raw = self._where.memory.read(self._va, size)
        return {
            "set_bottom_up": int(bool(struct.value(raw, "bottom_up", order))),
            "set_current_limit": struct.value(raw, "current_limit", order),
        }
