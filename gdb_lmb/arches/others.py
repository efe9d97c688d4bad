# SPDX-License-Identifier: GPL-2.0-or-later
"""Architectures known by their names, calling conventions and boot images only: a row each.

One becomes a package of its own when its page tables, dumps or kernels are read. Mirrors for arm the procedure call
standard (AAPCS) and arch/arm/boot/compressed/head.S; for s390x its ELF ABI supplement and
arch/s390/include/asm/cache.h.
"""

from __future__ import annotations

from gdb_lmb.arches.base import Architecture, Convention

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
    Architecture(
        name="s390x",
        uname="s390x",
        e_machine=22,
        bits=64,
        byte_order="big",
        gdb=("s390",),
        cross="s390x-linux-gnu-",
        qemu="qemu-system-s390x",
        qemu_package="qemu-system-s390x",
        native=("s390x",),
        # Kernels and user's programs have address spaces of their own, each from 0 on.
        kernel_start=None,
        cache_bytes=256,
        convention=Convention(
            word=8,
            arguments=tuple(f"r{number}" for number in range(2, 7)),
            result=("r2",),
            sp="r15",
            link="r14",
            stack=160,
        ),
    ),
)
