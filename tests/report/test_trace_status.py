# SPDX-License-Identifier: GPL-2.0-or-later
"""What `lmb-trace status` says of a trace, as a person and as a program reads it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gdb_lmb.analysis.lockstep import Divergence
from gdb_lmb.core.operation import Record
from gdb_lmb.core.snapshot import Finding
from gdb_lmb.core.words import FINDING, NOTE
from gdb_lmb.report.terminal import Terminal
from gdb_lmb.report.trace_text import TraceResult, status_json, status_text
from tests.helpers.operations import op

AGREED = TraceResult(
    running=False, records=21, stops=42, ended="the allocator has handed over", complete=True, write_error=None,
    inside=None, unread=None, lockstep=True, compared=True, divergence=None, overlaps=(), symbols={}, bits=64,
    flag_names={},
)  # fmt: skip
DIVERGENCE = Divergence("result", Record(3, op("free_all"), -22), 2, "it returned -EINVAL (-22)", 0, -22)
OVER = Finding("reserved-over-allocation", FINDING, "4 KiB at 0x1000", (0x1000,))
TWICE = Finding("reserved-twice", NOTE, "4 KiB at 0x2000", (0x2000,))

TEXTS: list[tuple[TraceResult, str]] = [
    (AGREED, "lmb-trace: kernel and model agree: 21 operations recorded, until the allocator has handed over"),
    (
        replace(AGREED, running=True, ended=None, complete=False, compared=False, records=1),
        "lmb-trace: running, 1 operation recorded",
    ),
    (
        replace(AGREED, lockstep=False, compared=False, ended="it was stopped"),
        "lmb-trace: 21 operations recorded, until it was stopped",
    ),
    (
        replace(AGREED, compared=False, ended="it was stopped", inside=op("add", 0x1000, 0x2000)),
        "lmb-trace: NOT verified: 21 operations recorded, until it was stopped "
        "(inside add(base=0x1000, size=0x2000, flags=0x0), which is not recorded)",
    ),
    (
        replace(AGREED, compared=False, unread="no such memory"),
        "lmb-trace: the last state cannot be read: no such memory\n"
        "lmb-trace: NOT verified: 21 operations recorded, until the allocator has handed over",
    ),
    (
        replace(AGREED, write_error="cannot write x: disk full"),
        "lmb-trace: kernel and model agree: 21 operations recorded, until the allocator has handed over; "
        "cannot write x: disk full",
    ),
    (
        replace(AGREED, ended="cannot write x: disk full", write_error="cannot write x: disk full"),
        "lmb-trace: kernel and model agree: 21 operations recorded, until cannot write x: disk full",
    ),
    (
        replace(AGREED, unverified="u" * 1001, unjudged="what `f` called is not known"),
        "lmb-trace: NOT verified: 21 operations recorded, until the allocator has handed over; "
        f"{'u' * 1000}...; what `f` called is not known",
    ),
    (
        replace(AGREED, unverified="unknown", lockstep=False),
        "lmb-trace: 21 operations recorded, until the allocator has handed over",
    ),
    (
        replace(AGREED, overlaps=(OVER, TWICE)),
        "finding: reserved-over-allocation: 4 KiB at 0x1000\n"
        "note: reserved-twice: 4 KiB at 0x2000\n"
        "lmb-trace: kernel and model agree: 21 operations recorded, until the allocator has handed over; "
        "1 finding, 1 note",
    ),
]


@pytest.mark.parametrize(("result", "text"), TEXTS, ids=range(len(TEXTS)))
def test_what_is_said(result: TraceResult, text: str) -> None:
    assert status_text(result) == text


def test_a_divergence_comes_first() -> None:
    lines = status_text(replace(AGREED, divergence=DIVERGENCE, ended="they differ", overlaps=(OVER,))).splitlines()
    assert lines[0] == "kernel and model differ after operation 3 free_all(): it returned -EINVAL (-22)"
    assert lines[-2].startswith("finding: reserved-over-allocation")
    assert lines[-1].startswith("lmb-trace: kernel and model differ: 21 operations recorded, until they differ; ")


@pytest.mark.parametrize(
    ("result", "sgr"),
    [
        (AGREED, "32"),
        (replace(AGREED, compared=False), "33"),
        (replace(AGREED, lockstep=False), "1"),
        (replace(AGREED, divergence=DIVERGENCE), "1;31"),
        (replace(AGREED, overlaps=(OVER,)), "1;31"),
        (replace(AGREED, overlaps=(TWICE,)), "32"),
    ],
)
def test_its_colour_is_that_of_the_worst(result: TraceResult, sgr: str) -> None:
    assert status_text(result, Terminal(color=True)).splitlines()[-1].startswith(f"\x1b[{sgr}mlmb-trace:")


def test_what_counts_for_the_verdict() -> None:
    assert (AGREED.is_check, AGREED.findings, AGREED.not_verified) == (True, [], [])
    assert replace(AGREED, compared=False).not_verified == ["trace-not-compared"]
    assert not replace(AGREED, lockstep=False, compared=False).is_check
    recorded = replace(AGREED, lockstep=False, compared=False, overlaps=(OVER,))
    assert (recorded.is_check, recorded.findings, recorded.not_verified) == (True, [OVER], [])
    differs = replace(AGREED, compared=False, divergence=DIVERGENCE, overlaps=(TWICE,))
    assert [finding.code for finding in differs.findings] == ["trace-divergence", "reserved-twice"]
    assert differs.not_verified == []


def test_json() -> None:
    data = json.loads(json.dumps(status_json(replace(AGREED, divergence=DIVERGENCE, overlaps=(TWICE,)))))
    assert data["divergence"]["kind"] == "result"
    assert [finding["severity"] for finding in data["findings"]] == ["finding", "note"]
    del data["divergence"], data["findings"]
    assert data == {
        "schema": "gdb-lmb/trace-status/1", "running": False, "ended": "the allocator has handed over",
        "complete": True, "write_error": None, "records": 21, "stops": 42, "compared": True,
    }  # fmt: skip
