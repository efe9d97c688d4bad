# SPDX-License-Identifier: GPL-2.0-or-later
"""The state of a memblock and what its operations are made of: isolation, doubling, the search's rules.

Mirrors the static functions of `mm/memblock.c`: `memblock_double_array()`, `memblock_isolate_range()`,
`memblock_add_range()` and `memblock_remove_range()` on any list, `choose_memblock_flags()`,
`should_skip_region()`, `memblock_find_in_range{,_node}()`.
"""

from __future__ import annotations

from collections.abc import Callable

from gdb_lmb.allocators.memblock import search
from gdb_lmb.allocators.memblock.behavior import (
    MEMBLOCK_DRIVER_MANAGED,
    MEMBLOCK_HOTPLUG,
    MEMBLOCK_KHO_SCRATCH,
    MEMBLOCK_MIRROR,
    MEMBLOCK_NOMAP,
    MEMBLOCK_RSRV_KERN,
    NUMA_NO_NODE,
    MemblockConfig,
)
from gdb_lmb.allocators.memblock.table import Table
from gdb_lmb.core.errors import GuestPanicError, InputError

ENOMEM = -12


class Core:
    """The lists, their arrays and the switches; `model.MemblockModel` adds the operations."""

    layout = "memblock"

    def __init__(self, config: MemblockConfig) -> None:
        """Set up both lists, and `physmem` where there is one, as the program's data has them."""
        self.config = config
        self.behavior = config.behavior
        self.phys_addr_max = (1 << config.bits) - 1
        self.memory = Table("memory", config.memory_max)
        self.reserved = Table("reserved", config.reserved_max)
        self.physmem = None if config.physmem_max is None else Table("physmem", config.physmem_max)
        self.current_limit = self.phys_addr_max
        self.bottom_up = False
        self.can_resize = self.slab_up = self.has_mirror = self.movable_node = False
        self.kho_scratch_only = self.discarded = False
        self.doublings = 0
        self._arch, self._byte_order = "model", "little"

    # -- inside ---------------------------------------------------------------------------------------

    def _table(self, name: str) -> Table:
        table = {"memory": self.memory, "reserved": self.reserved, "physmem": self.physmem}.get(name)
        if table is None:
            raise InputError(f"there is no list {name!r}")
        return table

    def _add(self, table: Table, base: int, size: int, nid: int, flags: int) -> int:
        size = min(size, self.phys_addr_max - base)
        if not size:
            return 0
        nid = 0 if self.config.no_node is None else nid
        if not table.base:
            table.total_size = 0  # as the C sets it, whatever trimming had left
        else:
            new = table.gaps(base, base + size)
            if not new:
                return 0
            full = False
            while len(table.base) + new > table.max:
                if not self._double(table, base, size):
                    return ENOMEM
                full = True
            if full and len(table.base) + table.gaps(base, base + size) > table.max:
                raise GuestPanicError("BUG in memblock_insert_region()")
        table.fill(base, base + size, flags, nid)
        if table.scattered and self.behavior.merges_all:
            self._merge_all(table)
        return 0

    def _remove(self, table: Table, base: int, size: int) -> int:
        inside = self._isolate(table, base, size)
        if inside is None:
            return ENOMEM
        table.remove(*inside, self.config.max_numnodes)
        return 0

    def _change(self, table: Table, base: int, size: int, change: Callable[[Table, int, int], None]) -> int:
        inside = self._isolate(table, base, size)
        if inside is None:
            return ENOMEM
        change(table, *inside)
        if table.scattered and self.behavior.merges_all:
            self._merge_all(table)
        else:
            table.merge(*inside)
        return 0

    def _merge_all(self, table: Table) -> None:
        table.merge(0, len(table.base))
        table.scattered = False

    def _isolate(self, table: Table, base: int, size: int) -> tuple[int, int] | None:
        """Do `memblock_isolate_range()`: the slice inside, None where the array could not be doubled."""
        size = min(size, self.phys_addr_max - base)
        if not size:
            return 0, 0
        while self._cnt(table) + 2 > table.max:
            if not self._double(table, base, size):
                return None
        return table.isolate(base, base + size)

    def _cnt(self, table: Table) -> int:
        return len(table.base) or int(self.behavior.empty_dummy)

    # -- doubling -------------------------------------------------------------------------------------

    def _double(self, table: Table, new_base: int, new_size: int) -> bool:
        """Do `memblock_double_array()`; tell whether there was memory for it."""
        if not self.can_resize:
            if self.behavior.resize_panics:
                raise GuestPanicError(f"memblock: cannot resize {table.name} array")
            return False
        old_bytes = table.max * self.config.region_size
        old_alloc, new_alloc = self._page_align(old_bytes), self._page_align(2 * old_bytes)
        array_base = None
        if not self.slab_up:
            if table is not self.reserved:
                new_base = new_size = 0
            array_base = self._find_anywhere(new_base + new_size, self.current_limit, new_alloc)
            if not array_base and new_size:
                # With new_base 0 the C's upper end is 0, which means the current limit: the new array may
                # then lie in the very range that is to be reserved.
                array_base = self._find_anywhere(0, min(new_base, self.current_limit), new_alloc)
            if not array_base:
                return False
            self._refuse_overlap(table, array_base, new_alloc)
        old_base, old_static, old_slab = table.array_base, table.static, table.in_slab
        table.array_base, table.array_va, table.static = array_base, None, False
        table.max *= 2
        self.doublings += 1
        # The static array of physmem is no exception to the C, which only knows those of the other two.
        if not old_slab and (not old_static or table is self.physmem):
            self._free_array(old_base, old_alloc)
        if array_base is not None and self._reserve_own(array_base, new_alloc, NUMA_NO_NODE):
            raise GuestPanicError("BUG in memblock_double_array()")
        table.in_slab = self.slab_up
        return True

    def _refuse_overlap(self, table: Table, base: int, size: int) -> None:
        """Stop where the new array would lie on one that is in use.

        That happens when somebody frees a list's array, and by the kernel's own doing: the new array of
        `memory` is reserved only after its old one was freed, and freeing may double `reserved`, which then
        takes the same place.
        """
        for other in (self.memory, self.reserved):
            if other.array_base is not None and not other.static:
                end = other.array_base + self._page_align(other.max * self.config.region_size)
                if other.array_base < base + size and base < end:
                    raise GuestPanicError(
                        f"the doubled {table.name} array at {base:#x} overwrites the {other.name} array",
                        overwrites=True,
                    )

    def _free_array(self, base: int | None, size: int) -> None:
        """Do `memblock_free()`; nothing is known to change where `base` is not known."""
        gone = self.behavior.late_free_to_buddy and self.slab_up and not self.config.keep
        if base is not None and not gone:
            self._remove(self.reserved, base, size)

    def _reserve_own(self, base: int, size: int, nid: int) -> int:
        """Reserve what memblock itself has handed out."""
        if self.behavior.marks_kernel:
            return self._add(self.reserved, base, size, nid, MEMBLOCK_RSRV_KERN)
        return self._add(self.reserved, base, size, self.config.max_numnodes, 0)

    def _page_align(self, size: int) -> int:
        return -(-size // self.config.page_size) * self.config.page_size

    # -- search ---------------------------------------------------------------------------------------

    def _wanted_flags(self) -> int:
        """Do `choose_memblock_flags()`."""
        if self.kho_scratch_only and self.behavior.kho_scratch:
            return MEMBLOCK_KHO_SCRATCH
        return MEMBLOCK_MIRROR if self.has_mirror else 0

    def _selects(self, nid: int) -> bool:
        """Tell whether `nid` confines a search to one node."""
        return nid != NUMA_NO_NODE if self.behavior.strict_nid else 0 <= nid < self.config.max_numnodes

    def _usable(self, nid: int, wanted: int) -> Callable[[int], bool]:
        """Return the opposite of `should_skip_region()` for regions of memory."""
        memory = self.memory
        if self.discarded:
            return lambda m: True  # memblock_memory is NULL then, and no list is taken for it
        unwanted = MEMBLOCK_NOMAP | MEMBLOCK_DRIVER_MANAGED | (MEMBLOCK_HOTPLUG if self.movable_node else 0)
        looked_at = unwanted | wanted
        flags, nids = memory.flags, memory.nid
        if self._selects(nid):
            return lambda m: nids[m] == nid and flags[m] & looked_at == wanted
        return lambda m: flags[m] & looked_at == wanted

    def _find(self, size: int, align: int, start: int, end: int, nid: int, wanted: int) -> int:
        """Do `memblock_find_in_range_node()`."""
        if end <= 1:  # MEMBLOCK_ALLOC_ACCESSIBLE, MEMBLOCK_ALLOC_NOLEAKTRACE
            end = self.current_limit
        start = max(start, self.config.page_size)
        end = max(start, end)
        usable, limit = self._usable(nid, wanted), self.phys_addr_max
        if not size:
            return search.nothing(self.memory, self.reserved, usable, start, end, align, limit, up=self.bottom_up)
        find = search.bottom_up if self.bottom_up else search.top_down
        return find(self.memory, self.reserved, usable, start, end, size, align, limit)

    def _find_anywhere(self, start: int, end: int, size: int) -> int:
        """Do `memblock_find_in_range()`, page by page: mirrored memory first, then any."""
        wanted = self._wanted_flags()
        page = self.config.page_size
        found = self._find(size, page, start, end, NUMA_NO_NODE, wanted)
        if not found and wanted & MEMBLOCK_MIRROR:
            found = self._find(size, page, start, end, NUMA_NO_NODE, wanted & ~MEMBLOCK_MIRROR)
        return found
