# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdict: what `lmb-verdict` says in gdb, read strictly, and the exit status that follows from it.

Nothing else is a verdict: gdb exits with 0 after failures. What is missing or damaged is never clean.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from gdb_lmb.core.errors import InfrastructureError
from gdb_lmb.core.words import printable
from gdb_lmb.report.statuses import ExitStatus, status_of_outcome

SCHEMA = "gdb-lmb/verdict/1"


class Check(NamedTuple):
    """What one lmb command found: counts, and what it could not verify."""

    command: str
    findings: int
    notes: int
    not_verified: tuple[str, ...]


class Verdict(NamedTuple):
    """What all lmb commands of a run found together; `total` counts what two of them found once, if that is known."""

    checks: tuple[Check, ...]
    total: int | None = None

    @property
    def findings(self) -> int:
        """Count the findings."""
        return sum(check.findings for check in self.checks) if self.total is None else self.total

    @property
    def not_verified(self) -> tuple[str, ...]:
        """List what was not verified, each once, in order."""
        return tuple(dict.fromkeys(what for check in self.checks for what in check.not_verified))

    @property
    def exit_status(self) -> ExitStatus:
        """Return the status that follows."""
        return status_of_outcome(self.findings, self.not_verified)

    def in_words(self) -> str:
        """Say in one line what the exit status alone does not."""
        words = []
        if self.findings:
            words.append(f"{self.findings} finding{'s' if self.findings > 1 else ''}")
        if self.not_verified:
            words.append("not verified: " + ", ".join(printable(what, 80) for what in self.not_verified))
        if not self.checks:
            words.append("no command that checks ran: nothing was verified")
        return "; ".join(words) or "clean"


def parse_verdict(output: str) -> Verdict:
    """Read the one line of JSON in `output`.

    Raises: InfrastructureError if it is not there exactly once, or is not as the schema has it.
    """
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if len(lines) != 1:
        raise InfrastructureError(f"no verdict from gdb (lmb-verdict said {printable(output, 200)!r})")
    try:
        data = json.loads(lines[0])
    except ValueError as error:
        raise InfrastructureError(f"the verdict from gdb is damaged: {error}") from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA or not isinstance(data.get("checks"), list):
        raise InfrastructureError(f"the verdict from gdb is not {SCHEMA}: {printable(lines[0], 200)}")
    checks = tuple(_check(entry) for entry in data["checks"])
    counts = [check.findings for check in checks]
    total = data.get("findings")
    if total is not None and (type(total) is not int or not max(counts, default=0) <= total <= sum(counts)):
        raise InfrastructureError(f"the verdict from gdb counts {printable(repr(total), 40)} findings in {counts}")
    return Verdict(checks, total)


def _check(entry: object) -> Check:
    """Read one element of `checks`."""
    if isinstance(entry, dict):
        command, not_verified = entry.get("command"), entry.get("not_verified")
        findings, notes = entry.get("findings"), entry.get("notes")
        if (
            isinstance(command, str)
            and isinstance(not_verified, list)
            and all(isinstance(what, str) for what in not_verified)
            and type(findings) is int
            and type(notes) is int
            and findings >= 0
            and notes >= 0
        ):
            return Check(command, findings, notes, tuple(not_verified))
    raise InfrastructureError(f"the verdict from gdb has a damaged check: {printable(repr(entry), 200)}")
