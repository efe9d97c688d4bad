# SPDX-License-Identifier: GPL-2.0-or-later
"""A dump of a guest, opened in gdb as a core: what QEMU's `dump-guest-memory` has written.

Mirrors the signatures of QEMU's dump/dump.c, which tell its other formats, and those of makedumpfile.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from gdb_lmb.core.errors import InputError, UsageError
from gdb_lmb.core.numbers import DEFAULT_TIMEOUT_S
from gdb_lmb.formats.core_file import CoreFile, read_core
from gdb_lmb.formats.elf import MAGIC, first_bytes
from gdb_lmb.report.terminal import PLAIN, Terminal
from gdb_lmb.runner.base import STEP_S, Session
from gdb_lmb.runner.elf import ElfFile, read_elf
from gdb_lmb.runner.gdb_process import plain_name
from gdb_lmb.runner.machines import find_gdb, machine_of
from gdb_lmb.runner.matching import require_machine_of_core

_COMPRESSED = (b"KDUMP   ", b"DISKDUMP")
_FLATTENED, _FLAT_HEAD_BYTES, _FLAT_CHUNK_BYTES = b"makedumpfile\0", 4096, 16
"""A stream by `makedumpfile -F`: a header, then chunks, each with its place in the dump and its size before it."""

_WINDOWS = (b"PAGEDU64", b"PAGEDUMP")


class CoreSession(Session):
    """gdb on a dump; nothing in it runs."""

    def __init__(
        self,
        core: Path,
        program: Path,
        *,
        gdb: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        notice: Callable[[str], None] | None = None,
        terminal: Terminal = PLAIN,
    ) -> None:
        """Open the dump `core` of the kernel whose ELF is `program`; `timeout_s` is for each step.

        Raises: UsageError for an unsuitable dump or program; InfrastructureError if gdb cannot be had.
        """
        elf = read_elf(program)
        gdb_path = find_gdb(machine_of(elf), gdb)
        cut = _read_core(core, elf).cut
        super().__init__(timeout_s, notice, terminal)
        if cut is not None:
            self._notice(f"{core} is cut off {cut}: what is missing cannot be shown")
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            self._open(program, gdb_path)
            name = plain_name(core, self.folder / "core")
            reply = self.mi.execute(f"-target-select core {name}", max(STEP_S, timeout_s))
            if reply.kind != "connected":
                raise UsageError(f"gdb cannot open {core} as a core file: {reply.error}")
            undo.pop_all()


def _read_core(path: Path, program: ElfFile) -> CoreFile:
    """Return the headers of an ELF core file of the program's machine. Raises: UsageError for another format."""
    try:
        core = read_core(path)
    except InputError as error:
        _explain_format(path)
        raise error
    require_machine_of_core(path, core.machine, program)
    return core


def _explain_format(path: Path) -> None:
    """Say what to do about a dump of another format. Raises: UsageError for one that is known."""
    head = first_bytes(path, _FLAT_HEAD_BYTES + _FLAT_CHUNK_BYTES + 8) if path.is_file() else b""
    if head.startswith(_FLATTENED) and head[_FLAT_HEAD_BYTES + _FLAT_CHUNK_BYTES :].startswith(MAGIC):
        raise UsageError(
            f"{path} is a flattened dump (makedumpfile -F), which gdb cannot open: `makedumpfile -R NEW < {path}` "
            "makes an ELF core file of it"
        )
    if head.startswith((*_COMPRESSED, _FLATTENED)):
        # makedumpfile refuses -E for what is in this format already.
        raise UsageError(
            f"{path} is a compressed dump (kdump format), which gdb cannot open (crash and drgn can): dump as ELF, "
            "of a machine with `makedumpfile -E /proc/vmcore FILE` or a copy of /proc/vmcore, of a QEMU guest with "
            "`dump-guest-memory FILE` without -z, -l or -s"
        )
    if head.startswith(_WINDOWS):
        raise UsageError(f"{path} is a Windows dump: dump again with `dump-guest-memory FILE`, without -w")
