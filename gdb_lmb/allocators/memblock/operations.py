# SPDX-License-Identifier: GPL-2.0-or-later
"""The operations of memblock: the functions of mm/memblock.c through which every change goes, without `memblock_`.

Besides, `slab_available` tells that `slab_is_available()` has become true: from then on arrays come from the slab.
"""

from __future__ import annotations

from functools import partial

from gdb_lmb.allocators.memblock.behavior import NUMA_NO_NODE
from gdb_lmb.core.operation import BASE, ERROR, NOTHING, PAGES, Kind, Table

LISTS = ("memory", "reserved", "physmem")

_ANY_NODE = {"nid": NUMA_NO_NODE}
_on_list = partial(Kind, list_names=LISTS)

OPERATIONS: Table = {
    "add_range": _on_list(
        ("list", "base", "size", "nid", "flags"),
        ERROR,
        lambda m, o: m.add_range(o.list, o.base, o.size, o.nid, o.flags),
        ("", True),
        _ANY_NODE,
    ),
    "remove_range": _on_list(
        ("list", "base", "size"), ERROR, lambda m, o: m.remove_range(o.list, o.base, o.size), ("", False)
    ),
    "setclr_flag": _on_list(
        ("list", "base", "size", "set", "flags"),
        ERROR,
        lambda m, o: m.setclr_flag(o.list, o.base, o.size, o.set, o.flags),
    ),
    "set_node": _on_list(
        ("list", "base", "size", "nid"),
        ERROR,
        lambda m, o: m.set_node(o.list, o.base, o.size, o.nid),
        defaults=_ANY_NODE,
    ),
    "trim_memory": Kind(("align",), NOTHING, lambda m, o: m.trim_memory(o.align)),
    "cap_memory_range": Kind(("base", "size"), NOTHING, lambda m, o: m.cap_memory_range(o.base, o.size)),
    "alloc_range_nid": Kind(
        ("size", "align", "min", "max", "nid", "exact"),
        BASE,
        lambda m, o: m.alloc_range_nid(o.size, o.align, o.min, o.max, o.nid, o.exact),
        ("reserved", True),
        _ANY_NODE,
    ),
    "set_current_limit": Kind(("base",), NOTHING, lambda m, o: m.set_current_limit(o.base)),
    "set_bottom_up": Kind(("flags",), NOTHING, lambda m, o: m.set_bottom_up(bool(o.flags)), switch=True),
    "allow_resize": Kind((), NOTHING, lambda m, o: m.allow_resize()),
    "slab_available": Kind((), NOTHING, lambda m, o: setattr(m, "slab_up", True)),
    "free_all": Kind((), PAGES, lambda m, o: m.free_all()),
    "discard": Kind((), NOTHING, lambda m, o: m.discard()),
}  # fmt: skip
"""`alloc_range_nid` has its `start` and `end` in `min` and `max`."""
