# SPDX-License-Identifier: GPL-2.0-or-later
"""The results of checks as KTAP, version 1, which the kernel's own `kunit.py parse` reads.

Source: Documentation/dev-tools/ktap.rst, tools/testing/kunit/kunit_parser.py.
"""

from __future__ import annotations

import re

from gdb_lmb.core.suite import CaseResult, SuiteResult
from gdb_lmb.core.words import printable
from gdb_lmb.report.suite_text import LINE, details, name_of, problems

_HEADER = "KTAP version 1"
# Where a line has one of these, the parser takes the whole log to have ended. Source: `KTAP_END` in kunit_parser.py.
_ENDS = re.compile(r"List of all partitions:|Kernel panic - not syncing: VFS:|reboot: System halted")


def write(suite: SuiteResult) -> str:
    """Return the report: a result for each case, and below a kernel that failed one for each of its problems."""
    lines = [_HEADER]
    lines += [_comment(f"{name}: {value}") for name, value in suite.properties.items()]
    lines.append(f"1..{len(suite.cases)}")
    for number, case in enumerate(suite.cases, 1):
        lines += _case(number, case)
    return "\n".join(lines) + "\n"


def _case(number: int, case: CaseResult) -> list[str]:
    lines = [_comment(line) for line in details(case)]
    name = description(name_of(case))
    if case.passed:
        return [*lines, f"ok {number} {name}"]
    if case.outcome == "not verified":
        return [*lines, f"ok {number} {name} # SKIP not verified"]
    if case.outcome in ("infrastructure", "usage"):
        return [*lines, f"not ok {number} {name} # ERROR {case.outcome}"]
    found = problems(case)
    nested = [_HEADER, f"1..{len(found)}"]
    nested += [f"not ok {at} {description(f'{kind}: {text}')}" for at, (kind, text) in enumerate(found, 1)]
    return [*lines, *(f"  {line}" for line in nested), f"not ok {number} {name}"]


def description(text: str) -> str:
    """Return a test's description: one line without `#`, which begins a directive, and not the dash of TAP first."""
    return _unended(printable(text, LINE)).replace("#", "\\x23").strip().lstrip("- ") or "unnamed"


# A line that no reader takes for anything else. A kernel's log may hold KTAP itself.
def _comment(text: str) -> str:
    return f"# | {_unended(printable(text, LINE))}".rstrip()


def _unended(text: str) -> str:
    return _ENDS.sub(lambda found: f"\\x{ord(found[0][0]):02x}{found[0][1:]}", text)
