# SPDX-License-Identifier: GPL-2.0-or-later
"""Calling conventions: where a function finds its arguments and its return address, and where it leaves its result.

A `Convention` is a row of an ABI's document; `CallFrame` reads a call by it, from registers by name and from memory.
It holds for every function but the copies that the compiler has changed (`.isra.0`, `.constprop.0`). Integers and
pointers only: the functions of early allocators take no structures by value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from gdb_lmb.core.errors import LayoutError
from gdb_lmb.core.fields import ByteOrder
from gdb_lmb.core.memory import Memory

# Returns a register by gdb's name as an unsigned number, None where there is none of that name.
ReadRegister = Callable[[str], "int | None"]


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
