# SPDX-License-Identifier: GPL-2.0-or-later
"""`lmb-trace`: record every call of the allocator, beside the reference model if wanted."""

from __future__ import annotations

from pathlib import Path

from gdb_lmb.allocators.base import allocator
from gdb_lmb.commands.arguments import FLAG, JSON, OPTIONAL, SOME, Argument, Options
from gdb_lmb.commands.base import LmbCommand, take_snapshot, write
from gdb_lmb.commands.names import Names
from gdb_lmb.commands.terminal import terminal
from gdb_lmb.commands.trace_output import save
from gdb_lmb.commands.tracing import HOLDER
from gdb_lmb.core.errors import LayoutError, NotReadyError, UsageError
from gdb_lmb.core.numbers import seconds, whole_number
from gdb_lmb.core.record import Symbol, TraceHeader
from gdb_lmb.core.words import plural, safe
from gdb_lmb.machine.symbols import code_place
from gdb_lmb.report.jsonio import dumps
from gdb_lmb.report.trace_text import Wanted, parse_caller, trace_json, trace_table
from gdb_lmb.tracing.recording import Wishes

_TAKES = {
    "start": ("lockstep", "every", "until", "only", "output", "timeout"),
    "stop": (),
    "show": ("last", "caller", "range", "json"),
    "save": ("file", "from_log"),
    "status": ("json",),
}
"""What belongs to each first word."""


class LmbTrace(LmbCommand):
    """Record the early allocator's calls, with arguments, result and callers.

    Usage: lmb-trace start [--lockstep] [--every N] [--until SYMBOL] [--only KIND...]
                           [-o FILE] [--timeout SECONDS]
           lmb-trace stop
           lmb-trace show [--last N] [--caller REGEX] [--range A-B|A+SIZE]
                          [--json]
           lmb-trace save FILE [--from-log]
           lmb-trace status [--json]

      start        from here on; then let the guest run (continue). A compressed
                   kernel is first brought to its first instruction
      --lockstep   run the reference model beside the kernel: the guest stops
                   after the first operation in which they differ
      --every N    with --lockstep: compare after every N operations (default 1)
      --until S    end there, and stop the guest (default: the hand-over)
      --only K     only operations of these kinds; such a trace cannot be replayed
      -o FILE      write each record to FILE at once (schema gdb-lmb/trace/1)
      --timeout S  how long unpacking a kernel may take, in seconds (default 60)
      stop         end now
      show         what was recorded: --last N operations, with a caller like
                   REGEX, on physical addresses from A up to B, or on SIZE bytes
                   from A on; numbers are as those of lmb-who
      save         write what was recorded to FILE; --from-log takes the kernel's
                   own log of operations instead, where it keeps one
      status       how far it is, or what came of it

    The breakpoints are hidden from `info breakpoints`; your own work as ever,
    also in the middle. $lmb_status is 0 where kernel and model agree, 1 where
    they differ, 5 where nothing was compared.

    Example: lmb-trace start --lockstep -o boot.jsonl
    """

    name = "lmb-trace"
    arguments = (
        Argument("action", choices=tuple(_TAKES)),
        Argument("file", OPTIONAL),
        Argument("--lockstep", FLAG),
        Argument("--every"),
        Argument("--until"),
        Argument("--only", SOME, default=()),
        Argument("-o", field="output"),
        Argument("--timeout"),
        Argument("--last"),
        Argument("--caller"),
        Argument("--range"),
        JSON,
        Argument("--from-log", FLAG),
    )

    def run(self, options: Options) -> None:
        """Do what the first word says."""
        require_fitting(options)
        {"start": _start, "stop": _stop, "show": _show, "save": _save, "status": _status}[options.action](options)


def require_fitting(options: Options) -> None:
    """Check that the first word takes what else was given. Raises: `UsageError`."""
    for name, value in vars(options).items():
        if name in ("action", *_TAKES[options.action]) or not value:
            continue
        if name == "file":
            raise UsageError(f"{options.action} takes no word {safe(value, 40)!r} (see: help lmb-trace)")
        option = "-o" if name == "output" else f"--{name.replace('_', '-')}"
        raise UsageError(f"{options.action} takes no {option} (see: help lmb-trace)")


def _start(options: Options) -> None:
    names = Names()
    every = 1 if options.every is None else whole_number(options.every, "--every", names.value, least=1)
    if options.until is not None and not options.until.strip():
        raise UsageError("--until is empty: name a symbol, FILE:LINE or *ADDRESS")
    if options.every is not None and not options.lockstep:
        raise UsageError("--every says how often to compare: it needs --lockstep")
    timeout_s = seconds(options.timeout, "--timeout", names.value)
    path = None if options.output is None else Path(options.output).expanduser()
    wishes = Wishes(options.lockstep, every, options.until, tuple(options.only))
    HOLDER.start(wishes, path, timeout_s)
    how = "in lockstep with the model, " if options.lockstep else ""
    write(f"lmb-trace: recording {how}until {options.until or 'the hand-over'}; let the guest run: continue")


def _stop(_options: Options) -> None:
    HOLDER.stop()


def _status(options: Options) -> None:
    trace = HOLDER.require()
    write(dumps(trace.status_json()) if options.json else trace.status_text(terminal()))


def _show(options: Options) -> None:
    trace, names = HOLDER.require(), Names()
    wanted = Wanted(
        None if options.last is None else whole_number(options.last, "--last", names.value),
        None if options.caller is None else parse_caller(options.caller),
        None if options.range is None else names.range(options.range, trace.header.bits),
    )
    trace.symbolise()
    layout = trace.recording.traced.layout
    records = wanted.of(trace.records, trace.symbols, layout)
    if options.json:
        write(dumps(trace_json(records, trace.symbols, layout, len(trace.records))))
    else:
        write(trace_table(records, trace.symbols, layout, terminal()))


def _save(options: Options) -> None:
    if options.file is None:
        raise UsageError("save where? lmb-trace save FILE")
    path = Path(options.file).expanduser()
    if options.from_log:
        number = _save_log(path)
    else:
        trace = HOLDER.require()
        trace.save(path)
        number = len(trace.records)
    write(f"lmb-trace: {plural(number, 'operation')} saved in {path}")


def _save_log(path: Path) -> int:
    """Write the kernel's own log as a trace; return how many operations it holds."""
    snapshot = take_snapshot(with_log=True)
    log = allocator(snapshot.layout).log(snapshot)
    if log is None:
        raise LayoutError("this kernel keeps no operation log (CONFIG_LMB_LOG): use lmb-trace start")
    if snapshot.torn:
        raise NotReadyError(f"the stop is inside {snapshot.torn}(): `finish` it first")
    records = list(log.records(False))
    symbols = {}
    for pc in {pc for record in records for pc in record.callers}:
        found = code_place(pc)
        if found is not None:
            symbols[pc] = Symbol(found.function, found.offset, found.file, found.line)
    header = TraceHeader.of(snapshot, source="log", lost=log.lost)
    save(path, header, records, symbols, snapshot)
    return len(records)
