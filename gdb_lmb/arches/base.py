# SPDX-License-Identifier: GPL-2.0-or-later
"""What is to be known of an architecture: its names, its registers by role, how it calls functions, its boot images.

What a Linux kernel needs to be found and followed on it is in `linux`.
"""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass
from typing import Protocol

from gdb_lmb.arches.convention import Convention, ReadRegister
from gdb_lmb.core.fields import ByteOrder
from gdb_lmb.core.memory import Memory
from gdb_lmb.formats.core_file import CoreFile
from gdb_lmb.formats.elf import Elf


@dataclass(frozen=True)
class Cpu:
    """One CPU's registers by role: program counter, stack pointer, is paging on, where its page tables lie physically.

    `link` is the register with the return address, `user` whether the CPU is in user mode, `general` its general
    registers by number, where they may tell of a kernel to come. What is not known is None or empty.
    Taken before reads become physical: gdb looks at code and stack to make a frame, and keeps what it saw.
    """

    pc: int
    sp: int | None = None
    link: int | None = None
    paging: bool | None = None
    user: bool | None = None
    tables: tuple[int, ...] = ()
    general: tuple[int, ...] = ()


@dataclass(frozen=True)
class BootImage:
    """What a file that boot loaders get says of itself: `kind` in words, the architecture's `name` if it tells that.

    `version` is the kernel's own text for its build. The kernel lies in the file from `content_at` on, None where it
    is compressed by what is not read here; `gzip` tells that it is compressed by gzip.
    """

    kind: str
    name: str | None
    version: str | None = None
    content_at: int | None = None
    gzip: bool = False


class PagedMemory(Memory, Protocol):
    """Virtual memory that page tables translate."""

    def to_physical(self, va: int) -> tuple[int, int]:
        """Return the physical address of `va`, and how many bytes are left in its page. Raises: `ReadError`."""


@dataclass(frozen=True)
class Architecture:
    """One architecture, of one word size and byte order.

    `name` is what messages and `--arch` say, `uname` what `uname -m` says, `aliases` are Linux's and Debian's other
    names. `e_machine`, `bits` and `byte_order` are those of its ELF files; `gdb` are what gdb's names of it begin
    with, those of the other word size and byte order alike; `pe_machine` is `Machine` of a PE header. `cross` is the
    prefix of a cross compiler's programs. `native` are the machines (`uname -m`) on which a plain gdb knows it.

    `qemu` is QEMU's program, from Debian's package `qemu_package`; `machine` is its `-machine` and `cpu` its `-cpu`
    under TCG (None: QEMU's own default). `image_kind` is what a boot loader gets, in words, and `built_image` where
    a kernel's tree has it after a build; `image_magic` is a regular expression for how such a file begins, and
    `image_packed` tells that the kernel in it is compressed by what is not read here.

    `dump_machines` are what else `e_machine` may be in QEMU's dump of a machine that runs this.

    `kernel_start` is the lowest virtual address of kernels, None where a user's program may have the same addresses.
    `cache_bytes` is `SMP_CACHE_BYTES`, what allocations without an alignment are aligned to.
    """

    name: str
    uname: str
    e_machine: int
    bits: int
    byte_order: ByteOrder
    gdb: tuple[str, ...]
    cross: str
    qemu: str
    qemu_package: str
    convention: Convention
    machine: str | None = None
    cpu: str | None = None
    native: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    pe_machine: int | None = None
    image_kind: str | None = None
    built_image: str | None = None
    image_magic: bytes | None = None
    image_packed: bool = False
    dump_machines: tuple[int, ...] = ()
    kernel_start: int | None = None
    cache_bytes: int = 64

    @property
    def word_bytes(self) -> int:
        """Return the size of an `unsigned long` and of a pointer in bytes."""
        return self.bits // 8

    def is_kernel_address(self, va: int) -> bool:
        """Tell whether `va` can only be a virtual address of a kernel's."""
        return self.kernel_start is not None and va >= self.kernel_start

    def cpu_state(self, register: ReadRegister) -> Cpu:
        """Return the registers of a CPU by role, out of its registers by gdb's names; gdb knows "pc" everywhere."""
        sp, link = self.convention.sp, self.convention.link
        return Cpu(register("pc") or 0, register(sp), None if link is None else register(link))

    def noted_cpus(self, core: CoreFile) -> tuple[dict[str, int], ...]:
        """Return the registers by gdb's names that QEMU noted in a dump and gdb does not take from it, CPU by CPU."""
        return ()

    def paged_memory(self, physical: Memory, register: ReadRegister) -> PagedMemory | None:
        """Return a CPU's virtual memory by the page tables in `physical`; None where hardware walks none."""
        return None

    def boot_image(self, head: bytes, data: bytes | mmap.mmap) -> BootImage | None:
        """Return what a file with the contents `data`, which begin with `head`, tells; None if it is no boot image."""
        if self.image_magic is None or self.image_kind is None or not re.match(self.image_magic, head, re.DOTALL):
            return None
        return BootImage(self.image_kind, self.name, content_at=None if self.image_packed else 0)

    def why_not_bootable(self, elf: Elf) -> str | None:
        """Return why QEMU's `-kernel` cannot boot a kernel's ELF, None where it can."""
        return None
