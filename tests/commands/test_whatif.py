# SPDX-License-Identifier: GPL-2.0-or-later
"""`lmb-whatif` on the fixture kernel: what it says, and that the guest then does just that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import GuestSession

pytestmark = pytest.mark.kernel

SCRIPT = Path(__file__).parent.parent / "helpers" / "predict_in_gdb.py"
Json = dict[str, Any]


def printed(guest: GuestSession, expression: str) -> int:
    """Return a number that gdb itself evaluates."""
    return int(guest.command(f"output/d {expression}"))


def logged_allocs(guest: GuestSession, skip: int) -> list[int]:
    """Return what each lmb_alloc() returned according to the guest's own log: its base, or its errno."""
    script = (
        "python import json; log = gdb.parse_and_eval('lmb_log'); nr = int(log['nr']); "
        "alloc = int(gdb.parse_and_eval('LMB_OP_ALLOC')); rows = [log['ring'][i] for i in range(nr)]; "
        "print(json.dumps([int(r['error']) or int(r['result']) for r in rows if int(r['op']) == alloc]))"
    )
    return list(json.loads(guest.command(script, timeout_s=60)))[skip:]


def applied(regions: list[Json], changes: list[Json]) -> list[Json]:
    """Return a list of regions after predicted changes."""
    plain = [{key: row[key] for key in ("base", "size", "flags")} for row in regions]
    for change in changes:
        for row in change["before"]:
            plain.remove(row)
        plain += change["after"]
    return sorted(plain, key=lambda row: int(row["base"], 16))


def check_sample(sample: Json, answer: Json) -> None:
    """Check that the state after a call is the one before it with the predicted changes."""
    before, after = sample["before"], sample["after"]
    for name in ("memory", "reserved"):
        changes = [change for change in answer["changes"] if change["list"] == name]
        assert applied(before[name]["regions"], changes) == applied(after[name]["regions"], [])
    assert answer["entries"]["free"] == [before["nr_free"], after["nr_free"]]
    gained = after["blocks"][len(before["blocks"]) :]
    assert [(b["base"], b["entries"]) for b in answer["blocks"]] == [(b["base"], b["entries"]) for b in gained]


@pytest.mark.parametrize("direction", ["top-down", "bottom-up"])
def test_the_guest_does_what_was_predicted(fixture_kernel: Path, direction: str) -> None:
    append = "lmb.scenario=random lmb.static=8 lmb.ops=3300 lmb.block_size=1024 lmb.seed=11"
    append += " lmb.bottom_up" if direction == "bottom-up" else ""
    with GuestSession(fixture_kernel, QemuOptions(append=append, memory="64M"), timeout_s=120) as guest:
        guest.run_until("scenario_random")
        before = len(logged_allocs(guest, 0))
        guest.command(f"source {SCRIPT}")
        guest.run_until("lmb_ready")
        seen = json.loads(guest.command("lmb-test-answers"))
        returned = logged_allocs(guest, before)
        assert printed(guest, "lmb_log.nr") < 16384, "the log has wrapped"
        assert guest.verdict().exit_status == 0
    predicted = [int(a["result"], 16) if isinstance(a["result"], str) else a["result"] for a in seen["answers"]]
    assert predicted == returned
    # It must have been worth asking: 1,000 calls in both directions together, of every outcome, with growths.
    assert len(returned) > 520
    assert {-12, -22} <= {result for result in returned if result < 0}
    assert sum(bool(answer["blocks"]) for answer in seen["answers"]) > 10
    assert len(seen["samples"]) > 20
    for sample in seen["samples"]:
        check_sample(sample, seen["answers"][sample["number"]])


def test_a_mark_does_what_was_predicted(fixture_kernel: Path) -> None:
    with GuestSession(fixture_kernel, QemuOptions(append="lmb.mark=0x2000000,0x100000,4")) as guest:
        guest.run_until("mark_memory")
        before = json.loads(guest.command("lmb-dump --json"))
        answer = json.loads(guest.command("lmb-whatif mark 0x2000000 1M --flags NOMAP --json"))
        refused = guest.command("lmb-whatif mark 0x2000000 1M --flags NOMAP|HOTPLUG")
        guest.run_until("init_mem_mapping")
        check_sample({"before": before, "after": json.loads(guest.command("lmb-dump --json"))}, answer)
    assert answer["result"] == 0 and answer["function"] == "lmb_mark"
    assert [row["flags"] for row in answer["changes"][0]["after"]] == [0, 4, 0]
    assert "fails with -EINVAL (-22): flags 0x5 is not one of HOTPLUG, MIRROR and NOMAP" in refused
