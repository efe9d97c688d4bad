# SPDX-License-Identifier: GPL-2.0-or-later
"""The fixture kernel in QEMU: what the commands show against what the guest itself printed and did."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gdb_lmb.report.jsonio import snapshot_from
from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import CommandError, GuestSession
from tests.helpers.live import dump_in
from tests.helpers.states import lmb

pytestmark = pytest.mark.kernel

MATRIX = [
    # storage, scenario, direction, RAM: both storages, both scenarios, both ways; below and above the hole at 4 GiB
    (storage, scenario, direction, memory)
    for storage in ("static8", "static64", "klimit")
    for scenario in ("boot", "random")
    for direction, memory in (("top-down", "64M"), ("bottom-up", "6G"))
] + [
    ("static8", "random", "bottom-up", "64M"),
    ("klimit", "random", "top-down", "6G"),
    ("static64", "boot", "top-down", "3G"),
]


@pytest.mark.parametrize(("storage", "scenario", "direction", "memory"), MATRIX)
def test_sound_boot(
    fixture_kernel: Path, klimit_kernel: Path, storage: str, scenario: str, direction: str, memory: str
) -> None:
    append = f"lmb.scenario={scenario} lmb.ops=5000 lmb.seed={len(storage) + len(memory)}"
    append += {"static8": " lmb.static=8", "static64": " lmb.static=64", "klimit": ""}[storage]
    append += " lmb.bottom_up" if direction == "bottom-up" else ""
    kernel = klimit_kernel if storage == "klimit" else fixture_kernel
    with GuestSession(kernel, QemuOptions(append=append, memory=memory)) as guest:
        guest.run_until("lmb_ready")
        checked = json.loads(guest.command("lmb-check --json"))
        assert [f for f in checked["findings"] if f["severity"] == "finding"] == []
        assert checked["not_verified"] == []
        # allow_growth and set_limit and the boot's own calls, and all of the random ones
        assert checked["checked"]["operations"] > (5000 if scenario == "random" else 10)
        assert guest.command("lmb-dump --kernel") == dump_in(guest.console().decode())

        snapshot = snapshot_from(json.loads(guest.command("lmb-dump --json")))
        assert snapshot.arch == "x86_64" and snapshot.bottom_up == (direction == "bottom-up")
        assert lmb(snapshot).blocks[0].static == (storage != "klimit")
        assert lmb(snapshot).blocks[0].nr == {"static8": 8, "static64": 64, "klimit": 101}[storage]
        if scenario == "random":
            assert len(lmb(snapshot).blocks) > 2 and snapshot.reserved.cnt > 200
        if memory == "6G":
            assert max(snapshot.memory.base) >= 4 << 30

        guest.run_until("lmb_scenario_done")
        checked = json.loads(guest.command("lmb-check --json"))
        assert [f for f in checked["findings"] if f["severity"] == "finding"] == []
        given = re.search(r"gave (\d+) pages in (\d+) ranges", guest.console().decode())
        assert given is not None
        after = snapshot_from(json.loads(guest.command("lmb-dump --json")))
        assert after.storage.closed and after.handover is not None
        assert sum(end - base for base, end in after.handover) // 4096 == int(given[1]) > 1000
        assert len(after.handover) == int(given[2])
        assert guest.verdict().exit_status == 0


def test_log_divergence_names_the_operation(fixture_kernel: Path) -> None:
    with GuestSession(fixture_kernel) as guest:
        guest.run_until("lmb_ready")
        guest.command("set var lmb_log.ring[5].error = -12")
        found = [f for f in json.loads(guest.command("lmb-check --json"))["findings"] if f["code"] == "log-divergence"]
        assert len(found) == 1 and "operation 5, " in found[0]["message"]
        assert "returned -12 (ENOMEM), but the model returns 0" in found[0]["message"]
        guest.command("set var lmb_log.ring[5].error = 0")
        # Lists that no logged operation explains: a flag changed behind the allocator's back.
        guest.command("set var ((struct lmb_region *)lmb.reserved.regions.next)->flags = 0x40")
        found = json.loads(guest.command("lmb-check --json"))["findings"]
        assert [f["code"] for f in found] == ["log-divergence"]
        assert "reserved[0]" in found[0]["message"] and "flags 0x40" in found[0]["message"]
        assert "reserve_boot_data" in found[0]["message"], "the last operation there, with its caller"


def test_wrapped_log_is_not_verified(fixture_kernel: Path) -> None:
    with GuestSession(fixture_kernel) as guest:
        guest.run_until("lmb_ready")
        # As after 7 operations more than the ring has room for: each place of it holds one.
        guest.command("python ring = gdb.parse_and_eval('lmb_log.ring'); one = ring[1].type.sizeof")
        guest.command("python inferior = gdb.selected_inferior(); at = int(ring.address)")
        guest.command("python inferior.write_memory(at, bytes(inferior.read_memory(at + one, one)) * 16384)")
        guest.command("set var lmb_log.nr = 16384 + 7")
        text = guest.command("lmb-check")
        assert "NOT verified: the operation log has wrapped: its first 7 of 16391 records are lost" in text
        assert guest.verdict().exit_status == 5


def test_torn(fixture_kernel: Path) -> None:
    with GuestSession(fixture_kernel) as guest:
        # At its very entry a function has changed nothing; called by another one it does not matter.
        guest.run_until("lmb_add")
        assert json.loads(guest.command("lmb-dump --json"))["torn"] is False
        guest.command("stepi 12")
        assert json.loads(guest.command("lmb-dump --json"))["torn"] is True
        assert "the lists may be between two states" in guest.command("lmb-check")
        assert guest.verdict().exit_status == 5


def test_torn_where_gdb_has_seen_a_declaration_first(fixture_kernel: Path) -> None:
    with GuestSession(fixture_kernel) as guest:
        # This early gdb reads the symbols of other files first, and finds `extern struct lmb lmb` in a header.
        with pytest.raises(CommandError, match="the kernel is not there yet"):
            guest.command("lmb-check")
        guest.run_until("lmb_add")
        guest.command("stepi 12")
        assert json.loads(guest.command("lmb-dump --json"))["torn"] is True


def test_before_init_and_before_paging(fixture_kernel: Path) -> None:
    with GuestSession(fixture_kernel) as guest:
        with pytest.raises(
            CommandError,
            match=r"lmb-check: the kernel is not there yet: vmlinux is in memory at 0x\w+, but paging is off",
        ):
            guest.command("lmb-check")
        assert guest.command("output $lmb_status") == "5"
        guest.run_until("lmb_init")
        with pytest.raises(CommandError, match="LMB is not initialised at this stop"):
            guest.command("lmb-dump")


def test_what_a_stranger_finds(fixture_kernel: Path) -> None:
    with GuestSession(fixture_kernel) as guest:
        assert {"lmb-check", "lmb-dump", "lmb-verdict"} <= {
            line.split(" -- ")[0] for line in guest.command("apropos lmb").splitlines()
        }
        for name in ("lmb-dump", "lmb-check", "lmb-verdict"):
            text = guest.command(f"help {name}").splitlines()
            assert len(text[0]) < 70 and text[0].endswith(".") and text[1] == ""
            assert text[2].startswith(f"Usage: {name}")
            assert any(line.startswith(f"Example: {name}") for line in text)
        assert guest.command("complete lmb-dump --en").split("\n")[0] == "lmb-dump --entries"
        assert "lmb-dump reserved" in guest.command("complete lmb-dump re")
        assert guest.command("complete lmb-check --json --n") == "lmb-check --json --no-log\n"
        with pytest.raises(CommandError, match="unknown option '--nonsense'"):
            guest.command("lmb-check --nonsense")
        with pytest.raises(CommandError, match="'everything' is not one of memory, reserved"):
            guest.command("lmb-dump everything")
        guest.run_until("lmb_ready")
        table = guest.command("lmb-dump memory --entries")
        assert re.search(r"^ +1 +0x0000000000100000 +0x\w{16} .* MiB +[\d,]+ +- +0:\d+ +0xffffffff8\w+$", table, re.M)


def test_large_lists_are_read_block_by_block(fixture_kernel: Path) -> None:
    with GuestSession(fixture_kernel, QemuOptions(append="lmb.scenario=fill lmb.ops=3000")) as guest:
        guest.run_until("lmb_ready")
        snapshot = snapshot_from(json.loads(guest.command("lmb-dump --json")))
        assert snapshot.memory.cnt > 3000 and snapshot.reserved.cnt > 3000
        # Shuffled in memory: neighbours in the list are not neighbours in their block.
        steps = [b - a for a, b in zip(snapshot.reserved.entry, snapshot.reserved.entry[1:], strict=False)]
        assert sum(abs(step) == 1 for step in steps) < len(steps) // 10
        assert json.loads(guest.command("lmb-check --json --no-log"))["findings"] == []
