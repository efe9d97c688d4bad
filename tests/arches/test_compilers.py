# SPDX-License-Identifier: GPL-2.0-or-later
"""What a compiler writes for an architecture is found as that architecture, by its ELF header."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from gdb_lmb.arches.registry import architectures, find
from gdb_lmb.formats.elf import read_headers


def test_the_compilers_that_are_installed(tmp_path: Path) -> None:
    seen = set()
    for row in architectures():
        compiler = shutil.which(f"{row.cross}gcc")
        if compiler is None:
            continue
        made = tmp_path / f"{row.name}.o"
        subprocess.run([compiler, "-x", "c", "-c", "-o", made, os.devnull], check=True, timeout=60)
        elf = read_headers(made)
        assert find(e_machine=elf.machine, bits=elf.bits, byte_order=elf.byte_order) is row
        seen.add(row.uname)
    # The host's own is always there: the fixture is built with it.
    assert os.uname().machine in seen
