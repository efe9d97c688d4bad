# SPDX-License-Identifier: GPL-2.0-or-later
"""What is to be known of an architecture: its names, its registers by role, how it calls functions, its boot images.

What a Linux kernel needs to be found and followed on it is in `linux`.

A `Convention` is a row of an ABI's document; `CallFrame` reads a call by it, from registers by name and from memory.
It holds for every function but the copies that the compiler has changed (`.isra.0`, `.constprop.0`). Integers and
pointers only: the functions of early allocators take no structures by value.
"""

from __future__ import annotations

import contextlib
import mmap
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from gdb_lmb.core.errors import LayoutError, ReadError
from gdb_lmb.core.fields import ByteOrder
from gdb_lmb.core.memory import Memory
from gdb_lmb.core.ranges import Range
from gdb_lmb.formats.core_file import CoreFile
from gdb_lmb.formats.elf import Elf

MAX_TABLES = 4096
"""Page tables that are read: those of 4 TiB, mapped by pages of 2 MiB."""

# Returns a register by gdb's name as an unsigned number, None where there is none of that name.
ReadRegister = Callable[[str], "int | None"]

# Returns so many words of 32 bits at a virtual address, none that cannot be read.
ReadWords = Callable[[int, int], "tuple[int, ...]"]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a function, or its result (`name` is then empty): its size in bytes and signedness."""

    name: str
    size: int
    signed: bool = False

    def of(self, value: int) -> int:
        """Return what `value`, of whole registers, means for this type: the rest of a register is undefined."""
        low = value & ((1 << 8 * self.size) - 1)
        return low - (1 << 8 * self.size) if self.signed and low >> (8 * self.size - 1) else low


@dataclass(frozen=True)
class Convention:
    """How an architecture's functions are called.

    `word` is the size of a general register and of a stack slot in bytes. `arguments` are the registers of the first
    words of arguments, `result` those of a result, in the order in which its words would lie in memory. `link` holds
    the return address at a function's first instruction; None: it lies on top of the stack, and returning takes it
    off. `stack` is how many bytes above the stack pointer the first argument on the stack lies, at the first
    instruction.

    An argument of two words begins at an even register where `even_pairs`, and at a multiple of its size on the stack
    where `aligned`. `overflow` tells what happens to one that does not fit into the registers left: it goes to the
    stack and those registers stay free ("open") or are never used ("close"), or its first word takes the last register
    ("split").

    `tags` are bits of a return address that are no part of it.
    """

    word: int
    arguments: tuple[str, ...]
    result: tuple[str, ...]
    sp: str = "sp"
    link: str | None = None
    stack: int = 0
    even_pairs: bool = False
    aligned: bool = True
    overflow: Literal["open", "close", "split"] = "close"
    tags: int = 0

    def words(self, size: int) -> int:
        """Return how many words a value of `size` bytes takes."""
        return max(1, -(-size // self.word))

    def places(self, sizes: Iterable[int]) -> Iterator[tuple[tuple[str, ...], int, int]]:
        """Yield for each argument of `sizes` bytes its registers, and the offset and the size of its rest on the stack.

        Offsets are in bytes, from the first argument on the stack.
        """
        used = offset = 0
        for words in map(self.words, sizes):
            if self.even_pairs and words > 1:
                used += used % 2
            registers = self.arguments[used : used + words]
            if len(registers) < words and self.overflow != "split":
                registers = ()
            rest = words - len(registers)
            used = len(self.arguments) if rest and self.overflow == "close" else used + len(registers)
            if self.aligned and rest > 1:
                offset += -offset % (rest * self.word)
            yield registers, offset, rest * self.word
            offset += rest * self.word


@dataclass(frozen=True)
class CallFrame:
    """A function at its first instruction, or right after its return.

    `register` reads the CPU's registers, `memory` the virtual addresses that it uses.
    """

    convention: Convention
    order: ByteOrder
    register: ReadRegister
    memory: Memory

    def __getitem__(self, name: str) -> int:
        """Return the register `name`, `unsigned long`. Raises: `LayoutError` where there is none."""
        value = self.register(name)
        if value is None:
            raise LayoutError(f"the debugger has no register {name}, which calls on this architecture need")
        return value & ((1 << 8 * self.convention.word) - 1)

    @property
    def sp(self) -> int:
        return self[self.convention.sp]

    def arguments(self, parameters: Iterable[Parameter]) -> dict[str, int]:
        """Return the arguments by parameter name, at the first instruction. Raises: `ReadError`, `LayoutError`."""
        parameters = tuple(parameters)
        found = {}
        places = self.convention.places(parameter.size for parameter in parameters)
        for parameter, (registers, offset, size) in zip(parameters, places, strict=True):
            rest = self.memory.read(self.sp + self.convention.stack + offset, size) if size else b""
            found[parameter.name] = parameter.of(self._value(registers, rest))
        return found

    def result(self, returns: Parameter) -> int:
        """Return what a function that has just returned left. Raises: `LayoutError`."""
        return returns.of(self._value(self.convention.result[: self.convention.words(returns.size)]))

    def caller(self) -> tuple[int, int]:
        """Return the return address, and the stack pointer right after the return, at the first instruction.

        Raises: `ReadError`, `LayoutError`.
        """
        convention, sp = self.convention, self.sp
        if convention.link is not None:
            return self[convention.link] & ~convention.tags, sp
        top = int.from_bytes(self.memory.read(sp, convention.word), self.order)
        return top & ~convention.tags, sp + convention.word

    def _value(self, registers: tuple[str, ...], rest: bytes = b"") -> int:
        # The words of a value are in registers, and after them in memory.
        words = b"".join(self[name].to_bytes(self.convention.word, self.order) for name in registers)
        return int.from_bytes(words + rest, self.order)


class PagedMemory(Memory, Protocol):
    """Virtual memory that page tables translate."""

    def to_physical(self, va: int) -> tuple[int, int]:
        """Return the physical address of `va`, and how many bytes are left in its page. Raises: `ReadError`."""


@dataclass(frozen=True)
class Cpu:
    """One CPU's registers by role: program counter, stack pointer, is paging on, where its page tables lie physically.

    `not_paging` says in words that no kernel's address is translated, where `paging` is False. `link` is the register
    with the return address, `user` whether the CPU is in user mode, `masked` whether it takes no interrupts, `general`
    its general registers by number, where they may tell of a kernel to come. `paged` make virtual memory by the page
    tables that the CPU uses now, and by those that its kernel uses, out of physical memory.
    What is not known is None or empty.
    Taken before reads become physical: gdb looks at code and stack to make a frame, and keeps what it saw.
    """

    pc: int | None
    sp: int | None = None
    link: int | None = None
    paging: bool | None = None
    not_paging: str = "paging is off"
    user: bool | None = None
    masked: bool | None = None
    tables: tuple[int, ...] = ()
    general: tuple[int | None, ...] = ()
    paged: tuple[Callable[[Memory], PagedMemory], ...] = ()

    def below(self, va: int) -> bool:
        """Tell whether the program counter is known, and below `va`."""
        return self.pc is not None and self.pc < va

    def past(self, va: int) -> bool:
        """Tell whether the program counter is known, and `va` or above it."""
        return self.pc is not None and self.pc >= va


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


@dataclass(frozen=True)
class TableForm:
    """The page tables that hardware walks from physical `root` on.

    `sizes` are the bytes of a table of each level, the top first; those of the last level map pages only. An entry of
    `entry` bytes leads to another table where `table` of its bits, all of `mask`, are set; `address` are the bits that
    say where, in units of `scale` bytes.
    """

    root: int
    sizes: tuple[int, ...]
    mask: int
    table: int
    address: int
    entry: int = 8
    scale: int = 1

    def tables(self, memory: Memory, order: ByteOrder) -> tuple[list[Range], bool]:
        """Return where each table lies, the root first, and whether these are all: `MAX_TABLES` are read at most.

        One that cannot be read in `memory` leads nowhere.
        """
        seen = level = {self.root}
        found: list[Range] = []
        left = MAX_TABLES
        form = "<" if order == "little" else ">", {4: "I", 8: "Q"}[self.entry]
        for depth, size in enumerate(self.sizes):
            found += ((base, base + size) for base in sorted(level))
            below: set[int] = set()
            for base in sorted(level) if depth < len(self.sizes) - 1 else ():
                left -= 1
                with contextlib.suppress(ReadError):
                    raw = memory.read(base, size) if left >= 0 else b""
                    entries = set(struct.unpack(f"{form[0]}{len(raw) // self.entry}{form[1]}", raw))
                    below.update(
                        (entry & self.address) * self.scale for entry in entries if entry & self.mask == self.table
                    )
            level = below - seen
            seen = seen | level
        return found, left >= 0


@dataclass(frozen=True)
class Architecture:
    """One architecture, of one word size and byte order.

    `name` is what messages and `--arch` say, `uname` what `uname -m` says, `aliases` are Linux's and Debian's other
    names. `e_machine`, `bits` and `byte_order` are those of its ELF files; `gdb` are what gdb's names of it begin
    with, those of the other word size and byte order alike; `pe_machine` is `Machine` of a PE header. `cross` is the
    prefix of a cross compiler's programs. `native` are the machines (`uname -m`) on which a plain gdb knows it.

    `qemu` is QEMU's program, from `qemu_package`: each release of Debian has one that is called so, or provides it.
    `machine` is its `-machine` unless another is asked for, and `cpu` its `-cpu` under TCG (None: QEMU's own default).
    `image_kind` is what a boot loader gets, in words, and `built_image` where a kernel's tree has it after a build;
    `image_magic` is a regular expression for how such a file begins, and `image_packed` tells that the kernel in it is
    compressed by what is not read here.

    `dump_machines` are what else `e_machine` may be in QEMU's dump of a machine that runs this.

    `kernel_start` is the lowest virtual address of kernels, None where a user's program may have the same addresses.
    `cache_bytes` is `SMP_CACHE_BYTES`, what allocations without an alignment are aligned to. `stops` are the
    instructions, of one size, in which a CPU that takes no interrupts stays until another CPU starts it anew.
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
    stops: tuple[bytes, ...] = ()

    @property
    def word_bytes(self) -> int:
        """Return the size of an `unsigned long` and of a pointer in bytes."""
        return self.bits // 8

    def is_kernel_address(self, va: int) -> bool:
        """Tell whether `va` can only be a virtual address of a kernel's."""
        return self.kernel_start is not None and va >= self.kernel_start

    def cpu_on(self, machine: str | None) -> str | None:
        """Return QEMU's `-cpu` for its `-machine` of this name (None: the usual one); None for QEMU's own default."""
        return self.cpu

    def cpu_state(self, register: ReadRegister) -> Cpu:
        """Return the registers of a CPU by role, out of its registers by gdb's names; gdb knows "pc" everywhere."""
        sp, link = self.convention.sp, self.convention.link
        return Cpu(register("pc"), register(sp), None if link is None else register(link))

    def is_stopped(self, cpu: Cpu, memory: Memory) -> bool:
        """Tell whether a CPU stays where it is until another one starts it anew; `memory` reads its virtual addresses.

        Raises: `ReadError`.
        """
        if not self.stops or not cpu.masked or cpu.pc is None:
            return False
        size = len(self.stops[0])
        return memory.read(cpu.pc - size, size) in self.stops

    def is_dead(self, registers: str, words: ReadWords) -> bool:
        """Tell by QEMU's `info registers` of all CPUs whether nothing that the guest does can wake it any more.

        `words` reads code of the first CPU's. Where nothing tells, a guest is taken to be alive.
        """
        return False

    def noted_cpus(self, core: CoreFile) -> tuple[dict[str, int], ...]:
        """Return the registers by gdb's names that QEMU noted in a dump and gdb does not take from it, CPU by CPU."""
        return ()

    def paged_memory(self, physical: Memory, register: ReadRegister) -> PagedMemory | None:
        """Return a CPU's virtual memory by the page tables in `physical`; None where hardware walks none."""
        return None

    def table_form(self, register: ReadRegister) -> TableForm | None:
        """Return the page tables of the selected CPU that map its kernel; None where hardware walks none."""
        return None

    def boot_image(self, head: bytes, data: bytes | mmap.mmap) -> BootImage | None:
        """Return what a file with the contents `data`, which begin with `head`, tells; None if it is no boot image."""
        if self.image_magic is None or self.image_kind is None or not re.match(self.image_magic, head, re.DOTALL):
            return None
        return BootImage(self.image_kind, self.name, content_at=None if self.image_packed else 0)

    def why_not_bootable(self, elf: Elf) -> str | None:
        """Return why QEMU's `-kernel` cannot boot a kernel's ELF, None where it can."""
        return None
