# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel's ELF: its symbols, the file with its debug information, and the QEMU and the gdb for its architecture.

The file is untrusted.

Debug information apart is found as gdb finds it: by build id, else by `.gnu_debuglink`. Mirrors
find_separate_debug_file_by_buildid() and find_separate_debug_file_by_debuglink() of gdb.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from gdb_lmb.arches.base import Architecture
from gdb_lmb.arches.registry import NAMES, find, named
from gdb_lmb.core.errors import InfrastructureError, InputError, UsageError
from gdb_lmb.formats.elf import SHT_NOBITS, Elf, NotElfError, read_headers

DEBUG_FOLDERS = [Path("/usr/lib/debug")]
"""Where distributions put debug files; the runner adds them to gdb's `debug-file-directory`."""

_CHUNK_BYTES = 1 << 20


class DebugFile(NamedTuple):
    """The file with a program's debug information, None where there is none, and the names that were tried."""

    path: Path | None
    tried: tuple[Path, ...]


def has_debug(elf: Elf) -> bool:
    """Tell whether the file itself has debug information (DWARF)."""
    names = (b".debug_info", b".zdebug_info")
    return any(section.name in names and section.kind != SHT_NOBITS and section.size for section in elf.sections)


def has_contents(elf: Elf) -> bool:
    """Tell whether the file has the bytes that the program is loaded with; a mere debug file has none."""
    text = elf.section(b".text")
    return any(segment.size for segment in elf.loads if segment.memory_size) and (
        text is None or text.kind != SHT_NOBITS
    )


def debug_file_of(elf: Elf) -> DebugFile:
    """Return the file that gdb takes the debug information of `elf` from: that file itself, or one apart."""
    if has_debug(elf):
        return DebugFile(elf.path, ())
    build_id = elf.build_id()
    link = _debug_link(elf)
    name = (build_id or b"").hex()
    by_id = [folder / ".build-id" / name[:2] / f"{name[2:]}.debug" for folder in DEBUG_FOLDERS if build_id]
    by_link = [] if link is None else list(_places(elf.path, link[0]))
    for path in by_id:
        if _is_debug_file(path, build_id):
            return DebugFile(path, ())
    for path in by_link:
        if link and path.is_file() and not path.samefile(elf.path) and _crc(path) == link[1] and _is_debug_file(path):
            return DebugFile(path, ())
    return DebugFile(None, tuple(dict.fromkeys([*by_id, *by_link])))


# Where a debug file of this `name` may be.
def _places(program: Path, name: str) -> Iterator[Path]:
    folders = dict.fromkeys((program.absolute().parent, program.resolve().parent))
    for folder in folders:
        yield folder / name
        yield folder / ".debug" / name
    for top in DEBUG_FOLDERS:
        for folder in folders:
            yield top / folder.relative_to("/") / name


# The name and the checksum in `.gnu_debuglink`, None where there is none that can be read.
def _debug_link(elf: Elf) -> tuple[str, int] | None:
    section = elf.section(b".gnu_debuglink")
    with contextlib.suppress(InputError, struct.error):
        raw = b"" if section is None else elf.content(section)
        name = raw.partition(b"\0")[0]
        (crc,) = struct.unpack_from(f"{elf.layout.mark}I", raw, (len(name) + 4) & ~3)
        if name and b"/" not in name:
            return name.decode(errors="surrogateescape"), crc
    return None


# Tell whether there is an ELF with debug information, of this build if one is given.
def _is_debug_file(path: Path, build_id: bytes | None = None) -> bool:
    with contextlib.suppress(InputError):
        elf = read_headers(path)
        return has_debug(elf) and (build_id is None or elf.build_id() == build_id)
    return False


def _crc(path: Path) -> int | None:
    crc = 0
    with contextlib.suppress(OSError), path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            crc = zlib.crc32(chunk, crc)
        return crc
    return None


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
    debug = DebugFile(path, ()) if elf.has_symbols else debug_file_of(elf)
    if debug.path is None:
        raise UsageError(
            f"{path}: no symbol table (stripped?); give the unstripped vmlinux"
            + (f", or its debug file as {_names(debug)}" if debug.tried else "")
        )
    return ElfFile(path, elf.bits, elf.byte_order, elf.machine, debug.path)


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
    with contextlib.suppress(InputError):
        return read_headers(elf.symbols).has_symbol(name.encode())
    return False


def _names(debug: DebugFile) -> str:
    return " or ".join(map(str, debug.tried))


def machine_of(elf: ElfFile, name: str | None = None) -> Architecture:
    """Return the architecture of `elf`, which must be that called `name` if one is given.

    Raises: UsageError for an architecture that is not known, or another than `name`.
    """
    found = find(e_machine=elf.e_machine, bits=elf.bits, byte_order=elf.byte_order)
    if found is None:
        raise UsageError(
            f"{elf.path}: ELF machine {elf.e_machine} ({elf.bits}-bit {elf.byte_order}-endian) is not one of "
            f"{', '.join(NAMES)}"
        )
    if name is not None and found is not named(name):
        raise UsageError(f"{elf.path}: this is for {found.name}, not for {name}")
    return found


def find_programs(machine: Architecture, qemu: str | None, gdb: str | None) -> list[str]:
    """Return the paths of the QEMU and the gdb to use for `machine`, the given ones or its own.

    Raises: InfrastructureError naming all that is missing, and the Debian packages.
    """
    return _find([(machine.qemu, machine.qemu_package, qemu), (*_gdb_for(machine), gdb)])


def find_qemu(machine: Architecture, given: str | None) -> str:
    """Return the path of the QEMU to use. Raises: InfrastructureError naming the Debian package."""
    return _find([(machine.qemu, machine.qemu_package, given)])[0]


def find_gdb(machine: Architecture, given: str | None) -> str:
    """Return the path of a gdb that knows `machine`. Raises: InfrastructureError naming the Debian package."""
    return _find([(*_gdb_for(machine), given)])[0]


# The gdb that knows `machine`, and its Debian package.
def _gdb_for(machine: Architecture) -> tuple[str, str]:
    # gdb-multiarch knows the host's architecture as well, and may be the only one installed.
    if os.uname().machine in machine.native and (shutil.which("gdb") or not shutil.which("gdb-multiarch")):
        return "gdb", "gdb"
    return "gdb-multiarch", "gdb-multiarch"


# The path of each (program, package, program given instead), or say what brings those missing.
def _find(wanted: list[tuple[str, str, str | None]]) -> list[str]:
    paths = [shutil.which(given or program) for program, _, given in wanted]
    missing = [row for row, path in zip(wanted, paths, strict=True) if path is None]
    if missing:
        packages = [package for _, package, given in missing if given is None]
        names = " and ".join(given or program for program, _, given in missing)
        raise InfrastructureError(
            f"{names} not found" + (f"; apt-get install {' '.join(packages)}" if packages else "")
        )
    return [path for path in paths if path is not None]
