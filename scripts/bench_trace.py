# SPDX-License-Identifier: GPL-2.0-or-later
"""What a stop of lmb-trace costs beside a plain breakpoint of gdb's Python, with and without the model.

Each round boots the same guest three times: with plain breakpoints that read two registers, traced, and traced
in lockstep. Figures are medians over the rounds of one run.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
import tempfile
from pathlib import Path

from fixture_kernels import vmlinux
from tabulate import tabulate

from gdb_lmb.kernels.cache import KernelFiles
from gdb_lmb.kernels.stock import cached
from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import GuestSession

ROOT = Path(__file__).resolve().parent.parent
KERNEL = vmlinux()
INSIDE = Path(__file__).with_name("bench_trace_gdb.py")
STOCK = "debian:6.1-cloud-amd64"
OPERATIONS = 300

Row = dict[str, float]


def boot(stock: bool) -> GuestSession:
    """Start a guest: the fixture with random operations, or a stock kernel."""
    if not stock:
        return GuestSession(KERNEL, QemuOptions(append=f"lmb.scenario=random lmb.static=8 lmb.ops={OPERATIONS}"))
    files = cached(STOCK, KernelFiles)
    assert files is not None
    options = QemuOptions(append="console=ttyS0", memory="512M")
    return GuestSession(files.image, options, symbols=files.vmlinux, timeout_s=120)


def seconds(text: str) -> tuple[float, int]:
    """Return what `run()` printed in gdb."""
    found = re.search(r"seconds (\S+) stops (\d+)", text)
    assert found is not None, text
    return float(found[1]), int(found[2])


def measure(stock: bool) -> Row:
    """Do one round."""
    row: Row = {}
    with boot(stock) as guest:
        guest.unpack()
        guest.command(f"source {INSIDE}")
        ends = "'memblock', 'memblock_free_all'" if stock else "'lmb', 'lmb_free_all'"
        guest.command(f"python plain({ends})")
        spent, stops = seconds(guest.command("python run()"))
        row["plain"] = spent / stops
    for name, option in (("traced", ""), ("lockstep", "--lockstep")):
        with boot(stock) as guest, tempfile.TemporaryDirectory() as folder:
            guest.unpack()
            guest.command(f"source {INSIDE}")
            guest.command(f"lmb-trace start {option} -o {folder}/trace")
            spent, _ = seconds(guest.command("python run()"))
            status = guest.command("lmb-trace status --json")
            data = json.loads(status[status.index('{"schema"') :])
            assert data["complete"] and data["divergence"] is None, data
            row[name] = spent / data["stops"]
            row[f"{name} each"] = spent / data["records"]
            row["stops"] = data["stops"] / data["records"]
            if not stock:
                spent, _ = seconds(guest.command(f"python clock('lmb-trace save {folder}/log --from-log')"))
                row["log each"] = spent / data["records"]
    return row


def median(rows: list[Row]) -> Row:
    """Return the median of each figure."""
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


def table(figures: dict[str, Row]) -> str:
    """Return the page's table and the sentence under it."""
    headers = ["boot", "plain stop", "`lmb-trace`", "ratio", "`--lockstep`", "ratio", "stops an operation"]
    rows = [
        [name, f"{row['plain'] * 1e3:.2f}", f"{row['traced'] * 1e3:.2f}", f"{row['traced'] / row['plain']:.2f}x",
         f"{row['lockstep'] * 1e3:.2f}", f"{row['lockstep'] / row['plain']:.2f}x", f"{row['stops']:.2f}"]
        for name, row in figures.items()
    ]  # fmt: skip
    text = tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True, colalign=["left"] + ["right"] * 6)
    fixture = figures["fixture"]
    return (
        f"{text}\n\nMilliseconds for each stop, medians of one run, everything included: the guest, gdb and QEMU. The "
        f"kernel's own log gives an operation in {fixture['log each'] * 1e6:.0f} microseconds, "
        f"{fixture['traced each'] / fixture['log each']:.0f} times faster than breakpoints."
    )


def run(rounds: int = 3) -> dict[str, Row]:
    """Measure everything, with progress on stderr; the stock kernel only where the cache has it."""
    figures = {}
    for name, stock in (("fixture", False), (STOCK, True)):
        if stock and cached(STOCK, KernelFiles) is None:
            print(f"bench: {STOCK} is not in the cache, and left out", file=sys.stderr)
            continue
        print(f"bench: tracing {name}", file=sys.stderr)
        figures[name] = median([measure(stock) for _ in range(rounds)])
    return figures


if __name__ == "__main__":
    print(table(run()))
