# SPDX-License-Identifier: GPL-2.0-or-later
"""`$lmb_status` after each way in which a command can end; a real gdb, and a real guest under it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gdb_lmb.runner.elf import read_elf
from gdb_lmb.runner.process import RunFolder
from gdb_lmb.runner.qemu import Qemu, QemuOptions
from tests.helpers.plain_gdb import LOAD, gdb

pytestmark = pytest.mark.kernel

SHOW = "print $lmb_status"
BROKEN = "python import gdb_lmb.commands.state as state; whole, state.check = state.check, lambda snapshot: 1 // 0"
WHOLE = "python state.check = whole"


@pytest.fixture
def qemu(fixture_kernel: Path) -> Iterator[Qemu]:
    folder = RunFolder()
    try:
        yield Qemu(folder, read_elf(fixture_kernel), QemuOptions())
    finally:
        folder.close()


def test_the_verdict_of_the_command_before_never_stays(fixture_kernel: Path, qemu: Qemu) -> None:
    rows = [
        # What sets no verdict of its own leaves the last one, where it succeeds.
        ("lmb-check", "0"), ("lmb-who 0x1000", "0"), ("lmb-verdict", "0"), ("lmb-free", "0"),
        ("lmb-check --typo", "2"), ("lmb-who 0x1000", "2"), ("lmb-check", "0"), ("lmb chekc", "2"), ("lmb-dump", "0"),
        ("lmb-check 'unclosed", "2"), ("lmb-check", "0"), (BROKEN, "0"), ("lmb-check", "5"), (WHOLE, "5"),
        ("lmb check", "0"), ("lmb-trace start --until lmb_scenario_done", "5"), ("lmb-trace stop", "5"),
        ("lmb-check", "0"), ("lmb-trace stop", "5"),
        ("set var lmb.reserved.cnt = lmb.reserved.cnt + 1", "5"), ("lmb-dump", "1"), ("lmb-free", "1"),
        ("lmb-who no_such_symbol", "2"), ("set var lmb.reserved.cnt = lmb.reserved.cnt - 1", "2"), ("lmb-check", "0"),
        (f"shell kill -9 {qemu.child.process.pid}; sleep 0.2", "0"), ("lmb-check", "[45]"), ("lmb-dump", "[45]"),
    ]  # fmt: skip
    commands = [f"file {fixture_kernel}", f"source {LOAD}", SHOW, f"target remote {qemu.endpoint.path}"]
    commands += ["tbreak lmb_ready", "continue"]
    for command, _ in rows:
        commands += [command, SHOW]
    output = gdb(*commands)
    said = re.findall(r"^\$\d+ = (\S+)$", output, re.M)
    assert len(said) == 1 + len(rows), output
    assert said[0] == "5", "nothing was checked yet"
    for (command, expected), status in zip(rows, said[1:], strict=True):
        assert re.fullmatch(expected, status), (command, status, output)
