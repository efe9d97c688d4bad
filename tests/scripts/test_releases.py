# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line on unmodified kernels with whatever gdb and QEMU there are: the lanes of Debian's releases run this.

The whole boot in lockstep, which they run too, is in test_trace_stock.py.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from pathlib import Path

import pytest

from gdb_lmb.cli import main
from gdb_lmb.kernels.cache import KernelFiles
from gdb_lmb.kernels.stock import find_kernel
from gdb_lmb.runner.elf import read_elf
from gdb_lmb.runner.process import RunFolder
from gdb_lmb.runner.qemu import Qemu, QemuOptions
from tests.helpers.dump import dump_of
from tests.helpers.stock import AMD64, CONSOLE, boot, last_dump, printed_regions
from tests.helpers.tool import Qmp

pytestmark = [pytest.mark.stock, pytest.mark.release]

Capture = pytest.CaptureFixture[str]


@pytest.fixture(params=[AMD64[0], AMD64[2]])
def kernel(request: pytest.FixtureRequest) -> KernelFiles:
    """6.1 and 7, which the lanes of releases have in the cache."""
    return find_kernel(request.param, notice=print)


def without_times(console: Path) -> str:
    """Return what the guest printed, without carriage returns and time stamps."""
    text = console.read_text(errors="replace").replace("\r", "")
    return re.sub(r"^\[ *\d+\.\d+\] ", "", text, flags=re.M)


def test_run(kernel: KernelFiles, tmp_path: Path, capfd: Capture) -> None:
    console = tmp_path / "console"
    words = ["--append", CONSOLE, "--console", str(console), "--until", "memblock_dump_all"]
    assert main(["run", kernel.name, *words, "--", "finish", "lmb-dump --kernel", "lmb-check"]) == 0
    shown = capfd.readouterr().out
    printed = last_dump(without_times(console))
    assert all(printed_regions(printed).values()) and printed in shown
    assert re.search(r"^lmb-check: clean", shown, re.M)


def test_core(kernel: KernelFiles, capfd: Capture) -> None:
    with boot(kernel) as guest:
        guest.run_until("memblock_free_all")
        alive = guest.command("lmb-dump --json")
        with dump_of(guest) as path:
            status = main(["core", str(path), str(kernel.vmlinux), "--timeout", "120", "--", "lmb-dump --json"])
    assert status == 0
    assert json.loads(capfd.readouterr().out) == json.loads(alive)


@pytest.mark.parametrize("paused", [False, True], ids=["running", "paused"])
def test_attach(kernel: KernelFiles, paused: bool, capfd: Capture) -> None:
    with contextlib.closing(RunFolder()) as folder:
        words = ("-qmp", f"unix:{folder.path}/qmp,server=on,wait=off")
        options = QemuOptions(append=f"{CONSOLE} panic=0", arguments=words)
        qemu = Qemu(folder, read_elf(kernel.vmlinux), options, kernel.image)
        qmp = Qmp(folder.path / "qmp")
        qmp.execute("cont")
        # Without a root the kernel panics, says where KASLR has put it, and stays.
        deadline = time.monotonic() + 120
        while "end Kernel panic" not in (text := without_times(folder.path / "console")):
            assert time.monotonic() < deadline, text[-2000:]
            time.sleep(0.05)
        if paused:
            qmp.execute("stop")
        before = qmp.status()
        commands = ["lmb-attach", "output/x (unsigned long)&_text", "lmb-check"]
        assert main(["attach", str(qemu.endpoint), str(kernel.vmlinux), "--timeout", "120", "--", *commands]) == 0
        assert qmp.settled(before) == before == ("paused" if paused else "running")
        qmp.close()
    shown = capfd.readouterr().out
    printed = re.search(r"Kernel Offset: 0x(\w+) from 0x(\w+)", text)
    assert printed is not None
    assert f"{int(printed[1], 16) + int(printed[2], 16):#x}" in shown
    assert re.search(r"^lmb-check: clean", shown, re.M)
