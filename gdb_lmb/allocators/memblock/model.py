# SPDX-License-Identifier: GPL-2.0-or-later
"""The reference model of Linux's memblock: same results, same regions, same arrays in the same places.

Mirrors `mm/memblock.c`, operation by operation, as its rules are told apart by `MemblockBehavior`. The model
never reads a guest: where an array is doubled it finds and reserves the new one itself.

Results follow the C interface: 0 or a negative errno; `alloc_range_nid` returns the base or 0,
`free_all` the pages. An argument `list` is "memory", "reserved" or "physmem".
"""

from __future__ import annotations

from collections.abc import Collection

from gdb_lmb.allocators.memblock import search
from gdb_lmb.allocators.memblock.behavior import (
    FLAG_NAMES,
    MEMBLOCK_HOTPLUG,
    MEMBLOCK_MIRROR,
    MEMBLOCK_NOMAP,
    NUMA_NO_NODE,
    MemblockConfig,
)
from gdb_lmb.allocators.memblock.core import Core
from gdb_lmb.allocators.memblock.storage import MemblockStorage, RegionArray, storage_of
from gdb_lmb.allocators.memblock.table import Table
from gdb_lmb.allocators.resume import require_whole
from gdb_lmb.core.errors import GuestPanicError
from gdb_lmb.core.snapshot import Snapshot


class MemblockModel(Core):
    """A memblock, from its static initialisation or a walked state onwards.

    What no list shows is an attribute to be set: `can_resize` (after `memblock_allow_resize()`), `slab_up`
    (`slab_is_available()`: arrays then come from the slab, at addresses unknown), `has_mirror`
    (`system_has_some_mirror`), `movable_node` (`movable_node_is_enabled()`), `kho_scratch_only`,
    `discarded`. `doublings` counts the arrays doubled so far.
    """

    @classmethod
    def from_snapshot(
        cls, snapshot: Snapshot, config: MemblockConfig, *, in_slab: Collection[str] = ()
    ) -> MemblockModel:
        """Go on from a walked state; `in_slab` names the lists whose arrays came from the slab.

        Raises: `StateError` where the stop is inside of memblock, and for lists that no memblock has: unsorted,
        overlapping, longer than their array.
        """
        require_whole(snapshot, "memblock", "a memblock's")
        model = cls(config)
        tables = {"memory": model.memory, "reserved": model.reserved}
        for other in snapshot.others:
            model.physmem = tables[other.name] = Table(other.name, other.max or 0)
        for regions in snapshot.lists:
            tables[regions.name].load(regions)
        for stored in storage_of(snapshot).arrays:
            table = tables[stored.name]
            table.array_base, table.array_va, table.static = stored.base, stored.va, stored.static
            table.in_slab = stored.name in in_slab
        model.current_limit, model.bottom_up = snapshot.current_limit, snapshot.bottom_up
        model._arch, model._byte_order = snapshot.arch, snapshot.byte_order
        return model

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
            arch=self._arch,
            byte_order=self._byte_order,
            flag_names=FLAG_NAMES if self.config.flag_names is None else self.config.flag_names,
            no_node=self.config.no_node,
        )
