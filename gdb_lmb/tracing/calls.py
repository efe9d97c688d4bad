# SPDX-License-Identifier: GPL-2.0-or-later
"""A call as it is made, out of gdb's newest frame: registers, what debug information tells, the callers."""

from __future__ import annotations

from collections.abc import Iterable

import gdb

from gdb_lmb.arches.base import CallFrame, Convention, Parameter
from gdb_lmb.arches.registry import NAMES, find
from gdb_lmb.core.errors import LayoutError
from gdb_lmb.core.fields import ByteOrder
from gdb_lmb.machine.current import current
from gdb_lmb.machine.memory import GdbMemory

WANTED_FRAMES = 12
"""Program counters kept of a call, innermost first: enough to get out of the allocator and into the boot's steps."""


def convention_of(arch: str) -> Convention:
    """Return the calling convention of an architecture by `uname -m`. Raises: `LayoutError`."""
    found = find(uname=arch)
    if found is None:
        raise LayoutError(f"how functions are called is known on {', '.join(NAMES)} only, not on {arch}")
    return found.convention


def newest_call(convention: Convention, order: ByteOrder) -> CallFrame:
    """Return the innermost frame, which stands at a function's first instruction or right after its return."""
    return CallFrame(convention, order, current().register, GdbMemory())


def described(parameters: Iterable[Parameter]) -> dict[str, int]:
    """Return those arguments of the innermost function that its debug information can tell.

    A copy of a function that the compiler has changed (`.isra.0`) follows no convention.
    """
    frame, found = gdb.newest_frame(), {}
    for parameter in parameters:
        try:
            value = frame.read_var(parameter.name)
            if not value.is_optimized_out:
                found[parameter.name] = parameter.of(int(value))
        except (ValueError, gdb.error):
            continue
    return found


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
