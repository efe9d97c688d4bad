# SPDX-License-Identifier: GPL-2.0-or-later
"""x86: x86-64 and i386. Mirrors the System V ABI of each; Linux builds i386 with `-mregparm=3`."""

from __future__ import annotations

from gdb_lmb.arches.base import Convention
from gdb_lmb.arches.x86.boot import X86Linux
from gdb_lmb.arches.x86.machine import X86

_NATIVE = ("x86_64", "i686", "i586", "i386")
_STOPS = (b"\xf4",)  # hlt, as in `stop_this_cpu()` of arch/x86/kernel/process.c

ARCHITECTURES = (
    X86Linux(
        name="x86-64",
        uname="x86_64",
        e_machine=62,
        bits=64,
        byte_order="little",
        gdb=("i386",),
        cross="x86_64-linux-gnu-",
        qemu="qemu-system-x86_64",
        qemu_package="qemu-system-x86",
        native=_NATIVE,
        aliases=("amd64",),
        pe_machine=0x8664,
        image_kind="bzImage",
        built_image="arch/x86/boot/bzImage",
        dump_machines=(3,),  # EM_386, QEMU's own word for a CPU that is not in long mode yet
        kernel_start=1 << 63,
        stops=_STOPS,
        convention=Convention(
            word=8,
            arguments=("rdi", "rsi", "rdx", "rcx", "r8", "r9"),
            result=("rax", "rdx"),
            sp="rsp",
            stack=8,
            overflow="open",
        ),
    ),
    X86(
        name="i386",
        uname="i386",
        e_machine=3,
        bits=32,
        byte_order="little",
        gdb=("i386", "i8086"),
        cross="i686-linux-gnu-",
        qemu="qemu-system-i386",
        qemu_package="qemu-system-x86",
        native=_NATIVE,
        pe_machine=0x14C,
        image_kind="bzImage",
        built_image="arch/x86/boot/bzImage",
        dump_machines=(62,),
        kernel_start=0xC000_0000,  # CONFIG_PAGE_OFFSET, but for kernels with another split
        stops=_STOPS,
        convention=Convention(
            word=4, arguments=("eax", "edx", "ecx"), result=("eax", "edx"), sp="esp", stack=4, aligned=False
        ),
    ),
)
