# SPDX-License-Identifier: GPL-2.0-or-later
"""What is particular to one allocator stands in its package: nobody else asks which one it is."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.helpers.rooms import FILES, PACKAGE, room_of

OF_ONE = ("Model", "Storage")
"""Ends of the names of an allocator's own classes."""


def asks(tree: ast.AST) -> list[str]:
    """Return where code compares a layout with a name, or asks whether a value is one allocator's own."""
    return [ast.unparse(node) for node in ast.walk(tree) if _compares(node) or _is_instance(node)]


def _compares(node: ast.AST) -> bool:
    if not isinstance(node, ast.Compare):
        return False
    sides = [node.left, *node.comparators]
    # Two snapshots may be compared; a layout and the text of a name may not.
    texts = any(
        isinstance(inner, ast.Constant) and isinstance(inner.value, str) for s in sides for inner in ast.walk(s)
    )
    return texts and any(_named(side).endswith("layout") for side in sides)


def _is_instance(node: ast.AST) -> bool:
    if not (isinstance(node, ast.Call) and _named(node.func) == "isinstance" and len(node.args) == 2):
        return False
    classes = node.args[1].elts if isinstance(node.args[1], ast.Tuple) else [node.args[1]]
    return any(_named(one).endswith(OF_ONE) for one in classes)


def _named(node: ast.expr) -> str:
    """Return the last part of a dotted name; a subscript's is its key: data["layout"]."""
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return str(node.slice.value)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


OUTSIDE = [path for path in FILES if room_of(path) != "allocators"]


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_room_asks_which_allocator_it_is(path: Path) -> None:
    assert not asks(ast.parse(path.read_text()))


@pytest.mark.parametrize(
    "code",
    [
        'snapshot.layout == "memblock"',
        '"lmb-list" != header.layout',
        'data["layout"] in ("lmb-list", "memblock")',
        "isinstance(model, LmbModel)",
        "isinstance(snapshot.storage, (int, storage.MemblockStorage))",
    ],
)
def test_the_reader_sees_what_is_not_allowed(code: str) -> None:
    # Guards the test above against passing because nothing was read.
    assert asks(ast.parse(code)) == [ast.unparse(ast.parse(code)).strip()]


@pytest.mark.parametrize("code", ["expected.layout != found.layout", "isinstance(text, str)", 'name == "memblock"'])
def test_the_reader_sees_what_is_allowed(code: str) -> None:
    assert asks(ast.parse(code)) == []


def imported(path: Path, seen: set[Path]) -> set[Path]:
    """Return the files of the package that a file imports, and those that they import."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("gdb_lmb"):
            continue
        for name in (node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)):
            other = PACKAGE.parent / (name.replace(".", "/") + ".py")
            if other.is_file() and other not in seen:
                seen.add(other)
                imported(other, seen)
    return seen


TRACING = [path for path in FILES if room_of(path) == "tracing"]
MEMBERS = {f"gdb_lmb.{path.parent.relative_to(PACKAGE)}".replace("/", ".") for path in PACKAGE.glob("*/*/__init__.py")
           if room_of(path) in ("allocators", "programs")}  # fmt: skip
NAMES = {member.rpartition(".")[2] for member in MEMBERS} | {"lmb-list"}


def imports_of_members(tree: ast.AST) -> list[str]:
    """Return the imports of a particular allocator or program."""
    modules = [
        f"{node.module}.{alias.name}" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]  # fmt: skip
    modules += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    return [name for name in modules if any(f"{name}.".startswith(f"{member}.") for member in MEMBERS)]


def of_members(tree: ast.AST) -> list[str]:
    """Return the imports of a particular allocator or program, and the texts that are its name."""
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return imports_of_members(tree) + [
        text for text in texts if text in NAMES or text.startswith(tuple(f"{member}." for member in MEMBERS))
    ]


@pytest.mark.parametrize("path", TRACING, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_tracing_knows_no_particular_allocator_or_program(path: Path) -> None:
    assert not of_members(ast.parse(path.read_text()))


IN_GDB = [path for path in FILES if room_of(path) in ("machine", "commands")]


@pytest.mark.parametrize("path", IN_GDB, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_commands_and_the_machine_import_no_particular_allocator_or_program(path: Path) -> None:
    assert not imports_of_members(ast.parse(path.read_text()))


@pytest.mark.parametrize(
    "code",
    [
        "from gdb_lmb.programs.linux.place import locate",
        "from gdb_lmb.programs import linux",
        "import gdb_lmb.allocators.memblock.decode",
        'allocator("lmb-list")',
        'import_module("gdb_lmb.allocators.lmb.program")',
    ],
)
def test_the_reader_sees_particular_ones(code: str) -> None:
    assert of_members(ast.parse(code))


CHECKS = [path for path in FILES if room_of(path) == "allocators" and path.stem.startswith("check")]


@pytest.mark.parametrize("path", CHECKS, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_checks_never_import_a_model(path: Path) -> None:
    names = {str(other.relative_to(PACKAGE).with_suffix("")) for other in imported(path, set())}
    assert "core/snapshot" in names, "nothing was read"
    parts = ("model", "core", "plan", "table", "search", "resume", "predict", "operations")
    models = {f"allocators/{package}/{part}" for package in ("lmb", "memblock") for part in parts}
    assert not names & models
