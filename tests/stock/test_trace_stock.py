# SPDX-License-Identifier: GPL-2.0-or-later
"""Whole boots of unmodified kernels in lockstep with the model, and the records against the kernel's own printout."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from gdb_lmb.cli import main
from gdb_lmb.kernels.stock import find_kernel
from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import GuestSession
from tests.helpers.live import no_breakpoint_is_left
from tests.helpers.stock import AMD64
from tests.helpers.stock_trace import TWO_NODES, assert_printed, read, status_of

pytestmark = pytest.mark.stock

DEBUG = "memblock=debug loglevel=8 earlyprintk=serial"
ARM64 = "debian:6.12-cloud-arm64"
SETTINGS = [
    # (command line, memory, CPUs, QEMU's words)
    ("", "512M", 1, ()),
    # Hot-pluggable memory turns the search round and is skipped by it.
    ("movable_node", "512M", 2, TWO_NODES),
    ("memmap=16M$0x10000000 mem=700M crashkernel=128M cma=64M numa=fake=4", "1G", 1, ()),
]
# What the lanes of Debian's releases boot too.
OF_RELEASES = (AMD64[0], AMD64[2])
BOOTS = [
    pytest.param(name, *setting, marks=[pytest.mark.release] if name in OF_RELEASES and setting is SETTINGS[0] else [])
    for name in AMD64
    for setting in SETTINGS
] + [pytest.param(ARM64, *SETTINGS[0])]


@pytest.mark.parametrize(("name", "append", "memory", "smp", "words"), BOOTS)
def test_a_whole_boot_agrees_with_the_model(
    name: str, append: str, memory: str, smp: int, words: tuple[str, ...], tmp_path: Path
) -> None:
    kernel = find_kernel(name, notice=print)
    arm64 = name == ARM64
    path = tmp_path / "trace.jsonl"
    console = "console=ttyAMA0 earlycon memblock=debug loglevel=8" if arm64 else f"console=ttyS0 {DEBUG}"
    options = QemuOptions(append=f"{console} {append}", memory=memory, smp=smp, arguments=words)
    with GuestSession(kernel.image, options, symbols=kernel.vmlinux, timeout_s=120) as guest:
        guest.command(f"lmb-trace start --lockstep -o {path}")
        guest.run_on("the hand-over")
        status = status_of(guest)
        assert status["divergence"] is None and status["compared"] and status["complete"], status
        # Two for each; QEMU tells of the same breakpoint twice now and then.
        assert status["records"] < status["stops"] <= 2 * status["records"] + 3
        assert no_breakpoint_is_left(guest)
        assert guest.verdict().exit_status == 0
        # What lmb-check finds at the same stop has nothing to do with the model.
        guest.command("lmb-check")
        assert guest.verdict().exit_status == 0
        text = guest.console().decode(errors="replace").replace("\r", "")
    reader, records = read(path)
    # The stack of a kernel that has only just started has no more.
    assert all(len(record.callers) >= 3 for record in records)
    assert max(len(record.callers) for record in records) >= 8
    if "movable_node" in append:
        assert any(record.operation.op == "set_bottom_up" for record in records)
    assert_printed(text, reader, records)
    assert main(["replay", str(path)]) == 0  # a sound boot lays no reservation over what was allocated


def test_failed_allocations_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A crash kernel of 1 GiB on 512 MiB: the kernel itself says that it got none."""
    path, console = tmp_path / "trace.jsonl", tmp_path / "console"
    words = ["--memory", "512M", "--append", "crashkernel=1G earlyprintk=serial console=ttyS0", "--lockstep",
             "-o", str(path), "--console", str(console), "--", "lmb-trace show --failed"]  # fmt: skip
    assert main(["trace", AMD64[0], *words]) == 0
    out = capsys.readouterr().out
    assert "crashkernel reservation failed" in console.read_text(errors="replace")
    tried = [record for record in read(path)[1] if record.operation.size == 1 << 30]
    assert len(tried) == 2 and [record.result for record in tried] == [0, 0]
    assert "of which 2 failed" in out
    for record in tried:
        assert f"note: allocation-failed: operation {record.seq}, alloc_range_nid(size=0x40000000, " in out
        assert re.search(rf"^ +{record.seq}  alloc_range_nid.*  0 \(failed\)  ", out, re.M)
    # Memory ends at 512 MiB, so that no hole is as large as that.
    holes = re.findall(r"failed: no memory in .*: the largest allocation possible there is (0x[0-9a-f]+) bytes", out)
    assert len(holes) == 2 and all(128 << 20 < int(hole, 16) < 512 << 20 for hole in holes)
    assert main(["replay", str(path)]) == 0
    assert "of which 2 failed" in capsys.readouterr().out


def test_an_unknown_function_makes_predictions_unverified(capsys: pytest.CaptureFixture[str]) -> None:
    """The tool of a year ago, which does not know a function of today's kernel; all of today's are known."""
    forget = "python import gdb_lmb.allocators.memblock.behavior as b; b._FUNCTIONS -= {'memblock_trim_memory'}"
    words = ["run", AMD64[0], "--memory", "512M", "--"]
    assert main([*words, "lmb-whatif alloc 64K"]) != 1 and "NOT verified" not in capsys.readouterr().out
    assert main([*words, forget, "lmb-whatif alloc 64K", "output $lmb_status"]) == 5
    out = capsys.readouterr().out
    told = (
        "NOT verified: this memblock has the function memblock_trim_memory(), which no known generation has\nmemblock_"
    )
    assert told in out and out.endswith("5")


def test_lines_are_those_of_addr2line(tmp_path: Path) -> None:
    """A caller's line is the innermost one in its own file, as binutils reads it out of the same program."""
    kernel, path = find_kernel(AMD64[0], notice=print), tmp_path / "trace.jsonl"
    assert main(["trace", AMD64[0], "--memory", "512M", "--append", "nokaslr", "-o", str(path)]) == 0
    symbols = read(path)[0].symbols
    places = [hex(pc - 1) for pc in symbols]
    told = subprocess.run(
        ["addr2line", "-a", "-i", "-e", kernel.vmlinux, *places], check=True, text=True, capture_output=True
    ).stdout
    chains: dict[int, list[tuple[str, int]]] = {}
    for line in told.splitlines():
        if line.startswith("0x"):
            chain = chains.setdefault(int(line, 16) + 1, [])
        else:
            file, _, number = line.split(" (")[0].rpartition(":")
            chain.append((file, int(number) if number.isdigit() else 0))
    assert len(chains) == len(symbols) > 100
    inlined = 0
    for pc, symbol in symbols.items():
        chain = chains[pc]
        file, line = next(place for place in chain if place[0] == chain[-1][0])
        inlined += file != chain[0][0]
        assert symbol.file is not None and symbol.line is not None and file.endswith(symbol.file)
        # Where a statement has two lines, gdb and addr2line may choose differently.
        assert abs(symbol.line - line) <= 1, (symbol, chain)
    assert inlined > 10
