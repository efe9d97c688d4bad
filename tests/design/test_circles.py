# SPDX-License-Identifier: GPL-2.0-or-later
"""No circle of imports between files, those under TYPE_CHECKING and inside functions included."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.helpers.rooms import FILES, PACKAGE


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def imported(module: str) -> set[str]:
    """Return the package's modules that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names & MODULES.keys() or {node.module}
            if names - MODULES.keys():
                found.add(node.module)
    return (found & MODULES.keys()) - {module}


def circles(edges: dict[str, set[str]]) -> set[frozenset[str]]:
    """Return the strongly connected sets of more than one module."""
    reach: dict[str, set[str]] = {}
    for start in edges:
        seen: set[str] = set()
        todo = [start]
        while todo:
            for name in edges[todo.pop()] - seen:
                seen.add(name)
                todo.append(name)
        reach[start] = seen
    return {
        frozenset({other for other in reach[name] if name in reach[other]} | {name})
        for name in edges
        if name in reach[name]
    }


def test_no_circles_of_files() -> None:
    assert circles({module: imported(module) for module in MODULES}) == set()


def test_the_finder_of_circles_finds_one() -> None:
    # Guards the test above against passing because nothing was read.
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == {frozenset("bc")}
    assert "gdb_lmb.core.errors" in imported("gdb_lmb.core.memory")
