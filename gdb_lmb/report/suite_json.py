# SPDX-License-Identifier: GPL-2.0-or-later
"""The results of checks as JSON of schema `gdb-lmb/suite/1`, both ways: a boot of many is a process of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

from gdb_lmb.core.errors import InputError
from gdb_lmb.core.golden import Change, Item
from gdb_lmb.core.snapshot import Finding
from gdb_lmb.core.suite import CaseResult, Outcome, SuiteResult
from gdb_lmb.core.words import printable, safe
from gdb_lmb.report.changes import change_json
from gdb_lmb.report.json_base import finding_json
from gdb_lmb.report.suite_text import LINE, name_of, status_of

SUITE_SCHEMA = "gdb-lmb/suite/1"


def write(suite: SuiteResult) -> str:
    """Return the report, one JSON document."""
    return json.dumps(suite_json(suite)) + "\n"


def suite_json(suite: SuiteResult) -> dict[str, Any]:
    """Return the results of checks as JSON values."""
    return {
        "schema": SUITE_SCHEMA,
        "name": printable(suite.name, LINE),
        "status": int(status_of(suite)),
        "properties": {printable(name, LINE): printable(value, LINE) for name, value in suite.properties.items()},
        "cases": [_case_json(case) for case in suite.cases],
    }


def _case_json(case: CaseResult) -> dict[str, Any]:
    return {
        "name": name_of(case),
        "outcome": case.outcome,
        "status": int(case.status),
        "seconds": round(case.seconds, 3),
        "changes": [change_json(change) for change in case.changes],
        "findings": [finding_json(finding) for finding in case.findings],
        "lines": [printable(line, LINE) for line in case.lines],
        "command": [printable(word, LINE) for word in case.command],
        "artefacts": _path(case.artefacts),
        "golden": _path(case.golden),
    }


def _path(path: Path | None) -> str | None:
    return None if path is None else printable(str(path), 4096)


def read(text: str) -> SuiteResult:
    """Return the results that a document tells of. Raises: `InputError`."""
    try:
        data = json.loads(text)
        if data["schema"] != SUITE_SCHEMA:
            raise InputError(f"this is {safe(str(data['schema']))!r}, not results of schema {SUITE_SCHEMA}")
        cases = tuple(_case(row) for row in data["cases"])
        return SuiteResult(str(data["name"]), cases, {str(k): str(v) for k, v in data["properties"].items()})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"these are no results of schema {SUITE_SCHEMA}: {safe(repr(error), 200)}") from None


def _case(row: dict[str, Any]) -> CaseResult:
    if row["outcome"] not in get_args(Outcome):
        raise ValueError(f"outcome {row['outcome']!r}")
    return CaseResult(
        name=row["name"],
        outcome=row["outcome"],
        status=row["status"],
        seconds=row["seconds"],
        changes=tuple(_change(one) for one in row["changes"]),
        findings=tuple(
            Finding(one["code"], one["severity"], one["message"], tuple(int(at, 16) for at in one["addresses"]))
            for one in row["findings"]
        ),
        lines=tuple(row["lines"]),
        command=tuple(row["command"]),
        artefacts=None if row["artefacts"] is None else Path(row["artefacts"]),
        golden=None if row["golden"] is None else Path(row["golden"]),
    )


def _change(row: dict[str, Any]) -> Change:
    return Change(row["kind"], row["list"], row["words"], _item(row["before"]), _item(row["after"]), row["at"])


def _item(row: dict[str, Any] | None) -> Item | None:
    return None if row is None else Item(**row | {"base": int(row["base"], 16), "size": int(row["size"], 16)})
