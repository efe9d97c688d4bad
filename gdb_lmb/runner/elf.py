# SPDX-License-Identifier: GPL-2.0-or-later
"""What a kernel's ELF says of its machine, and whether its symbols can be had. The file is untrusted."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from gdb_lmb.core.errors import InputError, UsageError
from gdb_lmb.formats.elf import Elf, NotElfError, read_headers
from gdb_lmb.runner.debug_files import DebugFile, debug_file_of, has_contents


class ElfFile(NamedTuple):
    """What was read: `bits` 32 or 64, `e_machine` as in elf.h, and where the file is.

    `symbols` is the file with the symbol table, which may be a debug file apart.
    """

    path: Path
    bits: int
    byte_order: Literal["little", "big"]
    e_machine: int
    symbols: Path


def read_elf(path: Path) -> ElfFile:
    """Read the headers of the ELF at `path` and see that it, or its debug file, has a symbol table.

    Raises: UsageError, in one line, if there is no such file, it is no ELF, or there are no symbols.
    """
    elf = headers_of(path)
    symbols = path
    if not elf.has_symbols:
        debug = debug_file_of(elf)
        if debug.path is None:
            raise UsageError(
                f"{path}: no symbol table (stripped?); give the unstripped vmlinux"
                + (f", or its debug file as {_names(debug)}" if debug.tried else "")
            )
        symbols = debug.path
    return ElfFile(path, elf.bits, elf.byte_order, elf.machine, symbols)


def headers_of(path: Path) -> Elf:
    """Return all headers of the ELF at `path`. Raises: UsageError."""
    try:
        return read_headers(path)
    except NotElfError as error:
        raise UsageError(f"{error}: give the kernel's vmlinux") from None


def require_debug(path: Path) -> None:
    """Check that the kernel's ELF at `path` can be debugged: its bytes, and its debug information.

    Raises: UsageError that says what is missing, and where it was looked for.
    """
    elf = headers_of(path)
    if not has_contents(elf):
        raise UsageError(
            f"{path} is a debug file, which has no byte of the kernel: give the vmlinux that it was taken from, and "
            "put it beside that or into /usr/lib/debug"
        )
    debug = debug_file_of(elf)
    if debug.path is None:
        where = f"; there is no debug file {_names(debug)}" if debug.tried else ""
        raise UsageError(
            f"{path} has no debug information (.debug_info){where}: build the kernel with "
            "CONFIG_DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT=y, or give the vmlinux of its distribution's debug package"
        )


def has_symbol(elf: ElfFile, name: str) -> bool:
    """Tell whether the kernel has a symbol of this name."""
    try:
        return read_headers(elf.symbols).has_symbol(name.encode())
    except InputError:
        return False


def _names(debug: DebugFile) -> str:
    return " or ".join(map(str, debug.tried))
