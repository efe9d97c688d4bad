# SPDX-License-Identifier: GPL-2.0-or-later
"""Architectures known by their names, calling conventions and boot images only: a row each.

One becomes a package of its own when its page tables, dumps or kernels are read. Mirrors for arm the procedure call
standard (AAPCS) and arch/arm/boot/compressed/head.S; for PowerPC the System V ABI supplement (32 bits), the ELFv1 ABI
(64 bits, big-endian) and the ELFv2 ABI (little-endian); for RISC-V its ELF psABI and
Documentation/arch/riscv/boot-image-header.rst; for s390x its ELF ABI supplement and arch/s390/include/asm/cache.h.
"""

from __future__ import annotations

from dataclasses import replace

from gdb_lmb.arches.base import Architecture, Convention

_PPC = Architecture(
    name="ppc",
    uname="ppc",
    e_machine=20,
    bits=32,
    byte_order="big",
    gdb=("powerpc", "rs6000"),
    cross="powerpc-linux-gnu-",
    qemu="qemu-system-ppc",
    qemu_package="qemu-system-ppc",
    native=("ppc64le", "ppc64", "ppc"),
    kernel_start=0xC000_0000,
    cache_bytes=32,
    convention=Convention(
        word=4,
        arguments=tuple(f"r{number}" for number in range(3, 11)),
        result=("r3", "r4"),
        sp="r1",
        link="lr",
        stack=8,
        even_pairs=True,
    ),
)
_PPC64 = replace(
    _PPC,
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
    convention=replace(_PPC.convention, word=8, stack=48 + 8 * 8, even_pairs=False, overflow="split"),
)

ARCHITECTURES = (
    _PPC,
    _PPC64,
    replace(
        _PPC64,
        name="ppc64le",
        uname="ppc64le",
        byte_order="little",
        cross="powerpc64le-linux-gnu-",
        convention=replace(_PPC64.convention, stack=32 + 8 * 8),
    ),
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
    Architecture(
        name="s390x",
        uname="s390x",
        e_machine=22,
        bits=64,
        byte_order="big",
        gdb=("s390",),
        cross="s390x-linux-gnu-",
        qemu="qemu-system-s390x",
        qemu_package="qemu-system-misc",
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
