# SPDX-License-Identifier: GPL-2.0-or-later
"""The phases of a boot have their names once, in `core.address.Phase`."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.helpers.rooms import FILES, PACKAGE

NAMES = {"compressed", "unmapped", "identity-mapped", "mapped", "allocator complete", "handed over", "discarded"}
"""As the README and the JSON schemas have them."""

# A phrase for people that is a phase's name, and a key of a kernel's own switch of that name.
OTHERS = {("runner/session.py", "handed over"), ("programs/linux/program.py", "discarded"),
          ("allocators/memblock/resume.py", "discarded")}  # fmt: skip


def constants(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_names_of_phases_are_written_once(path: Path) -> None:
    name = str(path.relative_to(PACKAGE))
    found = {(name, value) for value in constants(path) & NAMES}
    if name == "core/address.py":
        assert {value for _, value in found} == NAMES
    else:
        assert found <= OTHERS
