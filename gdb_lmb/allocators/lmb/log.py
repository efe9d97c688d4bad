# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's own log of operations, replayed on the reference model.

What a whole log leads to on the model is what the guest's lists must be, entry for entry. Where they
differ, `check_log` says so in one `log-divergence` finding, naming the first operation that cannot be
explained where the log can tell. A log that cannot be replayed is *not verified*, never verified.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gdb_lmb.allocators.base import LogVerdict
from gdb_lmb.allocators.lmb.model import LmbConfig, LmbModel
from gdb_lmb.allocators.models import lmb_config
from gdb_lmb.analysis.compare import Difference, compare
from gdb_lmb.core.operation import INIT, OPERATIONS, Operation, apply
from gdb_lmb.core.record import Record
from gdb_lmb.core.snapshot import FINDING, Finding, OperationLog, Snapshot
from gdb_lmb.core.written import result_text

_NO_SYMBOL: Callable[[int], str] = hex


def check_log(snapshot: Snapshot, symbol: Callable[[int], str] = _NO_SYMBOL) -> LogVerdict:
    """Replay the snapshot's log on the model and compare the outcome with the guest's lists.

    `symbol` turns a caller's address into a name for the message.
    """
    log = snapshot.log
    if log is None or log.capacity == 0:
        return LogVerdict(0, reason="no-log", not_verified="this kernel keeps no operation log (CONFIG_LMB_LOG)")
    if snapshot.torn:
        return LogVerdict(0, reason="torn", not_verified=f"the stop is inside {snapshot.torn}")
    if log.wrapped:
        lost = log.nr - log.capacity
        return LogVerdict(
            0,
            reason="log-wrapped",
            not_verified=f"the operation log has wrapped: its first {lost} of {log.nr} records are lost",
        )
    start = _start(snapshot, log)
    if isinstance(start, str):
        return LogVerdict(0, divergence=_diverged(start))
    return _replay(snapshot, log, start, symbol)


def _diverged(message: str, *addresses: int) -> Finding:
    return Finding("log-divergence", FINDING, message, addresses)


class _NotGainedError(Exception):
    """Tells of a block that the guest does not have."""


class _GuestSizedModel(LmbModel):
    """The model, which gains no other blocks than the guest did: a damaged log must not fill our own memory."""

    def __init__(self, config: LmbConfig, sizes: Sequence[int]) -> None:
        self._sizes = sizes
        super().__init__(config)

    def _queue_block(self, base: int, size: int, nr: int) -> None:
        number = len(self.blocks)
        if number >= len(self._sizes):
            raise _NotGainedError(f"needs block {number}, which the guest never gained")
        if nr != self._sizes[number]:
            raise _NotGainedError(f"needs block {number} with {nr} entries, but the guest's has {self._sizes[number]}")
        super()._queue_block(base, size, nr)


def _start(snapshot: Snapshot, log: OperationLog) -> LmbModel | str:
    """Return the model as the log's first record sets it up, or why that cannot be."""
    if not log.op:
        return "the operation log is empty, but LMB is initialised"
    if log.op[0] != "init":
        return f"the operation log begins with {log.op[0]!r}, not with init"
    if not snapshot.blocks:
        return "the operation log tells of an initial storage, but there is none"
    klimit, nr = log.base[0], log.max[0]
    # These bound what the model will build, so they are held against the guest before anything is built.
    if log.size[0] != snapshot.block_size or nr != snapshot.blocks[0].nr or klimit != snapshot.blocks[0].base:
        return (
            f"lmb_init() was logged with block size {log.size[0]:#x} and {nr} entries at {klimit:#x}, but the "
            f"guest has {snapshot.block_size:#x} and {snapshot.blocks[0].nr} entries at {snapshot.blocks[0].base:#x}"
        )
    init = Operation("init", klimit, log.size[0], log.flags[0], log.align[0], log.min[0], nr)
    config = lmb_config(init, snapshot.page_size)
    known = {"bits": snapshot.bits, "entry_size": _entry_size(snapshot), "header_size": _header_size(snapshot)}
    contradicts = any(value is not None and getattr(config, name) != value for name, value in known.items())
    if contradicts or not config.entry_size or config.refusal() or config.first_entries != nr:
        return "the log's init record contradicts itself or the program's debug information"
    return _GuestSizedModel(config, [block.nr for block in snapshot.blocks])


def _entry_size(snapshot: Snapshot) -> int | None:
    """Return `sizeof(struct lmb_region)` as the decoder knows it, None where it walked no memory."""
    links = snapshot.links
    return links.va[1] - links.va[0] if links and snapshot.blocks[0].nr > 1 else None


def _header_size(snapshot: Snapshot) -> int | None:
    """Return the bytes before a block's first entry, None where all there is is static."""
    block = snapshot.blocks[-1]
    return None if block.static or not block.header_va else block.entries_va - block.header_va


def log_operations(log: OperationLog) -> Iterator[Operation | None]:
    """Yield the log's operations, oldest first; None for a record that is none."""
    rows = zip(log.op, log.base, log.size, log.flags, log.align, log.min, log.max, strict=True)
    for op, *arguments in rows:
        yield Operation(op, *arguments) if op in OPERATIONS["lmb-list"] else None


def log_records(log: OperationLog) -> Iterator[Record]:
    """Yield the records of a guest's log as those of a trace, `init` included, as far as they are undamaged.

    Each has one caller. They are numbered from 1 where the log has its beginning, else as they were written.
    """
    lost = log.nr - len(log.op) if log.wrapped else 0
    rows = zip(log.op, log.base, log.size, log.flags, log.align, log.min, log.max, strict=True)
    for at, (op, *arguments) in enumerate(rows):
        if op not in OPERATIONS["lmb-list"] and not (op in INIT and at == lost == 0):
            return
        yield Record(lost + at + 1, Operation(op, *arguments), log.error[at] or log.result[at], (log.caller[at],))


@dataclass(frozen=True)
class _Done:
    """One operation of a log: its number, itself, who called it, what it returned."""

    number: int
    operation: Operation
    caller: int
    result: int


def _replay(snapshot: Snapshot, log: OperationLog, model: LmbModel, symbol: Callable[[int], str]) -> LogVerdict:
    operations = log_operations(log)
    next(operations)  # the init record
    touched: list[_Done] = []
    for number, operation in enumerate(operations, 1):
        if operation is None:
            message = f"record {number} of the operation log is damaged: {log.op[number]!r} is no operation"
            return LogVerdict(number - 1, divergence=_diverged(message))
        got = log.error[number] or log.result[number]
        try:
            expected = apply(model, operation)
            why = (
                f"returned {result_text(got)}, but the model returns {result_text(expected)}" if got != expected else ""
            )
        except _NotGainedError as error:
            why = str(error)
        if why:
            caller = log.caller[number]
            message = f"operation {number}, {operation}, called from {symbol(caller)}, {why}"
            return LogVerdict(number, divergence=_diverged(message, caller))
        touched.append(_Done(number, operation, log.caller[number], got))
    difference = compare(model.snapshot(), snapshot)
    if difference is None:
        return LogVerdict(len(touched))
    message = f"after replaying all {len(touched)} operations {difference.message}"
    last = _last_touching(touched, difference)
    if last is not None:
        message += f"; the last operation there was {last.number}, {last.operation}, called from {symbol(last.caller)}"
    addresses = () if difference.address is None else (difference.address,)
    return LogVerdict(len(touched), divergence=_diverged(message, *addresses))


_CHANGES = {"memory": ("add", "remove"), "reserved": ("reserve", "free", "alloc")}


def _last_touching(operations: Sequence[_Done], difference: Difference) -> _Done | None:
    """Return the last operation on the differing list whose range holds or touches the place."""
    if difference.address is None:
        return None
    for done in reversed(operations):
        operation = done.operation
        # What failed changed nothing.
        if done.result >= 0 and operation.op in _CHANGES.get(difference.where, ()):
            base = done.result if operation.op == "alloc" else operation.base
            if base <= difference.address <= base + operation.size:
                return done
    return None
