# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel's ELF: its architecture, its symbols, and the file with its debug information. The file is untrusted.

Debug information apart is found as gdb finds it: by build id, else by `.gnu_debuglink`. Mirrors
find_separate_debug_file_by_buildid() and find_separate_debug_file_by_debuglink() of gdb.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from gdb_lmb.core.errors import InputError, UsageError
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
    tried = []
    build_id = elf.build_id()
    if build_id:
        for folder in DEBUG_FOLDERS:
            path = build_id_file(folder, build_id)
            tried.append(path)
            if _is_debug_file(path, build_id):
                return DebugFile(path, ())
    link = _debug_link(elf)
    if link is not None:
        for path in _places(elf.path, link[0]):
            tried.append(path)
            if path.is_file() and not path.samefile(elf.path) and _crc(path) == link[1] and _is_debug_file(path, None):
                return DebugFile(path, ())
    return DebugFile(None, tuple(dict.fromkeys(tried)))


def build_id_file(folder: Path, build_id: bytes) -> Path:
    """Return the name of the debug file of this build id in a folder of debug files."""
    text = build_id.hex()
    return folder / ".build-id" / text[:2] / f"{text[2:]}.debug"


def _places(program: Path, name: str) -> Iterator[Path]:
    """Yield where a debug file of this `name` may be."""
    folders = dict.fromkeys((program.absolute().parent, program.resolve().parent))
    for folder in folders:
        yield folder / name
        yield folder / ".debug" / name
    for top in DEBUG_FOLDERS:
        for folder in folders:
            yield top / folder.relative_to("/") / name


def _debug_link(elf: Elf) -> tuple[str, int] | None:
    """Return the name and the checksum in `.gnu_debuglink`, None where there is none that can be read."""
    section = elf.section(b".gnu_debuglink")
    if section is None:
        return None
    try:
        raw = elf.content(section)
        name = raw.partition(b"\0")[0]
        (crc,) = struct.unpack_from(f"{elf.layout.mark}I", raw, (len(name) + 4) & ~3)
    except (InputError, struct.error):
        return None
    text = name.decode(errors="surrogateescape")
    return (text, crc) if text and "/" not in text else None


def _is_debug_file(path: Path, build_id: bytes | None) -> bool:
    """Tell whether there is an ELF with debug information, of this build if one is given."""
    try:
        elf = read_headers(path)
        return has_debug(elf) and (build_id is None or elf.build_id() == build_id)
    except InputError:
        return False


def _crc(path: Path) -> int | None:
    """Return the checksum of a whole file."""
    crc = 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                crc = zlib.crc32(chunk, crc)
    except OSError:
        return None
    return crc


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
