# SPDX-License-Identifier: GPL-2.0-or-later
"""What the commands of this gdb have found so far: the verdict that `lmb-verdict` prints.

`$lmb_status` always holds the verdict of the last command: 0 clean, 1 findings, 5 not verified; of one that failed 2,
4 for trouble with QEMU or gdb, 5 where there is nothing to judge yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gdb_lmb.commands.base import set_variable
from gdb_lmb.core.record import Record, Symbol, TraceHeader
from gdb_lmb.core.snapshot import FINDING, Finding
from gdb_lmb.report.jsonio import VERDICT_SCHEMA
from gdb_lmb.report.statuses import status_of_outcome


class KeptTrace(Protocol):
    """What `lmb-trace` keeps of a boot, for others to ask: it puts itself into `SESSION.trace`.

    `symbols` holds what program counters mean as far as that was looked up.
    """

    @property
    def header(self) -> TraceHeader:
        """Return what the trace is of, and the state it begins with."""

    @property
    def records(self) -> Sequence[Record]:
        """Return the operations so far."""

    @property
    def symbols(self) -> Mapping[int, Symbol]:
        """Return what program counters mean, by address."""


class Session:
    """The checks made since gdb started, or since the last reset, and the trace that is kept (None: none).

    The same finding of two commands, as of lmb-dump and then of lmb-check, counts once.
    """

    def __init__(self) -> None:
        self.checks: list[dict[str, Any]] = []
        self._found: Counter[Finding] = Counter()
        self.trace: KeptTrace | None = None

    def record(self, command: str, findings: Sequence[Finding], not_verified: Sequence[str]) -> None:
        """Note the outcome of one command."""
        faults = sum(finding.severity == FINDING for finding in findings)
        self._found |= Counter(finding for finding in findings if finding.severity == FINDING)
        self.checks.append(
            {
                "command": command,
                "findings": faults,
                "notes": len(findings) - faults,
                "not_verified": list(not_verified),
            }
        )
        set_variable("lmb_status", int(status_of_outcome(faults, not_verified)))
        set_variable("lmb_findings", faults)

    def verdict(self) -> dict[str, Any]:
        """Return the verdict as JSON values of schema `gdb-lmb/verdict/1`."""
        return {"schema": VERDICT_SCHEMA, "checks": self.checks, "findings": self._found.total()}

    def forget(self) -> None:
        """Begin anew with no check; a trace stays."""
        self.checks.clear()
        self._found.clear()


SESSION = Session()
