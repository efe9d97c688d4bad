# SPDX-License-Identifier: GPL-2.0-or-later
"""What is worked out of a stock kernel's symbols, without any guest, against binutils' nm.

gdb may have the symbols where they were linked, or somebody moved them before any lmb command was asked.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from gdb_lmb.kernels.stock import find_kernel
from gdb_lmb.runner.gdb_process import extension, index_folder
from tests.helpers.linked import linked_symbols
from tests.helpers.stock import AMD64

pytestmark = pytest.mark.stock

ARM64 = "debian:6.12-cloud-arm64"
ENTRIES = {ARM64: "_text"} | dict.fromkeys(AMD64, "startup_64")

PER_CPU = (
    "current_task",
    "pcpu_hot",
    "cpu_info",
    "cpu_number",
    "irq_stat",
    "kstat",
    "__per_cpu_start",
    "__per_cpu_end",
)
PLAIN = (
    "memblock",
    "init_task",
    "__per_cpu_offset",
    "memblock_free_all",
    "system_state",
    "_end",
    "__bss_start",
    "jiffies",
)

ASK = """
import json
from gdb_lmb.machine.current import current
from gdb_lmb.programs.linux.kernel import find_kernel, symbols_moved_by
kernel = find_kernel(current())
print(json.dumps([symbols_moved_by(current(), kernel), kernel.program.memblock_va, kernel.entry, kernel.image,
                  kernel.init, kernel.code, kernel.keeps, kernel.symbols["system_state"]]))
"""


@pytest.mark.parametrize("offset", [0, 0x1E00000, 0x2B000000])
@pytest.mark.parametrize("name", ENTRIES)
def test_symbols_are_as_linked_wherever_they_stand(name: str, offset: int, tmp_path: Path) -> None:
    kernel = find_kernel(name, notice=print)
    linked = linked_symbols(kernel.vmlinux)
    script = tmp_path / "ask.py"
    script.write_text(ASK)
    words = ["gdb" if name in AMD64 and shutil.which("gdb") else "gdb-multiarch", "-nx", "-q", "-batch"]
    words += [str(kernel.vmlinux), *(["-ex", f"symbol-file -o {offset} {kernel.vmlinux}"] if offset else [])]
    words += ["-ex", f"source {extension()}", "-ex", f"source {script}"]
    told = subprocess.run(words, capture_output=True, text=True, check=True)
    assert told.stderr == ""

    def pair(low: str, high: str) -> list[int]:
        return [linked[low], linked[high]]

    assert json.loads(told.stdout.splitlines()[-1]) == [
        offset,
        linked["memblock"],
        linked[ENTRIES[name]],
        pair("_text", "_end"),
        pair("__init_begin", "__init_end"),
        [pair("_text", "_etext"), pair("_sinittext", "_einittext")],
        "memblock_discard" not in linked,
        linked["system_state"],
    ]


MOVE = """
import gdb, json
from gdb_lmb.core.address import Placement
from gdb_lmb.machine.current import current
from gdb_lmb.programs.linux.kernel import find_kernel, symbols_moved_by
from gdb_lmb.machine.boot import move_symbols
kernel = find_kernel(current())
gdb.Breakpoint("start_kernel").enabled = False
gdb.Breakpoint("memblock_free_all")
gdb.Breakpoint("memblock.memory.cnt", gdb.BP_WATCHPOINT)
gdb.Breakpoint("memblock_reserve", internal=True)
gdb.execute('dprintf memblock_remove,"removed"')
out = []
for offset in OFFSETS:
    move_symbols(kernel, Placement(0, offset, kernel.image, base_va=kernel.image[0]))
    at = [int(gdb.parse_and_eval(f"(unsigned long)&{name}")) for name in NAMES]
    rows = [line.split() for line in gdb.execute("maint info breakpoints", to_string=True).splitlines()]
    out.append([symbols_moved_by(current(), find_kernel(current())), at, [stop.enabled for stop in gdb.breakpoints()],
                [row[3] for row in rows if row[1:2] == ["dprintf"]], gdb.lookup_type("struct memblock").sizeof])
print(json.dumps(out))
"""


@pytest.mark.parametrize("name", ENTRIES)
def test_sections_linked_at_0_stay_there(name: str, tmp_path: Path) -> None:
    kernel = find_kernel(name, notice=print)
    linked = linked_symbols(kernel.vmlinux)
    low = linked["_text"]
    # On x86-64 before Linux 6.15 per-CPU variables have offsets for addresses.
    fixed = sorted(symbol for symbol, at in linked.items() if symbol in PER_CPU and at < low)
    assert bool(fixed) == (name in AMD64[:2])
    names = [*fixed, *(symbol for symbol in (*PER_CPU, *PLAIN) if symbol in linked and symbol not in fixed)]
    offsets = [0x1E00000, 0x2B000000, 0, 0x2000000]
    script = tmp_path / "move.py"
    script.write_text(MOVE.replace("OFFSETS", repr(offsets)).replace("NAMES", repr(names)))
    gdb = "gdb" if name in AMD64 and shutil.which("gdb") else "gdb-multiarch"
    version = subprocess.run([gdb, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    index = index_folder(kernel.vmlinux, version)
    words = [gdb, "-nx", "-q", "-batch"]
    words += ["-iex", f"set index-cache directory {index}", "-iex", "set index-cache enabled on"]
    words += [str(kernel.vmlinux), "-ex", f"source {extension()}", "-ex", f"source {script}"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    told = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300, env=environment)
    assert told.stderr == ""
    for offset, (moved, places, enabled, printing, size) in zip(
        offsets, json.loads(told.stdout.splitlines()[-1]), strict=True
    ):
        assert moved == offset
        assert places == [linked[symbol] + (0 if symbol in fixed else offset) for symbol in names]
        assert (enabled, printing) == ([False, True, True, True], ["y"])
        assert size > 0
    assert [path.name for path in tmp_path.iterdir()] == ["move.py"]
