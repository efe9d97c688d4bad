# SPDX-License-Identifier: GPL-2.0-or-later
"""What `lmb-trace` does: a function for each of its first words, which takes the command's options."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from gdb_lmb.allocators.base import allocator
from gdb_lmb.analysis.trace_options import TraceOptions
from gdb_lmb.commands.arguments import Options
from gdb_lmb.commands.base import SESSION, announce, json_text, take_snapshot, terminal, write
from gdb_lmb.commands.names import Names
from gdb_lmb.core.errors import LayoutError, LmbError, NotReadyError, UsageError
from gdb_lmb.core.numbers import seconds, whole_number
from gdb_lmb.core.operation import Record, TraceHeader
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.core.words import plural, safe
from gdb_lmb.machine.current import current
from gdb_lmb.machine.symbols import symbols_of
from gdb_lmb.report import trace_file
from gdb_lmb.report.jsonio import dumps
from gdb_lmb.report.statuses import ExitStatus
from gdb_lmb.report.trace_file import TraceOutput
from gdb_lmb.report.trace_text import (
    TraceResult,
    Wanted,
    parse_caller,
    status_json,
    status_text,
    trace_json,
    trace_table,
)
from gdb_lmb.tracing.session import TraceSession, roles_of


def start(options: Options) -> None:
    """Begin to record. Raises: `LmbError`."""
    if SESSION.trace is not None and SESSION.trace.running:
        raise UsageError("a trace is running: end it with `lmb-trace stop` first")
    names = Names()
    every = None if options.every is None else whole_number(options.every, "--every", names.value, least=1)
    timeout_s = seconds(options.timeout, "--timeout", names.value)
    output = TraceOutput(None if options.output is None else Path(options.output).expanduser())
    wanted = TraceOptions(options.lockstep, every, options.until, tuple(options.only))
    SESSION.trace = TraceSession(wanted, timeout_s, output, partial(_listen, output.path))
    SESSION.set_status(ExitStatus.NOT_VERIFIED)  # until it ends
    for note in SESSION.trace.notes:
        write(f"lmb-trace: note: {note}")
    how = "in lockstep with the model, " if options.lockstep else ""
    write(f"lmb-trace: recording {how}until {options.until or 'the hand-over'}; let the guest run: continue")


def _listen(path: Path | None, result: TraceResult) -> None:
    if result.running:
        told = plural(result.records, "operation") + ("" if path is None else f", kept in {safe(str(path))}")
        announce(f"lmb-trace: interrupted after {told}; continue resumes the trace")
    else:
        _conclude(result, announce)


def _conclude(result: TraceResult, tell: Callable[[str], None]) -> None:
    # A trace that is a check counts for the verdict.
    tell(status_text(result, terminal()))
    if result.is_check:
        SESSION.record("lmb-trace", result.findings, result.not_verified)


def stop(_options: Options) -> None:
    """End the trace that runs. Raises: `NotReadyError` where none does."""
    trace = SESSION.require_trace()
    if not trace.running:
        raise NotReadyError("no trace is running: it has ended by itself, or was never started")
    with contextlib.suppress(LmbError):
        current().require_stopped()
    _conclude(trace.end(), write)


def status(options: Options) -> None:
    """Write how far the trace is, or what came of it. Raises: `NotReadyError` where there is none."""
    result = SESSION.require_trace().result()
    write(dumps(status_json(result)) if options.json else status_text(result, terminal()))


def show(options: Options) -> None:
    """Write the records that are asked for. Raises: `LmbError`."""
    trace, names = SESSION.require_trace(), Names()
    wanted = Wanted(
        None if options.last is None else whole_number(options.last, "--last", names.value),
        None if options.caller is None else parse_caller(options.caller),
        None if options.range is None else names.range(options.range, trace.header.bits),
        options.failed,
    )
    trace.symbolise()
    layout = trace.header.layout
    records = wanted.of(trace.records, trace.symbols, layout)
    shown = records, trace.symbols, layout
    if options.json:
        write(json_text(trace_json(*shown, len(trace.records)), options))
    else:
        options.all |= options.last is not None
        write(trace_table(*shown, terminal(options)))


def save(options: Options) -> None:
    """Write a trace file of the records, or of the kernel's own log. Raises: `LmbError`."""
    if options.file is None:
        raise UsageError("file is missing: lmb-trace save FILE")
    path = Path(options.file).expanduser()
    if options.from_log:
        header, records, final = _log()
        trace_file.save(path, header, records, symbols_of(records), final, roles_of(final))
    else:
        trace = SESSION.require_trace()
        trace.symbolise()
        records = trace.records
        trace_file.save(path, trace.header, records, trace.symbols, trace.final, trace.roles)
    write(f"lmb-trace: {plural(len(records), 'operation')} saved in {safe(str(path))}")


def _log() -> tuple[TraceHeader, list[Record], Snapshot]:
    # The kernel's own log as a trace, and the state at this stop.
    snapshot = take_snapshot(with_log=True)
    own = allocator(snapshot.layout)
    log = own.log(snapshot)
    if log is None:
        raise LayoutError("this kernel keeps no operation log (CONFIG_LMB_LOG): use lmb-trace start")
    if snapshot.torn:
        raise NotReadyError(f"the stop is inside {snapshot.torn}(): `finish` it first")
    header = TraceHeader.of(snapshot, source="log", lost=log.lost, behavior=own.facts_in(snapshot))
    return header, list(log.records(False)), snapshot
