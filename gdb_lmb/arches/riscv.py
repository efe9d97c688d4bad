# SPDX-License-Identifier: GPL-2.0-or-later
"""RISC-V, 64 bits. Mirrors the RISC-V ELF psABI and Documentation/arch/riscv/boot-image-header.rst."""

from __future__ import annotations

from gdb_lmb.arches.base import Architecture
from gdb_lmb.arches.convention import Convention

ARCHITECTURES = (
    Architecture(
        name="riscv64",
        uname="riscv64",
        e_machine=243,
        bits=64,
        byte_order="little",
        gdb=("riscv",),
        cross="riscv64-linux-gnu-",
        qemu="qemu-system-riscv64",
        qemu_package="qemu-system-misc",
        machine="virt",
        native=("riscv64",),
        pe_machine=0x5064,
        image_kind="RISC-V Image",
        built_image="arch/riscv/boot/Image",
        image_magic=rb".{48}RISCV\0\0\0RSC\x05",
        kernel_start=1 << 63,
        convention=Convention(
            word=8,
            arguments=tuple(f"a{number}" for number in range(8)),
            result=("a0", "a1"),
            link="ra",
            overflow="split",
        ),
    ),
)
