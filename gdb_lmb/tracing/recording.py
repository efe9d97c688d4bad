# SPDX-License-Identifier: GPL-2.0-or-later
"""One trace while it runs: calls become records, records go to the file and to the model beside the kernel.

During a stop nothing is symbolised and nothing is printed; that comes when tracing has ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

from gdb_lmb.allocators.base import allocator
from gdb_lmb.analysis.lockstep import Divergence, Lockstep
from gdb_lmb.commands.trace_output import RecordCount
from gdb_lmb.core.errors import LmbError, OutputError, StateError
from gdb_lmb.core.operation import Operation
from gdb_lmb.core.record import Record, TraceHeader
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.report.trace_file import TraceWriter
from gdb_lmb.tracing.calls import program_counters
from gdb_lmb.tracing.traced import Traced
from gdb_lmb.tracing.tracepoints import Call, Place

UNTIL, PANIC, CHECK, SWITCH, INIT_FREED = "until", "panic", "check", "switch", "init freed"
"""What a place is to a trace: its end, the guest's end, a look at the state, a change that is no call, and code
that goes away."""


@dataclass(frozen=True)
class Wishes:
    """What `lmb-trace start` was asked for; `only` holds names of operations, empty for all."""

    lockstep: bool = False
    every: int = 1
    until: str | None = None
    only: tuple[str, ...] = ()


class Recording:
    """What is known of a running trace.

    `ended` says in a few words why nothing more is recorded, None while it goes on; `complete` that it came to
    the end that was asked for; `write_error` why the file does not hold it all.
    """

    def __init__(self, traced: Traced, wishes: Wishes, stream: IO[bytes] | None) -> None:
        """Record calls of `traced`; `stream` gets them as they come."""
        self.traced = traced
        self.wishes = wishes
        self.records: list[Record] = []
        self.ended: str | None = None
        self.complete = False
        self.failed = False
        self.write_error: str | None = None
        self.lockstep: Lockstep | None = None
        self.phase: str | None = None
        self.writer: TraceWriter | None = None
        self.free_init: Callable[[], None] = lambda: None
        self.count = RecordCount()
        self._stream = stream
        self._open: Operation | None = None
        self._open_at = 0
        self._switches: dict[str, int] = {}
        self._passed: tuple[int, ...] = ()
        self._states: deque[tuple[int, Snapshot]] = deque(maxlen=wishes.every)

    @property
    def divergence(self) -> Divergence | None:
        """Return the first thing in which kernel and model differ."""
        return None if self.lockstep is None else self.lockstep.divergence

    @property
    def torn(self) -> Operation | None:
        """Return the operation that has begun and is not over."""
        return self._open

    def begin(self, state: Snapshot | None) -> TraceHeader:
        """Take the state in which the trace begins; None where the allocator's own `init` is still to come.

        Raises: `StateError` where lockstep was asked for and no model can go on from it.
        """
        model = None
        if state is not None:
            self.phase = self.traced.phase_of(state)
            try:
                model = self.traced.model(state)
            except StateError:
                if self.wishes.lockstep:
                    raise
            self._switches = self.traced.switches()
        if self.wishes.lockstep and model is not None:
            self.lockstep = Lockstep(model, every=self.wishes.every)
            self.traced.read()
        header = TraceHeader(
            layout=self.traced.layout,
            arch=self.traced.arch,
            byte_order=self.traced.byte_order,
            bits=self.traced.bits,
            page_size=self.traced.page_size,
            initial=state,
            only=self.wishes.only,
            behavior={} if model is None else dict(self.traced.values(model)),
        )
        if self._stream is not None:
            self.writer = TraceWriter(self._stream, header)
        return header

    # -- what the breakpoints tell -------------------------------------------------------------------------

    def entered(self, call: Call) -> bool:
        """Take a call that begins; True stops the guest."""
        return self._guarded(lambda: self._entered(call))

    def returned(self, call: Call, result: int | None) -> bool:
        """Take a call that is over; True stops the guest."""
        return self._guarded(lambda: self._returned(call, result))

    def reached(self, place: Place) -> bool:
        """Take a place that is passed; True stops the guest."""
        return self._guarded(lambda: self._reached(place))

    def _guarded(self, work: Callable[[], bool]) -> bool:
        """Do `work`; what cannot be read or understood ends the trace, and the guest stops to be looked at."""
        if self.ended is not None:
            return False
        try:
            return work()
        except LmbError as error:
            self.ended, self.failed = str(error), True
            if isinstance(error, OutputError):
                self.write_error = self.ended
            return True

    def _entered(self, call: Call) -> bool:
        self._open, self._open_at = self.traced.operation(call), call.point.address
        if not self._started:
            return False
        if self._look_between(f"before {self._open} begins, "):
            return self._diverged()
        return False

    @property
    def _started(self) -> bool:
        """Tell whether there is a state to compare with, or at least to begin from."""
        return bool(self.records) or self.phase is not None

    def _look_between(self, when: str) -> bool:
        """See what has changed since the last operation; tell whether that is a divergence."""
        lockstep = self.lockstep
        if lockstep is None or lockstep.good != lockstep.seq:
            self._note_switches(self.traced.switches(), None)
            return self.divergence is not None
        if self.traced.unchanged():
            return False
        state = self.traced.read()
        if self.traced.switches():
            now = {"set_bottom_up": int(state.bottom_up), "set_current_limit": state.current_limit}
            self._note_switches(now, state)
        if self.divergence is None:
            lockstep.between(state, when)
        return self.divergence is not None

    def _note_switches(self, now: dict[str, int], state: Snapshot | None) -> None:
        """Record a switch that code without a call has changed, as the operation that would have."""
        for op, value in now.items():
            if self._switches.get(op, value) != value:
                kind = allocator(self.traced.layout).operations[op]
                operation = kind.call(op, **{kind.arguments[0]: value})
                record = self._record(operation, None, self._passed)
                if self.lockstep is not None:
                    self.lockstep.after(record, state)
        self._switches = now
        self._passed = ()

    def _record(self, operation: Operation, result: int | None, callers: tuple[int, ...]) -> Record:
        record = Record(len(self.records) + 1, operation, result, callers, self.phase)
        self.records.append(record)
        self.count.tell(len(self.records))
        if self.writer is not None:
            self.writer.record(record)
        return record

    def _returned(self, call: Call, result: int | None) -> bool:
        operation, self._open = self._open, None
        if operation is None:
            return False
        operation, result = self.traced.settled(call, operation, result)
        first = not self._started
        if first and (operation.op != "init" or result != 0):
            return False  # refused, as there is no allocator yet
        record = self._record(operation, result, call.callers)
        self.phase = self.traced.phase_after(operation.op, self.phase)
        if operation.op in self._switches:
            self._switches[operation.op] = operation.base
        if self.wishes.lockstep and self._step(record, first):
            return self._diverged()
        if operation.op == "free_all" and self.wishes.until is None:
            return self._end("the allocator has handed over")
        return False

    def _step(self, record: Record, first: bool) -> bool:
        """Let the model do it too; tell whether it differs."""
        state = self.traced.read()
        if first:
            self.lockstep = Lockstep(
                allocator(self.traced.layout).created_model(record.operation, self.traced.page_size),
                every=self.wishes.every,
            )
            self.lockstep.seq, self.lockstep.last = record.seq, record
            self.lockstep.look(state)
        elif self.lockstep is not None:
            due = self.lockstep.due(record.seq)
            if self.lockstep.after(record, state if due else None) is not None:
                self.lockstep.narrow(dict(self._states).get)
            self._states.append((record.seq, state))
        return self.divergence is not None

    def _reached(self, place: Place) -> bool:
        if place.kind == SWITCH:
            self._passed = program_counters(place.address)
        elif place.kind == INIT_FREED:
            self.free_init()
        elif place.kind == PANIC:
            self.ended = f"the guest is in {place.name}()"
            self._check()
            return True
        elif place.kind == UNTIL:
            if place.address == self._open_at:
                self._open = None  # it is only about to begin, and has changed nothing
            self._end(f"the guest has reached {place.name}")
            return self._check() or True
        elif self._check():
            return self._diverged()
        return False

    def _check(self) -> bool:
        """Compare the state as it is now, between two operations; tell whether it differs."""
        if self._open is not None or not self._started:
            return False
        return self._look_between("")

    def _end(self, why: str) -> bool:
        self.ended, self.complete = why, True
        return True

    def _diverged(self) -> bool:
        self.ended = "they differ"
        return True

    # -- the end -------------------------------------------------------------------------------------------

    def last_look(self) -> Snapshot | None:
        """Return the state at the end of the trace, compared with the model's; None inside an operation."""
        if self._open is not None or not self._started:
            return None
        state = self.traced.read()
        if self.lockstep is not None and self.divergence is None:
            self.lockstep.look(state)
            self.lockstep.narrow(dict(self._states).get)
        return state
