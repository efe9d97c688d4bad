# SPDX-License-Identifier: GPL-2.0-or-later
"""Is the stop inside a function that changes memblock, so that its lists may be between two states?

gdb's unwinder costs several small reads, and needs symbols that stand where the kernel does. So the stack of
a live guest is first looked at as plain words, in one read: where no word leads back into mm/memblock.c,
nothing of it is on the stack.
"""

from __future__ import annotations

from functools import lru_cache

import gdb

from gdb_lmb.core.address import TranslatedMemory
from gdb_lmb.core.errors import ReadError
from gdb_lmb.machine.program import lookup
from gdb_lmb.machine.stack import at_entry, functions_at, functions_on_stack, is_address
from gdb_lmb.machine.symbols import linker_symbol
from gdb_lmb.programs.linux import Kernel

STACK_BYTES = 16 << 10
"""`THREAD_SIZE` at the least; stacks are aligned to it."""

CHANGING = frozenset((
    "memblock_add_range", "memblock_insert_region", "memblock_remove_region", "memblock_merge_regions",
    "memblock_isolate_range", "memblock_double_array", "memblock_remove_range", "memblock_setclr_flag",
    "memblock_set_node", "memblock_trim_memory", "memblock_cap_memory_range", "memblock_enforce_memory_limit",
    "memblock_mem_limit_remove_map", "memblock_discard",
))  # fmt: skip
"""The functions of mm/memblock.c that write to its lists, in any version."""


def changing(functions: list[gdb.Symbol]) -> str | None:
    """Return the first function that writes to memblock's lists, or None."""
    return next((name for name in map(str, functions) if name.split(".")[0] in CHANGING), None)


def torn_memblock(callers: list[str] | None, here: int, placed: bool) -> str | None:
    """Return the function of mm/memblock.c that a live guest's stop is in the middle of, or None.

    `callers` is what `callers_on_stack()` found; `here` is the program counter where gdb's symbols stand,
    and `placed` tells whether that is where the kernel is. Where it is not, a word on the stack is all
    there is to go by, and the answer says so.
    """
    own = None if at_entry(here) else changing(functions_at(here))
    if own is not None:
        return own
    if placed and callers != []:
        return changing(functions_on_stack())
    found = next((name for name in callers or () if name in CHANGING), None)
    return found and f"{found}, going by a word on the stack (lmb-attach lets gdb tell for certain)"


def callers_on_stack(kernel: Kernel, memory: TranslatedMemory, pc: int, sp: int | None, moved: int) -> list[str] | None:
    """Return what words on the stack lead back to in mm/memblock.c, innermost first; None where unreadable.

    `pc` and `sp` are the CPU's; `moved` tells by how much gdb's symbols are away from where they were
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
    size = kernel.program.type.fields["regions"].size
    known = _functions_beside_memblock(kernel.identity.data)
    out = []
    for at in range(0, len(raw) - size + 1, size):
        # A return address follows its call, which may be a function's last instruction.
        word = int.from_bytes(raw[at : at + size], kernel.program.byte_order) - virtual - 1
        if any(low <= word < high for low, high in kernel.code):
            name = _label_of(word + moved)
            if name in known:
                out.append(name)
    return out


@lru_cache
def _functions_beside_memblock(_build: bytes) -> frozenset[str]:
    """Return the functions of the source file that defines `memblock`, for one build of the kernel."""
    symbol = lookup("memblock")
    if symbol is None or symbol.symtab is None:
        return CHANGING
    blocks = (symbol.symtab.global_block(), symbol.symtab.static_block())
    return CHANGING | {str(entry.name) for block in blocks for entry in block if entry.is_function}


def _label_of(pc: int) -> str:
    """Return the linker's symbol of `pc` without compilers' suffixes (".cold", ".constprop.0")."""
    found = linker_symbol(pc) if is_address(pc) else None
    return "" if found is None else found.name.split(".")[0]
