# SPDX-License-Identifier: GPL-2.0-or-later
"""One rule, one place: what is decided by one module is decided nowhere else."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent.parent / "gdb_lmb"
FILES = {str(path.relative_to(PACKAGE)): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


def escapes(node: ast.AST) -> bool:
    """Tell whether code decides which characters a terminal may see."""
    if isinstance(node, ast.Attribute):
        return node.attr == "isprintable"
    return isinstance(node, ast.Constant) and node.value == "unicode_escape"


def ranks(node: ast.AST) -> bool:
    """Tell whether code decides by the code of a torn state, as the precedence of outcomes does."""
    if not isinstance(node, ast.Compare) or not all(isinstance(op, (ast.In, ast.NotIn)) for op in node.ops):
        return False
    left = node.left
    return (isinstance(left, ast.Constant) and left.value == "torn") or (
        isinstance(left, ast.Name) and left.id == "TORN"
    )


def counts_statuses(node: ast.AST) -> bool:
    """Tell whether code gives exit statuses their numbers."""
    return isinstance(node, ast.Assign) and any(
        isinstance(target, ast.Name) and target.id in ("NOT_VERIFIED", "NOT_REACHED", "INFRASTRUCTURE")
        for target in node.targets
    )


def parses_arguments(node: ast.AST) -> bool:
    """Tell whether code of a command splits its line itself."""
    return isinstance(node, ast.Attribute) and node.attr == "string_to_argv"


def scales(node: ast.AST) -> bool:
    """Tell whether code reads the suffixes of sizes: K, M, G, T."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and "[kmgt]" in node.value.lower()


RULES: list[tuple[Callable[[ast.AST], bool], str]] = [
    (escapes, "core/words.py"),
    (ranks, "report/statuses.py"),
    (counts_statuses, "report/statuses.py"),
    (parses_arguments, "commands/base.py"),
    (scales, "core/numbers.py"),
]


@pytest.mark.parametrize(("rule", "place"), RULES, ids=lambda value: getattr(value, "__name__", ""))
def test_it_is_in_one_place(rule: Callable[[ast.AST], bool], place: str) -> None:
    assert {name for name, tree in FILES.items() if any(rule(node) for node in ast.walk(tree))} == {place}
