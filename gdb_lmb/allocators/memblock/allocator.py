# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux's memblock as an `Allocator`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gdb_lmb.allocators.base import Allocator, Effect
from gdb_lmb.allocators.memblock.model import MemblockModel
from gdb_lmb.allocators.memblock.predict import predict_memblock
from gdb_lmb.allocators.models import memblock_model, memblock_values
from gdb_lmb.allocators.predict import Prediction
from gdb_lmb.core.operation import OPERATIONS, Model
from gdb_lmb.core.record import Record
from gdb_lmb.core.snapshot import Place, Snapshot


class MemblockAllocator(Allocator):
    """Linux's memblock: each list is one array, which is doubled when it is full."""

    name = "memblock"
    title = "memblock"
    prefixes = ("memblock_", "__memblock_")
    operations = OPERATIONS["memblock"]

    def own_ranges(self, snapshot: Snapshot, *, reserved: bool = False) -> Iterator[Place]:
        """Yield the arrays, as far as their physical addresses are known."""
        page = snapshot.page_size
        for array in snapshot.arrays:
            if array.base is not None and not (reserved and array.static):
                # memblock_double_array() reserves PAGE_ALIGN(new_size).
                size = -(-array.size // page) * page if reserved else array.size
                yield Place(array.base, array.base + size, f"the array of {array.name}")

    def effects(self, record: Record, bits: int, page_size: int) -> Iterator[Effect]:
        """Yield what an operation did to the reserved list."""
        operation, result = record.operation, record.result
        if result is not None and result < 0:
            return
        limit = (1 << bits) - 1
        end = operation.base + min(operation.size, limit - operation.base)
        if operation.op == "add_range" and operation.list == "reserved":
            yield True, operation.base, end
        elif operation.op == "remove_range" and operation.list == "reserved":
            yield False, operation.base, end
        elif operation.op == "alloc_range_nid" and result:
            yield True, result, result + operation.size
        elif operation.op == "cap_memory_range" and operation.size:
            yield False, 0, operation.base
            yield False, end, limit

    def resume(self, snapshot: Snapshot, facts: Mapping[str, Any]) -> Model:
        """Return a model that goes on from a walked state; `facts` are those of `facts_of()`."""
        return memblock_model(snapshot, facts)

    def facts_of(self, model: MemblockModel) -> dict[str, Any]:
        """Return how this kernel's memblock behaves, and the switches that no list shows."""
        return memblock_values(model)

    def predict(self, snapshot: Snapshot, facts: Mapping[str, Any], op: str, **arguments: int) -> Prediction:
        """Return what the call that `op` stands for would do."""
        return predict_memblock(memblock_model(snapshot, facts), op, **arguments)


ALLOCATOR = MemblockAllocator()
