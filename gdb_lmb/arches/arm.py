# SPDX-License-Identifier: GPL-2.0-or-later
"""arm, 32 bits, little-endian. Mirrors the procedure call standard (AAPCS) and arch/arm/boot/compressed/head.S."""

from __future__ import annotations

from gdb_lmb.arches.base import Architecture
from gdb_lmb.arches.convention import Convention

ARCHITECTURES = (
    Architecture(
        name="arm",
        uname="arm",
        e_machine=40,
        bits=32,
        byte_order="little",
        gdb=("arm", "xscale", "iwmmxt", "ep9312"),
        cross="arm-linux-gnueabihf-",
        qemu="qemu-system-arm",
        qemu_package="qemu-system-arm",
        machine="virt",
        native=("armv7l", "armv6l", "aarch64"),
        pe_machine=0x1C2,
        image_kind="arm zImage",
        built_image="arch/arm/boot/zImage",
        image_magic=rb".{36}(\x18\x28\x6f\x01|\x01\x6f\x28\x18)",
        image_packed=True,
        kernel_start=0xC000_0000,  # CONFIG_PAGE_OFFSET, but for kernels with another split
        convention=Convention(
            word=4,
            arguments=("r0", "r1", "r2", "r3"),
            result=("r0", "r1"),
            link="lr",
            even_pairs=True,
            tags=1,  # Thumb
        ),
    ),
)
