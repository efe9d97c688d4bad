# SPDX-License-Identifier: GPL-2.0-or-later
"""Lockstep on the fixture kernel: each fault is caught at the operation after which it struck, and told whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.faults import EXPECTED, LOG
from tests.helpers.live import BOOT_OPERATIONS, guest_of, no_breakpoint_is_left, status_of, traced

pytestmark = pytest.mark.kernel

FEW = ["overlap", "unsorted-memory", "count-mismatch-memory", "free-count-mismatch", "block-unreserved", "link-wild",
       "storage-corrupt", "storage-corrupt-switch"]  # fmt: skip

# What these damage is not the lists but a name, the log, the hand-over's table or nothing; or the guest itself calls
# the allocator, which does as it is told.
UNSEEN = {"reserved-outside-memory", "bad-name", "required-unreserved", "required-not-memory", "required-overlap",
          "log-divergence-result", "log-divergence-op", "log-divergence-init",
          "log-divergence-shorter"}  # fmt: skip
OF_LISTS = [kind for kind in EXPECTED if kind not in UNSEEN and "handover" not in kind]


def caught(kernel: Path, kind: str, after: int) -> None:
    with guest_of(kernel, f"lmb.scenario=random lmb.static=8 lmb.ops=100 lmb.fault={kind}@{after}") as guest:
        status = traced(guest)
        divergence = status["divergence"]
        assert divergence is not None, status
        assert (divergence["kind"], divergence["record"]["seq"]) == ("outside", BOOT_OPERATIONS + after)
        assert divergence["exact"]
        assert guest.command("output $lmb_status") == "1"
        # The guest stands there to be looked at.
        assert guest.command("bt 1").startswith("#0  lmb_ready")
        assert no_breakpoint_is_left(guest)
        assert guest.verdict().exit_status == 1


@pytest.mark.parametrize("kind", FEW)
def test_a_fault_is_caught_at_the_operation_after_which_it_struck(fixture_kernel: Path, kind: str) -> None:
    caught(fixture_kernel, kind, 30)


@pytest.mark.long
@pytest.mark.parametrize("kind", [kind for kind in OF_LISTS if kind not in FEW])
def test_every_fault_of_the_lists_is_caught(fixture_kernel: Path, kind: str) -> None:
    caught(fixture_kernel, kind, 80)


@pytest.mark.long
@pytest.mark.parametrize("after", [1, 2, 19, 50, 99, 100])
@pytest.mark.parametrize("kind", ["overlap", LOG])
def test_a_fault_is_caught_wherever_it_strikes(fixture_kernel: Path, kind: str, after: int) -> None:
    caught(fixture_kernel, kind, after)


@pytest.mark.parametrize("kind", ["handover-mismatch", "handover-mismatch-reserved", "handover-mismatch-count"])
def test_damage_to_the_hand_over_is_caught_behind_it(fixture_kernel: Path, kind: str) -> None:
    with guest_of(fixture_kernel, f"lmb.fault={kind}") as guest:
        divergence = traced(guest, "--lockstep --until lmb_scenario_done")["divergence"]
        assert divergence["record"]["op"] == "free_all"


def test_an_operation_that_goes_wrong_is_named_with_its_callers_and_all_that_differs(fixture_kernel: Path) -> None:
    with guest_of(fixture_kernel) as guest:
        guest.command("lmb-trace start --lockstep")
        guest.command("break *lmb_add_apply if change->type == &lmb.reserved && change->end - change->base == 0x10000")
        guest.run_on("lmb_add_apply")
        guest.command(
            "set var change->end = change->end - 0x1000"
        )  # the log buffer's reservation comes out a page short
        guest.command("delete")
        guest.run_on("the divergence")
        report = guest.command("lmb-trace status")
        divergence = status_of(guest)["divergence"]
    assert divergence["kind"] == "state" and divergence["exact"]
    assert divergence["record"]["op"] == "alloc" and divergence["record"]["size"] == "0x10000"
    assert "alloc_log_buf+" in report and "main.c" in report
    assert "- reserved" in " ".join(report.split()) and "+ reserved" in " ".join(report.split())
    assert "reserved.total_size" in report
    assert report.rstrip().endswith("recorded, until they differ")


@pytest.mark.parametrize("every", [1, 4, 10, 1000])
def test_with_every_the_first_operation_that_differs_is_found_all_the_same(fixture_kernel: Path, every: int) -> None:
    with guest_of(fixture_kernel) as guest:
        guest.command(f"lmb-trace start --lockstep --every {every}")
        guest.command("break lmb_log_write")
        guest.command("condition $bpnum lmb_log.nr == 56")
        guest.run_on("lmb_log_write")
        guest.command("set var lmb.reserved.cnt = lmb.reserved.cnt + 1")
        guest.command("delete")
        guest.run_on("the divergence")
        divergence = status_of(guest)["divergence"]
    # Within the operation that was about to end.
    assert (divergence["kind"], divergence["record"]["seq"], divergence["exact"]) == ("state", 57, True)
    assert [row["name"] for row in divergence["values"]] == ["reserved.cnt"]


def test_a_wrong_result_alone_is_a_divergence(fixture_kernel: Path) -> None:
    with guest_of(fixture_kernel) as guest:
        guest.command("lmb-trace start --lockstep")
        guest.command("tbreak reserve_kernel_image")
        guest.run_on("reserve_kernel_image")
        for line in guest.command("disassemble lmb_reserve").splitlines():
            if line.split()[-1].startswith("ret"):
                guest.command(f"break *{line.split()[0]}")
        guest.run_on("the end of lmb_reserve()")
        guest.command("set var $rax = 5")
        guest.command("delete")
        guest.run_on("the divergence")
        divergence = status_of(guest)["divergence"]
    assert (divergence["kind"], divergence["record"]["op"]) == ("result", "reserve")
    assert (divergence["expected"], divergence["found"], divergence["regions"]) == (0, 5, [])
