# SPDX-License-Identifier: GPL-2.0-or-later
"""Is a guest, or a dump of one, of the architecture that the symbols are for?

gdb itself says of a guest of another one that a register is truncated.
"""

from __future__ import annotations

import re
from pathlib import Path

from gdb_lmb.arches.registry import architectures
from gdb_lmb.core.errors import UsageError
from gdb_lmb.core.words import printable
from gdb_lmb.runner.elf import ElfFile
from gdb_lmb.runner.machines import machine_of
from gdb_lmb.runner.rsp import Endpoint, ask

_DESCRIPTION = b"qXfer:features:read:target.xml:0,ffb"
_ARCHITECTURE = re.compile(rb"<architecture>\s*([^<\s]+)\s*</architecture>")


def require_machine_of_stub(stub: Endpoint, said: object, elf: ElfFile, timeout_s: float) -> None:
    """Check that the guest behind `stub`, called `said` in messages, is of the program's architecture.

    Says nothing of a stub that does not tell. Raises: UsageError that names both; OSError.
    """
    found = _ARCHITECTURE.search(ask(stub, _DESCRIPTION, timeout_s))
    if found is None:
        return
    guest, program = found[1].decode(errors="replace"), machine_of(elf)
    known = any(guest.startswith(row.gdb) for row in architectures())
    if known and not guest.startswith(program.gdb):
        raise UsageError(
            f"the guest at {said} is of another architecture ({printable(guest, 40)}) than {elf.path} "
            f"({program.name}): give the vmlinux of the kernel that runs there"
        )


def require_machine_of_core(core: Path, e_machine: int, elf: ElfFile) -> None:
    """Check that a dump is of the program's architecture. Raises: UsageError that names both."""
    program = machine_of(elf)
    if program.dumps_as(e_machine):
        return
    names = [row.name for row in architectures() if row.e_machine == e_machine]
    dump = " or ".join(names) or f"ELF machine {e_machine}"
    raise UsageError(
        f"{core} is a dump of another machine ({dump}) than {elf.path} is for ({program.name}): "
        "give the vmlinux of the kernel that was dumped"
    )
