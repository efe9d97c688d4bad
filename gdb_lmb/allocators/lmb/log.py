# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's own log of operations (CONFIG_LMB_LOG): as records of a trace, and the model that it begins with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gdb_lmb.allocators.base import GuestLog
from gdb_lmb.allocators.lmb.model import LmbModel
from gdb_lmb.allocators.lmb.operations import INIT, OPERATIONS
from gdb_lmb.allocators.lmb.state import EBUSY, LmbConfig, created_config
from gdb_lmb.allocators.lmb.storage import OperationLog, lies, storage_of, unknown_revision
from gdb_lmb.core.errors import InputError, StateError
from gdb_lmb.core.operation import Operation, Record
from gdb_lmb.core.snapshot import Snapshot


# The model, which gains no other blocks than the guest did: a damaged log must not fill our own memory.
class _GuestSizedModel(LmbModel):
    def __init__(self, config: LmbConfig, sizes: Sequence[int]) -> None:
        self._sizes = sizes
        super().__init__(config)

    def _queue_block(self, base: int | None, size: int | None, nr: int) -> None:
        number = len(self.blocks)
        if number >= len(self._sizes):
            raise StateError(f"needs block {number}, which the guest never gained")
        if nr != self._sizes[number]:
            raise StateError(f"needs block {number} with {nr} entries, but the guest's has {self._sizes[number]}")
        super()._queue_block(base, size, nr)


def guest_log(snapshot: Snapshot) -> GuestLog | None:
    """Return the log of a state, None where the kernel keeps none."""
    storage = storage_of(snapshot)
    log, unknown = storage.log, unknown_revision(storage.revision)
    if log is None or log.capacity == 0:
        return None
    model = None if unknown else _not_full(log) if log.lost else _start(snapshot, log)
    return GuestLog(log.nr, log.lost, lambda strict: log_records(log, strict=strict), model, unknown)


# A second `lmb_init()` is refused.
def _is_operation(log: OperationLog, at: int) -> bool:
    return log.op[at] in OPERATIONS or (log.op[at] in INIT and log.error[at] == EBUSY)


# Why the ring cannot have wrapped, None where it can: each of its records would be one of an operation.
def _not_full(log: OperationLog) -> str | None:
    at = next((at for at in range(len(log.op)) if not _is_operation(log, at)), None)
    if at is None:
        return None
    return f"the operation log tells of {log.nr} records, but the one in the place of {log.lost + at} is {log.op[at]!r}"


# The model as the log's first record sets it up, or why that cannot be.
def _start(snapshot: Snapshot, log: OperationLog) -> LmbModel | str:
    if not log.op:
        return "the operation log is empty, but LMB is initialised"
    if log.op[0] != "init":
        return f"the operation log begins with {log.op[0]!r}, not with init"
    if log.error[0] or log.result[0]:
        return f"lmb_init() was logged as failed ({log.error[0]}), but LMB is initialised"
    storage = storage_of(snapshot)
    if not storage.blocks:
        return "the operation log tells of an initial storage, but there is none"
    config = created_config(_operation(log, 0), snapshot.page_size, storage.revision)
    nr, first, block_size = log.max[0], storage.blocks[0], storage.block_size
    # These bound what the model will build, so they are held against the guest before anything is built.
    if config.block_size != block_size or nr != first.nr or config.klimit != first.base:
        found = "none" if block_size is None else f"{block_size:#x}"
        return (
            f"lmb_init() was logged with block size {config.block_size:#x} and {nr} entries {lies(config.klimit)}, but "
            f"the guest has {found} and {first.nr} entries {lies(first.base)}"
        )
    # Nothing tells the size of a header where all there is is static.
    header_size = config.header_size if storage.blocks[-1].static else storage.header_size
    agrees = (config.bits, config.entry_size, config.header_size) == (snapshot.bits, storage.entry_size, header_size)
    if not agrees or config.refusal() or config.first_entries != nr:
        return "the log's init record contradicts itself or the program's debug information"
    return _GuestSizedModel(config, [block.nr for block in storage.blocks])


_ARGUMENTS = ("base", "size", "flags", "align", "min", "max")


def _operation(log: OperationLog, at: int) -> Operation:
    op = log.op[at]
    return (INIT.get(op) or OPERATIONS[op]).call(op, **{name: getattr(log, name)[at] for name in _ARGUMENTS})


def log_records(log: OperationLog, *, strict: bool = False) -> Iterator[Record]:
    """Yield the records of a log as those of a trace, `init` included; each has one caller.

    They are numbered from 1, as they were written, and end at the first that is damaged, which raises `InputError`
    if `strict`.
    """
    lost = log.lost
    for at, op in enumerate(log.op):
        if not (_is_operation(log, at) or (op in INIT and at == lost == 0)):
            if strict:
                raise InputError(f"record {at} of the operation log is damaged: {op!r} is no operation")
            return
        yield Record(lost + at + 1, _operation(log, at), log.error[at] or log.result[at], (log.caller[at],))
