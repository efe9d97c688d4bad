# SPDX-License-Identifier: GPL-2.0-or-later
"""Operations replayed on the reference model: those of a saved trace, and those of a guest's own log.

What a whole log leads to on the model is what the guest's lists must be, entry for entry. Where they
differ, `check_log` says so in one `log-divergence` finding, naming the first operation that cannot be
explained where the log can tell. A log that cannot be replayed is *not verified*, never verified.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gdb_lmb.allocators.base import LogVerdict, allocator
from gdb_lmb.analysis.compare import compare
from gdb_lmb.analysis.failures import Failures
from gdb_lmb.analysis.lockstep import Divergence, Lockstep
from gdb_lmb.analysis.owners import Owners
from gdb_lmb.core.errors import InputError, StateError
from gdb_lmb.core.operation import Model, Operation, Record, TraceHeader
from gdb_lmb.core.snapshot import Finding, Snapshot
from gdb_lmb.core.words import FINDING


class Replay:
    """One trace from its beginning; nothing of it is kept but the state and who owns what.

    `unverified` says why the model may not be this kernel's: a divergence is then no finding.
    """

    def __init__(self, header: TraceHeader) -> None:
        """Set the model up as the trace's header says. Raises: `InputError`."""
        self._header, self._allocator = header, allocator(header.layout)
        self.replayed = 0
        self.owners = Owners(header)
        self.failures = Failures(header.layout)
        self.unverified = self._allocator.unverified(header.behavior)
        self._partial = bool(header.lost or header.only)
        model = None if self._partial else self._allocator.initial_model(header)
        self.lockstep = None if model is None else Lockstep(model)

    @property
    def divergence(self) -> Divergence | None:
        """Return the first thing in which kernel and model differ."""
        return self.lockstep.divergence if self.lockstep is not None else None

    def follow(self, record: Record) -> None:
        """Take the next operation. After a divergence, and in a trace without its beginning, owners alone go on."""
        self.owners.follow(record)
        self.failures.see(record, self._state)
        lockstep = self.lockstep
        if lockstep is None:
            if self._partial:
                return
            if record.operation.op not in self._allocator.init:
                first = " or ".join(self._allocator.init)
                raise InputError(
                    f"a trace without an initial state begins with {first}, not with {record.operation.op}"
                )
            self.lockstep = Lockstep(self._created(record.operation))
            self.lockstep.seq, self.lockstep.last = record.seq, record
        elif lockstep.divergence is not None or lockstep.after(record) is not None:
            return
        self.replayed += 1

    def _created(self, operation: Operation) -> Model:
        header = self._header
        return self._allocator.created_model(operation, header.page_size, header.behavior)

    def _state(self) -> Snapshot | None:
        return None if self.lockstep is None or self.divergence is not None else self.lockstep.expected

    def finish(self, final: Snapshot | None, cut_off: str | None = None) -> str | None:
        """Compare the final state and return why the trace is not verified, None where it is.

        `final` is the state after the last operation, None where it was not recorded; `cut_off` tells in a sentence
        how the trace breaks off. A divergence is no reason of this kind: `divergence` has it.
        """
        if self._header.lost:
            return f"the first {self._header.lost} operations are lost"
        if self._header.only:
            return f"only {', '.join(self._header.only)} were recorded"
        if self.unverified is not None:
            if final is not None and self.lockstep is not None and self.divergence is None:
                self.lockstep.look(final)
            return self.unverified
        if self.divergence is not None:
            return None
        if cut_off is not None:
            return f"the trace is {cut_off}"
        if self.lockstep is None:
            return f"the trace holds no {' or '.join(self._allocator.init)}"
        if final is None:
            return "the trace does not hold the final state"
        self.lockstep.look(final)
        if final.refused and self.divergence is None:
            return f"of the final state, {' and '.join(final.refused)} was not true any more"
        return None


def check_log(snapshot: Snapshot, symbol: Callable[[int], str] = hex) -> LogVerdict:
    """Replay the snapshot's log on the model and compare the outcome with the guest's lists.

    `symbol` turns a caller's program counter into a name for the message.
    """
    log = allocator(snapshot.layout).log(snapshot)
    if log is None:
        return LogVerdict(0, reason="no-log", not_verified="this kernel keeps no operation log (CONFIG_LMB_LOG)")
    if snapshot.torn:
        return LogVerdict(0, reason="torn", not_verified=f"the stop is inside {snapshot.torn}")
    if log.unverified is not None:
        return LogVerdict(0, reason="generation-unknown", not_verified=log.unverified)
    if isinstance(log.model, str):
        return _verdict(0, log.model)
    if log.model is None:
        return LogVerdict(
            0,
            reason="log-wrapped",
            not_verified=f"the operation log has wrapped: its first {log.lost} of {log.nr} records are lost",
        )
    return _replay(snapshot, log.model, log.records(True), symbol)


def _verdict(replayed: int, message: str, *addresses: int) -> LogVerdict:
    return LogVerdict(replayed, divergence=Finding("log-divergence", FINDING, message, addresses))


def _replay(snapshot: Snapshot, model: Model, records: Iterable[Record], symbol: Callable[[int], str]) -> LogVerdict:
    # The first record made the model; the others are numbered from 1.
    own, done = allocator(model.layout), list[Record]()

    def told(record: Record) -> str:
        return f"{record.seq - 1}, {record.operation}, called from {symbol(record.callers[0])}"

    try:
        for record in records:
            if record.seq == 1:
                continue
            try:
                expected = own.apply(model, record.operation)
            except StateError as error:
                return _verdict(record.seq - 1, f"operation {told(record)}, {error}", record.callers[0])
            if record.result != expected:
                text = own.kind(record.operation.op).result_text
                why = f"returned {text(record.result)}, but the model returns {text(expected)}"
                return _verdict(record.seq - 1, f"operation {told(record)}, {why}", record.callers[0])
            done.append(record)
    except InputError as error:
        return _verdict(len(done), str(error))
    difference = compare(model.snapshot(), snapshot)
    if difference is None:
        return LogVerdict(len(done))
    message = f"after replaying all {len(done)} operations {difference.message}"
    at = difference.address
    if at is None:
        return _verdict(len(done), message)
    for record in reversed(done):
        effects = own.effects(record, snapshot.phys_addr_max, snapshot.page_size)
        if any(name == difference.where and base <= at <= end for name, _, base, end in effects):
            message += f"; the last operation there was {told(record)}"
            break
    return _verdict(len(done), message, at)
