# SPDX-License-Identifier: GPL-2.0-or-later
"""A trace for people and as JSON: what it has recorded and found so far, its records, and what replaying it showed.

A saved trace can also be written as a test in C for the kernel's own simulator of its allocator.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gdb_lmb.allocators.base import CTest, allocator
from gdb_lmb.analysis.lockstep import Divergence
from gdb_lmb.analysis.owners import function_of, owner_name, owner_pc
from gdb_lmb.analysis.replay import Replay
from gdb_lmb.core.errors import InputError, UsageError
from gdb_lmb.core.operation import Operation, Record, Symbol
from gdb_lmb.core.ranges import Range
from gdb_lmb.core.snapshot import FLAG_NAMES, Finding
from gdb_lmb.core.words import FINDING, plural, safe
from gdb_lmb.report.divergence import divergence_json, divergence_text, headline, site, symbols_json
from gdb_lmb.report.json_base import finding_json
from gdb_lmb.report.table import table
from gdb_lmb.report.terminal import BAD, CLEAN, HEADING, NOTE, PLAIN, Terminal
from gdb_lmb.report.text import finding_lines, summary
from gdb_lmb.report.trace_file import TraceReader, record_json

REPLAY_SCHEMA = "gdb-lmb/replay/1"
SHOW_SCHEMA = "gdb-lmb/trace-show/1"
STATUS_SCHEMA = "gdb-lmb/trace-status/1"
DIVERGENCE_CODE = "trace-divergence"


# -- a trace that runs, or has ended -----------------------------------------------------------------


def divergence_findings(divergence: Divergence | None) -> list[Finding]:
    """Return a divergence as a finding, none where there is none."""
    if divergence is None:
        return []
    addresses = () if divergence.address is None else (divergence.address,)
    return [Finding(DIVERGENCE_CODE, FINDING, headline(divergence), addresses)]


@dataclass(frozen=True)
class TraceResult:
    """What a trace has recorded and found so far, or at its end.

    `records` and `stops` count operations and stops of the guest. `ended` tells why nothing more is recorded (None
    while it runs), `complete` whether it came to its planned end, `write_error` why its file does not hold all.
    `inside` is the operation in the middle of which it ended, `unread` why the last state could not be read.
    With `lockstep` the model ran beside the kernel; `compared`: up to the last state. `overlaps` are reservations
    over others, `unjudged` says which of them nothing is known of. `failed` counts calls that failed, `failures` are
    the allocations among them. `unverified` says why the model may not be this kernel's. `symbols`, `bits` and
    `flag_names` are for the text.
    """

    running: bool
    records: int
    stops: int
    ended: str | None
    complete: bool
    write_error: str | None
    inside: Operation | None
    unread: str | None
    lockstep: bool
    compared: bool
    divergence: Divergence | None
    overlaps: tuple[Finding, ...]
    symbols: Mapping[int, Symbol]
    bits: int
    flag_names: Mapping[int, str]
    unjudged: str | None = None
    failed: int = 0
    failures: tuple[Finding, ...] = ()
    unverified: str | None = None

    @property
    def findings(self) -> list[Finding]:
        """Return the divergence, where there is one, what lies over another's reservation, and what failed."""
        divergence = None if self.unverified else self.divergence
        return [*divergence_findings(divergence), *self.overlaps, *self.failures]

    @property
    def is_check(self) -> bool:
        """Tell whether it counts as a check: a trace without the model and without a finding verifies nothing."""
        return self.lockstep or bool(self.overlaps or self.unjudged)

    @property
    def not_verified(self) -> list[str]:
        """Return the codes of what was not verified, though it was asked for."""
        compared = self.compared or self.divergence is not None or not self.lockstep
        told = {"trace-not-compared": not compared, "callers-unknown": self.unjudged is not None,
                "generation-unknown": self.lockstep and self.unverified is not None}  # fmt: skip
        return [code for code, holds in told.items() if holds]


def failed_text(count: int) -> str:
    """Return what a summary adds where calls failed."""
    return f", of which {count:,} failed" if count else ""


def status_text(result: TraceResult, terminal: Terminal = PLAIN) -> str:
    """Return what `lmb-trace status` prints; a divergence with all that differs."""
    told = plural(result.records, "operation") + " recorded" + failed_text(result.failed)
    if result.running:
        return f"lmb-trace: running, {told}"
    told += f", until {result.ended}"
    if result.write_error is not None and result.write_error != result.ended:
        told += f"; {result.write_error}"
    if result.inside is not None:
        told += f" (inside {result.inside}, which is not recorded)"
    lines = [] if result.unread is None else [f"lmb-trace: the last state cannot be read: {result.unread}"]
    if result.divergence is not None:
        lines.append(divergence_text(result.divergence, result.symbols, result.bits, result.flag_names, terminal))
        verdict, role = "kernel and model differ:", BAD
    elif result.not_verified:
        verdict, role = "NOT verified:", NOTE
    else:
        verdict, role = ("kernel and model agree:", CLEAN) if result.lockstep else ("", HEADING)
    if result.lockstep and result.unverified:
        told += f"; {safe(result.unverified, 1000)}"
    if result.unjudged:
        told += f"; {result.unjudged}"
    noticed = (*result.overlaps, *result.failures)
    if noticed:
        lines += finding_lines(noticed, terminal)
        told += f"; {summary(noticed)}"
    if any(finding.severity == FINDING for finding in result.overlaps):
        role = BAD
    head = f"lmb-trace: {verdict}".rstrip()
    return "\n".join([*lines, f"{terminal.paint(head, role)} {told}"])


def status_json(result: TraceResult) -> dict[str, Any]:
    """Return the same as JSON values."""
    divergence = result.divergence
    return {
        "schema": STATUS_SCHEMA,
        "running": result.running,
        "ended": result.ended,
        "complete": result.complete,
        "write_error": result.write_error,
        "records": result.records,
        "stops": result.stops,
        "compared": result.compared,
        "divergence": None if divergence is None else divergence_json(divergence),
        "findings": [finding_json(finding) for finding in result.findings],
    }


# -- its records -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wanted:
    """Which records to show: the last `last` of those with a caller like `caller` and a range that meets `within`.

    `failed`: only calls that failed.
    """

    last: int | None = None
    caller: re.Pattern[str] | None = None
    within: Range | None = None
    failed: bool = False

    def of(self, records: Sequence[Record], symbols: Mapping[int, Symbol], layout: str) -> list[Record]:
        """Return the records that are wanted, in their order."""
        found = [record for record in records if self._fits(record, symbols, layout)]
        return found if self.last is None else found[len(found) - min(self.last, len(found)) :]

    def _fits(self, record: Record, symbols: Mapping[int, Symbol], layout: str) -> bool:
        if self.failed and not allocator(layout).kind(record.operation.op).failed(record.result):
            return False
        if self.caller is not None:
            symbols_of = [(pc, symbols.get(pc)) for pc in record.callers]
            # What is inlined has called too.
            texts = (text for pc, one in symbols_of for text in (site(pc, one), *(() if one is None else one.inlined)))
            if not any(map(self.caller.search, texts)):
                return False
        if self.within is None:
            return True
        touched = allocator(layout).touched(record)
        return touched is not None and touched[0] < self.within[1] and self.within[0] < touched[1]


def parse_caller(text: str) -> re.Pattern[str]:
    """Read a regular expression for callers. Raises: `UsageError`."""
    try:
        return re.compile(text)
    except re.error as error:
        raise UsageError(f"{safe(text, 80)!r} is no regular expression: {error}") from None


def trace_table(
    records: Sequence[Record], symbols: Mapping[int, Symbol], layout: str, terminal: Terminal = PLAIN
) -> str:
    """Return one row for each record: number, call, result, the first caller outside the allocator, the phase.

    Of more than `terminal` takes, the last ones.
    """
    if not records:
        return "no operation"
    hidden = terminal.left_out(len(records))
    records = records[hidden:]
    own = allocator(layout)
    owners = [owner_pc(record, function_of(symbols.get), layout) for record in records]
    rows = [
        [str(record.seq), str(record.operation), own.kind(record.operation.op).result_text(record.result),
         "-" if pc is None else site(pc, symbols.get(pc)), record.phase or "-"]
        for record, pc in zip(records, owners, strict=True)
    ]  # fmt: skip
    headers = ["#", "operation", "result", "caller", "in the boot"]
    before = [f"... {plural(hidden, 'earlier operation')}: --all shows them"] if hidden else []
    lines = table(rows, headers, ("#", "result"), terminal, cut=("caller", "in the boot"), last=("operation",))
    return "\n".join([*before, *lines])


def trace_json(records: Sequence[Record], symbols: Mapping[int, Symbol], layout: str, total: int) -> dict[str, Any]:
    """Return the records as JSON values of schema `gdb-lmb/trace-show/1`; `total` is how many there are in all."""
    return {
        "schema": SHOW_SCHEMA,
        "layout": layout,
        "total": total,
        "records": [record_json(record) for record in records],
        "symbols": symbols_json({pc: None for record in records for pc in record.callers}, symbols),
    }


# -- a saved trace -----------------------------------------------------------------------------------


def _counted(replay: Replay) -> list[Finding]:
    # Of a kernel that no model is known to be like, a divergence is no finding.
    return divergence_findings(None if replay.unverified else replay.divergence)


def replay_text(
    reader: TraceReader,
    replay: Replay,
    findings: Sequence[Finding],
    not_verified: str | None,
    terminal: Terminal = PLAIN,
) -> str:
    """Return what `gdb-lmb replay` prints: a divergence in full, findings, and one line that says what was verified."""
    header, divergence = reader.header, replay.divergence
    source = "the kernel's own log" if header.source == "log" else header.source
    lines = [terminal.paint(f"trace of {header.layout} on {safe(header.arch)}, from {source}", HEADING)]
    if divergence is not None:
        names = FLAG_NAMES if header.initial is None else header.initial.flag_names
        lines.append(divergence_text(divergence, reader.symbols, header.bits, names, terminal))
    lines += finding_lines(findings, terminal)
    done = f"{plural(replay.replayed, 'operation')} replayed on the model{failed_text(replay.failures.count)}"
    every = [*_counted(replay), *findings]
    if any(finding.severity == FINDING for finding in every):
        role, verdict = BAD, summary(every)
    elif not_verified is not None:
        role, verdict = NOTE, "NOT verified"
    else:
        role, verdict = CLEAN, "verified" + (f" ({summary(every)[len('0 findings, ') :]})" if every else "")
    told = terminal.paint(f"gdb-lmb replay: {verdict}:", role)
    lines.append(f"{told} {done}" + (f"; {not_verified}" if not_verified else ""))
    return "\n".join(lines)


def replay_json(
    reader: TraceReader, replay: Replay, findings: Sequence[Finding], not_verified: str | None
) -> dict[str, Any]:
    """Return the same as JSON values."""
    divergence = replay.divergence
    record = divergence.record if divergence is not None else None
    return {
        "schema": REPLAY_SCHEMA,
        "layout": reader.header.layout,
        "arch": safe(reader.header.arch),
        "records": reader.records,
        "replayed": replay.replayed,
        "not_verified": not_verified,
        "findings": [finding_json(finding) for finding in [*_counted(replay), *findings]],
        "divergence": None if divergence is None else divergence_json(divergence),
        "symbols": symbols_json(() if record is None else record.callers, reader.symbols),
    }


def survey(reader: TraceReader) -> CTest:
    """Read a whole trace and return what writes it as a test in C, for which it is then read once more.

    Raises: `InputError` for a trace that the simulator cannot run.
    """
    header = reader.header
    test = allocator(header.layout).simulator_test(header)
    replay = Replay(header)
    if replay.lockstep is None:
        raise InputError(f"{replay.finish(None)}, so that nothing can be run again")
    model = replay.lockstep.model
    for record in reader:
        replay.follow(record)
        test.see(record, model)
    recorded = reader.end.final if reader.end is not None else None
    why = replay.finish(recorded, reader.cut_off)
    if recorded is not None and recorded.refused:
        recorded = None
    if replay.divergence is not None:
        why = f"kernel and model differ: {replay.divergence.message}"
        if recorded is None:
            raise InputError(f"the trace does not hold the final state, and {why}")
    function = function_of(reader.symbols.get)
    test.finish(recorded or model.snapshot(), why, lambda record: owner_name(record, function, header.layout))
    return test
