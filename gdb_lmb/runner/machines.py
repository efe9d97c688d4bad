# SPDX-License-Identifier: GPL-2.0-or-later
"""Which QEMU and which gdb belong to a kernel, by its architecture."""

from __future__ import annotations

import os
import shutil

from gdb_lmb.arches.base import Architecture
from gdb_lmb.arches.registry import NAMES, find, named
from gdb_lmb.core.errors import InfrastructureError, UsageError
from gdb_lmb.runner.elf import ElfFile


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


def find_programs(machine: Architecture, qemu: str | None, gdb: str | None) -> tuple[str, str]:
    """Return the paths of the QEMU and the gdb to use for `machine`, the given ones or its own.

    Raises: InfrastructureError naming all that is missing, and the Debian packages.
    """
    found = _find([(machine.qemu, machine.qemu_package, qemu), (*_gdb_for(machine), gdb)])
    return found[0], found[1]


def find_qemu(machine: Architecture, given: str | None) -> str:
    """Return the path of the QEMU to use. Raises: InfrastructureError naming the Debian package."""
    return _find([(machine.qemu, machine.qemu_package, given)])[0]


def find_gdb(machine: Architecture, given: str | None) -> str:
    """Return the path of a gdb that knows `machine`. Raises: InfrastructureError naming the Debian package."""
    return _find([(*_gdb_for(machine), given)])[0]


def _gdb_for(machine: Architecture) -> tuple[str, str]:
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
