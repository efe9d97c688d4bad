# SPDX-License-Identifier: GPL-2.0-or-later
"""Is the stop inside a function that changes memblock, so that its lists may be inconsistent?

gdb's unwinder costs several small reads, and needs symbols that stand where the kernel does. So the stack of
a live guest is first looked at as plain words, in one read: where no word leads back into mm/memblock.c,
nothing of it is on the stack.
"""

from __future__ import annotations

from collections.abc import Iterable

from gdb_lmb.allocators.memblock.trace import CHANGING
from gdb_lmb.core.address import TranslatedMemory
from gdb_lmb.core.errors import ReadError
from gdb_lmb.core.machine import Function, Machine
from gdb_lmb.programs.linux.kernel import Kernel

STACK_BYTES = 16 << 10
"""`THREAD_SIZE` at the least; stacks are aligned to it."""

_FUNCTIONS: dict[bytes, frozenset[str]] = {}
"""The functions of mm/memblock.c, by the kernel's build."""


def changing(functions: Iterable[Function]) -> str | None:
    """Return the first function that writes to memblock's lists, or None."""
    return next((one.name for one in functions if one.name.split(".")[0] in CHANGING), None)


def torn_memblock(machine: Machine, callers: list[str] | None, here: int, placed: bool) -> str | None:
    """Return the function of mm/memblock.c that a live guest's stop is in the middle of, or None.

    `callers` is what `callers_on_stack()` found; `here` is the program counter where the debugger's symbols stand,
    and `placed` tells whether that is where the kernel is. Where it is not, a word on the stack is all
    there is to go by, and the answer says so.
    """
    own = None if machine.at_entry(here) else changing(machine.functions_at(here))
    if own is not None:
        return own
    if placed and callers != []:
        return changing(machine.functions_on_stack())
    found = next((name for name in callers or () if name in CHANGING), None)
    return found and f"{found}, going by a word on the stack (lmb-attach lets gdb tell for certain)"


def callers_on_stack(
    machine: Machine, kernel: Kernel, memory: TranslatedMemory, pc: int, sp: int | None, moved: int
) -> list[str] | None:
    """Return what words on the stack lead back to in mm/memblock.c, innermost first; None where unreadable.

    `pc` and `sp` are the CPU's; `moved` tells by how much the debugger's symbols are away from where they were
    linked. In user mode, and before the jump to the kernel's own addresses, there are none.
    """
    virtual = memory.placement.virtual
    if not kernel.image[0] <= pc - virtual < kernel.image[1]:
        return []
    try:
        raw = memory.read(sp, -sp % STACK_BYTES or STACK_BYTES) if sp is not None else None
    except ReadError:
        raw = None
    if raw is None:
        return None
    if kernel.identity.data not in _FUNCTIONS:
        _FUNCTIONS[kernel.identity.data] = CHANGING | machine.functions_beside("memblock")
    known = _FUNCTIONS[kernel.identity.data]
    size = kernel.program.type.fields["regions"].size
    out = []
    for at in range(0, len(raw) - size + 1, size):
        # A return address follows its call, which may be a function's last instruction.
        word = int.from_bytes(raw[at : at + size], kernel.arch.byte_order) - virtual - 1
        if any(low <= word < high for low, high in kernel.code):
            found = machine.symbol_at(word + moved)
            # Compilers add suffixes (".cold", ".constprop.0").
            if found is not None and found.name.split(".")[0] in known:
                out.append(found.name.split(".")[0])
    return out
