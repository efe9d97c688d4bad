# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux's memblock as an `Allocator`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gdb_lmb.allocators.base import Allocator, Effect
from gdb_lmb.allocators.memblock.model import MemblockModel
from gdb_lmb.allocators.memblock.operations import OPERATIONS
from gdb_lmb.allocators.memblock.predict import predict_memblock
from gdb_lmb.allocators.memblock.resume import facts_of, resume
from gdb_lmb.allocators.predict import Prediction
from gdb_lmb.core.operation import Model
from gdb_lmb.core.record import Record
from gdb_lmb.core.snapshot import Place, Snapshot


class MemblockAllocator(Allocator):
    """Linux's memblock: each list is one array, which is doubled when it is full."""

    name = "memblock"
    title = "memblock"
    prefixes = ("memblock_", "__memblock_")
    operations = OPERATIONS

    def own_ranges(self, snapshot: Snapshot, *, reserved: bool = False) -> Iterator[Place]:
        """Yield the arrays, as far as their physical addresses are known."""
        page = snapshot.page_size
        for array in snapshot.arrays:
            if array.base is not None and not (reserved and array.static):
                # memblock_double_array() reserves PAGE_ALIGN(new_size).
                size = -(-array.size // page) * page if reserved else array.size
                yield Place(array.base, array.base + size, f"the array of {array.name}")

    def effects(self, record: Record, bits: int, page_size: int) -> Iterator[Effect]:
        """Yield what an operation did; `memblock_cap_memory_range()` removes what lies outside its range."""
        operation, limit = record.operation, (1 << bits) - 1
        if operation.op == "cap_memory_range" and operation.size:
            yield Effect("reserved", False, 0, operation.base)
            yield Effect("reserved", False, min(operation.base + operation.size, limit), limit)
        yield from super().effects(record, bits, page_size)

    def resume(self, snapshot: Snapshot, facts: Mapping[str, Any]) -> Model:
        """Return a model that goes on from a walked state; `facts` are those of `facts_of()`."""
        return resume(snapshot, facts)

    def facts_of(self, model: MemblockModel) -> dict[str, Any]:
        """Return how this kernel's memblock behaves, and the switches that no list shows."""
        return facts_of(model)

    def predict(self, snapshot: Snapshot, facts: Mapping[str, Any], op: str, **arguments: int) -> Prediction:
        """Return what the call that `op` stands for would do."""
        return predict_memblock(resume(snapshot, facts), op, **arguments)


ALLOCATOR = MemblockAllocator()
