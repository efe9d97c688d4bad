# SPDX-License-Identifier: GPL-2.0-or-later
"""What the program in gdb lacks where it shows no allocator: debug information, symbols, or the allocator itself."""

from __future__ import annotations

from pathlib import Path

import gdb

from gdb_lmb.core.errors import LmbError
from gdb_lmb.formats.elf import read_headers

_ALLOCATORS = {"lmb": "an LMB", "memblock": "a memblock"}


def why_no_allocator() -> str:
    """Say in one line why gdb's symbols describe no early allocator, and what to do."""
    if not any(objfile.is_valid() and objfile.filename for objfile in gdb.objfiles()):
        return "gdb has no symbols: load the kernel's with `file VMLINUX`"
    program = gdb.current_progspace().filename
    if program is None:
        return "gdb has no symbols of a kernel: load them with `file VMLINUX`"
    for name, what in _ALLOCATORS.items():
        if _is_linked(name):
            return (
                f"{program} has {what} but no debug information of it: build it with -g (Linux: CONFIG_DEBUG_INFO), "
                f"or load its debug file{_where()}"
            )
    try:
        elf = read_headers(Path(program))
    except LmbError:
        elf = None
    if elf is not None and not elf.has_symbols:
        return f"{program} is stripped, and gdb has no debug file of it{_where()}: load the kernel's unstripped vmlinux"
    if elf is not None and not elf.loads:
        return f"{program} is no program: load the kernel's vmlinux with `file VMLINUX`"
    return f"{program} has no LMB (no variable `lmb`) and no memblock: is this the kernel that runs?"


def _where() -> str:
    """Return in words where gdb looks for the debug file of the program."""
    program = gdb.current_progspace().filename
    build_id = next((o.build_id for o in gdb.objfiles() if o.filename == program and o.build_id), None)
    if build_id is None:
        return ""
    folders = str(gdb.parameter("debug-file-directory")).split(":")
    return f" ({', '.join(f'{folder}/.build-id/{build_id[:2]}/{build_id[2:]}.debug' for folder in folders if folder)})"


def _is_linked(name: str) -> bool:
    """Tell whether the symbol table has a symbol of this name."""
    try:
        gdb.parse_and_eval(f"&{name}")
    except gdb.error:
        return False
    return True
