# SPDX-License-Identifier: GPL-2.0-or-later
"""s390x. Mirrors the s390x ELF ABI supplement and arch/s390/include/asm/cache.h."""

from __future__ import annotations

from gdb_lmb.arches.base import Architecture
from gdb_lmb.arches.convention import Convention

ARCHITECTURES = (
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
