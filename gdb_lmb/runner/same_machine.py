# SPDX-License-Identifier: GPL-2.0-or-later
"""Is a guest, or a dump of one, of the architecture that the symbols are for?

gdb itself says of a guest of another one that a register is truncated.
"""

from __future__ import annotations

import re
from pathlib import Path

from gdb_lmb.core.errors import UsageError
from gdb_lmb.core.words import printable
from gdb_lmb.runner.elf import ElfFile
from gdb_lmb.runner.machines import MACHINES, machine_of
from gdb_lmb.runner.rsp import Endpoint, ask

_DESCRIPTION = b"qXfer:features:read:target.xml:0,ffb"
_ARCHITECTURE = re.compile(rb"<architecture>\s*([^<\s]+)\s*</architecture>")
_FAMILIES = {
    "i386": ("x86-64", "i386"),
    "aarch64": ("aarch64",),
    "arm": ("arm",),
    "powerpc": ("ppc", "ppc64", "ppc64le"),
    "riscv": ("riscv64",),
    "s390": ("s390x",),
}
"""What gdb's names of architectures begin with, up to a colon, and whose kernels such a guest may run."""

_X86 = {3, 62}


def require_machine_of_stub(stub: Endpoint, said: object, elf: ElfFile, timeout_s: float) -> None:
    """Check that the guest behind `stub`, called `said` in messages, is of the program's architecture.

    Says nothing of a stub that does not tell. Raises: UsageError that names both; OSError.
    """
    found = _ARCHITECTURE.search(ask(stub, _DESCRIPTION, timeout_s))
    if found is None:
        return
    guest, program = found[1].decode(errors="replace"), machine_of(elf).name
    family = next((machines for name, machines in _FAMILIES.items() if guest.partition(":")[0] == name), None)
    if family is not None and program not in family:
        raise UsageError(
            f"the guest at {said} is of another architecture ({printable(guest, 40)}) than {elf.path} ({program}): "
            "give the vmlinux of the kernel that runs there"
        )


def require_machine_of_core(core: Path, e_machine: int, elf: ElfFile) -> None:
    """Check that a dump is of the program's architecture. Raises: UsageError that names both."""
    # QEMU's own word for an x86-64 CPU that is not in long mode yet is EM_386.
    if e_machine == elf.e_machine or {e_machine, elf.e_machine} <= _X86:
        return
    names = [row.name for row in MACHINES if row.e_machine == e_machine]
    dump = " or ".join(names) or f"ELF machine {e_machine}"
    raise UsageError(
        f"{core} is a dump of another machine ({dump}) than {elf.path} is for ({machine_of(elf).name}): "
        "give the vmlinux of the kernel that was dumped"
    )
