# SPDX-License-Identifier: GPL-2.0-or-later
"""A call as it is made: arguments, return address, result and program counters, at a function's first instruction.

Registers are read by the calling convention (System V x86-64, AAPCS64, RISC-V, s390x ELF), which holds for every
function but the copies that the compiler has cut to measure (`.isra.0`, `.constprop.0`); those are read by their
debug information.
"""

from __future__ import annotations

from dataclasses import dataclass

import gdb

from gdb_lmb.core.errors import LayoutError
from gdb_lmb.machine.reader import read_bytes

WANTED_FRAMES = 12
"""Program counters kept of a call, innermost first: enough to get out of the allocator and into the boot's steps."""


@dataclass(frozen=True)
class Convention:
    """Where an architecture's functions find their arguments, and leave their result.

    `link` holds the return address at a function's first instruction; None: it lies on top of the stack, and
    the caller's stack pointer is one word higher.
    """

    arguments: tuple[str, ...]
    result: str
    sp: str
    link: str | None
    word: int = 8


CONVENTIONS = {
    "x86_64": Convention(("rdi", "rsi", "rdx", "rcx", "r8", "r9"), "rax", "rsp", None),
    "aarch64": Convention(tuple(f"x{n}" for n in range(8)), "x0", "sp", "x30"),
    "riscv64": Convention(tuple(f"a{n}" for n in range(8)), "a0", "sp", "ra"),
    "s390x": Convention(("r2", "r3", "r4", "r5", "r6"), "r2", "r15", "r14"),
}


@dataclass(frozen=True)
class Parameter:
    """One parameter of a function, or its result (`name` is then empty): its size in bytes and signedness."""

    name: str
    size: int
    signed: bool = False

    def of(self, value: int) -> int:
        """Return what `value`, a whole register's, means for this type: the rest of a register is undefined."""
        low = value & ((1 << 8 * self.size) - 1)
        return low - (1 << 8 * self.size) if self.signed and low >> (8 * self.size - 1) else low


def convention_of(arch: str) -> Convention:
    """Return the convention of an architecture, in the kernel's words. Raises: `LayoutError`."""
    if arch not in CONVENTIONS:
        raise LayoutError(f"calls are understood on {', '.join(CONVENTIONS)} only so far, not on {arch}")
    return CONVENTIONS[arch]


class Registers:
    """The innermost frame's registers as unsigned numbers."""

    def __init__(self, convention: Convention, frame: gdb.Frame | None = None) -> None:
        """Look at `frame`, the newest if None."""
        self._frame = frame or gdb.newest_frame()
        self._convention = convention
        self._mask = (1 << 8 * convention.word) - 1

    def __getitem__(self, name: str) -> int:
        """Return the register `name`."""
        return int(self._frame.read_register(name)) & self._mask

    @property
    def sp(self) -> int:
        """Return the stack pointer."""
        return self[self._convention.sp]

    @property
    def result(self) -> int:
        """Return what a function that has just returned left."""
        return self[self._convention.result]

    def arguments(self, parameters: tuple[Parameter, ...]) -> dict[str, int]:
        """Return the arguments by name, at the first instruction. Parameters past the registers are left out."""
        named = zip(parameters, self._convention.arguments, strict=False)
        return {parameter.name: parameter.of(self[register]) for parameter, register in named}

    def described(self, parameters: tuple[Parameter, ...]) -> dict[str, int]:
        """Return those arguments of a compiler's copy of a function that its debug information can tell."""
        found = {}
        for parameter in parameters:
            try:
                value = self._frame.read_var(parameter.name)
                if not value.is_optimized_out:
                    found[parameter.name] = parameter.of(int(value))
            except (ValueError, gdb.error):
                continue
        return found

    def caller(self, order: str) -> tuple[int, int]:
        """Return the return address, and the stack pointer right after the return, at the first instruction."""
        convention, sp = self._convention, self.sp
        if convention.link is not None:
            return self[convention.link], sp
        return int.from_bytes(read_bytes(sp, convention.word), order), sp + convention.word  # type: ignore[arg-type]


def program_counters(return_address: int, wanted: int = WANTED_FRAMES) -> tuple[int, ...]:
    """Return the callers' program counters, `return_address` first; inlined functions have none of their own.

    A function that jumps into the next one is no longer on the stack; where gdb can tell that it was there, it
    is given with the place of its jump. A stack that cannot be unwound further ends the list.
    """
    older: list[int] = []
    try:
        frame = gdb.newest_frame().older()
        while frame is not None and len(older) < wanted:
            pc = frame.pc()
            if not pc:
                break  # how a kernel's first frame ends the stack
            if frame.type() != gdb.INLINE_FRAME:
                older.append(pc)
            frame = frame.older()
    except gdb.error:
        pass
    return (return_address, *(older[1:] if older[:1] == [return_address] else older))
