# SPDX-License-Identifier: GPL-2.0-or-later
"""How the memblocks of some versions of Linux behave."""

from __future__ import annotations

from gdb_lmb.allocators.memblock.behavior import MemblockBehavior

LINUX_6_1 = MemblockBehavior(
    empty_dummy=True,
    merges_all=True,
    resize_panics=False,
    strict_nid=True,
    late_alloc_from_slab=False,
    stamps_reserved=False,
)
LINUX_6_12 = MemblockBehavior()
LINUX_7_3 = MemblockBehavior(marks_kernel=True, kho_scratch=True, late_free_to_buddy=True)
