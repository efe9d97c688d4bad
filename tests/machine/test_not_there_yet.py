# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands that run by default where there is nothing to judge yet: not verified, and no failure of the user's."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest

from gdb_lmb.cli import main
from gdb_lmb.kernels.stock import find_kernel
from gdb_lmb.runner.elf import read_elf
from gdb_lmb.runner.process import RunFolder
from gdb_lmb.runner.qemu import Qemu, QemuOptions
from gdb_lmb.runner.session import GuestSession
from tests.helpers.attached import free_port
from tests.helpers.tool import Qmp, build_guest

FIRST = "*(long)&pvh_start_physical"
"""The first instruction of the fixture, before paging."""


def said(capfd: pytest.CaptureFixture[str]) -> str:
    """Return the one line on stderr, with nothing on stdout."""
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1
    return err


@pytest.mark.kernel
def test_a_visit_at_reset(fixture_kernel: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with contextlib.closing(RunFolder()) as folder:
        options = QemuOptions(arguments=("-qmp", f"unix:{folder.path}/qmp,server=on,wait=off"))
        qemu = Qemu(folder, read_elf(fixture_kernel), options)
        qmp = Qmp(folder.path / "qmp")
        assert main(["attach", str(qemu.endpoint), str(fixture_kernel)]) == 5
        text = said(capfd)
        assert text.startswith("gdb-lmb: not verified: lmb-dump: the kernel is not there yet") and "failed" not in text
        # What the user asked for has failed.
        assert main(["attach", str(qemu.endpoint), str(fixture_kernel), "--", "lmb-check"]) == 2
        assert "'lmb-check' failed: lmb-check: the kernel is not there yet" in said(capfd)
        assert qmp.settled("prelaunch") == "prelaunch"
        qmp.close()


@pytest.mark.kernel
def test_run_and_core_before_paging(fixture_kernel: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(fixture_kernel), "--until", FIRST]) == 5
    assert "not verified: lmb-dump: the kernel is not there yet" in said(capfd)
    path = tmp_path / "guest.core"
    with GuestSession(fixture_kernel, QemuOptions(memory="64M")) as guest:
        guest.run_until(FIRST)
        guest.command(f"monitor dump-guest-memory {path}")
    assert main(["core", str(path), str(fixture_kernel)]) == 5
    assert "not verified: lmb-dump: the kernel is not there yet" in said(capfd)


@pytest.mark.kernel
def test_a_program_that_is_no_kernel(fixture_kernel: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What is wrong with what the user gave stays a usage error, but no failed command."""
    other = build_guest(tmp_path, "spin")
    with contextlib.closing(RunFolder()) as folder:
        qemu = Qemu(folder, read_elf(fixture_kernel), QemuOptions())
        assert main(["attach", str(qemu.endpoint), str(other)]) == 2
    assert re.match("gdb-lmb: lmb-dump: .*no", said(capfd))


@pytest.mark.stock
def test_a_named_kernel(capfd: pytest.CaptureFixture[str]) -> None:
    """At reset the image is compressed; at its hand-over it is checked."""
    name, port = "debian:6.1-cloud-amd64", free_port("127.0.0.1")
    kernel = find_kernel(name, notice=print)
    words = ("-gdb", f"tcp:127.0.0.1:{port},server=on,wait=off")
    with GuestSession(kernel.image, QemuOptions(memory="512M", arguments=words), symbols=kernel.vmlinux) as guest:
        # QEMU has one stub: the last -gdb is it, so what is looked at here is another QEMU than the session's gdb.
        assert guest.qemu.child.alive()
        assert main(["attach", f"tcp::{port}", name]) == 5
        assert "is still compressed at this stop" in said(capfd)
        assert main(["attach", f":{port}", name, "--", "lmb-attach --wait", "lmb-check"]) == 0
        assert "lmb-check: clean" in capfd.readouterr().out
    assert main(["attach", f":{port}", "debian:no-such"]) == 2
    assert "unknown kernel" in said(capfd)
