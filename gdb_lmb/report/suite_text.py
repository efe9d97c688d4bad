# SPDX-License-Identifier: GPL-2.0-or-later
"""The results of checks as text, and what all their reports share: the problems of a case, and how they are ordered."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from gdb_lmb.core.suite import CaseResult, Outcome, SuiteResult
from gdb_lmb.core.words import FINDING, plural, printable
from gdb_lmb.report.statuses import ExitStatus, status_of_run

KERNELS: tuple[Outcome, ...] = ("died", "findings", "differs")
"""Outcomes of a kernel that failed, the worst first."""

UNKNOWN: tuple[Outcome, ...] = ("infrastructure", "usage")
"""Outcomes of a run that failed, and says nothing about its kernel."""

_WORST_FIRST: tuple[Outcome, ...] = (*KERNELS, *UNKNOWN, "not verified", "passed")
# As a number of cases is told.
_COUNTED: dict[Outcome, str] = {
    "findings": "with findings",
    "differs": "different",
    "infrastructure": "stopped by the infrastructure",
    "usage": "asked wrongly",
}
LINE = 1000
"""The longest line of a report, in characters."""


class Problem(NamedTuple):
    """One reason why a case did not pass: a `kind` of change, a code of a finding, or its outcome; one line of text."""

    kind: str
    text: str


def problems(case: CaseResult) -> list[Problem]:
    """Return why a case did not pass, the worst first; each text is one line without a control character."""
    if case.passed:
        return []
    found = [Problem(one.code, one.message) for one in case.findings if one.severity == FINDING]
    stops = {one.at for one in case.changes}
    found += [Problem(one.kind, f"{one.at}: {one.words}" if len(stops) > 1 else one.words) for one in case.changes]
    if not found or case.outcome not in ("findings", "differs"):
        found.insert(0, Problem(case.outcome, next(iter(case.lines), case.outcome)))
    return [Problem(printable(kind, 80), printable(text, LINE) or "no words") for kind, text in found]


def worst_first(cases: Iterable[CaseResult]) -> list[CaseResult]:
    return sorted(cases, key=lambda case: _WORST_FIRST.index(case.outcome))


def name_of(case: CaseResult) -> str:
    """Return a case's name as one line that is not empty."""
    return printable(case.name, LINE).strip() or "unnamed"


def status_of(suite: SuiteResult) -> ExitStatus:
    """Return the exit status of all cases together."""
    return status_of_run(ExitStatus(case.status) for case in suite.cases)


def counted(suite: SuiteResult) -> str:
    """Return in words how many cases came to what: "3 cases: 1 different, 2 passed"."""
    counts = Counter(case.outcome for case in suite.cases)
    told = ", ".join(
        f"{counts[outcome]} {_COUNTED.get(outcome, outcome)}" for outcome in _WORST_FIRST if counts[outcome]
    )
    return plural(len(suite.cases), "case") + (f": {told}" if told else "")


def write(suite: SuiteResult) -> str:
    """Return the report for people: a line for each case, what it told below it, and the counts."""
    lines = [f"{printable(suite.name, LINE)}: {counted(suite)}"]
    lines += [f"  {printable(name, 80)}: {printable(value, LINE)}" for name, value in suite.properties.items()]
    for case in suite.cases:
        lines.append(f"{case.outcome}: {name_of(case)} ({case.seconds:.1f} s)")
        lines += [f"  {line}" for line in details(case)]
    return "\n".join(lines) + "\n"


def details(case: CaseResult) -> list[str]:
    """Return what is told of one case, line by line: what it printed, and what nobody has said there."""
    told = [printable(line, LINE) for line in case.lines]
    told += [f"{kind}: {text}" for kind, text in problems(case) if not any(text in line for line in told)]
    if case.command and not case.passed:
        told.append(f"repeat it with: {shlex.join(printable(word, LINE) for word in case.command)}")
    if case.artefacts is not None:
        told.append(f"kept in: {printable(str(case.artefacts), LINE)}")
    return told
