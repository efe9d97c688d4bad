# SPDX-License-Identifier: GPL-2.0-or-later
"""Moving gdb's symbols of a kernel to where KASLR put it.

Up to Linux 6.14 x86-64 links its per-CPU variables at 0: their addresses are offsets, which KASLR does not
change. `symbol-file -o` moves every section alike, and no command of gdb's moves only some sections of the main
program. What gdb does is to place debug information that is in a file of its own by the sections of the file
that it belongs to, each by its name; one that is not there stays where it was linked. So an ELF without contents
is made that lacks such sections; it is moved, and the kernel's file is given to it as its debug information.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import gdb

from gdb_lmb.core.address import Placement
from gdb_lmb.core.errors import InfrastructureError, LayoutError, LmbError
from gdb_lmb.formats.elf import SHF_ALLOC, read_headers, stand_in
from gdb_lmb.machine.gdb_text import ask
from gdb_lmb.machine.symbols import lookup, note_stand_in
from gdb_lmb.programs.linux.kernel import Kernel

FOLDER_VARIABLE = "GDB_LMB_TEMPORARY"
"""Where the runner says that files may be made which go with gdb."""

_ENABLED = re.compile(r"^(\d+) +\S.*? (?:keep|del|dis) +y\b", re.MULTILINE)
"""A row of `info breakpoints`; gdb's Python does not know every kind, as `dprintf`."""


def move_symbols(kernel: Kernel, placement: Placement) -> None:
    """Load the kernel's symbols again where it runs; breakpoints are set anew by gdb. Raises: `LmbError`."""
    symbol = lookup("memblock")
    apart = _linked_elsewhere(kernel)
    try:
        if not apart or not placement.virtual or symbol is None:
            ask(f"symbol-file -o {placement.virtual:#x} {_quoted(kernel.own_file)}")
            return
        debug, made = symbol.symtab.objfile.filename, _stand_in(kernel, apart)
        with _breakpoints_kept():
            ask(f"symbol-file -o {placement.virtual:#x} {_quoted(made)}")
            objfile = next(objfile for objfile in gdb.objfiles() if objfile.filename == str(made))
            objfile.add_separate_debug_file(debug)
    except gdb.error as error:
        raise LayoutError(f"gdb cannot move the symbols of {kernel.own_file}: {error}") from None


def _linked_elsewhere(kernel: Kernel) -> frozenset[bytes]:
    """Return the names of the sections that are linked below the kernel's image."""
    try:
        sections = read_headers(kernel.own_file).sections
    except LmbError:  # gdb will have its own word on that file
        return frozenset()
    return frozenset(s.name for s in sections if s.flags & SHF_ALLOC and s.size and s.va < kernel.image[0])


def _stand_in(kernel: Kernel, left_out: frozenset[bytes]) -> Path:
    """Return the file that stands for the kernel, made if it is not there."""
    # Not called vmlinux: Linux's lx-symbols takes what is for the kernel.
    path = _folder() / f"{kernel.identity.data.hex()}.sections"
    try:
        if not path.exists():
            path.write_bytes(stand_in(read_headers(kernel.own_file), left_out))
    except OSError as error:
        raise InfrastructureError(f"cannot write {path}: {error.strerror}") from None
    note_stand_in(path, kernel.own_file)
    return path


@functools.cache
def _folder() -> Path:
    """Return a folder that goes when gdb does: gdb looks at the files that it has symbols from now and then."""
    given = os.environ.get(FOLDER_VARIABLE)
    if given:
        return Path(given).resolve()
    try:
        _KEPT.append(tempfile.TemporaryDirectory(prefix="gdb-lmb-"))
    except OSError as error:
        raise InfrastructureError(f"cannot make a temporary folder: {error}") from None
    return Path(_KEPT[0].name).resolve()


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


@contextlib.contextmanager
def _breakpoints_kept() -> Iterator[None]:
    """Enable again what gdb disables where a program is without symbols for a while."""
    numbers = _enabled_numbers()
    ours = [stop for stop in gdb.breakpoints() if stop.enabled]
    try:
        yield
    finally:
        for stop in ours:
            if stop.is_valid() and not stop.enabled:
                stop.enabled = True
        for number in sorted(numbers - _enabled_numbers()):
            ask(f"enable {number}")


def _enabled_numbers() -> set[int]:
    return {int(number) for number in _ENABLED.findall(ask("info breakpoints"))}


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
