# SPDX-License-Identifier: GPL-2.0-or-later
"""Do gdb's symbols belong to the kernel in the guest? By build id, else by its banner."""

from __future__ import annotations

from pathlib import Path

from gdb_lmb.core.errors import LayoutError, NotReadyError, ReadError
from gdb_lmb.core.image import Identity
from gdb_lmb.core.memory import Memory
from gdb_lmb.formats.program_file import build_identity, string_in_file
from gdb_lmb.machine.program import lookup
from gdb_lmb.machine.program_files import program_file

BANNERS = ("linux_banner", "lmb_banner")


class _Known:
    """Identities by file, so that each is read from its ELF only once."""

    def __init__(self) -> None:
        self._by_file: dict[tuple[str, int, int], Identity | None] = {}

    def of(self, path: Path) -> Identity | None:
        """Return the identity of the program in the file at `path`, None where it has none."""
        try:
            status = path.stat()
        except OSError:
            return None
        key = (str(path), status.st_mtime_ns, status.st_size)
        if key not in self._by_file:
            self._by_file[key] = build_identity(path) or _banner(path)
        return self._by_file[key]


_KNOWN = _Known()


def _banner(path: Path) -> Identity | None:
    for name in BANNERS:
        symbol = lookup(name)
        if symbol is not None:
            # Not by the variable's type: of a header's declaration, which gdb may have read, it has no size.
            return string_in_file(path, int(symbol.value().address))
    return None


def own_identity() -> tuple[Path | None, Identity | None]:
    """Return the file of the program with an LMB whose symbols gdb has, and what its build can be told by."""
    symbol = lookup("lmb")
    path = None if symbol is None else program_file(symbol)
    return path, None if path is None else _KNOWN.of(path)


def require_same_build(memory: Memory) -> None:
    """Check that the guest runs the program whose symbols gdb has.

    Says nothing where the place cannot be read (paging is not on yet): whoever reads next will.
    Raises: `LayoutError` for another build, `NotReadyError` where no kernel is in memory yet.
    """
    path, identity = own_identity()
    if identity is None:
        return
    try:
        found = memory.read(identity.va, len(identity.data))
    except ReadError:
        return
    if found == identity.data:
        return
    if not any(found):
        raise NotReadyError("the kernel is not in memory yet at this stop: continue to a place in it")
    raise LayoutError(
        f"the guest runs another build than {path} ({found[:20].hex()} in the guest, "
        f"{identity.data[:20].hex()} in the file): load the vmlinux of the kernel that runs"
    )
