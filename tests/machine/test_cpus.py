# SPDX-License-Identifier: GPL-2.0-or-later
"""More CPUs than the one that boots: whichever is selected, the commands look at the kernel, and leave it selected."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gdb_lmb.kernels.cache import KernelFiles
from gdb_lmb.kernels.stock import find_kernel
from gdb_lmb.runner.existing import CoreSession
from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import GuestSession
from tests.helpers.stock import AMD64, boot, dump, shown

ARM64 = "debian:6.12-cloud-arm64"


@pytest.mark.kernel
def test_a_parked_cpu_of_the_fixture(fixture_kernel: Path) -> None:
    with GuestSession(fixture_kernel, QemuOptions(memory="64M", smp=3)) as guest:
        guest.run_until("lmb_add")
        guest.command("stepi 12")
        alive = guest.command("lmb-dump --json")
        assert json.loads(alive)["torn"] is True
        guest.command("thread 3")
        assert guest.command("lmb-dump --json") == alive
        assert guest.command("output $_thread") == "3"
        path = guest.folder / "guest.core"
        guest.command(f"monitor dump-guest-memory {path}")
        with CoreSession(path, fixture_kernel) as dump:
            for thread in (1, 3):
                dump.command(f"thread {thread}")
                assert dump.command("lmb-dump --json") == alive
                assert dump.command("output $_thread") == str(thread)
        path.unlink()


@pytest.mark.kernel
@pytest.mark.parametrize(("smp", "selected"), [(1, 1), (3, 3)])
def test_a_trace_begins_by_the_cpu_that_boots(fixture_kernel: Path, smp: int, selected: int) -> None:
    """Whichever is selected, with the call at whose first instruction it is, and it ends by it too."""
    with GuestSession(fixture_kernel, QemuOptions(memory="64M", smp=smp)) as guest:
        guest.run_until("lmb_add")
        over = int(guest.command("output lmb_log.nr"))
        guest.command(f"thread {selected}")
        guest.command("lmb-trace start --lockstep")
        guest.run_until("lmb_ready")
        number = int(guest.command("output lmb_log.nr")) - over
        guest.command(f"thread {selected}")
        told = guest.command("lmb-trace stop")
        assert f"kernel and model agree: {number} operations recorded, until it was stopped" in told
        assert guest.command("output $_thread") == str(selected)
        assert guest.verdict().exit_status == 0


def session_of(kernel: KernelFiles, smp: int) -> GuestSession:
    if kernel.name == ARM64:
        options = QemuOptions(append="console=ttyAMA0", smp=smp)
        return GuestSession(kernel.image, options, symbols=kernel.vmlinux, timeout_s=120)
    return boot(kernel, smp=smp)


@pytest.mark.stock
@pytest.mark.parametrize("smp", [2, 4])
@pytest.mark.parametrize("name", [AMD64[0], ARM64])
def test_waits_for_the_cpu_that_boots(name: str, smp: int) -> None:
    """QEMU 10 reports each interrupt on the last CPU, which the firmware has parked; others where they are told to."""
    with session_of(find_kernel(name, notice=print), smp) as guest:
        guest.command("thread 2")
        guest.command(f"maint packet Hcp1.{smp}")
        told = guest.command("lmb-attach --wait --json").splitlines()[-1]  # after what gdb says of each stop
        assert json.loads(told)["at_first_instruction"] is True
        assert guest.command("output $_thread") == "1"
        # Before the kernel has added any memory.
        assert sum(size for _, size, _, _ in shown(guest)["memory"]) == 0
        guest.run_until("memblock_free_all")
        assert dump(guest)["phase"] == "allocator complete"


@pytest.mark.stock
@pytest.mark.parametrize("name", [*AMD64, ARM64])
def test_a_parked_cpu_of_a_stock_kernel(name: str) -> None:
    with session_of(find_kernel(name, notice=print), 2) as guest:
        words = ("lmb-dump --json", "lmb-dump --kernel", "lmb-attach")
        # Half way through a change, which the stack of the CPU that boots tells; and after all of them.
        for place, torn in (("memblock_insert_region", True), ("memblock_free_all", False)):
            guest.run_until(place)
            alive = [guest.command(word) for word in words]
            assert json.loads(alive[0])["torn"] is torn
            guest.command("thread 2")
            # Where the firmware keeps it: below the kernel, without paging.
            assert guest.command("output (unsigned long)$pc < 0x100000") == "1"
            assert [guest.command(word) for word in words] == alive
            assert guest.command("output $_thread") == "2"
            guest.command("thread 1")
        assert json.loads(alive[0])["phase"] == "allocator complete"
