# SPDX-License-Identifier: GPL-2.0-or-later
"""The trace points: the smallest set of functions that sees every change of the allocator's state.

Of the list-based LMB that is its interface (lmb.h). Of memblock it is the functions of mm/memblock.c that
change a list, plus the allocation, whose arguments say more than the reservation that it makes. Where the
compiler has inlined such a function, the function that it was inlined into is traced in its stead; what that
one does is in a table here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import gdb

from gdb_lmb.allocators.base import Fixed, Role
from gdb_lmb.arches.convention import Parameter
from gdb_lmb.machine.symbols import linker_symbol, outermost_function


@dataclass(frozen=True)
class Point:
    """One function to stop at: its first instruction, its parameters and result, and what it does.

    `copied` tells that the compiler has changed how it is called; `returns` is None where it returns nothing.
    """

    function: str
    role: Role
    address: int
    parameters: tuple[Parameter, ...]
    returns: Parameter | None
    copied: bool = False

    @property
    def op(self) -> str:
        """Return the operation's name."""
        return self.role.op


LMB: Mapping[str, Role] = {
    "lmb_init": Role("init"),
    "lmb_add": Role("add"),
    "lmb_remove": Role("remove"),
    "lmb_reserve": Role("reserve"),
    "lmb_free": Role("free"),
    "lmb_alloc": Role("alloc"),
    "lmb_allow_growth": Role("allow_growth"),
    "lmb_set_current_limit": Role("set_limit"),
    "lmb_set_bottom_up": Role("set_bottom_up"),
    "lmb_free_all": Role("free_all"),
}

_GROWING = ("add_range", "remove_range")
"""Doubling an array reserves the new one and may free the old one."""

MEMBLOCK: Mapping[str, Role] = {
    # setclr_flag() took no list, and meant memory, before "memblock: pass memblock_type to memblock_setclr_flag".
    "memblock_add_range": Role("add_range", within=_GROWING),
    "memblock_remove_range": Role("remove_range", within=_GROWING),
    "memblock_setclr_flag": Role("setclr_flag", {"list": "memory"}, within=_GROWING),
    "memblock_set_node": Role("set_node", within=_GROWING),
    "memblock_trim_memory": Role("trim_memory"),
    "memblock_cap_memory_range": Role("cap_memory_range", within=_GROWING),
    "memblock_alloc_range_nid": Role("alloc_range_nid", within=_GROWING),
    "memblock_set_current_limit": Role("set_current_limit"),
    "memblock_allow_resize": Role("allow_resize"),
    "memblock_free_all": Role("free_all", within=("setclr_flag", "set_node")),
    "memblock_discard": Role("discard"),
}

_SETS: Fixed = {"list": "memory", "set": True}
_CLEARS: Fixed = {"list": "memory", "set": False}
_ON_RESERVED: Fixed = {"list": "reserved", "set": True}

CONTAINERS: Mapping[str, Role] = {
    "memblock_add": Role("add_range", {"list": "memory", "nid": "no_node", "flags": 0}, within=_GROWING),
    "memblock_add_node": Role("add_range", {"list": "memory", "flags": 0}, within=_GROWING),
    "memblock_reserve": Role("add_range", {"list": "reserved", "nid": "no_node", "flags": 0}, within=_GROWING),
    "__memblock_reserve": Role("add_range", {"list": "reserved"}, within=_GROWING),
    "memblock_physmem_add": Role("add_range", {"list": "physmem", "nid": "no_node", "flags": 0}),
    "memblock_remove": Role("remove_range", {"list": "memory"}, within=_GROWING),
    "memblock_phys_free": Role("remove_range", {"list": "reserved"}, within=_GROWING),
    "memblock_free": Role("remove_range", {"list": "reserved"}, within=_GROWING, pointer="ptr"),
    "memblock_mark_hotplug": Role("setclr_flag", _SETS, "HOTPLUG", _GROWING),
    "memblock_clear_hotplug": Role("setclr_flag", _CLEARS, "HOTPLUG", _GROWING),
    "memblock_mark_nomap": Role("setclr_flag", _SETS, "NOMAP", _GROWING),
    "memblock_clear_nomap": Role("setclr_flag", _CLEARS, "NOMAP", _GROWING),
    "memblock_mark_kho_scratch": Role("setclr_flag", _SETS, "KHO_SCRATCH", _GROWING),
    "memblock_clear_kho_scratch": Role("setclr_flag", _CLEARS, "KHO_SCRATCH", _GROWING),
    "memblock_reserved_mark_noinit": Role("setclr_flag", _ON_RESERVED, "RSRV_NOINIT", _GROWING),
    "memblock_reserved_mark_kern": Role("setclr_flag", _ON_RESERVED, "RSRV_KERN", _GROWING),
}
"""Functions around one change that the compiler may have inlined into them, each as in mm/memblock.c.

memblock_mark_mirror() is not here: it changes a list only where the command line asks for mirrored memory.
"""

INLINED_SWITCHES = ("memblock_set_bottom_up",)
"""Inlined in every caller by their header: nothing is called, but the places where it happens are known."""


def find_points(roles: Mapping[str, Role]) -> tuple[list[Point], list[str]]:
    """Return the points of a layout's functions, and a message for each inlined copy that nothing would see.

    Needs symbols where the program runs (`lmb-attach` after KASLR); the guest is not asked.
    """
    points: dict[int, Point] = {}
    unseen = []
    for function, role in roles.items():
        for pc in _locations(function):
            outer = outermost_function(pc)
            if outer is None:
                continue
            if outer.name == function:
                at = _point(outer, role)
                points[at.address] = at
            elif outer.name in CONTAINERS:
                at = _point(outer, CONTAINERS[outer.name])
                points[at.address] = at
            elif outer.name not in roles:
                unseen.append(f"{function}() is inlined in {outer.name}(): what it does there is seen afterwards only")
    return list(points.values()), unseen


def inlined_switches() -> list[int]:
    """Return where the code that changes a switch in passing begins."""
    return [pc for function in INLINED_SWITCHES for pc in _locations(function)]


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
        function=symbol.name,
        role=role,
        address=address,
        parameters=tuple(_parameter(s.name, s.type) for s in block or () if s.is_argument),
        returns=None if result.code == gdb.TYPE_CODE_VOID else _parameter("", result),
        copied=linked_as is not None and "." in linked_as.name,
    )


def _parameter(name: str, kind: gdb.Type) -> Parameter:
    kind = kind.strip_typedefs()
    return Parameter(name, kind.sizeof, kind.code in (gdb.TYPE_CODE_INT, gdb.TYPE_CODE_ENUM) and kind.is_signed)
