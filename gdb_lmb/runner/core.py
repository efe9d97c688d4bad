# SPDX-License-Identifier: GPL-2.0-or-later
"""A dump of a guest, opened in gdb as a core: what QEMU's `dump-guest-memory` has written.

Mirrors `Elf64_Ehdr` of elf(5), the signatures of QEMU's dump/dump.c, which tell its other formats, and those of
makedumpfile.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Literal

from gdb_lmb.core.errors import UsageError
from gdb_lmb.formats.core_file import read_core
from gdb_lmb.report.terminal import PLAIN, Terminal
from gdb_lmb.runner.base import DEFAULT_TIMEOUT_S, STEP_S, Session
from gdb_lmb.runner.elf import ElfFile, read_elf
from gdb_lmb.runner.gdb_process import plain_name
from gdb_lmb.runner.machines import find_gdb, machine_of
from gdb_lmb.runner.same_machine import require_machine_of_core

_ET_CORE = 4
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
        _require_core(core, elf)
        cut = read_core(core).cut
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

    def __enter__(self) -> CoreSession:
        """Return self."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


def _require_core(path: Path, program: ElfFile) -> None:
    """Check that there is an ELF core file of the program's machine. Raises: UsageError."""
    try:
        if path.exists() and not path.is_file():  # opening a FIFO would block
            raise UsageError(f"{path}: not a regular file")
        with path.open("rb") as file:
            head = file.read(_FLAT_HEAD_BYTES + _FLAT_CHUNK_BYTES + 8)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    if head.startswith(_FLATTENED) and head[_FLAT_HEAD_BYTES + _FLAT_CHUNK_BYTES :].startswith(b"\x7fELF"):
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
    if not head.startswith(b"\x7fELF"):
        raise UsageError(f"{path}: no ELF core file (dump the guest with QEMU's `dump-guest-memory FILE`)")
    order: Literal["little", "big"] = "little" if head[5:6] == b"\1" else "big"
    if len(head) < 20 or int.from_bytes(head[16:18], order) != _ET_CORE:
        raise UsageError(f"{path}: an ELF file, but no core file (the dump comes first, then the vmlinux)")
    require_machine_of_core(path, int.from_bytes(head[18:20], order), program)
