# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's own log of operations, replayed on the reference model.

What a whole log leads to on the model is what the guest's lists must be, entry for entry. Where they
differ, `check_log` says so in one `log-divergence` finding, naming the first operation that cannot be
explained where the log can tell. A log that cannot be replayed is *not verified*, never verified.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from gdb_lmb.allocators.base import Allocator, LogVerdict, allocator
from gdb_lmb.allocators.difference import Difference
from gdb_lmb.analysis.compare import compare
from gdb_lmb.core.errors import InputError, StateError
from gdb_lmb.core.operation import Model
from gdb_lmb.core.record import Record
from gdb_lmb.core.snapshot import FINDING, Finding, Snapshot
from gdb_lmb.core.written import result_text


def check_log(snapshot: Snapshot, symbol: Callable[[int], str] = hex) -> LogVerdict:
    """Replay the snapshot's log on the model and compare the outcome with the guest's lists.

    `symbol` turns a caller's program counter into a name for the message.
    """
    own = allocator(snapshot.layout)
    log = own.log(snapshot)
    if log is None:
        return LogVerdict(0, reason="no-log", not_verified="this kernel keeps no operation log (CONFIG_LMB_LOG)")
    if snapshot.torn:
        return LogVerdict(0, reason="torn", not_verified=f"the stop is inside {snapshot.torn}")
    if log.lost:
        return LogVerdict(
            0,
            reason="log-wrapped",
            not_verified=f"the operation log has wrapped: its first {log.lost} of {log.nr} records are lost",
        )
    if log.model is None or isinstance(log.model, str):
        return LogVerdict(0, divergence=_diverged(log.model or "the operation log has no beginning"))
    return _replay(snapshot, log.model, log.records(True), symbol)


def _diverged(message: str, *addresses: int) -> Finding:
    return Finding("log-divergence", FINDING, message, addresses)


def _replay(snapshot: Snapshot, model: Model, records: Iterable[Record], symbol: Callable[[int], str]) -> LogVerdict:
    """Run the records after the first, which made the model; they are numbered from 1 here."""
    own, done = allocator(model.layout), list[Record]()
    try:
        for record in records:
            if record.operation.op in own.init:
                continue
            try:
                expected = own.apply(model, record.operation)
            except StateError as error:
                why = str(error)
            else:
                why = f"returned {result_text(record.result)}, but the model returns {result_text(expected)}"
                if record.result == expected:
                    done.append(record)
                    continue
            caller = record.callers[0]
            message = f"operation {record.seq - 1}, {record.operation}, called from {symbol(caller)}, {why}"
            return LogVerdict(record.seq - 1, divergence=_diverged(message, caller))
    except InputError as error:
        return LogVerdict(len(done), divergence=_diverged(str(error)))
    difference = compare(model.snapshot(), snapshot)
    if difference is None:
        return LogVerdict(len(done))
    message = f"after replaying all {len(done)} operations {difference.message}"
    last = _last_touching(own, done, difference, snapshot)
    if last is not None:
        message += f"; the last operation there was {last.seq - 1}, {last.operation}, "
        message += f"called from {symbol(last.callers[0])}"
    addresses = () if difference.address is None else (difference.address,)
    return LogVerdict(len(done), divergence=_diverged(message, *addresses))


def _last_touching(own: Allocator, done: Sequence[Record], difference: Difference, snapshot: Snapshot) -> Record | None:
    """Return the last operation on the differing list whose range holds or touches the place."""
    if difference.address is None:
        return None
    for record in reversed(done):
        for effect in own.effects(record, snapshot.bits, snapshot.page_size):
            if effect.list == difference.where and effect.base <= difference.address <= effect.end:
                return record
    return None
