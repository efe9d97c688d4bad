# SPDX-License-Identifier: GPL-2.0-or-later
"""A trace of the guest: set up at one stop, ended at another; its events and its result are values.

Nothing is printed here, and no verdict is kept: that is left to the listener, which gets the events, and to whoever
calls `end()`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import gdb

from gdb_lmb.allocators.lmb.program import torn_in
from gdb_lmb.analysis.owners import function_of, overlaid
from gdb_lmb.analysis.trace_options import TraceOptions
from gdb_lmb.core.address import PAST_HAND_OVER
from gdb_lmb.core.errors import LayoutError, LmbError, NotReadyError, OutputError, ReadError, StateError, UsageError
from gdb_lmb.core.record import Record, Symbol
from gdb_lmb.core.snapshot import FLAG_NAMES, Finding, Snapshot
from gdb_lmb.core.words import safe
from gdb_lmb.machine.boot import run_to_entry
from gdb_lmb.machine.code import symbols_of
from gdb_lmb.machine.current import current
from gdb_lmb.machine.move_symbols import move_symbols
from gdb_lmb.programs.linux.kernel import find_kernel, init_memory
from gdb_lmb.programs.linux.place import locate
from gdb_lmb.programs.linux.program import take_memblock
from gdb_lmb.report.trace_output import TraceOutput
from gdb_lmb.report.trace_text import TraceResult
from gdb_lmb.tracing.calls import convention_of
from gdb_lmb.tracing.points import function_addresses, inlined_switches
from gdb_lmb.tracing.recording import Place, Purpose, Recording
from gdb_lmb.tracing.traced import Traced, traced_lmb, traced_memblock
from gdb_lmb.tracing.tracepoints import Tracer

_FUNCTIONS = {
    "panic": Purpose.PANIC,
    "panic_halt": Purpose.PANIC,
    "free_initmem": Purpose.INIT_FREED,
    "free_init_memory": Purpose.INIT_FREED,
}
"""Functions that every trace watches beside the allocator's own."""


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
        traced, state = _find_allocator(timeout_s)
        phase = None if state is None else traced.allocator.phase_of(state)
        if options.until is None and phase in PAST_HAND_OVER:
            raise NotReadyError("the allocator has handed over already: say what to trace to with --until SYMBOL")
        # Without `init`, with which such a trace begins, the state that the rest is about is not known.
        wanted = {*options.only, *(["init"] if state is None else [])}
        points = [point for point in traced.points if not options.only or point.op in wanted]
        if options.only and not any(point.op in options.only for point in points):
            known = ", ".join(dict.fromkeys(point.op for point in traced.points))
            raise UsageError(f"nothing to trace: this kernel's operations are {known}")
        places = list(_places(traced, options))
        self.notes = list(traced.unseen)
        self.symbols: dict[int, Symbol] = {}
        self.final: Snapshot | None = None
        self.running = False
        self._names = FLAG_NAMES if state is None else state.flag_names
        self._overlaps: list[Finding] = []
        self._unread: str | None = None
        self._output = output
        self._listener = listener
        self._recording = Recording(traced, options, output)
        convention = convention_of(traced.arch)
        self._tracer = Tracer(points, places, convention, traced.byte_order, self._recording, _init_code())
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
            self._overlaps = overlaid(self.header, self.records, function_of(self.symbols))
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


def _find_allocator(timeout_s: float) -> tuple[Traced, Snapshot | None]:
    """Return what to trace and its state now; None where the allocator's own `init` is still to come.

    A program may hold both allocators: then LMB is traced where it is initialised.
    """
    machine = current()
    kernel = find_kernel(machine)
    if kernel is None or machine.variable("lmb") is not None:
        try:
            traced = traced_lmb()
            with machine.booting_cpu():
                _refuse_torn(torn_in(machine))
                return traced, traced.read()
        except (NotReadyError, ReadError):
            # Nothing is there yet, or nothing is mapped yet: LMB code runs where its kernel is mapped.
            if kernel is None:
                return traced, None
        except LayoutError:
            if kernel is None:
                raise
    run_to_entry(machine, kernel, timeout_s)
    placement, moved = locate(machine, kernel)
    if placement.virtual != moved:
        move_symbols(kernel, placement)
        kernel = find_kernel(machine)
        if kernel is None:
            raise LayoutError("gdb has lost the kernel's symbols")
    with machine.booting_cpu():
        state = take_memblock(machine, kernel)
        _refuse_torn(state.torn)
        return traced_memblock(kernel), state


def _refuse_torn(function: str | None) -> None:
    if function is not None:
        raise StateError(
            f"the stop is inside {function}(), whose operation would be recorded in part: `finish` it first"
        )


def _places(traced: Traced, options: TraceOptions) -> Iterator[Place]:
    if options.until is not None:
        for address in _addresses(options.until):
            yield Place(options.until, address, Purpose.END)
    purposes = _FUNCTIONS | (dict.fromkeys(traced.allocator.checkpoints, Purpose.COMPARE) if options.lockstep else {})
    for name, purpose in purposes.items():
        for address in function_addresses(name):
            yield Place(name, address, purpose)
    for name, address in inlined_switches(traced.allocator):
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


def _init_code() -> range:
    """Return the half-open virtual range of the code that is freed after boot, empty where there is none."""
    machine = current()
    kernel = find_kernel(machine)
    if kernel is not None:
        return range(*init_memory(machine, kernel))
    low, high = map(machine.label, ("__init_begin", "__init_end"))
    return range(0) if low is None or high is None else range(low, high)
