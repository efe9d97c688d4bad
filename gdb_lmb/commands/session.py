# SPDX-License-Identifier: GPL-2.0-or-later
"""The checks that the commands of this gdb have made so far, for `lmb-verdict`, and the trace that is kept.

`$lmb_status` holds the status of the last command, by the tables of report/statuses.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gdb

from gdb_lmb.core.errors import NotReadyError
from gdb_lmb.core.snapshot import FINDING, Finding
from gdb_lmb.report.jsonio import VERDICT_SCHEMA
from gdb_lmb.report.statuses import status_of_outcome

if TYPE_CHECKING:
    from gdb_lmb.tracing.session import TraceSession


class Session:
    """The checks made since gdb started, or since the last reset, and the trace that is kept (None: none).

    The same finding of two commands, such as lmb-dump and lmb-check, counts once.
    """

    def __init__(self) -> None:
        self.checks: list[dict[str, Any]] = []
        self._found: Counter[Finding] = Counter()
        self.trace: TraceSession | None = None

    def require_trace(self) -> TraceSession:
        """Return the trace. Raises: `NotReadyError` where there is none."""
        if self.trace is None:
            raise NotReadyError("nothing was traced yet: begin with `lmb-trace start`")
        return self.trace

    def record(self, command: str, findings: Sequence[Finding], not_verified: Sequence[str]) -> None:
        """Add the outcome of one command, and set `$lmb_status` and `$lmb_findings`."""
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
        gdb.set_convenience_variable("lmb_status", int(status_of_outcome(faults, not_verified)))
        gdb.set_convenience_variable("lmb_findings", faults)

    def verdict(self) -> dict[str, Any]:
        """Return the verdict as JSON values of schema `gdb-lmb/verdict/1`."""
        return {"schema": VERDICT_SCHEMA, "checks": self.checks, "findings": self._found.total()}

    def forget(self) -> None:
        """Forget all checks; the trace stays."""
        self.checks.clear()
        self._found.clear()


SESSION = Session()
