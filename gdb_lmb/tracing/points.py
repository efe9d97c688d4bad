# SPDX-License-Identifier: GPL-2.0-or-later
"""The trace points: where the functions that an allocator wants traced are in the program in gdb.

Where the compiler has inlined such a function, the function that it was inlined into is traced instead, if the
allocator knows what that one does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import gdb

from gdb_lmb.allocators.base import Allocator, Role
from gdb_lmb.arches.base import Parameter
from gdb_lmb.machine.symbols import linker_symbol, outermost_function


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

    @property
    def op(self) -> str:
        """Return the operation's name."""
        return self.role.op


def find_points(own: Allocator) -> tuple[list[Point], list[str]]:
    """Return the points of an allocator's functions, and a message for each inlined copy that nothing would see.

    Needs symbols where the program runs (`lmb-attach` after KASLR); the guest is not asked.
    """
    points: dict[int, Point] = {}
    unseen = []
    for function, role in own.roles.items():
        for pc in _locations(function):
            outer = outermost_function(pc)
            if outer is None:
                continue
            if outer.name == function:
                at = _point(outer, role)
                points[at.address] = at
            elif outer.name in own.containers:
                at = _point(outer, own.containers[outer.name])
                points[at.address] = at
            elif outer.name not in own.roles:
                unseen.append(f"{function}() is inlined in {outer.name}(): what it does there is seen afterwards only")
    return list(points.values()), unseen


def inlined_switches(own: Allocator) -> Iterator[tuple[str, int]]:
    """Yield the name of each function that changes a setting and is always inlined, and where its code begins."""
    for function in own.inlined_switches:
        for pc in _locations(function):
            yield function, pc


def function_addresses(name: str) -> list[int]:
    """Return the first instruction of every out-of-line function of this name: static ones may share it."""
    found = []
    for pc in _locations(name):
        outer = outermost_function(pc)
        if outer is not None and outer.name == name:
            found.append(int(outer.value().address))
    return found


def _locations(function: str) -> Iterator[int]:
    """Yield a program counter in every copy of a function, inlined ones included."""
    try:
        found = gdb.decode_line(function)[1]
    except gdb.error:
        return
    for line in found or ():
        yield line.pc


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
