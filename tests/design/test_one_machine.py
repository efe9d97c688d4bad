# SPDX-License-Identifier: GPL-2.0-or-later
"""One interface to the machine: only `machine.current` asks gdb which kind of target it has, and no text is parsed
where gdb's Python has the value.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.helpers.rooms import FILES, PACKAGE

KIND_OF_TARGET = {
    "connection": ("machine/current.py", "machine/memory.py"),
    "corefile": ("machine/current.py",),
    "RemoteTargetConnection": ("machine/memory.py",),
    "opened_dump": ("machine/current.py",),
    "LiveMachine": ("machine/current.py",),
    "DumpMachine": ("machine/current.py",),
    "physical_memory": ("machine/current.py", "machine/memory.py"),
}
"""Names that tell a dump from a live guest, and the files that may use them."""

TEXT = {
    "info symbol": "machine/symbols.py",  # gdb's Python has no linker symbols
    "info breakpoints": "machine/boot.py",  # gdb.breakpoints() lacks some kinds, as dprintf
    "info target": "machine/current.py",  # gdb before 18 does not give the core's file otherwise
    "monitor ": "machine/memory.py",  # QEMU's answer, which is text
    "echo -": "machine/gdb_text.py",  # whether gdb gives MI's records
}
"""Commands of gdb whose output is read, and the one file that reads it."""

SILENT = (
    "symbol-file ", "enable ", "continue", "catch signal SIGINT", "condition ", "commands ", "delete ",
    "maintenance flush ", "help lmb", "set ",
)  # fmt: skip
"""Commands that are executed for what they do; their output is not read."""


def relative(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def names_in(tree: ast.Module) -> set[str]:
    """Return every name, attribute and imported name."""
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    found |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return found | {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}


def commands_in(tree: ast.Module) -> list[str]:
    """Return the constant beginnings of the commands that a file has gdb execute; "" for one that has none."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            called = ast.unparse(node.func)
            if called in ("gdb.execute", "ask"):
                first = node.args[0]
                if isinstance(first, ast.JoinedStr):
                    first = first.values[0]
                found.append(str(first.value) if isinstance(first, ast.Constant) else "")
    return found


IN_GDB = [path for path in FILES if relative(path).split("/")[0] in ("machine", "tracing", "commands", "programs")]


@pytest.mark.parametrize("path", IN_GDB, ids=relative)
def test_only_the_machine_knows_the_kind_of_target(path: Path) -> None:
    used = names_in(ast.parse(path.read_text())) & KIND_OF_TARGET.keys()
    wrong = {name for name in used if relative(path) not in KIND_OF_TARGET[name]}
    assert not wrong, f"{relative(path)} must ask machine.current(), not {sorted(wrong)}"


# But for what executes what it is given.
@pytest.mark.parametrize("path", [path for path in IN_GDB if relative(path) != "machine/gdb_text.py"], ids=relative)
def test_text_of_gdb_is_read_only_where_python_lacks_it(path: Path) -> None:
    for command in commands_in(ast.parse(path.read_text())):
        allowed = [file for text, file in TEXT.items() if command.startswith(text)]
        assert command.startswith(SILENT) or allowed == [relative(path)], f"{relative(path)} executes {command!r}"


def test_settings_are_set_as_gdb_12_takes_them() -> None:
    """Its set_parameter(), and so with_parameter(), cannot set the booleans that parameter() returns."""
    users = [
        relative(path) for path in IN_GDB if names_in(ast.parse(path.read_text())) & {"with_parameter", "set_parameter"}
    ]
    assert users == []


def test_the_readers_see_something() -> None:
    # Guards the tests above against passing because nothing was read.
    assert {"gdb", "connection"} <= names_in(ast.parse((PACKAGE / "machine" / "current.py").read_text()))
    assert commands_in(ast.parse((PACKAGE / "machine" / "symbols.py").read_text())) == ["info symbol "]
    used = {name for path in IN_GDB for name in names_in(ast.parse(path.read_text()))}
    assert KIND_OF_TARGET.keys() <= used
