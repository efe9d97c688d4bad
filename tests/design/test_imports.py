# SPDX-License-Identifier: GPL-2.0-or-later
"""The rooms and which way imports go: read from the code, fails on any edge that goes up or round."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.helpers.rooms import FILES, PACKAGE, ROOMS, room_of

# What these three never see: they run outside gdb.
OUTSIDE_GDB = ("kernels", "runner", "cli", "plugin", "__main__")
GDB_ROOMS = ("machine", "tracing", "commands")
GUARDED = {"gdb": GDB_ROOMS, "pygdbmi": ("runner",), "pytest": ("plugin",)}


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
            if parts[0] in GUARDED:
                found.add(parts[0])
            elif parts[0] == "gdb_lmb" and len(parts) > 1:
                found.add(parts[1])
    return found - {"__version__"}


def test_every_room_is_known() -> None:
    assert {room_of(path) for path in FILES} == set(ROOMS)


def may_import(room: str, what: str) -> bool:
    if what in GUARDED:
        return room in GUARDED[what]
    if room in OUTSIDE_GDB and what in GDB_ROOMS:
        return False
    return ROOMS.index(what) <= ROOMS.index(room)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_downward_only(path: Path) -> None:
    room = room_of(path)
    wrong = {what for what in imports(path) if not may_import(room, what)}
    assert not wrong, f"{path.relative_to(PACKAGE)} ({room}) must not import {sorted(wrong)}"


def test_the_reader_of_imports_sees_them() -> None:
    # Guards the tests above against passing because nothing was read.
    assert {"gdb", "machine", "core"} <= imports(PACKAGE / "commands" / "base.py")
    assert imports(PACKAGE / "core" / "holes.py") == {"core"}


def test_every_file_has_licence_and_docstring() -> None:
    for path in FILES:
        text = path.read_text()
        assert text.startswith("# SPDX-License-Identifier: GPL-2.0-or-later\n"), path
        assert ast.get_docstring(ast.parse(text)), path


def test_tests_import_helpers_only() -> None:
    tests = PACKAGE.parent / "tests"
    wrong = [
        f"{path.relative_to(tests)}: {node.module}"
        for path in sorted(tests.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and re.fullmatch(r"tests\.(.+\.)?test_\w+", node.module or "")
    ]
    assert not wrong, "what tests share belongs in tests/helpers"
