# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel that cannot be read at its own addresses: not there yet, or not the one that runs, as far as that shows."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gdb_lmb.kernels.stock import find_kernel
from gdb_lmb.runner.existing import CoreSession
from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import CommandError, GuestSession
from tests.helpers.dump import dump_of
from tests.helpers.stock import AMD64, boot
from tests.helpers.tool import build_guest

COMMANDS = ("lmb-check", "lmb-dump --json", "lmb-whatif alloc 4K")


def refused(guest: GuestSession | CoreSession, command: str) -> str:
    with pytest.raises(CommandError) as caught:
        guest.command(command)
    assert "\n" not in caught.value.message and "Cannot access memory" not in caught.value.message
    return caught.value.message


def identity_place(kernel: Path) -> int:
    """Return where the kernel's build id is loaded, a physical address, as binutils see its sections."""
    told = subprocess.run(["objdump", "-hw", kernel], capture_output=True, text=True, check=True, timeout=60).stdout
    _, _, size, _, load, *_ = next(line.split() for line in told.splitlines() if " .notes " in line)[:7]
    return int(load, 16) + int(size, 16) - 20  # it is the last note


@pytest.mark.kernel
def test_the_fixture_at_reset(fixture_kernel: Path, klimit_kernel: Path) -> None:
    with GuestSession(fixture_kernel, QemuOptions(memory="64M")) as guest:
        guest.command("output $pc")
        place = identity_place(fixture_kernel)
        says = (
            f"the kernel is not there yet: vmlinux is in memory at {place:#x}, but paging is off while the CPU is at 0x"
        )
        for command in COMMANDS:
            assert says in refused(guest, command)
        with dump_of(guest) as path, CoreSession(path, fixture_kernel) as dump:
            assert says in refused(dump, "lmb-check")
        # The symbols of another kernel, which is not where this one would be.
        guest.command(f"symbol-file {klimit_kernel}")
        says = "the kernel is not there yet (paging is off), or it is another one: another one or none is where"
        assert says in refused(guest, "lmb-check")
        # And the right ones again, in the kernel.
        guest.command(f"symbol-file {fixture_kernel}")
        guest.run_until("lmb_ready")
        assert "clean" in guest.command("lmb-check")


def test_a_guest_that_has_no_such_kernel(tmp_path: Path, fixture_kernel: Path) -> None:
    with GuestSession(build_guest(tmp_path, "ready"), QemuOptions(memory="64M")) as guest:
        guest.run_until()
        guest.command(f"symbol-file {fixture_kernel}")
        message = refused(guest, "lmb-check")
        assert "(paging is off), or it is another one: nothing has been loaded where vmlinux is loaded" in message
        assert "load the vmlinux of the kernel that runs" in message


@pytest.mark.stock
def test_a_guest_that_runs_another_kernel(fixture_kernel: Path) -> None:
    kernel = find_kernel(AMD64[0], notice=print)
    with boot(kernel) as guest:
        guest.run_until("memblock_free_all")
        guest.command(f"symbol-file {fixture_kernel}")
        message = refused(guest, "lmb-check")
        assert f"the guest runs another kernel than {fixture_kernel}" in message and "nothing is mapped" in message
