# SPDX-License-Identifier: GPL-2.0-or-later
"""The results of checks as workflow commands of GitHub Actions, and as the summary of a step.

GitHub shows ten annotations of a kind for each step and drops the rest without a word: what a kernel did wrong is an
`error`, infrastructure a `warning`, what could not be verified a `notice`, so that none of them takes another's place.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections import defaultdict
from pathlib import Path

from gdb_lmb.core.suite import SuiteResult
from gdb_lmb.core.words import printable
from gdb_lmb.report.suite_text import KERNELS, LINE, UNKNOWN, counted, details, name_of, problems, worst_first

SHOWN = 10
"""How many annotations of a kind GitHub shows."""

SUMMARY_BYTES = 1 << 20
"""The most that a step's summary may hold: of a larger one GitHub shows nothing."""

SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"
"""The environment variable with the path of the file to which a step's summary is appended."""

_CUT = "\n(cut: a summary holds 1 MiB at most)\n"


def write(suite: SuiteResult) -> str:
    """Return the annotations, the worst first, which are obeyed where they are printed in a step."""
    found: dict[str, list[str]] = defaultdict(list)
    for case in worst_first(suite.cases):
        kind = "error" if case.outcome in KERNELS else "warning" if case.outcome in UNKNOWN else "notice"
        file = "" if case.golden is None else f"file={_property(str(case.golden))},"
        for problem in problems(case):
            title = _property(f"{name_of(case)}: {problem.kind}")
            found[kind].append(f"::{kind} {file}title={title}::{_message(problem.text)}")
    lines = []
    for kind, all_of_it in found.items():
        lines += all_of_it[:SHOWN]
        if len(all_of_it) > SHOWN:
            lines.append(f"{len(all_of_it) - SHOWN} more of kind {kind}: {_where_all_are(suite)}")
    return "\n".join([*lines, counted(suite)]) + "\n"


# Of the summary that comes after this report.
def _where_all_are(suite: SuiteResult) -> str:
    name = os.environ.get(SUMMARY_VARIABLE)
    if not name:
        return f"there is no summary ({SUMMARY_VARIABLE} is not set), --report text=FILE has all of them"
    held = 0
    with contextlib.suppress(OSError):  # it need not be there yet
        held = Path(name).stat().st_size  # other commands of the step may have written into it
    if held + len(summary(suite, sys.maxsize).encode()) > SUMMARY_BYTES:
        return "the step's summary is cut at 1 MiB, --report text=FILE has all of them"
    return "all of them are in the step's summary"


def summary(suite: SuiteResult, room: int = SUMMARY_BYTES) -> str:
    """Return everything as Markdown, the worst first, in at most `room` bytes."""
    lines = [f"### {_markdown(suite.name)}", "", _markdown(counted(suite)), ""]
    lines += ["| outcome | case | seconds | problem |", "|---|---|---|---|"]
    cases = worst_first(suite.cases)
    for case in cases:
        told = [f"{problem.kind}: {problem.text}" for problem in problems(case)] or [""]
        head = f"| {case.outcome} | {_markdown(name_of(case))} | {case.seconds:.1f} |"
        lines += [f"{head} {_markdown(text)} |" for text in told]
    for case in cases:
        if not case.passed:
            # An indented block ends nowhere but at a line that is not.
            lines += ["", f"{_markdown(name_of(case))}:", "", *(f"    {line}" for line in details(case))]
    return _bounded("\n".join(lines) + "\n\n", room)


# As much of the text as fits into `room` bytes, in whole lines, with a word that there was more.
def _bounded(text: str, room: int) -> str:
    data = text.encode()
    if len(data) <= room:
        return text
    cut = data[: room - len(_CUT)]
    kept = cut[: cut.rfind(b"\n") + 1].decode()
    return kept + _CUT if room >= len(_CUT) else ""


# Source: docs.github.com, "Workflow commands for GitHub Actions"; `escapeData` of actions/toolkit, command.ts.
def _message(text: str) -> str:
    return printable(text, LINE).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def _markdown(text: str) -> str:
    """Return text of which a table or a heading takes nothing for markup."""
    escaped = printable(text, LINE).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{c}" if c in "\\`*_[]|#~!@" else c for c in escaped)
