# SPDX-License-Identifier: GPL-2.0-or-later
"""The typed client of the lmb commands' JSON: what it takes, what it refuses, and real commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gdb_lmb.core.errors import InfrastructureError
from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.results import SCHEMAS, Attached, CheckResult, State, TraceStatus, Verdict, read
from gdb_lmb.runner.session import GuestSession
from tests.helpers.schemas import file_of

STATUS = {
    "schema": "gdb-lmb/trace-status/1", "running": False, "ended": None, "complete": True, "write_error": None,
    "records": 3, "stops": 6, "compared": 3, "divergence": None, "findings": [],
}  # fmt: skip


def test_json_is_read_as_its_schema_has_it() -> None:
    status = read(TraceStatus, f"lmb-trace: ended{json.dumps(STATUS)}\nmore said\n")
    assert (status.running, status.complete, status.ended, status.findings) == (False, True, None, ())
    # Of another release: a member more, and one less that was not always written.
    told = {"schema": "gdb-lmb/snapshot/1", "layout": "memblock", "phase": "active", "new": [1, {"a": None}]}
    assert read(State, json.dumps(told)) == State("memblock", "active", None)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": "gdb-lmb/check/1"}, "another schema"),
        ({"schema": None}, "another schema"),
        ({"running": 0}, "'running' is 0"),
        ({"ended": False}, "'ended' is False"),
        ({"complete": None}, "'complete' is None"),
        ({"divergence": []}, r"'divergence' is \[\]"),
        ({"findings": {}}, "'findings' is {}"),
        ({"findings": [{"code": "x", "severity": "finding", "message": "m"}]}, "has no 'addresses'"),
        ({"findings": ["gap"]}, "an element of 'findings' is 'gap'"),
    ],
)
def test_json_of_another_shape_is_one_clear_error(change: dict[str, object], says: str) -> None:
    with pytest.raises(InfrastructureError, match=rf"^no gdb-lmb/trace-status/1 from gdb: .*{says}") as caught:
        read(TraceStatus, json.dumps(STATUS | change))
    assert "\n" not in str(caught.value)
    without = {name: value for name, value in STATUS.items() if name not in change or name == "schema"}
    with pytest.raises(InfrastructureError):
        read(TraceStatus, json.dumps(without | ({"schema": "x"} if "schema" in change else {})))


@pytest.mark.kernel
def test_json_of_the_commands_themselves(fixture_kernel: Path) -> None:
    with GuestSession(fixture_kernel, QemuOptions(append="lmb.fault=overlap")) as guest:
        guest.run_until("lmb_ready")
        result = guest.result(CheckResult, "lmb-check --json")
        shown = guest.command("lmb-check --json").splitlines()[-1]
        assert [finding._asdict() | {"addresses": list(finding.addresses)} for finding in result.findings] == (
            json.loads(shown)["findings"]
        )
        assert result.exit_status == guest.verdict().exit_status == 1 and result.layout == "lmb-list"
        assert guest.result(State, "lmb-dump --json") == State("lmb-list", None, False)


@pytest.mark.parametrize("kind", [CheckResult, State, Attached, TraceStatus, Verdict])
def test_members_are_those_of_the_schema(kind: Any) -> None:
    """What the client needs is always written, and what it may lack is a member of the schema too."""
    text = file_of(SCHEMAS[kind]).read_text()
    for name in kind._fields:
        assert name in json.loads(text)["required"] or (name in kind._field_defaults and f'"{name}":' in text), name
