# SPDX-License-Identifier: GPL-2.0-or-later
"""A trace of the guest: set up at one stop, ended at another; its events and its result are values.

Nothing is printed here, and no verdict is kept: that is left to the listener, which gets the events, and to whoever
calls `end()`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import gdb

from gdb_lmb.allocators.base import Allocator
from gdb_lmb.analysis.owners import Owners, function_of
from gdb_lmb.analysis.trace_options import TraceOptions
from gdb_lmb.core.address import PAST_HAND_OVER
from gdb_lmb.core.errors import LayoutError, LmbError, NotReadyError, OutputError, ReadError, UsageError
from gdb_lmb.core.operation import Record, Symbol
from gdb_lmb.core.snapshot import FLAG_NAMES, Finding, Snapshot
from gdb_lmb.core.words import safe
from gdb_lmb.machine.boot import settle
from gdb_lmb.machine.current import current
from gdb_lmb.machine.symbols import symbols_of, why_no_allocator
from gdb_lmb.programs.base import Program, find_programs
from gdb_lmb.programs.traced import Traced
from gdb_lmb.report.trace_file import TraceOutput
from gdb_lmb.report.trace_text import TraceResult
from gdb_lmb.tracing.calls import convention_of
from gdb_lmb.tracing.points import find_points, function_addresses, inlined_switches
from gdb_lmb.tracing.recording import Place, Purpose, Recording
from gdb_lmb.tracing.tracepoints import Tracer


@dataclass(frozen=True)
class Interrupted:
    """Report that the user stopped the guest; the trace goes on with it. `records` counts the operations so far."""

    records: int


@dataclass(frozen=True)
class Ended:
    """Report that the trace has ended by itself, and with what."""

    result: TraceResult


Listener = Callable[[Interrupted | Ended], None]


class TraceSession:
    """One trace. `notes` tell what it cannot see; `header`, `records` and `symbols` grow as it runs.

    `final` is the state at its end, None where there is none yet or it cannot be read.
    """

    def __init__(self, options: TraceOptions, timeout_s: float, output: TraceOutput, listener: Listener) -> None:
        """Set it up at this stop, before the guest goes on; unpacking a kernel may take `timeout_s` seconds.

        Raises: `LmbError`.
        """
        machine = current()
        machine.require_stopped()
        if not machine.can_run:
            raise NotReadyError("a dump does not run: there is nothing to trace")
        programs = find_programs(machine)
        if not programs:
            raise LayoutError(why_no_allocator())
        traced, state = _find_allocator(programs, timeout_s)
        phase = None if state is None else traced.allocator.phase_of(state)
        if options.until is None and phase in PAST_HAND_OVER:
            raise NotReadyError("the allocator has handed over already: say what to trace to with --until SYMBOL")
        points, self.notes = find_points(traced.allocator)
        known = ", ".join(dict.fromkeys(point.op for point in points))
        if options.only:
            # Without `init`, with which such a trace begins, the state that the rest is about is not known.
            wanted = {*options.only, *(traced.allocator.init if state is None else ())}
            points = [point for point in points if point.op in wanted]
        if options.only and not any(point.op in options.only for point in points):
            raise UsageError(f"nothing to trace: this kernel's operations are {known}")
        places = list(_places(programs[0], traced.allocator, options))
        self.symbols: dict[int, Symbol] = {}
        self.final: Snapshot | None = None
        self.running = False
        self._names = FLAG_NAMES if state is None else state.flag_names
        self._overlaps: list[Finding] = []
        self._unread: str | None = None
        self._output = output
        self._listener = listener
        self._recording = Recording(traced, options, output)
        convention = convention_of(machine.arch)
        self._tracer = Tracer(
            points, places, convention, machine.byte_order, self._recording, programs[0].init_code(machine)
        )
        try:
            with machine.booting_cpu():
                self.header = self._recording.begin(state)
            self._tracer.start()
            with machine.booting_cpu():
                self._tracer.take_call_here()
        except (LmbError, gdb.error):
            self._tracer.stop()
            output.close()
            raise
        gdb.events.stop.connect(self._stopped)
        gdb.events.exited.connect(self._exited)
        self.running = True

    @property
    def records(self) -> list[Record]:
        """Return the operations so far."""
        return self._recording.records

    def _stopped(self, _event: gdb.Event) -> None:
        """Take any stop of the guest: ours ends the trace, the user's own does not."""
        self._tracer.catch_up()
        if self._recording.ended is not None:
            self._listener(Ended(self.end()))
        elif self._tracer.interrupted:
            self._listener(Interrupted(len(self.records)))
        self._tracer.interrupted = False

    def _exited(self, _event: gdb.Event) -> None:
        """Take the end of the guest, or of the connection to it."""
        self._recording.ended = self._recording.ended or "the guest is gone"
        self._recording.failed = True
        self._listener(Ended(self.end()))

    def end(self) -> TraceResult:
        """End the trace where it runs, compare the last state and complete the output; return what came of it."""
        if self.running:
            self.running = False
            gdb.events.stop.disconnect(self._stopped)
            gdb.events.exited.disconnect(self._exited)
            self._tracer.stop()
            recording = self._recording
            recording.ended = recording.ended or "it was stopped"
            if not recording.failed:
                try:
                    with current().booting_cpu():
                        self.final = recording.final_state()
                except LmbError as error:
                    self._unread = str(error)
            self.symbolise()
            self._overlaps = Owners(self.header, self.records).findings(function_of(self.symbols.get))
            if recording.write_error is None:
                self._write(lambda: self._output.end(self.symbols, self.final))
            self._write(self._output.close)
        return self.result()

    def _write(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OutputError as error:
            # The first error says most; closing tries to write the same once more.
            self._recording.write_error = self._recording.write_error or str(error)

    def result(self) -> TraceResult:
        """Return what the trace has recorded and found so far."""
        recording = self._recording
        return TraceResult(
            running=self.running,
            records=len(self.records),
            stops=self._tracer.stops,
            ended=recording.ended,
            complete=recording.complete,
            write_error=recording.write_error,
            inside=recording.inside,
            unread=self._unread,
            lockstep=recording.options.lockstep,
            compared=recording.lockstep is not None and self.final is not None,
            divergence=recording.divergence,
            overlaps=tuple(self._overlaps),
            symbols=self.symbols,
            bits=self.header.bits,
            flag_names=self._names,
        )

    def symbolise(self) -> None:
        """Find what the program counters of all records mean."""
        self.symbols |= symbols_of(self.records, self.symbols)


def _find_allocator(programs: list[Program], timeout_s: float) -> tuple[Traced, Snapshot | None]:
    """Return what to trace and its state now; None where the allocator's own `init` is still to come.

    A program may hold two allocators: then the less particular one is traced where it is initialised.
    """
    machine = current()
    for program in reversed(programs[1:]):
        with contextlib.suppress(LayoutError, NotReadyError, ReadError), machine.booting_cpu():
            traced = program.traced(machine)
            return traced, traced.begin()
    kernel = programs[0].kernel(machine)
    if kernel is not None:
        settle(machine, kernel, timeout_s)
    with machine.booting_cpu():
        traced = programs[0].traced(machine)
        try:
            return traced, traced.begin()
        except (NotReadyError, ReadError):
            # Nothing is there yet, or nothing is mapped yet: such an allocator's code runs where its kernel is mapped.
            if not traced.allocator.init:
                raise
            return traced, None


def _places(program: Program, own: Allocator, options: TraceOptions) -> Iterator[Place]:
    if options.until is not None:
        for address in _addresses(options.until):
            yield Place(options.until, address, Purpose.END)
    watched = {Purpose.PANIC: program.panics, Purpose.INIT_FREED: program.frees_init}
    if options.lockstep:
        watched[Purpose.COMPARE] = own.checkpoints
    for purpose, names in watched.items():
        for name in names:
            for address in function_addresses(name):
                yield Place(name, address, purpose)
    for name, address in inlined_switches(own):
        yield Place(name, address, Purpose.SETTING)


def _addresses(where: str) -> list[int]:
    """Return what a symbol, FILE:LINE or *ADDRESS of the user's means. Raises: `UsageError`."""
    exact = function_addresses(where)
    if exact:
        return exact
    try:
        found = [line.pc for line in gdb.decode_line(where)[1] or ()]
    except gdb.error as error:
        why = safe(" ".join(str(error).split()), 200)
        raise UsageError(f"cannot trace until {safe(where, 80)}: {why}") from None
    if not found:
        raise UsageError(f"cannot trace until {safe(where, 80)}: there is no code")
    return found
