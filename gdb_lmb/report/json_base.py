# SPDX-License-Identifier: GPL-2.0-or-later
"""What several JSON formats share: the name of the schema of snapshots, and a finding."""

from __future__ import annotations

from gdb_lmb.core.json_values import Json
from gdb_lmb.core.snapshot import Finding
from gdb_lmb.core.words import safe

SNAPSHOT_SCHEMA = "gdb-lmb/snapshot/1"


def finding_json(finding: Finding) -> Json:
    """Return one finding as JSON values."""
    return {
        "code": finding.code,
        "severity": finding.severity,
        "message": safe(finding.message, 1000),
        "addresses": [hex(value) for value in finding.addresses],
    }
