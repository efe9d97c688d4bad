# SPDX-License-Identifier: GPL-2.0-or-later
"""The list-based LMB as an `Allocator`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gdb_lmb.allocators.base import Allocator, Effect, LogVerdict
from gdb_lmb.allocators.lmb.log import check_log
from gdb_lmb.allocators.lmb.model import LmbModel
from gdb_lmb.allocators.lmb.predict import predict_lmb
from gdb_lmb.allocators.models import lmb_model
from gdb_lmb.allocators.predict import Prediction
from gdb_lmb.core.operation import INIT, OPERATIONS, Model, Operation
from gdb_lmb.core.record import Record
from gdb_lmb.core.snapshot import Place, Snapshot


class LmbAllocator(Allocator):
    """The list-based LMB: lists of regions in blocks of entries that it allocates itself."""

    name = "lmb-list"
    title = "LMB"
    prefixes = ("lmb_", "__lmb_")
    operations = OPERATIONS["lmb-list"]
    init = INIT

    def own_ranges(self, snapshot: Snapshot, *, reserved: bool = False) -> Iterator[Place]:
        """Yield the blocks of entries."""
        for number, block in enumerate(snapshot.blocks):
            if block.size:
                yield Place(block.base, block.base + block.size, f"block {number} of entries")

    def effects(self, record: Record, bits: int, page_size: int) -> Iterator[Effect]:
        """Yield what an operation did to the reserved list."""
        operation, result = record.operation, record.result
        if result is not None and result < 0:
            return
        end = operation.base + min(operation.size, (1 << bits) - 1 - operation.base)
        if operation.op == "reserve":
            yield True, operation.base, end
        elif operation.op == "free":
            yield False, operation.base, end
        elif operation.op == "alloc" and result:
            yield True, result, result + operation.size
        elif operation.op == "init" and operation.base:
            yield True, operation.base, operation.base + page_size

    def resume(self, snapshot: Snapshot, facts: Mapping[str, Any]) -> Model:
        """Return a model that goes on from a walked state; there are no facts beside it."""
        return LmbModel.from_snapshot(snapshot)

    def created_model(self, operation: Operation, page_size: int) -> Model:
        """Return the model as `lmb_init()` leaves it."""
        return lmb_model(operation, page_size)

    def predict(self, snapshot: Snapshot, facts: Mapping[str, Any], op: str, **arguments: int) -> Prediction:
        """Return what `lmb_<op>()` would do."""
        return predict_lmb(snapshot, op, **arguments)

    def check_log(self, snapshot: Snapshot, symbol: Callable[[int], str] = hex) -> LogVerdict | None:
        """Replay the guest's log (CONFIG_LMB_LOG) and compare."""
        return check_log(snapshot, symbol)


ALLOCATOR = LmbAllocator()
