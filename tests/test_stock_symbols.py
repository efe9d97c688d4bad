# SPDX-License-Identifier: GPL-2.0-or-later
"""What is worked out of a stock kernel's symbols, without any guest, against binutils' nm.

gdb may have the symbols where they were linked, or somebody moved them before any lmb command was asked.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from gdb_lmb.runner.gdb_process import extension
from gdb_lmb.runner.stock import find_kernel
from tests.stock import AMD64

pytestmark = pytest.mark.stock

ARM64 = "debian:6.12-cloud-arm64"
ENTRIES = {ARM64: "_text"} | dict.fromkeys(AMD64, "startup_64")

ASK = """
import json
from gdb_lmb.target.linux import find_kernel, symbols_moved_by
kernel = find_kernel()
print(json.dumps([symbols_moved_by(kernel), kernel.program.memblock_va, kernel.entry, kernel.image, kernel.init,
                  kernel.code, kernel.keeps, kernel.symbols["system_state"]]))
"""


def linked_symbols(vmlinux: Path) -> dict[str, int]:
    """Return what nm says of global symbols."""
    told = subprocess.run(["nm", "-g", vmlinux], capture_output=True, text=True, check=True).stdout
    return {name: int(at, 16) for at, _, name in (line.split() for line in told.splitlines() if line[0] != " ")}


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
    told = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
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
