# SPDX-License-Identifier: GPL-2.0-or-later
"""The rooms and which way imports go: read from the code, fails on any edge that is not in the table."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "gdb_lmb"

# Each room and what it may import; rooms of later issues join when they are needed.
ALLOWED = {
    "errors": set(),
    "region": {"errors"},
    "memory": {"errors"},
    "model": {"region", "errors"},
    "layout": {"region", "memory", "errors"},
    "checks": {"region", "errors"},
    "trace": {"region", "model", "errors"},
    "address": {"memory", "errors"},
    "report": {"errors", "region", "memory", "model", "layout", "checks", "trace"},
    "target": {"memory", "layout", "address", "region", "errors", "gdb"},
    # The grammar of numbers, which the commands in gdb and the command line share.
    "numbers": {"errors", "report"},
    "commands": {
        "errors",
        "numbers",
        "region",
        "memory",
        "model",
        "layout",
        "checks",
        "trace",
        "address",
        "report",
        "target",
        "gdb",
    },
    "runner": {"report", "layout", "errors", "numbers", "pygdbmi"},
    "__main__": {"cli"},
    "cli": {"runner", "report", "model", "trace", "errors", "numbers"},
}
OUTSIDE = {"gdb", "pygdbmi"}


def room_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Return the rooms and guarded packages that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] in OUTSIDE:
                found.add(parts[0])
            elif parts[0] == "gdb_lmb" and len(parts) > 1:
                found.add(parts[1])
    return found - {"__version__"}


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def test_every_room_is_known() -> None:
    assert {room_of(path) for path in FILES} == set(ALLOWED)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_downward_only(path: Path) -> None:
    room = room_of(path)
    wrong = imports(path) - ALLOWED[room] - {room}
    assert not wrong, f"{path.relative_to(PACKAGE)} ({room}) must not import {sorted(wrong)}"


def test_the_reader_of_imports_sees_them() -> None:
    # Guards the test above against passing because nothing was read.
    assert {"gdb", "layout", "errors"} <= imports(PACKAGE / "target" / "program.py")
    assert imports(PACKAGE / "checks" / "regions.py") == {"checks", "region"}


def test_every_file_has_licence_and_docstring() -> None:
    for path in FILES:
        text = path.read_text()
        assert text.startswith("# SPDX-License-Identifier: GPL-2.0-or-later\n"), path
        assert ast.get_docstring(ast.parse(text)), path
