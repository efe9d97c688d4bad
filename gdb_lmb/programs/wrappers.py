# SPDX-License-Identifier: GPL-2.0-or-later
"""Functions of programs that only pass a request for memory on: who called them is the one who wanted it."""

from __future__ import annotations

WRAPPERS = frozenset(
    {
        "early_init_dt_alloc_memory_arch",
        "early_init_dt_alloc_reserved_memory_arch",
        "early_init_dt_reserve_memory",
        "early_init_dt_reserve_memory_arch",
    }
)
"""Linux's, for device trees. Source: drivers/of/fdt.c, drivers/of/of_reserved_mem.c."""
