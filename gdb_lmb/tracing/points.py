# SPDX-License-Identifier: GPL-2.0-or-later
"""The trace points: where the functions that an allocator wants traced are in the program in gdb, and a call at one.

Where the compiler has inlined such a function, the function that it was inlined into is traced instead, if the
allocator knows what that one does. A call is read out of gdb's newest frame: registers, what debug information tells,
the callers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

import gdb

from gdb_lmb.allocators.base import Allocator, Role
from gdb_lmb.arches.base import CallFrame, Convention, Parameter
from gdb_lmb.arches.registry import NAMES, find
from gdb_lmb.core.errors import LayoutError
from gdb_lmb.core.fields import ByteOrder
from gdb_lmb.machine.current import current
from gdb_lmb.machine.memory import GdbMemory
from gdb_lmb.machine.symbols import linker_symbol, outermost_function

# Program counters kept of a call, innermost first: enough to get out of the allocator and into the boot's steps.
_WANTED_FRAMES = 12


@dataclass(frozen=True)
class Point:
    """One function to stop at: its first instruction, its parameters and result, and what it does.

    `copied` tells that the compiler has changed how it is called; `returns` is None where it returns nothing.
    """

    role: Role
    address: int
    parameters: tuple[Parameter, ...]
    returns: Parameter | None
    copied: bool = False


def find_points(own: Allocator) -> tuple[list[Point], list[str]]:
    """Return the points of an allocator's functions, and a message for each inlined copy that nothing would see.

    Needs symbols where the program runs (`lmb-attach` after KASLR); the guest is not asked.
    """
    points: dict[int, Point] = {}
    unseen = []
    for function, role in own.roles.items():
        known = {**own.containers, function: role}
        for outer in filter(None, map(outermost_function, code_of(function))):
            if outer.name in known:
                at = _point(outer, known[outer.name])
                points[at.address] = at
            elif outer.name not in own.roles:
                unseen.append(f"{function}() is inlined in {outer.name}(): what it does there is seen afterwards only")
    return list(points.values()), unseen


def function_addresses(name: str) -> list[int]:
    """Return the first instruction of every out-of-line function of this name: static ones may share it."""
    found = filter(None, map(outermost_function, code_of(name)))
    return [int(outer.value().address) for outer in found if outer.name == name]


def code_of(function: str) -> list[int]:
    """Return a program counter in every copy of a function, inlined ones included."""
    try:
        return [line.pc for line in gdb.decode_line(function)[1] or ()]
    except gdb.error:
        return []


def _point(symbol: gdb.Symbol, role: Role) -> Point:
    address = int(symbol.value().address)
    block = gdb.block_for_pc(address)
    while block is not None and (block.function is None or block.function.name != symbol.name):
        block = block.superblock
    result = symbol.type.target().strip_typedefs()
    # gdb names what lies there as the linker does, with the compiler's suffixes.
    linked_as = linker_symbol(address)
    return Point(
        role=role,
        address=address,
        parameters=tuple(_parameter(s.name, s.type) for s in block or () if s.is_argument),
        returns=None if result.code == gdb.TYPE_CODE_VOID else _parameter("", result),
        copied=linked_as is not None and "." in linked_as.name,
    )


def _parameter(name: str, kind: gdb.Type) -> Parameter:
    kind = kind.strip_typedefs()
    return Parameter(name, kind.sizeof, kind.code in (gdb.TYPE_CODE_INT, gdb.TYPE_CODE_ENUM) and kind.is_signed)


# -- a call -----------------------------------------------------------------------------------------


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
        with contextlib.suppress(ValueError, gdb.error):
            value = frame.read_var(parameter.name)
            if not value.is_optimized_out:
                found[parameter.name] = parameter.of(int(value))
    return found


def program_counters(return_address: int) -> tuple[int, ...]:
    """Return the callers' program counters, `return_address` first; inlined functions have none of their own.

    A function that jumps into the next one is no longer on the stack; where gdb can tell that it was there, it
    is given with the place of its jump. A stack that cannot be unwound further ends the list.
    """
    older: list[int] = []
    with contextlib.suppress(gdb.error):
        frame = gdb.newest_frame().older()
        # A kernel's first frame ends the stack with a program counter of 0.
        while frame is not None and len(older) < _WANTED_FRAMES and frame.pc():
            if frame.type() != gdb.INLINE_FRAME:
                older.append(frame.pc())
            frame = frame.older()
    return (return_address, *(older[1:] if older[:1] == [return_address] else older))
