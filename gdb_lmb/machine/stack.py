# SPDX-License-Identifier: GPL-2.0-or-later
"""The functions that the selected CPU is in: gdb's frames of a live guest, return addresses of a dump.

In a dump gdb's unwinder cannot be asked: without paging it finds no stack, and what the dump lacks it would
take from the program's ELF.
"""

from __future__ import annotations

import gdb

from gdb_lmb.core.errors import LmbError, ReadError
from gdb_lmb.core.memory import Memory
from gdb_lmb.machine.core import Dump, current_dump
from gdb_lmb.machine.program import architecture
from gdb_lmb.machine.registers import current_pc, selected_cpu
from gdb_lmb.machine.types import byte_order

MAX_FRAMES = 64
"""Frames looked at: a guest's stack can be endless when damaged."""

MAX_STACK_BYTES = 2048
"""How much of a dump's stack is searched: the allocator's own calls are not deeper."""

_PAGE_SIZE = 4096


def is_address(pc: int) -> bool:
    """Tell whether gdb can be asked about `pc`: what was moved back by a kernel's own offset may be none."""
    return 0 <= pc < 1 << 64


def functions_at(pc: int) -> list[gdb.Symbol]:
    """Return the functions whose code is at `pc`, inlined ones first."""
    found, block = [], gdb.block_for_pc(pc) if is_address(pc) else None
    while block is not None:
        if block.function is not None:
            found.append(block.function)
        block = block.superblock
    return found


def at_entry(pc: int) -> bool:
    """Tell whether `pc` is where a function has done nothing yet: in its opening line, or just past it.

    Just past it is where `break FUNCTION` stops on architectures whose prologues gdb skips.
    """
    block = gdb.block_for_pc(pc) if is_address(pc) else None
    outermost = None
    while block is not None:
        if block.function is not None:
            outermost = block
        block = block.superblock
    if outermost is None:
        return False
    if pc == outermost.start:
        return True
    opening = gdb.find_pc_line(outermost.start)
    return opening.last is not None and outermost.start <= pc <= opening.last + 1 < outermost.end


def functions_on_stack(symbols_off: int = 0, translated: Memory | None = None) -> list[gdb.Symbol]:
    """Return the functions of the selected CPU's stack, innermost first, as far as they can be told.

    A function that stands at its very entry has changed nothing yet and is left out; whoever called it is not.
    In a dump a word that was left on the stack may name one that has returned. `symbols_off` is what to add
    to one of the dump's addresses to get to where gdb's symbols are; `translated` reads the kernel's virtual
    addresses of a dump that does not tell how its CPUs do.
    """
    dump = current_dump()
    if dump is not None:
        here = current_pc() + symbols_off
        found = [] if at_entry(here) else functions_at(here)
        for word in _words(dump, translated):
            # A call is no function's first instruction, and a call that does not return may be its last.
            found += functions_at(word - 1 + symbols_off)
        return found
    found = []
    try:
        frame = gdb.newest_frame()
        pc = frame.pc()
        fresh = at_entry(pc)
        while frame is not None and frame.is_valid() and len(found) < MAX_FRAMES:
            if frame.function() is not None and not (fresh and frame.pc() == pc):
                found.append(frame.function())
            frame = frame.older()
    except gdb.error:
        # A stack that cannot be unwound further ends here; what it showed so far stands.
        pass
    return found


def _words(dump: Dump, translated: Memory | None) -> list[int]:
    """Return the link register and the words from the stack pointer up, as many as are mapped and in the dump."""
    size, order = dump.core.bits // 8, byte_order()
    arch = architecture()
    if arch is None:
        return []
    cpu = selected_cpu(arch)
    # A function that calls none may have its return address nowhere else.
    links = [] if cpu.link is None else [cpu.link]
    sp = cpu.sp
    if sp is None:
        return links
    try:
        memory = dump.virtual()
    except LmbError:
        if translated is None:
            return links
        memory = translated
    for length in (MAX_STACK_BYTES, -sp % _PAGE_SIZE):
        try:
            raw = memory.read(sp, min(MAX_STACK_BYTES, length))
        except ReadError:
            continue
        return links + [int.from_bytes(raw[at : at + size], order) for at in range(0, len(raw) - size + 1, size)]
    return links
