# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a stop is inside a function that changes memblock, so that its lists may be inconsistent.

The architecture follows the stack as the kernel itself does: through exceptions and interrupts, which debug information
does not describe, and past words that functions have left there that have returned. A guest's and a dump's stack are
followed alike, wherever the debugger's symbols stand; a stack of one piece takes one read. Where it cannot be followed
to its beginning, gdb's unwinder tells, or the words on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cached_property

from gdb_lmb.allocators.memblock.allocator import CHANGING
from gdb_lmb.arches.base import Cpu
from gdb_lmb.core.address import TranslatedMemory
from gdb_lmb.core.errors import LayoutError, ReadError
from gdb_lmb.core.machine import Function, Machine
from gdb_lmb.core.ranges import Range
from gdb_lmb.programs.linux.kernel import Kernel

_STACK_BYTES = 16 << 10  # `THREAD_SIZE` at the least; stacks are aligned to it
_PAGE_BYTES = 4 << 10
# The functions of mm/memblock.c, by the kernel's build.
_FUNCTIONS: dict[bytes, frozenset[str]] = {}


class Stack:
    """A CPU's stack from `sp` on, of which all that is left is read at once; and memory that it leads to.

    That is read page by page as the CPU translates it, where it is RAM. Made while reads are physical, read afterwards.
    """

    def __init__(self, machine: Machine, memory: TranslatedMemory, sp: int) -> None:
        self._machine, self.memory = machine, memory
        self._parts: dict[int, bytes] = {}
        self.sp, self.words = sp, b""
        with suppress(ReadError):
            self.words = memory.read(sp, -sp % _STACK_BYTES or _STACK_BYTES)

    def read(self, address: int, size: int) -> bytes:
        at = address - self.sp
        if 0 <= at <= len(self.words) - size:
            return self.words[at : at + size]
        if not self._machine.can_run:
            with suppress(ReadError):
                return self.memory.read(address, size)
        page = address - address % _PAGE_BYTES
        return b"".join(
            self._page(start)[max(0, address - start) : address + size - start]
            for start in range(page, address + size, _PAGE_BYTES)
        )

    def _page(self, va: int) -> bytes:
        if va not in self._parts:
            physical = self._machine.translate(va)
            if physical is None or not any(low <= physical < high for low, high in self._ram):
                raise ReadError(va, _PAGE_BYTES, "no RAM is mapped there")
            self._parts[va] = self._machine.virtual().read(va, _PAGE_BYTES)
        return self._parts[va]

    @cached_property
    def _ram(self) -> list[Range]:
        return self._machine.ram()


def torn_memblock(
    machine: Machine, kernel: Kernel, cpu: Cpu, known: Mapping[str, int], stack: Stack, moved: int
) -> str | None:
    """Return the function of mm/memblock.c that the stop is in the middle of, or None.

    `known` are the registers that the stack is followed by. `moved` tells by how much the debugger's symbols are away
    from where they were linked. In user mode, and before the jump to the kernel's own addresses, nothing of the
    kernel's is on the stack.
    """
    virtual = stack.memory.placement.virtual
    if not (cpu.past(kernel.image[0] + virtual) and cpu.below(kernel.image[1] + virtual)):
        return None
    if kernel.identity.data not in _FUNCTIONS:
        _FUNCTIONS[kernel.identity.data] = CHANGING | machine.functions_beside("memblock")
    try:
        for at in kernel.arch.frames(kernel, virtual, cpu, known, machine, stack):
            found = _changing_at(machine, kernel, at + moved)
            if found is not None:
                return found
    except (ReadError, LayoutError):
        return _by_words(machine, kernel, stack, virtual, moved)
    return None


def _changing_at(machine: Machine, kernel: Kernel, here: int) -> str | None:
    # The linker's symbol costs no debug information of other files to be read.
    symbol = machine.symbol_at(here)
    # Compilers add suffixes (".cold", ".constprop.0").
    if symbol is None or symbol.name.split(".")[0] not in _FUNCTIONS[kernel.identity.data]:
        return None
    found = _changing(machine.functions_at(here))
    # At its entry a function has changed nothing yet.
    return None if found is None or machine.at_entry(here) else found


def _changing(functions: Iterable[Function]) -> str | None:
    # Return the first function that writes to memblock's lists, or None.
    return next((one.name for one in functions if one.name.split(".")[0] in CHANGING), None)


def _by_words(machine: Machine, kernel: Kernel, stack: Stack, virtual: int, moved: int) -> str | None:
    # gdb needs symbols that stand where the kernel does.
    if not machine.can_run:
        return _changing(machine.functions_on_stack(moved - virtual, stack.memory))
    if moved == virtual:
        return _changing(machine.functions_on_stack())
    size = kernel.arch.word_bytes
    words = (stack.words[at : at + size] for at in range(0, len(stack.words) - size + 1, size))
    # A return address follows its call, which may be a function's last instruction.
    calls = (int.from_bytes(word, kernel.arch.byte_order) - virtual - 1 for word in words)
    inside = (at for at in calls if any(low <= at < high for low, high in kernel.code))
    found = next((name for at in inside if (name := _changing_at(machine, kernel, at + moved))), None)
    return found and f"{found}, going by a word on the stack (lmb-attach lets gdb tell for certain)"
