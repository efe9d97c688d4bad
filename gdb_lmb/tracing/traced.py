# SPDX-License-Identifier: GPL-2.0-or-later
"""What tracing has to know of each allocator: where to stop, what a call means, how to read the state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from gdb_lmb.allocators.lmb import decode as lmb_layout
from gdb_lmb.allocators.lmb.model import LmbModel
from gdb_lmb.allocators.lmb.operations import INIT, OPERATIONS
from gdb_lmb.allocators.lmb.storage import storage_of as lmb_storage
from gdb_lmb.allocators.memblock import decode as memblock_layout
from gdb_lmb.allocators.memblock.operations import OPERATIONS as MEMBLOCK_OPERATIONS
from gdb_lmb.allocators.memblock.resume import facts_of
from gdb_lmb.allocators.memblock.storage import MemblockStorage, RegionArray
from gdb_lmb.allocators.memblock.storage import storage_of as memblock_storage
from gdb_lmb.core.address import Phase, Placement, TranslatedMemory
from gdb_lmb.core.errors import LayoutError, ReadError
from gdb_lmb.core.fields import ByteOrder
from gdb_lmb.core.memory import BoundedMemory, Memory
from gdb_lmb.core.operation import Model, Operation
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.machine.behavior import memblock_model
from gdb_lmb.machine.capture import Capture
from gdb_lmb.machine.physical import physical_memory
from gdb_lmb.machine.program import find_lmb
from gdb_lmb.machine.reader import GdbMemory
from gdb_lmb.programs.linux import Kernel
from gdb_lmb.programs.place import locate
from gdb_lmb.tracing.points import LMB, MEMBLOCK, Point, find_points
from gdb_lmb.tracing.stops import Call

Values = Mapping[str, object]


class Traced(Protocol):
    """One allocator that is traced; `points` are its calls, `unseen` tells of changes that no call shows."""

    layout: str
    arch: str
    byte_order: ByteOrder
    bits: int
    page_size: int
    points: list[Point]
    unseen: list[str]
    checkpoints: tuple[str, ...]

    def read(self) -> Snapshot:
        """Read the state; what was read is kept. Raises: `LmbError`."""

    def unchanged(self) -> bool:
        """Tell whether the state is what `read` found last."""

    def operation(self, call: Call) -> Operation:
        """Return what a call that begins asks for. Raises: `LmbError`."""

    def settled(self, call: Call, operation: Operation, result: int | None) -> tuple[Operation, int | None]:
        """Return the operation and its result, now that the call is over."""

    def switches(self) -> dict[str, int]:
        """Return the switches that code inlined elsewhere may change, by the operation that stands for it."""

    def model(self, state: Snapshot) -> Model:
        """Return the reference model that goes on from `state`. Raises: `StateError`."""

    def values(self, model: Model) -> Values:
        """Return what a saved trace must say beside the state."""

    def phase_after(self, op: str, before: str | None) -> str | None:
        """Return the place in the boot after an operation."""

    def phase_of(self, state: Snapshot) -> str | None:
        """Return the place in the boot at which calls go on from `state`."""


class TracedLmb:
    """The list-based LMB."""

    layout = "lmb-list"
    # Where the fixture kernel's own faults have struck, if any: nothing but a look can tell there.
    checkpoints: tuple[str, ...] = ("lmb_ready", "lmb_scenario_done")
    _NAMES = {"limit": "base", "enable": "flags"}
    _PHASES = {"init": "before growth", "allow_growth": "growing", "free_all": "handed over"}

    def __init__(self) -> None:
        """Find it in gdb's program. Raises: `LayoutError`."""
        # The log and the firmware map say nothing that the model has, and would be read at every stop.
        self._program = replace(find_lmb(GdbMemory()), log=None, ops=None, firmware=None)
        self._capture = Capture(GdbMemory())
        self.arch, self.byte_order = self._program.arch, self._program.byte_order
        self.bits, self.page_size = self._program.bits, self._program.page_size
        self.points, self.unseen = find_points(LMB)

    def read(self) -> Snapshot:
        """Read the state."""
        self._capture = Capture(GdbMemory())
        return lmb_layout.decode(self._program, BoundedMemory(self._capture))

    def unchanged(self) -> bool:
        """Ask for the same bytes again."""
        return self._capture.unchanged()

    def operation(self, call: Call) -> Operation:
        """Return the call without its output parameter."""
        values: dict[str, Any] = {self._NAMES.get(name, name): value for name, value in call.arguments.items()}
        if call.role.op == "alloc":
            del values["base"]
        elif call.role.op == "init":
            return INIT["init"].call("init")
        return OPERATIONS[call.role.op].call(call.role.op, **values)

    def settled(self, call: Call, operation: Operation, result: int | None) -> tuple[Operation, int | None]:
        """Fetch what `lmb_alloc()` stored, and what `lmb_init()` chose."""
        if operation.op == "alloc" and result == 0:
            raw = GdbMemory().read(call.arguments["base"], self._program.bits // 8)
            return operation, int.from_bytes(raw, self._program.byte_order)
        if operation.op == "init" and result == 0:
            first = lmb_storage(self.read()).blocks[0]
            return (
                replace(
                    operation,
                    base=first.base or 0,
                    size=call.arguments["block_size"],
                    flags=self._program.bits,
                    align=self._program.header_size,
                    min=self._program.region.size,
                    # A klimit page is one block: then it is the page that tells, and not the argument.
                    max=call.arguments["nr_static"] if first.static else first.nr,
                ),
                result,
            )
        return operation, result

    def switches(self) -> dict[str, int]:
        """Return nothing: every switch has a call of its own."""
        return {}

    def model(self, state: Snapshot) -> Model:
        """Go on from `state`."""
        return LmbModel.from_snapshot(state)

    def values(self, model: Model) -> Values:
        """Return nothing: there is one behavior."""
        return {}

    def phase_after(self, op: str, before: str | None) -> str | None:
        """Return the place in the boot."""
        return self._PHASES.get(op, before)

    def phase_of(self, state: Snapshot) -> str | None:
        """Return the place in the boot where a trace begins."""
        storage = lmb_storage(state)
        return "handed over" if storage.closed else "growing" if storage.may_grow else "before growth"


class _KernelMemory:
    """Reads the kernel's addresses as the CPU sees them, or through its placement where nothing is mapped yet."""

    def __init__(self, placement: Placement) -> None:
        self._virtual = GdbMemory()
        self._placement = placement

    def read(self, address: int, size: int) -> bytes:
        """Return `size` bytes at virtual `address`. Raises: `ReadError`."""
        try:
            return self._virtual.read(address, size)
        except ReadError:
            with physical_memory() as physical:
                return TranslatedMemory(physical, self._placement).read(address, size)


class TracedMemblock:
    """Linux's memblock; gdb's symbols must be where the kernel runs."""

    layout = "memblock"
    checkpoints: tuple[str, ...] = ()
    _NAMES = {"start": "min", "end": "max", "exact_nid": "exact", "limit": "base", "flag": "flags"}
    _TRUTHS = ("exact", "set")
    _PHASES = {
        "allow_resize": Phase.COMPLETE.value, "free_all": Phase.HANDED_OVER.value, "discard": Phase.DISCARDED.value
    }  # fmt: skip

    def __init__(self, kernel: Kernel) -> None:
        """Find it in a kernel that is in memory. Raises: `LmbError`."""
        self._kernel = kernel
        self._program = kernel.program
        self._placement, moved = locate(kernel)
        if moved != self._placement.virtual:
            raise LayoutError("gdb's symbols are not where the kernel runs: use lmb-attach first")
        self._capture = Capture(self._memory())
        self.arch, self.byte_order = self._program.arch, self._program.byte_order
        self.bits, self.page_size = self._program.bits, self._program.page_size
        self.points, self.unseen = find_points(MEMBLOCK)
        at = self._program.memblock_va + self._placement.virtual
        self._lists = {
            at + self._program.memblock.fields[f"{name}.cnt"].offset: name for name in ("memory", "reserved")
        }
        if self._program.physmem_va is not None:
            self._lists[self._program.physmem_va + self._placement.virtual] = "physmem"
        self._flags = {name: value for value, name in self._program.flag_names.items()}

    def _memory(self) -> Memory:
        return _KernelMemory(self._placement)

    def read(self) -> Snapshot:
        """Read the state."""
        self._capture = Capture(self._memory())
        memory: Memory = BoundedMemory(self._capture)
        state = memblock_layout.decode(self._program, memory, offset=self._placement.virtual)
        arrays = tuple(map(self._array, memblock_storage(state).arrays))
        return replace(state, storage=MemblockStorage(arrays=arrays))

    def _physical(self, va: int) -> int:
        """Return the physical address of `va`. Raises: `LmbError`."""
        try:
            return self._placement.to_physical(va)
        except ReadError:
            # Where the direct map begins is settled in the middle of the boot.
            self._placement, _ = locate(self._kernel)
            return self._placement.to_physical(va)

    def _array(self, array: RegionArray) -> RegionArray:
        if array.static or array.va is None:
            return array
        try:
            return replace(array, base=self._physical(array.va))
        except ReadError:
            return array

    def unchanged(self) -> bool:
        """Ask for the same bytes again."""
        return self._capture.unchanged()

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
                values["base"] = self._physical(value)
            else:
                own = self._NAMES.get(name, name)
                values[own] = bool(value) if own in self._TRUTHS else value
        if values.get("nid") == "no_node":
            values["nid"] = 1 if self._program.no_node is None else self._program.no_node
        return MEMBLOCK_OPERATIONS[call.role.op].call(call.role.op, **values)

    def _list(self, va: int) -> str:
        if va not in self._lists:
            raise LayoutError(f"a list at {va:#x}, which is none of memblock's")
        return self._lists[va]

    def settled(self, call: Call, operation: Operation, result: int | None) -> tuple[Operation, int | None]:
        """Return both as they are."""
        return operation, result

    def switches(self) -> dict[str, int]:
        """Read the direction of the search and the limit."""
        fields = self._program.memblock.fields
        size = max(fields[name].offset + fields[name].size for name in ("bottom_up", "current_limit"))
        raw = self._memory().read(self._program.memblock_va + self._placement.virtual, size)
        return {
            "set_bottom_up": int(bool(self._program.memblock.value(raw, "bottom_up", self._program.byte_order))),
            "set_current_limit": self._program.memblock.value(raw, "current_limit", self._program.byte_order),
        }

    def model(self, state: Snapshot) -> Model:
        """Go on from `state`, with the switches that no list shows."""
        return memblock_model(self._kernel, state)

    def values(self, model: Model) -> Values:
        """Return the kernel's behavior and the switches."""
        return facts_of(model)  # type: ignore[arg-type]

    def phase_after(self, op: str, before: str | None) -> str | None:
        """Return the place in the boot."""
        return self._PHASES.get(op, before)

    def phase_of(self, state: Snapshot) -> str | None:
        """Return the place in the boot; calls are made only once the kernel is mapped."""
        early = (Phase.COMPRESSED.value, Phase.UNMAPPED.value, Phase.IDENTITY.value)
        return Phase.MAPPED.value if state.phase in early else state.phase
