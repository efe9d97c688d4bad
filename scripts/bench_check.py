# SPDX-License-Identifier: GPL-2.0-or-later
"""What a check against a golden costs beside a run of the same kernel, in pairs, and eight checks side by side.

The parts are those of scripts/bench_stock.py. Nothing here passes or fails: tests never assert a time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from bench_docs import write_block
from bench_stock import KERNEL, PARTS, RUNS, median_run, one_run
from fixture_kernels import vmlinux

CHECKS = 8
JOBS = 2
ROUNDS = 5


def gdb_lmb(*words: str) -> float:
    """Run `gdb-lmb` to its end; return how many seconds that took."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "gdb_lmb", *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"bench: gdb-lmb {words} ended with {done.returncode}: {done.stderr.strip()}")
    return time.perf_counter() - start


def measure(kernel: str, runs: int) -> dict[str, Any]:
    """Measure one kernel, with progress on stderr."""
    with tempfile.TemporaryDirectory() as folder:
        golden = str(Path(folder) / "golden")
        gdb_lmb("snapshot", kernel, "-o", golden)
        check = ["check", kernel, "--golden", golden]
        pairs = []
        for number in range(runs + 1):  # the first is for the caches
            print(f"bench: {kernel}, pair {number + 1} of {runs + 1}", file=sys.stderr)
            pairs.append((one_run(["run", kernel]), one_run(check)))
        del pairs[0]
        rounds: list[tuple[float, float]] = []  # of which each is of one time: a machine may be faster later
        for number in range(ROUNDS):
            print(f"bench: {kernel}, {CHECKS} checks, round {number + 1} of {ROUNDS}", file=sys.stderr)
            row, side = (gdb_lmb(*check, "--boots", str(CHECKS), "--jobs", str(jobs)) for jobs in (1, JOBS))
            rounds.append((row, side))
        row, side = sorted(rounds, key=lambda seconds: seconds[1] / seconds[0])[ROUNDS // 2]
    return {
        "run": median_run([run for run, _ in pairs]),
        "check": median_run([check for _, check in pairs]),
        "ratio": median(check["whole"] / run["whole"] for run, check in pairs),
        "in_a_row": row,
        "side_by_side": side,
    }


def table(figures: dict[str, Any]) -> str:
    """Return the page's table and the sentences under it."""
    from tabulate import tabulate

    rows = []
    for kernel, found in figures["kernels"].items():
        check = found["check"]
        parts = [f"{check[part]:.2f} s" for part in (*PARTS, "ours")]
        share = found["side_by_side"] / found["in_a_row"]
        rows.append([kernel, f"{check['whole']:.2f} s", *parts, f"{found['ratio']:.2f}", f"{share:.2f}"])
    headers = ["`gdb-lmb check`", "whole", "QEMU's start", "boot", "gdb", "ours", "of a `run`", f"{JOBS} at a time"]
    text = tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True, stralign="right")
    return (
        f"{text}\n\nThe median check of several; the parts are as above. Of a `run`: the median of pairs of a check "
        f"and a `gdb-lmb run` of the same kernel. {JOBS} at a time: {CHECKS} checks with `--jobs {JOBS}` by as many in "
        f"a row, the median of {ROUNDS} rounds by that ratio."
    )


def main() -> int:
    """Measure, print the table, and keep what was asked to be kept."""
    parser = argparse.ArgumentParser(prog="scripts/bench_check.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", metavar="N", type=int, default=RUNS, help="how many pairs (default: %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="keep the figures in FILE (- prints them instead of the table)")
    parser.add_argument("--write-docs", action="store_true", help="put the table into gdb_lmb/docs/benchmarks.md")
    options = parser.parse_args()
    from gdb_lmb.kernels.cache import KernelFiles
    from gdb_lmb.kernels.stock import cached

    kernels = {"fixture": str(vmlinux())} | ({KERNEL: KERNEL} if cached(KERNEL, KernelFiles) else {})
    found = {name: measure(kernel, options.runs) for name, kernel in kernels.items()}
    figures: dict[str, Any] = {"schema": "gdb-lmb/bench-check/1", "kernels": found}
    if options.json == "-":
        print(json.dumps(figures, indent=1))
        return 0
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=1) + "\n")
    print(table(figures))
    if options.write_docs:
        write_block("bench-check", table(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
