# SPDX-License-Identifier: GPL-2.0-or-later
"""gdb's names of architectures and of registers, as a gdb that knows all architectures has them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from gdb_lmb.arches.registry import architectures

# With what the kernels lane installs: the plain one has the gdb of its own machine only.
pytestmark = pytest.mark.stock

ROOT = Path(__file__).resolve().parent.parent.parent

# What gdb calls it (`set architecture`), its byte order, and `uname -m` there; gdb's own word for what is not known.
NAMES = [
    ("i386:x86-64", "little", "x86_64"), ("i386", "little", "i386"), ("i8086", "little", "i386"),
    ("aarch64", "little", "aarch64"), ("arm", "little", "arm"), ("armv7", "little", "arm"), ("xscale", "little", "arm"),
    ("powerpc:common", "big", "ppc"), ("powerpc:e500", "big", "ppc"), ("powerpc:common64", "big", "ppc64"),
    ("powerpc:common64", "little", "ppc64le"), ("powerpc:e6500", "big", "ppc64"), ("riscv:rv64", "little", "riscv64"),
    ("s390:64-bit", "big", "s390x"), ("riscv:rv32", "little", "riscv:rv32"), ("mips:isa32", "big", "mips:isa32"),
]  # fmt: skip

IN_GDB = """
import gdb, json, sys
sys.path.insert(0, ROOT)
from gdb_lmb.arches.registry import find
from gdb_lmb.machine.current import current
out = []
for name, order, _ in NAMES:
    gdb.execute(f"set architecture {name}", to_string=True)
    gdb.execute(f"set endian {order}", to_string=True)
    inferior = gdb.selected_inferior().architecture()
    out.append([current().arch, [register.name for register in inferior.registers()]])
print(json.dumps(out))
"""


@pytest.fixture(scope="module")
def told() -> list[tuple[str, list[str]]]:
    script = IN_GDB.replace("ROOT", repr(str(ROOT))).replace("NAMES", repr(NAMES))
    words = ["gdb-multiarch", "-nx", "-q", "-batch", "-ex", f"python exec({script!r})"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    return [(uname, names) for uname, names in json.loads(done.stdout)]


def test_each_is_known_by_gdbs_name(told: list[tuple[str, list[str]]]) -> None:
    assert [uname for uname, _ in told] == [uname for _, _, uname in NAMES]


def test_gdb_has_the_registers_of_each_convention(told: list[tuple[str, list[str]]]) -> None:
    registers = dict(told)
    for row in architectures():
        convention = row.convention
        wanted = {*convention.arguments, *convention.result, convention.sp}
        if convention.link is not None:
            wanted.add(convention.link)
        assert wanted <= set(registers[row.uname]), row.name
