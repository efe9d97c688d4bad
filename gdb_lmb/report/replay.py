# SPDX-License-Identifier: GPL-2.0-or-later
"""What replaying a saved trace showed, for people and as JSON of schema `gdb-lmb/replay/1`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gdb_lmb.analysis.lockstep import Divergence
from gdb_lmb.analysis.replay import Replay
from gdb_lmb.core.snapshot import FLAG_NAMES, Finding
from gdb_lmb.core.words import FINDING, plural, safe
from gdb_lmb.report.divergence import divergence_json, divergence_text, headline, symbols_json
from gdb_lmb.report.jsonio import finding_json
from gdb_lmb.report.terminal import BAD, CLEAN, HEADING, NOTE, PLAIN, Terminal
from gdb_lmb.report.text import finding_lines, summary
from gdb_lmb.report.trace_file import TraceReader

REPLAY_SCHEMA = "gdb-lmb/replay/1"
DIVERGENCE_CODE = "trace-divergence"


def divergence_findings(divergence: Divergence | None) -> list[Finding]:
    """Return a divergence as a finding, none where there is none."""
    if divergence is None:
        return []
    addresses = () if divergence.address is None else (divergence.address,)
    return [Finding(DIVERGENCE_CODE, FINDING, headline(divergence), addresses)]


def replay_text(
    reader: TraceReader,
    replay: Replay,
    findings: Sequence[Finding],
    not_verified: str | None,
    terminal: Terminal = PLAIN,
) -> str:
    """Return what `gdb-lmb replay` prints: a divergence in full, findings, and one line that says what was verified."""
    header, divergence = reader.header, replay.divergence
    title = f"trace of {header.layout} on {safe(header.arch)}, from {_SOURCES[header.source]}"
    lines = [terminal.paint(title, HEADING)]
    if divergence is not None:
        names = FLAG_NAMES if header.initial is None else header.initial.flag_names
        lines.append(divergence_text(divergence, reader.symbols, header.bits, names, terminal))
    lines += finding_lines(findings, terminal)
    done = f"{plural(replay.replayed, 'operation')} replayed on the model"
    every = [*divergence_findings(divergence), *findings]
    if any(finding.severity == FINDING for finding in every):
        role, verdict = BAD, summary(every)
    elif not_verified is not None:
        role, verdict = NOTE, "NOT verified"
    else:
        role, verdict = CLEAN, "verified" + (f" ({summary(every)[len('0 findings, ') :]})" if every else "")
    told = terminal.paint(f"gdb-lmb replay: {verdict}:", role)
    lines.append(f"{told} {done}" + (f"; {not_verified}" if not_verified else ""))
    return "\n".join(lines)


_SOURCES = {"breakpoints": "breakpoints", "log": "the kernel's own log"}


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
        "findings": [finding_json(finding) for finding in [*divergence_findings(divergence), *findings]],
        "divergence": None if divergence is None else divergence_json(divergence),
        "symbols": symbols_json(() if record is None else record.callers, reader.symbols),
    }
