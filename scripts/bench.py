# SPDX-License-Identifier: GPL-2.0-or-later
"""Speed and memory of the commands, beside a plain walk with gdb.Value, through the same gdbstub.

Every figure is a median of one run on one machine; the ratios are what to quote. Nothing here passes or
fails: tests never assert a time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bench_trace
from bench_docs import write_block
from fixture_kernels import vmlinux
from tabulate import tabulate

from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import GuestSession

ROOT = Path(__file__).resolve().parent.parent
KERNEL = vmlinux()
INSIDE = Path(__file__).with_name("bench_gdb.py")
SIZES = (1_000, 10_000, 100_000)


def measure(append: str, repeats: int) -> dict[str, Any]:
    """Boot, stop at lmb_ready, and measure inside gdb; medians, seconds and bytes."""
    with GuestSession(KERNEL, QemuOptions(append=append, memory="512M"), timeout_s=300) as guest:
        guest.run_until("lmb_ready")
        guest.command(f"source {INSIDE}")
        out = guest.command(f"python bench({repeats})")
    rows = json.loads(out)
    return {name: statistics.median(values) if isinstance(values, list) else values for name, values in rows.items()}


def per_entry(row: dict[str, Any], name: str) -> float:
    """Return microseconds for each entry."""
    return float(row[name] / row["entries"] * 1e6)


def table(figures: dict[str, Any]) -> str:
    """Return the page's table and the sentences under it."""
    rows = []
    for size in SIZES:
        row = figures["fill"][str(size)]
        costs = [f"{per_entry(row, name):.2f}" for name in ("read", "decode", "check", "lmb_check", "lmb_dump_json")]
        rows.append([f"{size:,}", f"{row['entries']:,}", *costs,
                     f"{row['plain_per_entry'] * 1e6:.0f}",
                     f"{row['plain_per_entry'] * 1e6 / per_entry(row, 'lmb_check'):.0f}x"])  # fmt: skip
    headers = ["regions a list", "entries", "read", "decode", "check", "`lmb-check --no-log`", "`lmb-dump --json`",
               "plain `gdb.Value` walk", "ratio"]  # fmt: skip
    text = tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True, colalign=["right"] * len(headers))
    return (
        f"{text}\n\nMicroseconds for each entry, medians of one run; the ratio is the plain walk against the whole of "
        f"`lmb-check --no-log`. At 100,000 an entry costs {figures['growth']:.2f} times what it costs at 1,000 "
        f"(fixed part {figures['fixed_ms']:.1f} ms left out), and {figures['bytes_per_entry']:.0f} bytes of gdb's "
        f"memory at the peak. Loading the extension takes {figures['import_ms']:.0f} ms."
    )


def run(sizes: Sequence[int] = SIZES, repeats: int = 9, rounds: int = 3) -> dict[str, Any]:
    """Measure everything, with progress on stderr."""
    figures: dict[str, Any] = {"schema": "gdb-lmb/bench/1", "fill": {}}
    print("bench: boot scenario (the fixed part)", file=sys.stderr)
    fixed = measure("lmb.scenario=boot", repeats)
    for size in sizes:
        print(f"bench: {size:,} regions a list", file=sys.stderr)
        figures["fill"][str(size)] = measure(
            f"lmb.scenario=fill lmb.ops={size}", repeats if size < 100_000 else min(repeats, 5)
        )
    small, large = (figures["fill"][str(size)] for size in (sizes[0], sizes[-1]))
    cost = [(row["lmb_check"] - fixed["lmb_check"]) / (row["entries"] - fixed["entries"]) for row in (small, large)]
    figures["fixed_ms"] = fixed["lmb_check"] * 1e3
    figures["growth"] = cost[1] / cost[0]
    figures["bytes_per_entry"] = large["peak_bytes"] / large["entries"]
    figures["import_ms"] = fixed["import_s"] * 1e3
    figures["trace"] = bench_trace.run(rounds)
    figures["ratio"] = large["plain_per_entry"] / (large["lmb_check"] / large["entries"])
    return figures


def main() -> int:
    """Measure, print the table, and keep what was asked to be kept."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", metavar="FILE", help="keep the figures in FILE (- prints them instead of the table)")
    parser.add_argument("--write-docs", action="store_true", help="put the table into gdb_lmb/docs/benchmarks.md")
    options = parser.parse_args()
    figures = run()
    if options.json == "-":
        print(json.dumps(figures, indent=1))
        return 0
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=1) + "\n")
    text = f"{table(figures)}\n\n{bench_trace.table(figures['trace'])}"
    print(text)
    if options.write_docs:
        write_block("bench", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
