# SPDX-License-Identifier: GPL-2.0-or-later
"""All architectures, found by each of their names; a module is loaded when one of its architectures is looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from gdb_lmb.core.errors import UsageError
from gdb_lmb.core.words import safe

# An architecture's own modules are loaded when one is looked for, which most commands do late or never.
if TYPE_CHECKING:
    from gdb_lmb.arches.base import Architecture
    from gdb_lmb.core.fields import ByteOrder

# The names of all architectures, and the module of this package that has each in its `ARCHITECTURES`.
_MODULES: Mapping[str, str] = {
    "x86-64": "x86",
    "i386": "x86",
    "ppc": "ppc",
    "ppc64": "ppc",
    "ppc64le": "ppc",
    "aarch64": "arm64",
    "arm": "others",
    "riscv64": "riscv",
    "s390x": "others",
}

NAMES = tuple(_MODULES)

_LOADED: dict[str, Architecture] = {}


def register(architecture: Architecture) -> None:
    """Add an architecture, or replace the one of its name."""
    _LOADED[architecture.name] = architecture


def architectures() -> Iterator[Architecture]:
    """Yield all architectures, those added from elsewhere last."""
    for name, module in _MODULES.items():
        if name not in _LOADED:
            for found in import_module(f"gdb_lmb.arches.{module}").ARCHITECTURES:
                register(found)
        yield _LOADED[name]
    yield from [found for name, found in _LOADED.items() if name not in _MODULES]


def _first(wanted: Callable[[Architecture], bool]) -> Architecture | None:
    return next(filter(wanted, architectures()), None)


def find(**facts: object) -> Architecture | None:
    """Return the first architecture whose attributes have these values, as `e_machine=62, bits=64`."""
    return _first(lambda row: all(getattr(row, name) == value for name, value in facts.items()))


def named(name: str) -> Architecture:
    """Return the architecture of a name, `uname -m` or alias. Raises: `UsageError` naming those there are."""
    found = _first(lambda row: name in (row.name, row.uname, *row.aliases))
    if found is None:
        raise UsageError(f"architecture {safe(name, 40)!r} is not one of {', '.join(NAMES)}")
    return found


def of_gdb(name: str, bits: int, byte_order: ByteOrder) -> Architecture | None:
    """Return the architecture that gdb calls `name`, by the width of its pointers and its byte order."""
    return _first(lambda row: name.startswith(row.gdb) and (row.bits, row.byte_order) == (bits, byte_order))
