# SPDX-License-Identifier: GPL-2.0-or-later
"""The reference model of Linux's memblock: same results, same regions, same arrays in the same places.

Mirrors `mm/memblock.c`, operation by operation, as its rules are told apart by `MemblockBehavior`. The model
never reads a guest: where an array is doubled it finds and reserves the new one itself.

Results follow the C interface: 0 or a negative errno; `alloc_range_nid` returns the base or 0,
`free_all` the pages. An argument `list` is "memory", "reserved" or "physmem".
"""

from __future__ import annotations

from collections.abc import Callable

from gdb_lmb.allocators.memblock import search
from gdb_lmb.allocators.memblock.behavior import (
    FLAG_NAMES,
    MEMBLOCK_HOTPLUG,
    MEMBLOCK_KHO_SCRATCH,
    MEMBLOCK_MIRROR,
    MEMBLOCK_NOMAP,
    MEMBLOCK_RSRV_KERN,
    NUMA_NO_NODE,
    MemblockConfig,
)
from gdb_lmb.allocators.memblock.storage import MemblockStorage, RegionArray
from gdb_lmb.allocators.memblock.table import Table
from gdb_lmb.core.errors import GuestPanicError, InputError
from gdb_lmb.core.snapshot import Snapshot

ENOMEM = -12


class MemblockModel:
    """A memblock, from its static initialisation or a walked state onwards.

    What no list shows is an attribute to be set: `can_resize` (after `memblock_allow_resize()`), `slab_up`
    (`slab_is_available()`: arrays then come from the slab, at addresses unknown), `has_mirror`
    (`system_has_some_mirror`), `movable_node` (`movable_node_is_enabled()`), `kho_scratch_only`,
    `discarded`. `doublings` counts the arrays doubled so far.
    """

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
        self.arch, self.byte_order = "model", "little"

    # -- changes of a list ----------------------------------------------------------------------------

    def add_range(self, list: str, base: int, size: int, nid: int = NUMA_NO_NODE, flags: int = 0) -> int:
        """Do `memblock_add_range()`: put what of the range is not on the list there, merge what touches."""
        return self._add(self._table(list), base, size, nid, flags)

    def remove_range(self, list: str, base: int, size: int) -> int:
        """Do `memblock_remove_range()`: take the range off the list, as far as it is there."""
        return self._remove(self._table(list), base, size)

    def setclr_flag(self, list: str, base: int, size: int, set: bool, flags: int) -> int:
        """Do `memblock_setclr_flag()`: set or clear `flags` of what is on the list in the range.

        Setting MIRROR on memory is what `memblock_mark_mirror()` does, which first sets `has_mirror`.
        """
        if set and flags & MEMBLOCK_MIRROR and list == "memory":
            self.has_mirror = True

        def change(table: Table, i: int, j: int) -> None:
            table.flags[i:j] = [old | flags if set else old & ~flags for old in table.flags[i:j]]

        return self._change(self._table(list), base, size, change)

    def set_node(self, list: str, base: int, size: int, nid: int) -> int:
        """Do `memblock_set_node()`, which does nothing without CONFIG_NUMA."""
        if self.config.no_node is None:
            return 0

        def change(table: Table, i: int, j: int) -> None:
            table.nid[i:j] = [nid] * (j - i)

        return self._change(self._table(list), base, size, change)

    def trim_memory(self, align: int) -> int:
        """Do `memblock_trim_memory()`: round every memory region inward to `align` bytes, return 0.

        As in the C, `total_size` still counts the bytes cut off regions that stay.
        Raises: `GuestPanicError` where a region begins past the last multiple of `align` there is.
        """
        memory, limit = self.memory, self.phys_addr_max
        mask = (align - 1) & limit
        for i in range(len(memory.base) - 1, -1, -1):
            base = ((((memory.base[i] - 1) & limit) | mask) + 1) & limit
            end = memory.end[i] & ~mask
            if (base, end) == (memory.base[i], memory.end[i]):
                continue
            if base < memory.base[i] and end:
                raise GuestPanicError("rounding wraps: memory is not sorted any more", overwrites=True)
            if base < end:
                memory.base[i], memory.end[i] = base, end
            else:
                memory.remove(i, i + 1, self.config.max_numnodes)
        return 0

    def cap_memory_range(self, base: int, size: int) -> int:
        """Do `memblock_cap_memory_range()`: drop all memory outside but NOMAP, all reservations too; return 0."""
        memory = self.memory
        if not size or not memory.total_size:
            return 0
        inside = self._isolate(memory, base, size)
        if inside is None:
            return 0
        for i in range(len(memory.base) - 1, -1, -1):
            if not inside[0] <= i < inside[1] and not memory.flags[i] & MEMBLOCK_NOMAP:
                memory.remove(i, i + 1, self.config.max_numnodes)
        # A NOMAP region that the range's edge cuts is now two, which nothing has merged again.
        memory.scattered = True
        self._remove(self.reserved, 0, base)
        self._remove(self.reserved, (base + size) & self.phys_addr_max, self.phys_addr_max)
        return 0

    # -- allocation -----------------------------------------------------------------------------------

    def alloc_range_nid(
        self, size: int, align: int = 0, min: int = 0, max: int = 0, nid: int = NUMA_NO_NODE, exact: bool = False
    ) -> int | None:
        """Do `memblock_alloc_range_nid()`: find, reserve and return a base, 0 where nothing was found.

        `max` 0 or 1 means up to the current limit. None is for memory that would come from the slab, whose
        address no model knows.
        """
        if self.behavior.late_alloc_from_slab and self.slab_up:
            return None
        if self.behavior.strict_nid and nid == self.config.max_numnodes:
            nid = NUMA_NO_NODE  # with a warning
        flags = self._wanted_flags()
        while True:
            found = self._find(size, align or self.config.cache_bytes, min, max, nid, flags)
            if found and not self._reserve_own(found, size, nid):
                return found
            if self._selects(nid) and not exact:
                found = self._find(size, align or self.config.cache_bytes, min, max, NUMA_NO_NODE, flags)
                if found and not self._reserve_own(found, size, NUMA_NO_NODE):
                    return found
            if not flags & MEMBLOCK_MIRROR:
                return 0
            flags &= ~MEMBLOCK_MIRROR

    # -- switches, and the end ------------------------------------------------------------------------

    def set_current_limit(self, limit: int) -> int:
        """Do `memblock_set_current_limit()`: no search goes past `limit`, a physical address; return 0."""
        self.current_limit = limit
        return 0

    def set_bottom_up(self, enable: bool) -> int:
        """Do `memblock_set_bottom_up()`; return 0."""
        self.bottom_up = bool(enable)
        return 0

    def allow_resize(self) -> int:
        """Do `memblock_allow_resize()`; return 0."""
        self.can_resize = True
        return 0

    def free_all(self) -> int:
        """Do `memblock_free_all()`; return the pages that the buddy allocator gets.

        Clears HOTPLUG everywhere; kernels that do so stamp the memory's nodes on what is reserved there.
        """
        self.kho_scratch_only = False
        self.setclr_flag("memory", 0, self.phys_addr_max, False, MEMBLOCK_HOTPLUG)
        if self.behavior.stamps_reserved and self.config.no_node is not None:
            stamped = None
            while stamped != self.reserved.max:
                # Doubling puts the new array on the list, perhaps behind us: then the kernel starts again.
                stamped = self.reserved.max
                rows = zip(self.memory.base[:], self.memory.end[:], self.memory.nid[:], strict=True)
                for base, end, nid in rows:
                    self.set_node("reserved", base, end - base, nid)
        pages = 0
        page, limit = self.config.page_size, self.phys_addr_max
        usable = self._usable(NUMA_NO_NODE, 0)
        for base, end in search.free_ranges(self.memory, self.reserved, usable, limit):
            last = end // page
            if self.config.max_low_pfn is not None:
                last = min(last, self.config.max_low_pfn)
            pages += max(0, last - ((base + page - 1) & limit) // page)
        return pages

    def discard(self) -> int:
        """Do `memblock_discard()`: give doubled arrays back; the lists mostly stay as they are; return 0."""
        for table in (self.reserved, self.memory):
            if not table.static and not table.in_slab and self.behavior.late_free_to_buddy:
                self._free_array(table.array_base, self._page_align(self.config.region_size * table.max))
        self.discarded = True
        return 0

    # -- static functions -------------------------------------------------------------------------------

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

        That happens when a caller frees a list's array, and by the kernel's own code: the new array of
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

    def _usable(self, nid: int, wanted: int) -> search.Usable:
        """Return which regions of memory a search may take."""
        if self.discarded:
            return lambda m: True  # memblock_memory is NULL then, and no list is taken for it
        only = nid if self._selects(nid) else None
        return search.usable_regions(self.memory, wanted, only, hotplug=not self.movable_node)

    def _find(self, size: int, align: int, start: int, end: int, nid: int, wanted: int) -> int:
        """Do `memblock_find_in_range_node()`."""
        if end <= 1:  # MEMBLOCK_ALLOC_ACCESSIBLE, MEMBLOCK_ALLOC_NOLEAKTRACE
            end = self.current_limit
        start = max(start, self.config.page_size)
        usable, limit = self._usable(nid, wanted), self.phys_addr_max
        return search.find(
            self.memory, self.reserved, usable, start, max(start, end), size, align, limit, up=self.bottom_up
        )

    def _find_anywhere(self, start: int, end: int, size: int) -> int:
        """Do `memblock_find_in_range()`, page by page: mirrored memory first, then any."""
        wanted = self._wanted_flags()
        page = self.config.page_size
        found = self._find(size, page, start, end, NUMA_NO_NODE, wanted)
        if not found and wanted & MEMBLOCK_MIRROR:
            found = self._find(size, page, start, end, NUMA_NO_NODE, wanted & ~MEMBLOCK_MIRROR)
        return found

    # -- view -----------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Return the whole state as a `Snapshot` (no firmware map, no virtual addresses of doubled arrays)."""
        dummy, nodes = self.behavior.empty_dummy, self.config.no_node is not None
        tables = [table for table in (self.memory, self.reserved, self.physmem) if table is not None]
        lists = [table.view(dummy=dummy, nodes=nodes, limit=self.phys_addr_max) for table in tables]
        width = self.config.region_size
        return Snapshot(
            memory=lists[0],
            reserved=lists[1],
            others=tuple(lists[2:]),
            storage=MemblockStorage(
                arrays=tuple(
                    RegionArray(t.name, t.array_va, t.max, t.static, t.max * width, t.array_base) for t in tables
                )
            ),
            layout="memblock",
            bits=self.config.bits,
            page_size=self.config.page_size,
            current_limit=self.current_limit,
            bottom_up=self.bottom_up,
            arch=self.arch,
            byte_order=self.byte_order,
            flag_names=FLAG_NAMES if self.config.flag_names is None else self.config.flag_names,
            no_node=self.config.no_node,
        )
