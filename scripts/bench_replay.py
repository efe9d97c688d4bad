# SPDX-License-Identifier: GPL-2.0-or-later
"""Replaying a saved trace of a million operations: time and peak memory, one run, no guest.

The operations are those of a busy boot, from a fixed seed: ranges reserved and freed, memory allocated, a few
thousand regions at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from bench_docs import write_block
from fixture_kernels import DEFAULT_ARCH

from gdb_lmb.allocators.base import allocator
from gdb_lmb.allocators.lmb.model import LmbConfig, LmbModel
from gdb_lmb.allocators.memblock.behavior import MemblockBehavior, MemblockConfig
from gdb_lmb.allocators.memblock.model import MemblockModel
from gdb_lmb.allocators.memblock.resume import facts_of
from gdb_lmb.core.operation import Operation, Record, TraceHeader
from gdb_lmb.report.trace_file import TraceWriter

OPERATIONS = 1_000_000
RAM_BYTES = 1 << 32
LIVE = 2_000
"""About so many ranges are reserved at a time."""


def _operations(layout: str, count: int) -> Generator[Operation, int | None, None]:
    """Yield the operations of a boot, and be sent what each returned."""
    memblock, table = layout == "memblock", allocator(layout).operations

    def call(op: str, **arguments: Any) -> Operation:
        return table[op].call(op, **arguments)

    if memblock:
        yield call("add_range", base=0, size=RAM_BYTES, list="memory", nid=0)
    else:
        yield call("add", base=0, size=RAM_BYTES)
    yield call("allow_resize" if memblock else "allow_growth")
    draw = random.Random(1)
    taken: list[tuple[int, int]] = []
    for _ in range(count - 2):
        if len(taken) > draw.randrange(2 * LIVE):
            base, size = taken.pop(draw.randrange(len(taken)))
            name = "remove_range" if memblock else "free"
            yield call(name, base=base, size=size, list="reserved" if memblock else "")
        elif draw.random() < 0.2:
            size, align = draw.randrange(1, 64) << 6, 64
            name = "alloc_range_nid" if memblock else "alloc"
            base = yield call(name, size=size, align=align)
            taken.append((base or 0, size))
        else:
            base, size = draw.randrange(0x1000, RAM_BYTES >> 1) & ~0xFFF, draw.randrange(1, 16) << 12
            taken.append((base, size))
            if memblock:
                yield call("add_range", base=base, size=size, list="reserved", nid=1024)
            else:
                yield call("reserve", base=base, size=size)


def write(path: Path, layout: str, count: int) -> int:
    """Write a sound trace of `count` operations; return how many regions there are in the end."""
    model = MemblockModel(MemblockConfig(MemblockBehavior())) if layout == "memblock" else LmbModel(LmbConfig())
    header = TraceHeader(
        layout, DEFAULT_ARCH, "little", 64, 4096, initial=model.snapshot(),
        behavior=facts_of(model) if isinstance(model, MemblockModel) else {},
    )  # fmt: skip
    callers = tuple(0xFFFFFFFF81000000 + 0x40 * at for at in range(8))
    with path.open("wb", buffering=1 << 20) as file:
        writer = TraceWriter(file, header)
        operations = _operations(layout, count)
        operation = next(operations)
        for seq in range(1, count + 1):
            result = allocator(layout).apply(model, operation)
            writer.record(Record(seq, operation, result, callers, "early"))
            if seq < count:
                operation = operations.send(result)
        final = model.snapshot()
        writer.end(final)
    return sum(map(len, final.lists))


def measure(layout: str, count: int = OPERATIONS) -> dict[str, Any]:
    """Write a trace, replay it in a process of its own, and return what that took: seconds, bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "boot.trace"
        regions = write(path, layout, count)
        start = time.monotonic()
        child = subprocess.Popen([Path(sys.executable).parent / "gdb-lmb", "replay", path, "--json"],
                                 stdout=subprocess.PIPE)  # fmt: skip
        assert child.stdout is not None
        report = json.loads(child.stdout.read())
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - start
        if report["replayed"] != count or report["divergence"] is not None or report["not_verified"]:
            raise SystemExit(f"the replay of {layout} failed: {report['divergence'] or report['not_verified']}")
        return {
            "operations": count, "regions": regions, "seconds": seconds,
            "cpu_seconds": usage.ru_utime + usage.ru_stime, "us_per_operation": seconds / count * 1e6,
            "peak_bytes": usage.ru_maxrss * 1024, "file_bytes": path.stat().st_size,
        }  # fmt: skip


def table(figures: dict[str, dict[str, Any]]) -> str:
    """Return the page's table and the sentence under it."""
    from tabulate import tabulate

    headers = ["`gdb-lmb replay` of", "operations", "seconds", "each", "peak memory", "regions at the end"]
    rows = [
        [layout, f"{row['operations']:,}", f"{row['seconds']:.1f}", f"{row['us_per_operation']:.1f} us",
         f"{row['peak_bytes'] / (1 << 20):.0f} MiB", f"{row['regions']:,}"]
        for layout, row in figures.items()
    ]  # fmt: skip
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True, colalign=["left"] + ["right"] * 5)


def main() -> int:
    """Measure both layouts, print the figures, and keep what was asked to be kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--operations", type=int, default=OPERATIONS, metavar="N")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON instead of the table")
    parser.add_argument("--write-docs", action="store_true", help="put the table into gdb_lmb/docs/benchmarks.md")
    options = parser.parse_args()
    figures = {}
    for layout in ("memblock", "lmb-list"):
        print(f"bench: replaying {options.operations:,} operations of {layout}", file=sys.stderr)
        figures[layout] = measure(layout, options.operations)
    print(json.dumps(figures, indent=1) if options.json else table(figures))
    if options.write_docs:
        write_block("bench-replay", table(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
