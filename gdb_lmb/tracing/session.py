# SPDX-License-Identifier: GPL-2.0-or-later
"""A trace of the guest: set up at one stop, ended at another; its events and its result are values.

Nothing is printed here, and no verdict is kept: that is left to the listener, which gets the events, and to whoever
calls `end()`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial

import gdb

from gdb_lmb.allocators.base import Allocator
from gdb_lmb.analysis.owners import Owners
from gdb_lmb.analysis.trace_options import TraceOptions
from gdb_lmb.core.address import PAST_HAND_OVER
from gdb_lmb.core.errors import LayoutError, LmbError, NotReadyError, OutputError, ReadError, UsageError
from gdb_lmb.core.json_values import Json
from gdb_lmb.core.operation import Symbol
from gdb_lmb.core.snapshot import FLAG_NAMES, Finding, Snapshot
from gdb_lmb.core.words import safe
from gdb_lmb.machine.boot import settle
from gdb_lmb.machine.current import current
from gdb_lmb.machine.symbols import code_symbol, symbols_of, why_no_allocator
from gdb_lmb.programs.base import Program, find_programs, role_ranges
from gdb_lmb.programs.traced import Traced
from gdb_lmb.report.jsonio import roles_json
from gdb_lmb.report.trace_file import TraceOutput
from gdb_lmb.report.trace_text import TraceResult
from gdb_lmb.tracing.points import code_of, convention_of, find_points, function_addresses
from gdb_lmb.tracing.recording import Place, Purpose, Recording
from gdb_lmb.tracing.tracepoints import Tracer

Listener = Callable[[TraceResult], None]


class TraceSession:
    """One trace. `notes` tell what it cannot see; `header`, `records` and `symbols` grow as it runs.

    `final` is the state at its end, None where there is none yet or it cannot be read, and `roles` what lay where then,
    as `roles_json()` has it, None where that is not known. The listener is told when the user stops the guest, with
    which the trace goes on, and when it has ended by itself.
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
        own = traced.allocator
        handed_over = state is not None and own.phase_of(state) in PAST_HAND_OVER
        if options.until is None and handed_over:
            raise NotReadyError("the allocator has handed over already: say what to trace to with --until SYMBOL")
        points, self.notes = find_points(own)
        if options.only:
            known = ", ".join(dict.fromkeys(point.role.op for point in points))
            # Without `init`, with which such a trace begins, the state that the rest is about is not known.
            wanted = {*options.only, *(own.init if state is None else ())}
            points = [point for point in points if point.role.op in wanted]
            if not any(point.role.op in options.only for point in points):
                raise UsageError(f"nothing to trace: this kernel's operations are {known}")
        self.symbols: dict[int, Symbol] = {}
        self.final: Snapshot | None = None
        self.roles: list[Json] | None = None
        self._allocator = own
        self._names = FLAG_NAMES if state is None else state.flag_names
        self._overlaps: list[Finding] = []
        self._unjudged: str | None = None
        self._unread: str | None = None
        self._output = output
        self._listener = listener
        self._recording = Recording(traced, options, output)
        self.records = self._recording.records
        self._tracer = Tracer(
            points,
            _places(programs[0], own, options),
            convention_of(machine.arch),
            machine.byte_order,
            self._recording,
            programs[0].init_code(machine),
            # What begins a boot has been left where threads run.
            lambda: handed_over or any(one.name in programs[0].begins for one in machine.functions_on_stack()),
        )
        try:
            with machine.booting_cpu():
                self.header = self._recording.begin(state, code_symbol)
                self._tracer.start()
                self._tracer.take_call_here()
        except (LmbError, gdb.error):
            self._tracer.stop()
            output.close()
            raise
        gdb.events.stop.connect(self._stopped)
        gdb.events.exited.connect(self._exited)
        gdb.events.gdb_exiting.connect(self._leaving)
        self.running = True

    def _stopped(self, event: gdb.Event) -> None:
        # Ours ends the trace, the user's own does not. By SIGQUIT QEMU tells of a guest that does not run any more.
        if getattr(event, "stop_signal", None) == "SIGQUIT":
            self._recording.ended = self._recording.ended or "the guest has reset or shut down"
        self._tracer.catch_up()
        if self._recording.ended is not None:
            self._listener(self.end())
        elif self._tracer.interrupted:
            self._listener(self.result())
        self._tracer.interrupted = False

    def _exited(self, _event: gdb.Event) -> None:
        # The guest, or the connection to it.
        self._recording.lose("the guest is gone")
        self._listener(self.end())

    def _leaving(self, _event: gdb.Event) -> None:
        # gdb itself ends, and the guest may be gone before it.
        self._recording.lose("gdb has ended")
        self.end()

    def end(self) -> TraceResult:
        """End the trace where it runs, compare the last state and complete the output; return what came of it."""
        if self.running:
            self.running = False
            gdb.events.stop.disconnect(self._stopped)
            gdb.events.exited.disconnect(self._exited)
            gdb.events.gdb_exiting.disconnect(self._leaving)
            self._tracer.stop()
            recording = self._recording
            recording.ended = recording.ended or "it was stopped"
            if not recording.failed:
                try:
                    with current().booting_cpu():
                        self.final = recording.final_state()
                        if self.final is not None:
                            self.roles = roles_of(self.final)
                except LmbError as error:
                    self._unread = str(error)
            self.symbolise()
            self._overlaps, self._unjudged = Owners(self.header, self.records).findings(self.symbols.get)
            writes: list[Callable[[], None]] = [self._output.close]
            if recording.write_error is None:
                writes.insert(0, partial(self._output.end, self.symbols, self.final, self.roles))
            for write in writes:
                try:
                    write()
                except OutputError as error:
                    # The first error says most; closing tries to write the same once more.
                    recording.write_error = recording.write_error or str(error)
        return self.result()

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
            unjudged=self._unjudged,
            unverified=self._allocator.unverified(self.header.behavior),
            failed=recording.failures.count,
            failures=tuple(() if self.running else recording.failures.notes(self.symbols.get)),
            symbols=self.symbols,
            bits=self.header.bits,
            flag_names=self._names,
        )

    def symbolise(self) -> None:
        """Find what the program counters of all records mean."""
        self.symbols |= symbols_of(self.records, self.symbols)


def roles_of(state: Snapshot) -> list[Json] | None:
    """Return what lies where at this stop, which `state` was read at, as JSON values; None if it cannot be told."""
    with contextlib.suppress(LmbError):
        return roles_json(state, role_ranges(current(), state.firmware))
    return None


def _find_allocator(programs: list[Program], timeout_s: float) -> tuple[Traced, Snapshot | None]:
    """Return what to trace and its state now; None where the allocator's own `init` is still to come.

    A program may hold two allocators: then the less particular one is traced where it is initialised.
    """
    machine = current()
    for program in reversed(programs[1:]):
        with contextlib.suppress(LayoutError, NotReadyError, ReadError), machine.booting_cpu():
            traced = program.traced(machine)
            return traced, traced.begin()
    kernel = programs[0].movable(machine)
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


def _places(program: Program, own: Allocator, options: TraceOptions) -> list[Place]:
    wanted: dict[Purpose, tuple[Sequence[str], Callable[[str], list[int]]]] = {
        Purpose.END: (() if options.until is None else (options.until,), _addresses),
        Purpose.PANIC: (program.panics, function_addresses),
        Purpose.INIT_FREED: (program.frees_init, function_addresses),
        Purpose.BEGIN: (program.begins, function_addresses),
        Purpose.COMPARE: (own.checkpoints if options.lockstep else (), function_addresses),
        Purpose.SETTING: (own.inlined_switches, code_of),
    }
    rows = [(purpose, name, find) for purpose, (names, find) in wanted.items() for name in names]
    return [Place(name, address, purpose) for purpose, name, find in rows for address in find(name)]


def _addresses(where: str) -> list[int]:
    # Return what a symbol, FILE:LINE or *ADDRESS of the user's means. Raises: `UsageError`.
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
