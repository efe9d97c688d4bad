# SPDX-License-Identifier: GPL-2.0-or-later
"""Operations as C: the public function of `include/linux/memblock.h` that does each, and its arguments."""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping

from gdb_lmb.allocators.memblock.behavior import NUMA_NO_NODE
from gdb_lmb.core.errors import InputError
from gdb_lmb.core.operation import Operation

_FLAG_CALLS: Mapping[tuple[int, bool], str] = {
    (0x1, True): "memblock_mark_hotplug",
    (0x1, False): "memblock_clear_hotplug",
    (0x2, True): "memblock_mark_mirror",
    (0x4, True): "memblock_mark_nomap",
    (0x4, False): "memblock_clear_nomap",
    (0x10, True): "memblock_reserved_mark_noinit",
    (0x20, True): "memblock_reserved_mark_kern",
    (0x40, True): "memblock_mark_kho_scratch",
    (0x40, False): "memblock_clear_kho_scratch",
}


class Nodes:
    """Nodes as the simulator calls them: it has fewer, so that the number which means none is another."""

    def __init__(self, no_node: int | None) -> None:
        """Take the number that means no node to the traced kernel, None where it knows no nodes."""
        self._no_node = 1 if no_node is None else no_node  # MAX_NUMNODES without nodes
        self.known = no_node is not None

    def c(self, nid: int | None) -> str:
        """Return a node as a C expression."""
        if nid is None or nid == NUMA_NO_NODE:
            return "NUMA_NO_NODE"
        return "MAX_NUMNODES" if nid == self._no_node else str(nid)

    def is_none(self, nid: int | None) -> bool:
        """Tell whether a reservation for this node is one for none."""
        return not self.known or nid == self._no_node


def hex_c(value: int) -> str:
    """Return an address, a size or flags as a C constant."""
    return f"{value:#x}" if value < 1 << 31 else f"{value:#x}ULL"


def result_c(value: int) -> str:
    """Return 0 or a negative errno as C names it."""
    return f"-{errno.errorcode[-value]}" if value < 0 and -value in errno.errorcode else str(value)


def word(text: str) -> str:
    """Return a name from outside with nothing in it that could end a comment."""
    return re.sub(r"[^A-Za-z0-9_.+-]", "?", text[:80])


def call_of(o: Operation, nodes: Nodes, reserve_says_all: bool, cache_bytes: int) -> tuple[str, str]:
    """Return the call as C ("" for none), and the variable that its result goes to ("" for none).

    `reserve_says_all` tells that __memblock_reserve() is public; `cache_bytes` is SMP_CACHE_BYTES.
    Raises: `InputError` where no public function does this.
    """
    if o.list == "physmem":
        raise InputError("the simulator is built without the list physmem")
    where = f"{hex_c(o.base)}, {hex_c(o.size)}"
    if o.op == "add_range" and o.list == "memory":
        return f"memblock_add_node({where}, {nodes.c(o.nid)}, {hex_c(o.flags)})", "ret"
    if o.op == "add_range" and reserve_says_all:
        return f"__memblock_reserve({where}, {nodes.c(o.nid)}, {hex_c(o.flags)})", "ret"
    if o.op == "add_range":
        if o.flags or not nodes.is_none(o.nid):
            raise InputError("no public function reserves with a node or flags")
        return f"memblock_reserve({where})", "ret"
    if o.op == "remove_range":
        return f"memblock_{'remove' if o.list == 'memory' else 'phys_free'}({where})", "ret"
    if o.op == "setclr_flag":
        function = _FLAG_CALLS.get((o.flags, o.set))
        if function is None or function.startswith("memblock_reserved_") != (o.list == "reserved"):
            raise InputError(f"no public function {'sets' if o.set else 'clears'} flags {o.flags:#x} of {o.list}")
        return f"{function}({where})", "ret"
    if o.op == "set_node":
        return f"memblock_set_node({where}, &memblock.{o.list}, {nodes.c(o.nid)})", "ret"
    if o.op == "alloc_range_nid":
        # An alignment of 0 means the cache's line, which is another one in the simulator.
        numbers = ", ".join(map(hex_c, (o.size, o.align or cache_bytes, o.min, o.max)))
        return f"memblock_alloc_range_nid({numbers}, {nodes.c(o.nid)}, {'true' if o.exact else 'false'})", "base"
    plain = _PLAIN_CALLS[o.op]
    return plain.format(base=hex_c(o.base), size=hex_c(o.size), align=hex_c(o.align), flag=int(bool(o.flags))), ""


_PLAIN_CALLS: Mapping[str, str] = {
    "trim_memory": "memblock_trim_memory({align})",
    "cap_memory_range": "memblock_cap_memory_range({base}, {size})",
    "set_current_limit": "memblock_set_current_limit({base})",
    "set_bottom_up": "memblock_set_bottom_up({flag})",
    "allow_resize": "memblock_allow_resize()",
    "slab_available": "slab_state = UP",
    "free_all": "memblock_free_all()",
    # memblock_discard() changes no list, but would leave the simulator without memory for the tests that follow.
    "discard": "",
}
