# SPDX-License-Identifier: GPL-2.0-or-later
"""Checking a state: a `Snapshot` in, every `Finding` out, in the order of its allocator's table.

Each row of a table is one rule of what always holds between two operations; its function yields what breaks it.
A check that cannot apply (no links in a model's snapshot, no firmware map) yields nothing. Checks never import a
model: one mistake must not hide in both. `log-divergence`, the last code, comes from replaying a guest's log.

The order of a table is the order of the report: damaged structure first, then wrong contents, then what the rest
of the system makes of it.
"""

from __future__ import annotations

from itertools import islice

from gdb_lmb.allocators.base import allocator
from gdb_lmb.allocators.check import Facts
from gdb_lmb.core.snapshot import Finding, Snapshot
from gdb_lmb.core.words import FINDING, NOTE

MAX_LISTED = {FINDING: 100, NOTE: 8}
"""How many of one code are listed; the rest is counted in one more of the same code."""


def check(snapshot: Snapshot) -> list[Finding]:
    """Return every finding and note about `snapshot`, in the order of its allocator's table."""
    findings: list[Finding] = []
    facts = Facts(snapshot)
    for row in allocator(snapshot.layout).checks:
        faults = row.run(facts)
        findings += [
            Finding(row.code, row.severity, f.what, f.addresses) for f in islice(faults, MAX_LISTED[row.severity])
        ]
        more = sum(1 for _ in faults)
        if more:
            findings.append(Finding(row.code, row.severity, f"{more} more of this kind, not listed"))
    return findings
