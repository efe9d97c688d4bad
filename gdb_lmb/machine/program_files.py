# SPDX-License-Identifier: GPL-2.0-or-later
"""Which file is the program that gdb has symbols of.

Debug information may be in a file of its own (`.gnu_debuglink`, build id), which has the program's headers but
none of its bytes. gdb follows such files by itself and tells whose they are.
"""

from __future__ import annotations

from pathlib import Path

import gdb

_STANDS_FOR: dict[str, Path] = {}
"""The program of each file that was made to place a program's symbols by."""


def program_file(symbol: gdb.Symbol) -> Path | None:
    """Return the program that defines `symbol`: that which the debug information belongs to, where it is apart."""
    objfile = symbol.symtab.objfile if symbol.symtab is not None else None
    if objfile is None:
        return None
    owner = objfile.owner
    if owner is not None and owner.filename in _STANDS_FOR:
        return _STANDS_FOR[owner.filename]
    name = (owner or objfile).filename
    return Path(name) if name else None


def debug_file(symbol: gdb.Symbol) -> Path:
    """Return the file that the debug information of `symbol` is in."""
    return Path(symbol.symtab.objfile.filename)


def note_stand_in(path: Path, program: Path) -> None:
    """Remember that the file at `path` was made to stand for `program`."""
    _STANDS_FOR[str(path)] = program
