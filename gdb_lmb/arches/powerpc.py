# SPDX-License-Identifier: GPL-2.0-or-later
"""PowerPC: 32 bits (System V ABI supplement), 64 bits big-endian (ELFv1 ABI) and little-endian (ELFv2 ABI)."""

from __future__ import annotations

from dataclasses import replace

from gdb_lmb.arches.base import Architecture
from gdb_lmb.arches.convention import Convention

_NATIVE = ("ppc64le", "ppc64", "ppc")
_ARGUMENTS = tuple(f"r{number}" for number in range(3, 11))

PPC = Architecture(
    name="ppc",
    uname="ppc",
    e_machine=20,
    bits=32,
    byte_order="big",
    gdb=("powerpc", "rs6000"),
    cross="powerpc-linux-gnu-",
    qemu="qemu-system-ppc",
    qemu_package="qemu-system-ppc",
    native=_NATIVE,
    kernel_start=0xC000_0000,
    cache_bytes=32,
    convention=Convention(
        word=4, arguments=_ARGUMENTS, result=("r3", "r4"), sp="r1", link="lr", stack=8, even_pairs=True
    ),
)
PPC64 = replace(
    PPC,
    name="ppc64",
    uname="ppc64",
    e_machine=21,
    bits=64,
    cross="powerpc64-linux-gnu-",
    qemu="qemu-system-ppc64",
    machine="pseries",
    kernel_start=0xC000_0000_0000_0000,
    cache_bytes=128,
    # Every argument, those in registers too, has a slot in the caller's frame, behind a header of 48 bytes (ELFv2: 32).
    convention=Convention(
        word=8,
        arguments=_ARGUMENTS,
        result=("r3", "r4"),
        sp="r1",
        link="lr",
        stack=48 + 8 * 8,
        overflow="split",
        descriptors=True,
    ),
)
PPC64LE = replace(
    PPC64,
    name="ppc64le",
    uname="ppc64le",
    byte_order="little",
    cross="powerpc64le-linux-gnu-",
    convention=replace(PPC64.convention, stack=32 + 8 * 8, descriptors=False),
)

ARCHITECTURES = (PPC, PPC64, PPC64LE)
