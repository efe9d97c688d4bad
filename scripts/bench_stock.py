# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the time of `gdb-lmb run debian:6.1-cloud-amd64` goes: QEMU's start, boot, gdb, ours.

Each figure comes from one whole run, this program's start and end included, and is what was waited for:

  qemu     QEMU's start and end, and gdb's connecting to it
  boot     all the time in which the guest runs
  symbols  gdb's start and end, its reading of the program and of the frame information (at the first look at a
           frame), its moving of the symbols, each look-up in them
  ours     all the rest: Python's start, imports here, and those inside gdb that are not over when the guest has
           booted, finding the kernel, reading, decoding, checking, printing, and Python's end

gdb has started when it answers the first command, whichever that is.

What it takes to get ready to measure, here and inside gdb, is taken off the whole.

Nothing here passes or fails: tests never assert a time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench_docs import write_block

ROOT = Path(__file__).resolve().parent.parent
INSIDE = Path(__file__).with_name("bench_stock_gdb.py")
KERNEL = "debian:6.1-cloud-amd64"
RUNS = 7
# What a run and a check against a golden say of a sound kernel.
CLEAN = ("lmb-check: clean", "no change from ")
STARTED = time.perf_counter()
PARTS = ("qemu", "boot", "symbols")
COMMANDS = {
    "-gdb-set": "symbols",
    "-file-exec-and-symbols": "symbols",
    "-break-insert": "symbols",
    "-target-select": "qemu",
}


def run_measured(words: list[str], out: Path, index: Path | None) -> int:
    """Do what `gdb-lmb` does with these words, in this process, and write what the parts took to `out`.

    gdb keeps its index in the empty folder `index`, as in a first run, or in the cache where that is None.
    """
    spent = {**dict.fromkeys(PARTS, 0.0), "measuring": time.perf_counter() - STARTED}
    # What is imported here the program imports itself.
    from gdb_lmb.cli import main
    from gdb_lmb.runner import base, gdb_process, process, session

    def timed(part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*words: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return work(*words, **named)
            finally:
                spent[part] += time.perf_counter() - start

        return wrapped

    def start_gdb(*words: Any) -> Any:
        mi = timed("symbols", gdb_process.start_gdb)(*words)
        own_execute, own_wait = mi.execute, mi.wait_stopped
        last = ""

        def execute(command: str, *rest: Any, **named: Any) -> Any:
            nonlocal last
            part = COMMANDS.get(command.split()[0]) if last else "symbols"
            last = command.split()[0]
            return (timed(part, own_execute) if part else own_execute)(command, *rest, **named)

        def wait_stopped(*rest: Any) -> Any:
            # While a command of ours lets the guest run, gdb's side tells: not to be counted twice.
            return (timed("boot", own_wait) if last == "-exec-continue" else own_wait)(*rest)

        mi.execute, mi.wait_stopped = execute, wait_stopped
        return mi

    def load_extension(mi: Any, timeout_s: float) -> None:
        gdb_process.load_extension(mi, timeout_s)
        timed("measuring", mi.console)(f"source {INSIDE}", timeout_s)

    def verdict(self: Any) -> Any:
        told = timed("measuring", self.mi.console)("python print_spent()", 60).console
        for part, seconds in json.loads(told).items():
            spent[part] += seconds
        return own_verdict(self)

    def end(self: Any) -> None:
        timed("symbols" if self.name == "gdb" else "qemu", own_end)(self)

    own_verdict, own_end = base.Session.verdict, process.Child.end
    session.Qemu = timed("qemu", session.Qemu)  # type: ignore[assignment,misc]
    base.start_gdb, base.load_extension = start_gdb, load_extension
    base.Session.verdict, process.Child.end = verdict, end  # type: ignore[method-assign]
    if index is not None:
        gdb_process.index_folder = lambda _program, _version: index
    # As the program itself does it, to its end.
    sys.argv[:] = ["gdb-lmb", *words]
    status = main()
    out.write_text(json.dumps(spent))
    return status


def one_run(command: list[str], first: bool = False) -> dict[str, float]:
    """Run `gdb-lmb` with these words once, in a process of its own; return the seconds of each part."""
    with tempfile.TemporaryDirectory() as folder:
        out, index = Path(folder) / "spent", Path(folder) / "index"
        index.mkdir()
        words = [sys.executable, __file__, "--inside", str(out), "--words", json.dumps(command)]
        # Compiled modules are kept, as Python does unless it is told otherwise.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        start = time.perf_counter()
        done = subprocess.run(
            [*words, *(["--index", str(index)] if first else [])], capture_output=True, text=True, env=environment
        )
        whole = time.perf_counter() - start
        if done.returncode or not any(sign in done.stdout for sign in CLEAN):
            raise SystemExit(f"bench: gdb-lmb {command} ended with {done.returncode}: {done.stderr.strip()}")
        parts: dict[str, float] = json.loads(out.read_text())
    whole -= parts.pop("measuring")
    return {"whole": whole, **parts, "ours": whole - sum(parts.values())}


def median_run(runs: list[dict[str, float]]) -> dict[str, float]:
    """Return the run whose whole is the median, so that its parts still add up."""
    return sorted(runs, key=lambda run: run["whole"])[len(runs) // 2]


def measure(name: str, runs: int) -> dict[str, Any]:
    """Measure first and later runs, with progress on stderr."""
    figures: dict[str, Any] = {"schema": "gdb-lmb/bench-stock/1", "kernel": name}
    for kind, first in (("first", True), ("later", False)):
        # What is in the page cache, and in gdb's index, belongs to the first of them.
        one_run(["run", name], first)
        taken = []
        for number in range(runs):
            print(f"bench: {kind} run of {name}, {number + 1} of {runs}", file=sys.stderr)
            taken.append(one_run(["run", name], first))
        figures[kind] = median_run(taken)
    return figures


def table(figures: dict[str, Any]) -> str:
    """Return the page's table and the sentences under it."""
    from tabulate import tabulate

    headers = ["`gdb-lmb run " + figures["kernel"] + "`", "whole", "QEMU's start", "boot", "gdb", "ours"]
    rows = []
    for kind, what in (("first", "first run: gdb has no index yet"), ("later", "later runs")):
        run = figures[kind]
        parts = [f"{run[part]:.2f} s, {100 * run[part] / run['whole']:.1f} %" for part in (*PARTS, "ours")]
        rows.append([what, f"{run['whole']:.2f} s", *parts])
    text = tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True, stralign="right")
    return (
        f"{text}\n\nThe median run of several on one machine. QEMU's start is also its end, and gdb's connecting to "
        "it; boot is all the time in which the guest runs; gdb is its start and end, and what it reads of the program "
        "and looks up; ours is the rest, from Python's start to its end. What goes on at the same time as another "
        "part, as the imports inside gdb during a boot, is not counted again."
    )


def main() -> int:
    """Measure, print the table, and keep what was asked to be kept."""
    parser = argparse.ArgumentParser(prog="scripts/bench_stock.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kernel", metavar="NAME", default=KERNEL, help="a kernel of the cache (default: %(default)s)")
    parser.add_argument(
        "--runs", metavar="N", type=int, default=RUNS, help="how many of each kind (default: %(default)s)"
    )
    parser.add_argument("--json", metavar="FILE", help="keep the figures in FILE (- prints them instead of the table)")
    parser.add_argument("--write-docs", action="store_true", help="put the table into gdb_lmb/docs/benchmarks.md")
    parser.add_argument("--inside", metavar="FILE", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--words", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--index", metavar="FOLDER", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        return run_measured(options.words, options.inside, options.index)
    from gdb_lmb.kernels.cache import KernelFiles
    from gdb_lmb.kernels.stock import cached

    if cached(options.kernel, KernelFiles) is None:
        print(
            f"bench: {options.kernel} is not in the cache (scripts/get-kernel {options.kernel}): left out",
            file=sys.stderr,
        )
        return 0
    figures = measure(options.kernel, options.runs)
    if options.json == "-":
        print(json.dumps(figures, indent=1))
        return 0
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=1) + "\n")
    print(table(figures))
    if options.write_docs:
        write_block("bench-stock", table(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
