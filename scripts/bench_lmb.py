# SPDX-License-Identifier: GPL-2.0-or-later
"""Measure the list-based LMB beside the kernel's own memblock, both in user space, both `gcc -O2`, in one run.

usage: scripts/bench_lmb.py [SIZE...]     regions of the builds; 100 1000 10000 100000 by default
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from fixture_kernels import FIXTURES

from gdb_lmb.kernels.stock import find_source

SIZES = (100, 1000, 10000, 100000)
ORDERS = ("random", "ascending")


def build_lmb(folder: Path) -> Path:
    """Build the allocator without its log, which memblock has not."""
    program = folder / "lmb"
    subprocess.run(
        ["gcc", "-std=gnu11", "-O2", "-DCONFIG_LMB_LOG=0", f"-I{FIXTURES}", "-o", program,
         *(FIXTURES / name for name in ("host/bench.c", "lmb.c", "host/platform.c"))], check=True,
    )  # fmt: skip
    return program


def build_memblock(folder: Path, largest: int) -> Path:
    """Build memblock of its simulator, without sanitizers, with arrays that never have to be doubled."""
    tree = folder / "tree"
    shutil.copytree(find_source("source:6.1", notice=print).tree, tree, symlinks=True)
    simulator = tree / "tools" / "testing" / "memblock"
    subprocess.run(["make", "-s", "-C", simulator, "include", "memblock.c"], check=True)
    program = folder / "memblock"
    subprocess.run(
        ["gcc", "-I.", "-I../../include", "-O2", "-w", "-DCONFIG_PHYS_ADDR_T_64BIT", "-DBENCH_MEMBLOCK",
         f"-DINIT_MEMBLOCK_RESERVED_REGIONS={2 * largest + 10000}", "-o", program, FIXTURES / "host" / "bench.c",
         "memblock.c", "lib/slab.c", "mmzone.c", "../../lib/slab.c"], cwd=simulator, check=True,
    )  # fmt: skip
    return program


def measure(program: Path, size: int, order: str) -> dict[str, float]:
    """Return what the program prints: seconds of the build, nanoseconds of an operation."""
    words = subprocess.run([program, str(size), order], capture_output=True, text=True, check=True).stdout.split()
    return {name: float(figure) for name, figure in zip(words[2::2], words[3::2], strict=True)}


def main() -> None:
    sizes = [int(word) for word in sys.argv[1:]] or SIZES
    print(f"{'regions':>8} {'order':9} {'of':8} {'LMB':>12} {'memblock':>12} {'ratio':>8}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lmb, memblock = build_lmb(folder), build_memblock(folder, max(sizes))
        for size in sizes:
            for order in ORDERS:
                ours, theirs = measure(lmb, size, order), measure(memblock, size, order)
                for key, figure in ours.items():
                    what, unit = key.rsplit("_", 1)
                    print(
                        f"{size:8} {order:9} {what:8} {figure:9.6g} {unit:2} {theirs[key]:9.6g} {unit:2} "
                        f"{figure / max(theirs[key], 1e-9):8.3f}"
                    )


if __name__ == "__main__":
    main()
