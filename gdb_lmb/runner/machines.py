# SPDX-License-Identifier: GPL-2.0-or-later
"""Which QEMU and which gdb belong to a kernel: a table over ELF's `e_machine`, word size and byte order.

x86-64 and aarch64 are exercised; the other rows are what QEMU and Debian call these machines.
"""

from __future__ import annotations

import os
import shutil
from typing import Literal, NamedTuple

from gdb_lmb.core.errors import InfrastructureError, UsageError
from gdb_lmb.core.words import printable
from gdb_lmb.runner.elf import ElfFile


class Machine(NamedTuple):
    """One row: what the ELF must say, and what boots and debugs it.

    `machine` is QEMU's `-machine` (None: QEMU's own default), `cpu` its `-cpu` under TCG (None: QEMU's own
    default), `native` the `uname -m` names on which a plain gdb knows this architecture, `aliases` what
    Linux and Debian call it where that differs.
    """

    name: str
    e_machine: int
    bits: int
    byte_order: Literal["little", "big"]
    qemu: str
    qemu_package: str
    machine: str | None = None
    cpu: str | None = None
    native: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


_X86 = ("x86_64", "i686", "i586", "i386")
_POWER = ("ppc64le", "ppc64", "ppc")

MACHINES: tuple[Machine, ...] = (
    Machine(
        "x86-64", 62, 64, "little", "qemu-system-x86_64", "qemu-system-x86", native=_X86, aliases=("x86_64", "amd64")
    ),
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
        # All features, but pointer authentication's own hash in place of the architected one: without it
        # computing that takes up nearly half of the boot.
        "max,pauth-impdef=on",
        native=("aarch64",),
        aliases=("arm64",),
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


def machine_named(name: str) -> Machine:
    """Find the row of this name or alias.

    Raises: UsageError naming those there are.
    """
    for row in MACHINES:
        if name == row.name or name in row.aliases:
            return row
    raise UsageError(f"architecture {printable(name, 40)!r} is not one of {', '.join(row.name for row in MACHINES)}")


def machine_of(elf: ElfFile, name: str | None = None) -> Machine:
    """Find the row for `elf`, which must be that called `name` if one is given.

    Raises: UsageError for an architecture that is not in the table, or another than `name`.
    """
    found = _machine_of(elf)
    if name is not None and found is not machine_named(name):
        raise UsageError(f"{elf.path}: this is for {found.name}, not for {name}")
    return found


def _machine_of(elf: ElfFile) -> Machine:
    for row in MACHINES:
        if (row.e_machine, row.bits, row.byte_order) == (elf.e_machine, elf.bits, elf.byte_order):
            return row
    known = ", ".join(row.name for row in MACHINES)
    raise UsageError(
        f"{elf.path}: ELF machine {elf.e_machine} ({elf.bits}-bit {elf.byte_order}-endian) is not one of {known}"
    )


def find_programs(machine: Machine, qemu: str | None, gdb: str | None) -> tuple[str, str]:
    """Return the paths of the QEMU and the gdb to use for `machine`, the given ones or the table's.

    Raises: InfrastructureError naming all that is missing, and the Debian packages.
    """
    found = _find([(machine.qemu, machine.qemu_package, qemu), (*_gdb_for(machine), gdb)])
    return found[0], found[1]


def find_qemu(machine: Machine, given: str | None) -> str:
    """Return the path of the QEMU to use. Raises: InfrastructureError naming the Debian package."""
    return _find([(machine.qemu, machine.qemu_package, given)])[0]


def find_gdb(machine: Machine, given: str | None) -> str:
    """Return the path of a gdb that knows `machine`. Raises: InfrastructureError naming the Debian package."""
    return _find([(*_gdb_for(machine), given)])[0]


def _gdb_for(machine: Machine) -> tuple[str, str]:
    """Return the gdb that knows `machine`, and its Debian package."""
    # gdb-multiarch knows the host's architecture as well, and may be the only one installed.
    if os.uname().machine in machine.native and (shutil.which("gdb") or not shutil.which("gdb-multiarch")):
        return "gdb", "gdb"
    return "gdb-multiarch", "gdb-multiarch"


def _find(wanted: list[tuple[str, str, str | None]]) -> list[str]:
    """Return the path of each (program, package, program given instead), or say what brings those missing."""
    paths = [shutil.which(given or program) for program, _, given in wanted]
    missing = [row for row, path in zip(wanted, paths, strict=True) if path is None]
    if missing:
        packages = [package for _, package, given in missing if given is None]
        names = " and ".join(given or program for program, _, given in missing)
        raise InfrastructureError(
            f"{names} not found" + (f"; apt-get install {' '.join(packages)}" if packages else "")
        )
    return [path for path in paths if path is not None]
