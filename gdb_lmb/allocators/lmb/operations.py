# SPDX-License-Identifier: GPL-2.0-or-later
"""The operations of the list-based LMB: its interface (lmb.h), without the prefix `lmb_`."""

from __future__ import annotations

from gdb_lmb.core.operation import BASE, ERROR, PAGES, Kind, Table

OPERATIONS: Table = {
    "add": Kind(("base", "size", "flags"), ERROR, lambda m, o: m.add(o.base, o.size, o.flags), ("memory", True)),
    "remove": Kind(("base", "size"), ERROR, lambda m, o: m.remove(o.base, o.size), ("memory", False)),
    "reserve": Kind(
        ("base", "size", "flags"), ERROR, lambda m, o: m.reserve(o.base, o.size, o.flags), ("reserved", True)
    ),
    "free": Kind(("base", "size"), ERROR, lambda m, o: m.free(o.base, o.size), ("reserved", False)),
    "alloc": Kind(
        ("size", "align", "min", "max", "flags"),
        BASE,
        lambda m, o: m.alloc(o.size, o.align, o.min, o.max, o.flags),
        ("reserved", True),
    ),
    "allow_growth": Kind((), ERROR, lambda m, o: m.allow_growth()),
    "set_limit": Kind(("base",), ERROR, lambda m, o: m.set_current_limit(o.base)),
    "set_bottom_up": Kind(("flags",), ERROR, lambda m, o: m.set_bottom_up(bool(o.flags)), switch=True),
    "free_all": Kind((), PAGES, lambda m, o: m.free_all()),
    # Of revision 2 of the design; `flags` is the one flag.
    "mark": Kind(("base", "size", "flags"), ERROR, lambda m, o: m.mark(o.base, o.size, o.flags)),
    "clear": Kind(("base", "size", "flags"), ERROR, lambda m, o: m.clear(o.base, o.size, o.flags)),
    "enforce_limit": Kind(("size",), ERROR, lambda m, o: m.enforce_memory_limit(o.size)),
}

INIT: Table = {"init": Kind(("base", "size", "flags", "align", "min", "max"), ERROR, lambda m, o: m.init_again())}
"""`lmb_init()`, as a log's first record tells of it: it creates the model; a later call is refused.

In this order: klimit (0: a static array), the block size, the bits of `phys_addr_t`, the sizes of a block's
header and of an entry, the number of entries."""
