# SPDX-License-Identifier: GPL-2.0-or-later
"""What the commands of this gdb have found so far: the verdict that `lmb-verdict` prints.

`$lmb_status` always holds the verdict of the last command: 0 clean, 1 findings, 5 not verified.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gdb_lmb.commands.base import set_variable
from gdb_lmb.region import FINDING, Finding
from gdb_lmb.report.jsonio import VERDICT_SCHEMA


class Session:
    """The checks made since gdb started, or since the last reset."""

    def __init__(self) -> None:
        self.checks: list[dict[str, Any]] = []

    def record(self, command: str, findings: Sequence[Finding], not_verified: Sequence[str]) -> None:
        """Note the outcome of one command."""
        faults = sum(finding.severity == FINDING for finding in findings)
        self.checks.append(
            {
                "command": command,
                "findings": faults,
                "notes": len(findings) - faults,
                "not_verified": list(not_verified),
            }
        )
        status = 5 if "torn" in not_verified else 1 if faults else 5 if not_verified else 0
        set_variable("lmb_status", status)
        set_variable("lmb_findings", faults)

    def verdict(self) -> dict[str, Any]:
        """Return the verdict as JSON values of schema `gdb-lmb/verdict/1`."""
        return {"schema": VERDICT_SCHEMA, "checks": self.checks}


SESSION = Session()
