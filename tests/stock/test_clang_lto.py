# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel that clang built with link-time optimisation: other functions are inlined and cloned than gcc's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gdb_lmb.cli import main
from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import GuestSession
from tests.helpers.clang_kernel import clang_kernel
from tests.helpers.stock import CONSOLE, boot, console_of, faults, last_dump, plain_read, printed_regions, shown
from tests.helpers.stock_trace import TWO_NODES, assert_printed, read, status_of

pytestmark = pytest.mark.soak


@pytest.mark.parametrize("append", ["", "nokaslr", "memmap=16M$0x10000000 crashkernel=64M"])
def test_a_whole_boot_agrees_with_the_model(append: str, tmp_path: Path) -> None:
    kernel, path = clang_kernel(), tmp_path / "trace.jsonl"
    options = QemuOptions(append=f"{CONSOLE} {append}", memory="512M", smp=2, arguments=TWO_NODES)
    with GuestSession(kernel.image, options, symbols=kernel.vmlinux, timeout_s=240) as guest:
        guest.command(f"lmb-trace start --lockstep -o {path}")
        guest.run_on("the hand-over")
        status = status_of(guest)
        assert status["divergence"] is None and status["compared"] and status["complete"], status
        assert guest.verdict().exit_status == 0
        guest.command("lmb-check")
        assert guest.verdict().exit_status == 0
        text = console_of(guest)
    reader, records = read(path)
    assert len(records) > 20
    assert_printed(text, reader, records)
    assert main(["replay", str(path)]) == 0


@pytest.mark.parametrize("append", ["", "nokaslr"])
def test_its_lists_are_read_as_the_kernel_and_gdb_have_them(append: str) -> None:
    """And no stop at a change of them is accused."""
    with boot(clang_kernel(), append, words=TWO_NODES, smp=2) as guest:
        guest.command("lmb-attach --wait")
        for function in ("memblock_add_range", "memblock_remove_range", "memblock_free_all"):
            guest.command(f"hbreak {function}")
        stops = 0
        while "memblock_free_all" not in guest.command("output/a $pc"):
            guest.command("continue")
            stops += 1
            assert faults(guest) == [], stops
        assert stops > 40
        assert json.loads(guest.command("lmb-check --json"))["not_verified"] in ([], ["no-log"])
        assert shown(guest) == plain_read(guest)
        printed = printed_regions(last_dump(console_of(guest)))
        assert printed["memory"] and printed["reserved"]
