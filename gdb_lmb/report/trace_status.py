# SPDX-License-Identifier: GPL-2.0-or-later
"""What a trace has recorded and found: a value, and the same as text and as JSON of `gdb-lmb/trace-status/1`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gdb_lmb.analysis.lockstep import Divergence
from gdb_lmb.core.operation import Operation
from gdb_lmb.core.record import Symbol
from gdb_lmb.core.snapshot import FINDING, Finding
from gdb_lmb.core.words import plural
from gdb_lmb.report.divergence import divergence_json, divergence_text
from gdb_lmb.report.jsonio import finding_json
from gdb_lmb.report.replay import divergence_findings
from gdb_lmb.report.terminal import BAD, CLEAN, HEADING, NOTE, PLAIN, Terminal
from gdb_lmb.report.text import finding_lines, summary

STATUS_SCHEMA = "gdb-lmb/trace-status/1"


@dataclass(frozen=True)
class TraceResult:
    """What a trace has recorded and found so far, or at its end.

    `records` and `stops` count operations and stops of the guest. `ended` tells why nothing more is recorded (None
    while it runs), `complete` whether it came to its planned end, `write_error` why its file does not hold all.
    `inside` is the operation in the middle of which it ended, `unread` why the last state could not be read.
    With `lockstep` the model ran beside the kernel; `compared`: up to the last state. `overlaps` are reservations
    over others. `symbols`, `bits` and `flag_names` are for the text.
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

    @property
    def findings(self) -> list[Finding]:
        """Return the divergence, where there is one, and what lies over another's reservation."""
        return [*divergence_findings(self.divergence), *self.overlaps]

    @property
    def is_check(self) -> bool:
        """Tell whether it counts as a check: a trace without the model and without a finding verifies nothing."""
        return self.lockstep or bool(self.overlaps)

    @property
    def not_verified(self) -> list[str]:
        """Return the codes of what was not verified, though it was asked for."""
        compared = self.compared or self.divergence is not None
        return [] if compared or not self.lockstep else ["trace-not-compared"]


def status_text(result: TraceResult, terminal: Terminal = PLAIN) -> str:
    """Return what `lmb-trace status` prints; a divergence with all that differs."""
    told = plural(result.records, "operation") + " recorded"
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
    elif not result.lockstep:
        verdict, role = "", HEADING
    else:
        verdict, role = ("NOT verified:", NOTE) if result.not_verified else ("kernel and model agree:", CLEAN)
    if result.overlaps:
        lines += finding_lines(result.overlaps, terminal)
        told += f"; {summary(result.overlaps)}"
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
