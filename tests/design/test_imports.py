# SPDX-License-Identifier: GPL-2.0-or-later
"""The rooms and which way imports go: read from the code, fails on any edge that goes up or round."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent.parent / "gdb_lmb"

# From the ground up: a room imports from those before it only.
ROOMS = (
    "core",
    "formats",
    "arches",
    "allocators",
    "programs",
    "analysis",
    "report",
    "machine",
    "tracing",
    "commands",
    "kernels",
    "runner",
    "cli",
    "__main__",
)
# What these three never see: they run outside gdb.
OUTSIDE_GDB = ("kernels", "runner", "cli", "__main__")
GDB_ROOMS = ("machine", "tracing", "commands")
GUARDED = {"gdb": GDB_ROOMS, "pygdbmi": ("runner",)}

# Edges that still go up; each goes away with the room that it leaves.
NOT_YET: set[tuple[str, str]] = set()


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
            if parts[0] in GUARDED:
                found.add(parts[0])
            elif parts[0] == "gdb_lmb" and len(parts) > 1:
                found.add(parts[1])
    return found - {"__version__"}


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


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
    wrong = {what for what in imports(path) if not may_import(room, what) and (room, what) not in NOT_YET}
    assert not wrong, f"{path.relative_to(PACKAGE)} ({room}) must not import {sorted(wrong)}"


def test_every_exception_is_needed() -> None:
    seen = {(room_of(path), what) for path in FILES for what in imports(path)}
    assert seen >= NOT_YET


def test_the_reader_of_imports_sees_them() -> None:
    # Guards the tests above against passing because nothing was read.
    assert {"gdb", "machine", "core"} <= imports(PACKAGE / "commands" / "base.py")
    assert imports(PACKAGE / "core" / "holes.py") == {"core"}


def test_every_file_has_licence_and_docstring() -> None:
    for path in FILES:
        text = path.read_text()
        assert text.startswith("# SPDX-License-Identifier: GPL-2.0-or-later\n"), path
        assert ast.get_docstring(ast.parse(text)), path
