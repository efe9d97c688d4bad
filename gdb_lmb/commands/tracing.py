# SPDX-License-Identifier: GPL-2.0-or-later
"""The trace of this gdb: set up at a stop, ended at another, and kept until the next one begins."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import gdb

from gdb_lmb.allocators.base import allocator, names
from gdb_lmb.analysis.owners import function_of, overlaid
from gdb_lmb.commands.base import announce, write
from gdb_lmb.commands.session import SESSION
from gdb_lmb.commands.terminal import terminal
from gdb_lmb.commands.trace_output import close_trace, open_trace, save
from gdb_lmb.core.errors import LayoutError, LmbError, NotReadyError, OutputError, ReadError, StateError, UsageError
from gdb_lmb.core.record import Record, Symbol
from gdb_lmb.core.snapshot import FINDING, FLAG_NAMES, Finding, Snapshot
from gdb_lmb.core.words import plural
from gdb_lmb.machine.boot import run_to_entry
from gdb_lmb.machine.core import current_dump
from gdb_lmb.machine.memblock import take_memblock
from gdb_lmb.machine.move_symbols import move_symbols
from gdb_lmb.machine.program import lookup
from gdb_lmb.machine.registers import booting_cpu
from gdb_lmb.machine.stop import require_stopped, torn_in
from gdb_lmb.machine.symbols import code_place
from gdb_lmb.programs.linux import find_kernel
from gdb_lmb.programs.place import locate
from gdb_lmb.report.divergence import divergence_json, divergence_text, headline
from gdb_lmb.report.jsonio import finding_json
from gdb_lmb.report.terminal import BAD, CLEAN, HEADING, NOTE, PLAIN, Terminal
from gdb_lmb.report.text import finding_lines, summary
from gdb_lmb.tracing.calls import convention_of
from gdb_lmb.tracing.points import function_addresses, inlined_switches
from gdb_lmb.tracing.recording import CHECK, INIT_FREED, PANIC, SWITCH, UNTIL, Recording, Wishes
from gdb_lmb.tracing.traced import Traced, TracedLmb, TracedMemblock
from gdb_lmb.tracing.tracepoints import Place, Tracer

DIVERGENCE_CODE = "trace-divergence"
STATUS_SCHEMA = "gdb-lmb/trace-status/1"

_PANICS = ("panic", "panic_halt")
_INIT_FREED = ("free_initmem", "free_init_memory")


class Trace:
    """One trace, from `start` to its end; afterwards what it holds."""

    def __init__(self, wishes: Wishes, path: Path | None, timeout_s: float) -> None:
        """Set it up at this stop, before the guest goes on. Raises: `LmbError`."""
        require_stopped()
        if current_dump() is not None:
            raise NotReadyError("a dump does not run: there is nothing to trace")
        self.path = path
        traced, state = _find_allocator(timeout_s)
        if wishes.until is None and state is not None and _handed_over(traced, state):
            raise NotReadyError("the allocator has handed over already: say what to trace to with --until SYMBOL")
        # Without `init`, which is where such a trace begins, nobody would know what the rest is about.
        wanted = {*wishes.only, *(["init"] if state is None else [])}
        points = [point for point in traced.points if not wishes.only or point.op in wanted]
        if not any(point.op in wishes.only for point in points) and wishes.only:
            known = ", ".join(dict.fromkeys(point.op for point in traced.points))
            raise UsageError(f"nothing to trace: this kernel's operations are {known}")
        places = [*_places(traced, wishes)]
        self._stream = None if path is None else open_trace(path)
        self._connected = False
        self.symbols: dict[int, Symbol] = {}
        self.final: Snapshot | None = None
        self.overlaid: list[Finding] = []
        self.names = FLAG_NAMES if state is None else state.flag_names
        try:
            self.recording = Recording(traced, wishes, self._stream)
            with booting_cpu():
                self.header = self.recording.begin(state)
            self._tracer = Tracer(points, places, convention_of(traced.arch), traced.byte_order, self.recording)
            low, high = _init_code()
            self.recording.free_init = lambda: self._tracer.forget(low, high)
            self._tracer.start()
            with booting_cpu():
                self._tracer.take_call_here()
        except (LmbError, gdb.error):
            self._close()
            raise
        gdb.events.stop.connect(self._stopped)
        gdb.events.exited.connect(self._exited)
        self._connected = True
        for message in traced.unseen:
            write(f"lmb-trace: note: {message}")

    @property
    def running(self) -> bool:
        """Tell whether calls are still recorded."""
        return self._connected

    @property
    def records(self) -> list[Record]:
        """Return what was recorded so far."""
        return self.recording.records

    @property
    def stops(self) -> int:
        """Return how often the guest was stopped at calls and their returns."""
        return self._tracer.stops

    def _stopped(self, _event: gdb.Event) -> None:
        """Take any stop of the guest: ours ends the trace, the user's own does not."""
        self._tracer.catch_up()
        if self.recording.ended is not None:
            self.finish(announce)
        elif self._tracer.interrupted:
            told = plural(len(self.records), "operation") + ("" if self.path is None else f", kept in {self.path}")
            announce(f"lmb-trace: interrupted after {told}; it goes on with continue")
        self._tracer.interrupted = False

    def _exited(self, _event: gdb.Event) -> None:
        """Take the end of the guest, or of the connection to it."""
        self.recording.ended = self.recording.ended or "the guest is gone"
        self.recording.failed = True
        self.finish(announce)

    def finish(self, tell: Callable[[str], None] = write) -> None:
        """End the trace, compare the last state, complete the file and `tell` what came of it."""
        if not self._connected:
            return
        self._connected = False
        gdb.events.stop.disconnect(self._stopped)
        gdb.events.exited.disconnect(self._exited)
        self._tracer.stop()
        recording = self.recording
        recording.ended = recording.ended or "it was stopped"
        if not recording.failed:
            try:
                with booting_cpu():
                    self.final = recording.last_look()
            except LmbError as error:
                tell(f"lmb-trace: the last state cannot be read: {error}")
        self.symbolise()
        self.overlaid = overlaid(self.header, self.records, function_of(self.symbols))
        self._complete_file()
        self._tell(tell)

    def _complete_file(self) -> None:
        """Write what ends the trace's file, and close it."""
        writer = self.recording.writer
        try:
            if writer is not None and self.recording.write_error is None:
                writer.symbols(self.symbols)
                writer.end(self.final)
            self._close()
        except OutputError as error:
            # The first says most; closing tries to write the same once more.
            self.recording.write_error = self.recording.write_error or str(error)

    def _tell(self, tell: Callable[[str], None]) -> None:
        """Tell what came of the trace, and let it count for the verdict."""
        tell(self.status_text(terminal()))
        lockstep = self.recording.wishes.lockstep
        # A trace without the model and without a finding has verified nothing, and is no check.
        if lockstep or self.overlaid:
            unknown = lockstep and not self.compared and self.finding is None
            SESSION.record("lmb-trace", self.findings, ["trace-not-compared"] if unknown else [])

    @property
    def findings(self) -> list[Finding]:
        """Return the divergence, where there is one, and what lies over another's reservation."""
        return [*([] if self.finding is None else [self.finding]), *self.overlaid]

    @property
    def finding(self) -> Finding | None:
        """Return the divergence as a finding, None where there is none."""
        divergence = self.recording.divergence
        if divergence is None:
            return None
        addresses = () if divergence.address is None else (divergence.address,)
        return Finding(DIVERGENCE_CODE, FINDING, headline(divergence), addresses)

    @property
    def compared(self) -> bool:
        """Tell whether the model has followed to the last state."""
        return self.recording.lockstep is not None and self.final is not None

    def status_text(self, shown: Terminal = PLAIN) -> str:
        """Return what came of the trace; a divergence with all that differs."""
        recording, divergence = self.recording, self.recording.divergence
        told = plural(len(self.records), "operation") + " recorded"
        if self.running:
            return f"lmb-trace: running, {told}"
        told += f", until {recording.ended}"
        if recording.write_error is not None and recording.write_error != recording.ended:
            told += f"; {recording.write_error}"
        if recording.torn is not None:
            told += f" (inside {recording.torn}, which is not recorded)"
        lines = finding_lines(self.overlaid, shown)
        if self.overlaid:
            told += f"; {summary(self.overlaid)}"
        if divergence is not None:
            lines.insert(0, divergence_text(divergence, self.symbols, recording.traced.bits, self.names, shown))
            head, role = "lmb-trace: kernel and model differ:", BAD
        elif recording.wishes.lockstep and self.compared:
            head, role = "lmb-trace: kernel and model agree:", CLEAN
        elif recording.wishes.lockstep:
            head, role = "lmb-trace: NOT verified:", NOTE
        else:
            head, role = "lmb-trace:", HEADING
        if any(finding.severity == FINDING for finding in self.overlaid):
            role = BAD
        return "\n".join([*lines, f"{shown.paint(head, role)} {told}"])

    def status_json(self) -> dict[str, Any]:
        """Return the same as JSON values of schema `gdb-lmb/trace-status/1`."""
        recording, divergence = self.recording, self.recording.divergence
        return {
            "schema": STATUS_SCHEMA,
            "running": self.running,
            "ended": recording.ended,
            "complete": recording.complete,
            "write_error": recording.write_error,
            "records": len(self.records),
            "stops": self.stops,
            "compared": self.compared,
            "divergence": None if divergence is None else divergence_json(divergence),
            "findings": [finding_json(finding) for finding in self.findings],
        }

    def symbolise(self) -> None:
        """Find what the program counters of all records mean."""
        for record in self.records:
            for pc in record.callers:
                if pc not in self.symbols:
                    found = code_place(pc)
                    if found is not None:
                        self.symbols[pc] = Symbol(found.function, found.offset, found.file, found.line)

    def save(self, path: Path) -> None:
        """Write all there is so far to a file of its own."""
        self.symbolise()
        save(path, self.header, self.records, self.symbols, self.final)

    def _close(self) -> None:
        self.recording.count.close()
        if self._stream is not None:
            close_trace(self._stream)


def _find_allocator(timeout_s: float) -> tuple[Traced, Snapshot | None]:
    """Return what to trace and its state now; None where the allocator's own `init` is still to come."""
    kernel = find_kernel()
    if kernel is None or (lookup("lmb") is not None and _initialised()):
        traced = TracedLmb()
        try:
            with booting_cpu():
                _refuse_torn(torn_in())
                return traced, traced.read()
        except (NotReadyError, ReadError):
            # Nothing is there yet, or nothing is mapped yet: LMB code runs where its kernel is mapped.
            return traced, None
    run_to_entry(kernel, timeout_s)
    placement, moved = locate(kernel)
    if placement.virtual != moved:
        move_symbols(kernel, placement)
        kernel = find_kernel()
        if kernel is None:
            raise LayoutError("gdb has lost the kernel's symbols")
    with booting_cpu():
        state = take_memblock(kernel)
        _refuse_torn(state.torn)
        return TracedMemblock(kernel), state


def _refuse_torn(function: str | None) -> None:
    if function is not None:
        raise StateError(f"the stop is inside {function}(), an operation that would be recorded in half: `finish` it")


def _initialised() -> bool:
    try:
        with booting_cpu():
            TracedLmb().read()
    except LmbError:
        return False
    return True


def _handed_over(traced: Traced, state: Snapshot) -> bool:
    return traced.phase_of(state) in ("handed over", "discarded")


def _places(traced: Traced, wishes: Wishes) -> Iterable[Place]:
    if wishes.until is not None:
        for address in _addresses(wishes.until):
            yield Place(wishes.until, address, UNTIL)
    kinds = {**dict.fromkeys(_PANICS, PANIC), **dict.fromkeys(_INIT_FREED, INIT_FREED)}
    if wishes.lockstep:
        kinds |= dict.fromkeys(traced.checkpoints, CHECK)
    for name, kind in kinds.items():
        for address in function_addresses(name):
            yield Place(name, address, kind)
    if traced.layout == "memblock":
        for address in inlined_switches():
            yield Place("memblock_set_bottom_up", address, SWITCH)


def _addresses(where: str) -> list[int]:
    """Return what a symbol, FILE:LINE or *ADDRESS of the user's means. Raises: `UsageError`."""
    exact = function_addresses(where)
    if exact:
        return exact
    try:
        found = [line.pc for line in gdb.decode_line(where)[1] or ()]
    except gdb.error as error:
        raise UsageError(f"cannot trace until {where[:80]}: {error}") from None
    if not found:
        raise UsageError(f"cannot trace until {where[:80]}: there is no code")
    return found


def _init_code() -> tuple[int, int]:
    """Return where the code lies that is freed after boot."""
    ends = []
    for name in ("__init_begin", "__init_end"):
        try:
            ends.append(int(gdb.parse_and_eval(f"(unsigned long)&{name}")))
        except gdb.error:
            return 0, 0
    return ends[0], ends[1]


class Holder:
    """The one trace that this gdb has."""

    def __init__(self) -> None:
        self.trace: Trace | None = None

    def start(self, wishes: Wishes, path: Path | None, timeout_s: float) -> Trace:
        """Begin a new trace; the one before is forgotten. Raises: `LmbError`."""
        if self.trace is not None and self.trace.running:
            raise UsageError("a trace is running: end it with `lmb-trace stop` first")
        if wishes.lockstep and wishes.only:
            raise UsageError("--lockstep needs every operation: leave --only out")
        known = {op for name in names() for table in (allocator(name).init, allocator(name).operations) for op in table}
        for op in wishes.only:
            if op not in known:
                raise UsageError(f"unknown operation {op[:40]!r}: there are {', '.join(sorted(known))}")
        self.trace = SESSION.trace = Trace(wishes, path, timeout_s)
        return self.trace

    def require(self) -> Trace:
        """Return the trace. Raises: `NotReadyError` where there is none."""
        if self.trace is None:
            raise NotReadyError("nothing was traced yet: begin with `lmb-trace start`")
        return self.trace

    def stop(self) -> Trace:
        """End the running trace. Raises: `NotReadyError` where none is running."""
        trace = self.require()
        if not trace.running:
            raise NotReadyError("no trace is running: it has ended by itself, or was never started")
        with contextlib.suppress(LmbError):
            require_stopped()
        trace.finish()
        return trace


HOLDER = Holder()
