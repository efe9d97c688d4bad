# SPDX-License-Identifier: GPL-2.0-or-later
"""The recorder of a trace: calls become records, which go to an output and to the reference model.

It knows no gdb. During a stop nothing is printed; that comes when tracing has ended.
"""

from __future__ import annotations

import contextlib
import functools
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Concatenate, ParamSpec

from gdb_lmb.allocators.base import Role
from gdb_lmb.analysis.failures import Failures
from gdb_lmb.analysis.lockstep import Divergence, Lockstep
from gdb_lmb.analysis.owners import Look
from gdb_lmb.analysis.trace_options import TraceOptions
from gdb_lmb.core.address import PAST_HAND_OVER
from gdb_lmb.core.errors import LmbError, OutputError, StateError
from gdb_lmb.core.operation import Operation, Record, TraceHeader
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.programs.traced import Traced
from gdb_lmb.report.trace_file import TraceOutput


@dataclass(frozen=True)
class Call:
    """A traced call: what the function at `address` does, and its arguments by the names of the C parameters.

    `callers` are program counters, innermost first; `sp` is the stack pointer after the return.
    """

    role: Role
    address: int
    arguments: Mapping[str, int]
    callers: tuple[int, ...]
    sp: int


class Purpose(Enum):
    """What a trace does at a place.

    END: it ends there (`--until`). PANIC: the guest is lost; compare, and end. COMPARE: compare the state with the
    model's. SETTING: inlined code changes a setting of the allocator; remember its callers. INIT_FREED: the kernel
    frees its init code; the breakpoints in it go away. BEGIN: a boot begins; the second one is another boot.
    """

    END = auto()
    PANIC = auto()
    COMPARE = auto()
    SETTING = auto()
    INIT_FREED = auto()
    BEGIN = auto()


@dataclass(frozen=True)
class Place:
    """A place that is only passed, with the name of its function or what the user called it."""

    name: str
    address: int
    purpose: Purpose


_P = ParamSpec("_P")


def _stop_on_error(take: Callable[Concatenate[Recording, _P], bool]) -> Callable[Concatenate[Recording, _P], bool]:
    # Decorate a handler: an `LmbError` ends the trace and stops the guest.

    @functools.wraps(take)
    def taken(self: Recording, /, *what: _P.args, **named: _P.kwargs) -> bool:
        try:
            return self.ended is None and take(self, *what, **named)
        except LmbError as error:
            self.ended, self.failed = str(error), True
            if isinstance(error, OutputError):
                self.write_error = self.ended
            return True

    return taken


class Recording:
    """The state of a trace from its begin to its end.

    `ended` says in a few words why nothing more is recorded, None while it goes on; `complete` that it came to the
    end that was asked for; `failed` that the guest cannot be read any more; `write_error` why the output does
    not hold it all; `inside` is the operation that has begun and is not over; `begun` that the guest is past the places
    of `Purpose.BEGIN`.
    """

    def __init__(self, traced: Traced, options: TraceOptions, output: TraceOutput) -> None:
        self.traced = traced
        self.options = options
        self.records: list[Record] = []
        self.failures = Failures(traced.allocator.name)
        self.ended: str | None = None
        self.complete = False
        self.failed = False
        self.write_error: str | None = None
        self.inside: Operation | None = None
        self.begun = False
        self.lockstep: Lockstep | None = None
        self._output = output
        self._phase: str | None = None
        self._inside_at: int | None = None
        self._switches: Mapping[str, int] = {}
        self._switch_callers: tuple[int, ...] = ()
        self._every = options.every or 1
        self._states: deque[tuple[int, Snapshot]] = deque(maxlen=self._every)

    @property
    def divergence(self) -> Divergence | None:
        """Return the first thing in which kernel and model differ."""
        return None if self.lockstep is None else self.lockstep.divergence

    def begin(self, state: Snapshot | None, look: Look = lambda pc: None) -> TraceHeader:
        """Take the state in which the trace begins; None where the allocator's own `init` is still to come.

        What program counters mean is asked of `look`, once for each, where the output wants it.
        Raises: `StateError` where lockstep was asked for and no model can go on from it; `OutputError`.
        """
        model, traced = None, self.traced
        # Whether there is a state to compare with, or at least to begin from.
        self._started = state is not None
        if state is not None:
            self._phase = traced.allocator.phase_of(state)
            try:
                model = traced.model(state)
            except StateError:
                if self.options.lockstep:
                    raise
            self._switches = traced.adapter.switches()
        if self.options.lockstep and model is not None:
            self.lockstep = Lockstep(model, every=self._every)
            traced.read()
        header = TraceHeader(
            layout=traced.allocator.name,
            arch=traced.machine.arch,
            byte_order=traced.machine.byte_order,
            bits=traced.adapter.bits,
            page_size=traced.adapter.page_size,
            initial=state,
            only=self.options.only,
            behavior=traced.adapter.facts() if model is None else traced.allocator.facts_of(model),
        )
        self._output.begin(header, look)
        return header

    # -- what the breakpoints report: True stops the guest -----------------------------------------------------

    @_stop_on_error
    def entered(self, call: Call) -> bool:
        """Take a call that begins."""
        self.inside, self._inside_at = self.traced.adapter.operation(call), call.address
        return self._started and self._compare_between(f"before {self.inside} begins, ")

    @_stop_on_error
    def returned(self, call: Call, result: int | None) -> bool:
        """Take a call that is over, and its result: None where the function has none."""
        operation, self.inside = self.inside, None
        if operation is None:
            return False
        operation, result = self.traced.adapter.settled(call, operation, result)
        first = not self._started
        if first and (operation.op not in self.traced.allocator.init or result != 0):
            return False  # it failed: the allocator is not initialised yet
        record = self._record(operation, result, call.callers)
        self._phase = self.traced.allocator.phases.get(operation.op, self._phase)
        if operation.op in self._switches:
            self._switches = {**self._switches, operation.op: operation.base}
        if self.options.lockstep and self._step(record, first):
            return self._end("they differ")
        if self._phase in PAST_HAND_OVER and self.options.until is None:
            return self._end("the allocator has handed over", complete=True)
        return False

    @_stop_on_error
    def reached(self, place: Place, callers: tuple[int, ...] = ()) -> bool:
        """Take a place that is passed; `callers` are its program counters where its purpose is `SETTING`."""
        if place.purpose is Purpose.SETTING:
            self._switch_callers = callers
            return False
        if place.purpose is Purpose.BEGIN:
            # Of a boot before this one nothing is known here until a call begins.
            again, self.begun = self.begun and (self._started or self.inside is not None), True
            return again and self.lose("the guest was reset: another boot has begun")
        if place.purpose is Purpose.END:
            if place.address == self._inside_at:
                self.inside = None  # it is only about to begin, and has changed nothing
            self._end(f"the guest has reached {place.name}", complete=True)
        elif place.purpose is Purpose.PANIC:
            self._end(f"the guest is in {place.name}()")
        compared = self.inside is None and self._started and self._compare_between("")
        return compared or self.ended is not None

    # -- records and comparing ---------------------------------------------------------------------------------

    def lose(self, why: str) -> bool:
        """End the trace where there is no last state of it: of another boot, or none that can be read. Return True."""
        self.ended, self.failed = self.ended or why, True
        return True

    def _end(self, why: str, *, complete: bool = False) -> bool:
        self.ended, self.complete = why, complete
        return True

    def _compare_between(self, when: str) -> bool:
        # Compare the state between two operations with the model's. Return True to stop the guest: they differ.
        lockstep = self.lockstep
        if lockstep is None or lockstep.good != lockstep.seq:
            self._note_switches(None)
        elif not self.traced.unchanged():
            state = self.traced.read()
            self._note_switches(state)
            if self.divergence is None:
                lockstep.between(state, when)
        if self.divergence is None:
            return False
        return self.ended is not None or self._end("they differ")

    def _note_switches(self, state: Snapshot | None) -> None:
        # Record a setting that inlined code has changed as the operation that sets it.
        now = self.traced.adapter.switches()
        for op, value in now.items():
            if self._switches.get(op, value) != value:
                kind = self.traced.allocator.operations[op]
                operation = kind.call(op, **{kind.arguments[0]: value})
                record = self._record(operation, None, self._switch_callers)
                if self.lockstep is not None:
                    self.lockstep.after(record, state)
        self._switches, self._switch_callers = now, ()

    def _record(self, operation: Operation, result: int | None, callers: tuple[int, ...]) -> Record:
        record = Record(len(self.records) + 1, operation, result, callers, self._phase)
        self.records.append(record)
        self.failures.see(record, self._state)
        self._started = True
        self._output.record(record)
        return record

    def _state(self) -> Snapshot | None:
        with contextlib.suppress(LmbError):
            return self.traced.read()
        return None

    def _step(self, record: Record, first: bool) -> bool:
        # Run the operation on the model too. Return True if kernel and model differ.
        state = self.traced.read()
        if first:
            adapter = self.traced.adapter
            model = self.traced.allocator.created_model(record.operation, adapter.page_size, adapter.facts())
            self.lockstep = Lockstep(model, every=self._every)
            self.lockstep.seq, self.lockstep.last = record.seq, record
            self.lockstep.look(state)
        elif self.lockstep is not None:
            due = self.lockstep.due(record.seq)
            if self.lockstep.after(record, state if due else None) is not None:
                self.lockstep.narrow(dict(self._states).get)
            self._states.append((record.seq, state))
        return self.divergence is not None

    def final_state(self) -> Snapshot | None:
        """Compare and return the state at the end of the trace; None inside an operation."""
        if self.inside is not None or not self._started:
            return None
        state = self.traced.read()
        if self.lockstep is not None and self.divergence is None:
            self.lockstep.look(state)
            self.lockstep.narrow(dict(self._states).get)
        return state
