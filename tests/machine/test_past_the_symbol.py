# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that was past the place before it could be watched is told from one that died before it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from gdb_lmb.core.errors import NotReachedError, PassedError
from gdb_lmb.kernels.stock import find_kernel
from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import GuestSession
from tests.helpers.json_log import JsonLog
from tests.helpers.stock import AMD64, CONSOLE

ARM64 = "debian:6.12-cloud-arm64"


def wait_for(guest: GuestSession, printed: bytes) -> None:
    """Wait until the guest, which nobody has stopped yet, has printed something."""
    deadline = time.monotonic() + 60
    while printed not in guest.console():
        assert time.monotonic() < deadline, guest.console()[-500:]
        time.sleep(0.05)


@pytest.mark.kernel
def test_the_fixture(fixture_kernel: Path) -> None:
    with GuestSession(fixture_kernel, QemuOptions(paused=False)) as guest:
        wait_for(guest, b"lmb: scenario done")
        with pytest.raises(PassedError, match=r"was past lmb_ready already .* had handed over"):
            guest.run_until()
        with pytest.raises(NotReachedError, match="may have passed lmb_init before"):
            guest.run_until("lmb_init", timeout_s=1)
        assert guest.verdict().checks == ()


@pytest.mark.stock
@pytest.mark.parametrize("name", [AMD64[0], ARM64])
def test_a_stock_kernel(name: str, json_log: JsonLog) -> None:
    kernel = find_kernel(name, notice=print)
    append = "console=ttyAMA0" if name == ARM64 else CONSOLE
    options = QemuOptions(append=append, memory="512M", smp=2, paused=False)
    with GuestSession(kernel.image, options, symbols=kernel.vmlinux, timeout_s=120) as guest:
        # Printed after memblock_free_all(), and long before the end.
        wait_for(guest, b"SLUB: ")
        with pytest.raises(PassedError, match="was past memblock_free_all already"):
            guest.run_until()
        with pytest.raises(NotReachedError, match=r"did not .* start_kernel.* may have passed start_kernel before"):
            guest.run_until("start_kernel", timeout_s=2)
        assert "beyond memblock's life" in guest.command("lmb-attach --wait")
        told = json.loads(guest.command("lmb-attach --json"))
        assert told["at_first_instruction"] is False and told["phase"] in ("handed over", "discarded")
    assert json_log.refused() == [] and json_log.written["gdb-lmb/attach/1"]
