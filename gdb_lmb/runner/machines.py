# SPDX-License-Identifier: GPL-2.0-or-later
"""Which QEMU and which gdb belong to a kernel: a table over ELF's `e_machine`, word size and byte order.

Only x86-64 is exercised; the other rows are what QEMU and Debian call these machines.
"""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass
from typing import Literal

from gdb_lmb.errors import InfrastructureError, UsageError
from gdb_lmb.runner.elf import ElfFile


@dataclass(frozen=True)
class Machine:
    """One row: what the ELF must say, and what boots and debugs it.

    `machine` is QEMU's `-machine` (None: QEMU's own default), `arguments` what that machine needs besides,
    `native` the `uname -m` names on which a plain gdb knows this architecture.
    """

    name: str
    e_machine: int
    bits: int
    byte_order: Literal["little", "big"]
    qemu: str
    qemu_package: str
    machine: str | None = None
    arguments: tuple[str, ...] = ()
    native: tuple[str, ...] = ()


_X86 = ("x86_64", "i686", "i586", "i386")
_POWER = ("ppc64le", "ppc64", "ppc")

MACHINES: tuple[Machine, ...] = (
    Machine("x86-64", 62, 64, "little", "qemu-system-x86_64", "qemu-system-x86", native=_X86),
    Machine("i386", 3, 32, "little", "qemu-system-i386", "qemu-system-x86", native=_X86),
    Machine("ppc", 20, 32, "big", "qemu-system-ppc", "qemu-system-ppc", native=_POWER),
    Machine("ppc64", 21, 64, "big", "qemu-system-ppc64", "qemu-system-ppc", "pseries", native=_POWER),
    Machine("ppc64le", 21, 64, "little", "qemu-system-ppc64", "qemu-system-ppc", "pseries", native=_POWER),
    Machine(
        "aarch64",
        183,
        64,
        "little",
        "qemu-system-aarch64",
        "qemu-system-arm",
        "virt",
        ("-cpu", "max"),
        native=("aarch64",),
    ),
    Machine(
        "arm",
        40,
        32,
        "little",
        "qemu-system-arm",
        "qemu-system-arm",
        "virt",
        native=("armv7l", "armv6l", "aarch64"),
    ),
    Machine("riscv64", 243, 64, "little", "qemu-system-riscv64", "qemu-system-misc", "virt", native=("riscv64",)),
    Machine("s390x", 22, 64, "big", "qemu-system-s390x", "qemu-system-misc", native=("s390x",)),
)


def machine_of(elf: ElfFile) -> Machine:
    """Find the row for `elf`.

    Raises: UsageError for an architecture that is not in the table.
    """
    for row in MACHINES:
        if (row.e_machine, row.bits, row.byte_order) == (elf.e_machine, elf.bits, elf.byte_order):
            return row
    known = ", ".join(row.name for row in MACHINES)
    raise UsageError(
        f"{elf.path}: ELF machine {elf.e_machine} ({elf.bits}-bit {elf.byte_order}-endian) is not one of {known}"
    )


def find_qemu(machine: Machine, given: str | None) -> str:
    """Return the path of the QEMU to use, `given` by the user or the table's.

    Raises: InfrastructureError naming the Debian package.
    """
    return _find(given or machine.qemu, machine.qemu_package if given is None else None)


def find_gdb(machine: Machine, given: str | None) -> str:
    """Return the path of a gdb that knows `machine`: `given`, else gdb or gdb-multiarch.

    Raises: InfrastructureError naming the Debian package.
    """
    if given is not None:
        return _find(given, None)
    if platform.machine() in machine.native:
        # gdb-multiarch knows the host's architecture as well, and may be the only one installed.
        return shutil.which("gdb") or shutil.which("gdb-multiarch") or _find("gdb", "gdb")
    return _find("gdb-multiarch", "gdb-multiarch")


def _find(program: str, package: str | None) -> str:
    """Return the path of `program`, or say which package brings it."""
    found = shutil.which(program)
    if found is None:
        advice = f"; apt-get install {package}" if package else ""
        raise InfrastructureError(f"{program} not found{advice}")
    return found
