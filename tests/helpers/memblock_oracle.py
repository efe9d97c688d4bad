# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's own mm/memblock.c as an oracle: built in user space by its simulator, driven line by line."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gdb_lmb.allocators.memblock.model import MemblockModel
from gdb_lmb.allocators.memblock.storage import RegionArray, storage_of
from gdb_lmb.core.snapshot import RegionList

DRIVER = Path(__file__).parent / "oracle" / "driver.c"
RAM_BASE = 0x100000
RAM_END = 0x4100000
MAX_NUMNODES = 16
"""What the simulator is built with: CONFIG_NODES_SHIFT is 4."""
CACHE_BYTES = 32
"""The simulator's L1_CACHE_BYTES."""
MAX_LOW_PFN = 0x100000
"""The driver's."""
_OBJECTS = ("memblock.o", "lib/slab.o", "mmzone.o", "slab.o")
_TIMEOUT_S = 600


@dataclass(frozen=True)
class Variant:
    """How memblock.c is built: with nodes, and with how long static arrays; 32 is the width of phys_addr_t."""

    numa: bool
    memory_max: int = 128
    reserved_max: int = 128
    bits: int = 64

    @property
    def defines(self) -> list[str]:
        lengths = [
            f"-DINIT_MEMBLOCK_MEMORY_REGIONS={self.memory_max}",
            f"-DINIT_MEMBLOCK_RESERVED_REGIONS={self.reserved_max}",
        ]
        return ["-DCONFIG_MEMBLOCK_KHO_SCRATCH", *lengths]

    @property
    def region_size(self) -> int:
        return 24 if self.bits == 64 else 16 if self.numa else 12


def build(source: Path, variant: Variant, cache: Path) -> Path:
    """Return the driver for this source tree and variant, built once for each content of both."""
    key = hashlib.sha256(repr(variant).encode())
    key.update(DRIVER.read_bytes())
    key.update((source / "mm" / "memblock.c").read_bytes())
    home = cache / "oracle"
    home.mkdir(parents=True, exist_ok=True)
    driver = home / key.hexdigest()[:32]
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not driver.exists():
            _build(source, variant, driver)
    return driver


def _build(source: Path, variant: Variant, driver: Path) -> None:
    work = driver.with_suffix(".tree")
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(source, work, symlinks=True)
    simulator = work / "tools" / "testing" / "memblock"
    objects = [*_OBJECTS, *(["cmdline.o"] if "cmdline.o" in (simulator / "Makefile").read_text() else [])]
    # The makefile adds to CFLAGS; CPPFLAGS come after them on the command line.
    environment = {**os.environ, "CFLAGS": " ".join(variant.defines)}
    environment["CPPFLAGS"] = "" if variant.bits == 64 else "-UCONFIG_PHYS_ADDR_T_64BIT"
    settings = ["NUMA=1"] if variant.numa else []
    shutil.copy(DRIVER, simulator / "driver.c")
    command = ["make", "-s", "-C", simulator, *settings, *objects, "driver.o"]
    made = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=_TIMEOUT_S, check=False)
    assert made.returncode == 0, f"the simulator cannot be built (libasan and liburcu-dev?):\n{made.stderr[-4000:]}"
    flags = ["-fsanitize=address", "-fsanitize=undefined"]
    partial = driver.with_suffix(".partial")
    subprocess.run(["gcc", *flags, "-o", partial, "driver.o", *objects], cwd=simulator, check=True)
    partial.rename(driver)
    shutil.rmtree(work)


def drive(driver: Path, lines: Sequence[str]) -> tuple[list[str], str]:
    """Run the driver over these operations; return its answers, fewer where it died, and its stderr."""
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    done = subprocess.run(
        [driver, f"{RAM_BASE:x}", f"{RAM_END:x}"], input="\n".join(lines) + "\n", env=environment,
        text=True, capture_output=True, timeout=_TIMEOUT_S, check=False,
    )  # fmt: skip
    answers = done.stdout.splitlines()
    assert done.returncode == 0 or len(answers) < len(lines), done.stderr[-2000:]
    assert "AddressSanitizer" not in done.stderr, done.stderr[:2000]
    return answers, done.stderr


def answer(model: MemblockModel, result: int) -> str:
    """Return the line that the driver should have written: this result and the model's whole state."""
    snapshot = model.snapshot()
    head = f"-{-result:x}" if result < 0 else f"{result:x}"
    arrays = {array.name: array for array in storage_of(snapshot).arrays}
    shown = [f"{head} {snapshot.current_limit:x} {int(snapshot.bottom_up)}"]
    for regions in (snapshot.memory, snapshot.reserved):
        shown.append(f"{regions.name} {regions.cnt:x} {regions.max:x} {regions.total_size:x} {_rows(regions, arrays)}")
    return " | ".join(shown)


def _rows(regions: RegionList, arrays: dict[str, RegionArray]) -> str:
    array = arrays[regions.name]
    where = "static" if array.static else "slab" if array.base is None else f"{array.base:x}"
    if len(regions.nid):
        columns = zip(regions.base, regions.size, regions.flags, regions.nid, strict=True)
        return " ".join([where, *(f"{b:x}:{s:x}:{f:x}:{n}" for b, s, f, n in columns)])
    rows = zip(regions.base, regions.size, regions.flags, strict=True)
    return " ".join([where, *(f"{b:x}:{s:x}:{f:x}" for b, s, f in rows)])
