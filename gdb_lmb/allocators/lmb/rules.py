# SPDX-License-Identifier: GPL-2.0-or-later
"""In what the revisions of the design differ: each is a value, and the model asks it instead of the number."""

from __future__ import annotations

from dataclasses import dataclass

from gdb_lmb.allocators.lmb.storage import LMB_BLOCK
from gdb_lmb.core.snapshot import LMB_NOMAP

LMB_HOTPLUG = 1
LMB_MIRROR = 2
NAMED_FLAGS = (LMB_HOTPLUG, LMB_MIRROR, LMB_NOMAP)

Search = tuple[int, int]
"""One pass of a search: it looks at regions of memory whose flags, as far as they are in the first, are the second."""


@dataclass(frozen=True)
class Rules:
    """The rules of one revision of the design; the numbers are those of its rules.

    `block_flags` are those of a block's region on the reserved list, which no caller may pass (1, 3, 6, 8).
    `cuts_ranges` tells that a range past the end of the address space is cut, where it is refused otherwise (3).
    `changes_flags` tells that there are `lmb_mark()`, `lmb_clear()` and `lmb_enforce_memory_limit()` (3).
    `searches` are the passes of a search, of which a block's has the first only (4, 6).
    `grows_apart` tells that no block lies in an operation's range, and that an allocation keeps the place it has
    found; otherwise only a reservation's and a removal's block lies outside (6).
    `keeps_blocks` tells that no reservation overlaps a block (8). `page_aligned` that a klimit page is one (1).
    """

    revision: int
    block_flags: int
    cuts_ranges: bool
    changes_flags: bool
    searches: tuple[Search, ...]
    grows_apart: bool
    keeps_blocks: bool
    page_aligned: bool

    def invalid(self, base: int, size: int, flags: int, phys_addr_max: int) -> bool:
        """Tell whether a range or its flags are -EINVAL (3)."""
        past = base == phys_addr_max if self.cuts_ranges else base + size > phys_addr_max
        return size == 0 or past or bool(flags & self.block_flags)


RULES = {
    1: Rules(
        revision=1,
        block_flags=0,
        cuts_ranges=False,
        changes_flags=False,
        searches=((LMB_NOMAP, 0),),
        grows_apart=False,
        keeps_blocks=False,
        page_aligned=False,
    ),
    2: Rules(
        revision=2,
        block_flags=LMB_BLOCK,
        cuts_ranges=True,
        changes_flags=True,
        searches=((LMB_NOMAP | LMB_HOTPLUG, 0), (LMB_NOMAP | LMB_HOTPLUG, LMB_HOTPLUG)),
        grows_apart=True,
        keeps_blocks=True,
        page_aligned=True,
    ),
}
NEWEST = max(RULES)
