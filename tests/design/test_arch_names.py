# SPDX-License-Identifier: GPL-2.0-or-later
"""No architecture's name, nor a register of one, in code outside `arches` and the catalogue of kernels.

Comments and docstrings may say why x86 needs something; identifiers and texts may not.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gdb_lmb.arches.registry import architectures
from tests.helpers.rooms import FILES, PACKAGE, room_of

ALLOWED = ("arches", "kernels")
REGISTERS = (
    "rsp", "rip", "rax", "rdi", "rsi", "esp", "eip", "eax", "cr0", "cr3", "cr4", "efer", "eflags", "idtr",
    "x0", "x29", "x30", "cpsr", "ttbr0", "ttbr1", "ttbr1_el1", "sctlr", "vbar", "stvec", "satp", "psw", "msr", "r14",
)  # fmt: skip
FAMILIES = ("x86", "amd64", "powerpc", "risc-v", "riscv", "s390", "arm32", "mips", "loongarch", "sparc", "i686")
OTHER_MEANINGS = ("arm", "rsp")
"""Identifiers that mean something else: to start a timer, and gdb's remote serial protocol."""
CATALOGUE = re.compile(r"\b(debian|source):[\w.-]+")
"""Names of kernels, which messages and help may show."""


def names() -> set[str]:
    found = set(REGISTERS) | set(FAMILIES)
    for row in architectures():
        found |= {row.name, row.uname, *row.aliases, *row.gdb, *row.native}
    return found


WORD = re.compile(
    rf"(?<![a-z0-9])({'|'.join(sorted(map(re.escape, names()), key=len, reverse=True))})(?![a-z0-9])", re.I
)


def texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and text of every identifier and every string that is no docstring."""
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes) and id(node) not in bare:
            text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
            yield node.lineno, CATALOGUE.sub("", text)
        for field in ("id", "attr", "arg", "name", "asname"):
            value = getattr(node, field, None)
            if isinstance(value, str) and value not in OTHER_MEANINGS and not value.endswith(".rsp"):
                yield getattr(node, "lineno", 0), re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", value)


def found_in(path: Path) -> list[str]:
    return [f"{line}: {text!r}" for line, text in texts(ast.parse(path.read_text())) if WORD.search(text)]


@pytest.mark.parametrize(
    "path", [p for p in FILES if room_of(p) not in ALLOWED], ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_no_architecture_is_named(path: Path) -> None:
    assert found_in(path) == []


def test_the_search_sees_names(tmp_path: Path) -> None:
    # Guards the test above against passing because nothing was read.
    for code in (
        "X86_ALIGN = 1",
        "arch == 'aarch64'",
        "read('rsp')",
        "def of_x86(): ...",
        "f'{x} on ppc64le'",
        "from a import Arm64",
    ):
        path = tmp_path / "code.py"
        path.write_text(f'"""x86 may be here."""\n# and x86 here\n{code}\n')
        assert len(found_in(path)) == 1, code
    assert found_in(PACKAGE / "arches" / "arm64.py")
