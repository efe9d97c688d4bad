# SPDX-License-Identifier: GPL-2.0-or-later
"""The list-based LMB as an `Allocator`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gdb_lmb.allocators.base import Allocator, Effect, GuestLog
from gdb_lmb.allocators.lmb.log import guest_log
from gdb_lmb.allocators.lmb.model import LmbModel
from gdb_lmb.allocators.lmb.operations import INIT, OPERATIONS
from gdb_lmb.allocators.lmb.predict import predict_lmb
from gdb_lmb.allocators.predict import Prediction
from gdb_lmb.core.operation import Model, Operation
from gdb_lmb.core.record import Record
from gdb_lmb.core.snapshot import Place, Snapshot


class LmbAllocator(Allocator):
    """The list-based LMB: lists of regions in blocks of entries that it allocates itself."""

    name = "lmb-list"
    title = "LMB"
    prefixes = ("lmb_", "__lmb_")
    operations = OPERATIONS
    init = INIT

    def own_ranges(self, snapshot: Snapshot, *, reserved: bool = False) -> Iterator[Place]:
        """Yield the blocks of entries."""
        for number, block in enumerate(snapshot.blocks):
            if block.size:
                yield Place(block.base, block.base + block.size, f"block {number} of entries")

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

    def log(self, snapshot: Snapshot) -> GuestLog | None:
        """Return the guest's log (CONFIG_LMB_LOG)."""
        return guest_log(snapshot)


ALLOCATOR = LmbAllocator()
