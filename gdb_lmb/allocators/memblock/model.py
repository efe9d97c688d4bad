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
    `discarded`. `unknown` tells in words what the kernel has that this model has not. `doublings` counts the arrays
    doubled so far. `tables` are the lists by name.
    """

    layout = "memblock"

    def __init__(self, config: MemblockConfig) -> None:
        self.config = config
        self.behavior = config.behavior
        self.phys_addr_max = (1 << config.bits) - 1
        rooms = {"memory": config.memory_max, "reserved": config.reserved_max, "physmem": config.physmem_max}
        self.tables = {name: Table(name, room) for name, room in rooms.items() if room is not None}
        self.memory, self.reserved = self.tables["memory"], self.tables["reserved"]
        self.current_limit = self.phys_addr_max
        self.bottom_up = False
        self.can_resize = self.slab_up = self.has_mirror = self.movable_node = False
        self.kho_scratch_only = self.discarded = False
        self.doublings = 0
        self.unknown: tuple[str, ...] = ()
        self.arch, self.byte_order = "model", "little"

    # -- changes of a list ----------------------------------------------------------------------------

    def add_range(self, list: str, base: int, size: int, nid: int = NUMA_NO_NODE, flags: int = 0) -> int:
        """Do `memblock_add_range()`: put what of the range is not on the list there, merge what touches."""
        table = self._table(list)
        size = min(size, self.phys_addr_max - base)
        new = table.gaps(base, base + size)
        if not new:
            return 0
        if not table.base:
            table.total_size = 0  # as the C sets it, whatever trimming had left
        nr_new, doublings = len(new), self.doublings
        while len(table.base) + nr_new > table.max:
            if not self._double(table, base, size):
                return ENOMEM
        if self.doublings != doublings:
            new = table.gaps(base, base + size)
            if len(table.base) + len(new) > table.max:
                raise GuestPanicError("BUG in memblock_insert_region()")
        if new:
            self._merge(table, *table.fill(new, flags, 0 if self.config.no_node is None else nid))
        return 0

    def remove_range(self, list: str, base: int, size: int) -> int:
        """Do `memblock_remove_range()`: take the range off the list, as far as it is there."""
        table = self._table(list)
        inside = self._isolate(table, base, size)
        if inside is None:
            return ENOMEM
        table.remove(*inside, self.config.max_numnodes)
        return 0

    def setclr_flag(self, list: str, base: int, size: int, set: bool, flags: int) -> int:
        """Do `memblock_setclr_flag()`: set or clear `flags` of what is on the list in the range.

        Setting MIRROR on memory is what `memblock_mark_mirror()` does, which first sets `has_mirror`.
        """
        if set and flags & MEMBLOCK_MIRROR and list == "memory":
            self.has_mirror = True
        return self._change(list, base, size, "flags", lambda old: old | flags if set else old & ~flags)

    def set_node(self, list: str, base: int, size: int, nid: int) -> int:
        """Do `memblock_set_node()`, which does nothing without CONFIG_NUMA."""
        if self.config.no_node is None:
            return 0
        return self._change(list, base, size, "nid", lambda old: nid)

    def trim_memory(self, align: int) -> None:
        """Do `memblock_trim_memory()`: round every memory region inward to `align` bytes.

        As in the C, `total_size` still counts the bytes cut off regions that stay.
        Raises: `GuestPanicError` where a region begins past the last multiple of `align` there is.
        """
        memory, limit = self.memory, self.phys_addr_max
        mask = (align - 1) & limit
        for i in range(len(memory.base) - 1, -1, -1):
            base = ((((memory.base[i] - 1) & limit) | mask) + 1) & limit
            end = memory.end[i] & ~mask
            if base < memory.base[i] and end:
                raise GuestPanicError("rounding wraps: memory is not sorted any more", overwrites=True)
            if base < end:
                memory.base[i], memory.end[i] = base, end
            else:
                memory.remove(i, i + 1, self.config.max_numnodes)

    def cap_memory_range(self, base: int, size: int) -> None:
        """Do `memblock_cap_memory_range()`: drop all memory outside but NOMAP, all reservations too."""
        memory = self.memory
        inside = self._isolate(memory, base, size) if size and memory.total_size else None
        if inside is None:
            return
        for i in range(len(memory.base) - 1, -1, -1):
            if not inside[0] <= i < inside[1] and not memory.flags[i] & MEMBLOCK_NOMAP:
                memory.remove(i, i + 1, self.config.max_numnodes)
        # A NOMAP region that the range's edge cuts is now two, which nothing has merged again.
        memory.scattered = True
        self.remove_range("reserved", 0, base)
        self.remove_range("reserved", (base + size) & self.phys_addr_max, self.phys_addr_max)

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
        nodes = (nid, NUMA_NO_NODE) if self._selects(nid) and not exact else (nid,)
        for wanted in self._wanted_flags():
            for node in nodes:
                found = self._find(size, align or self.config.cache_bytes, min, max, node, wanted)
                if found and not self._reserve_own(found, size, node):
                    return found
        return 0

    # -- switches, and the end ------------------------------------------------------------------------

    def set_current_limit(self, limit: int) -> None:
        """Do `memblock_set_current_limit()`: no search goes past `limit`, a physical address."""
        self.current_limit = limit

    def set_bottom_up(self, enable: bool) -> None:
        """Do `memblock_set_bottom_up()`."""
        self.bottom_up = enable

    def allow_resize(self) -> None:
        """Do `memblock_allow_resize()`."""
        self.can_resize = True

    def free_all(self) -> int:
        """Do `memblock_free_all()`; return the pages that the buddy allocator gets.

        Clears HOTPLUG everywhere; kernels that do so stamp the memory's nodes on what is reserved there.
        """
        self.kho_scratch_only = False
        self.setclr_flag("memory", 0, self.phys_addr_max, False, MEMBLOCK_HOTPLUG)
        stamped = None
        while self.behavior.stamps_reserved and stamped != self.reserved.max:
            # Doubling puts the new array on the list, perhaps behind us: then the kernel starts again.
            stamped = self.reserved.max
            for base, end, nid in zip(self.memory.base[:], self.memory.end[:], self.memory.nid[:], strict=True):
                self.set_node("reserved", base, end - base, nid)
        page, limit, top = self.config.page_size, self.phys_addr_max, self.config.max_low_pfn
        free = search.free_ranges(self.memory, self.reserved, self._usable(NUMA_NO_NODE, 0), limit)
        pages = ((((base + page - 1) & limit) // page, end // page) for base, end in free)
        return sum(max(0, (last if top is None else min(last, top)) - first) for first, last in pages)

    def discard(self) -> None:
        """Do `memblock_discard()`: give doubled arrays back; the lists mostly stay as they are."""
        for table in (self.reserved, self.memory):
            if not table.static and not table.in_slab and self.behavior.late_free_to_buddy:
                self._free_array(table.array_base, self._array_bytes(table.max))
        self.discarded = True

    # -- static functions -------------------------------------------------------------------------------

    def _table(self, name: str) -> Table:
        if name not in self.tables:
            raise InputError(f"there is no list {name!r}")
        return self.tables[name]

    def _change(self, list: str, base: int, size: int, column: str, new: Callable[[int], int]) -> int:
        table = self._table(list)
        inside = self._isolate(table, base, size)
        if inside is None:
            return ENOMEM
        values, part = getattr(table, column), slice(*inside)
        values[part] = map(new, values[part])
        self._merge(table, *inside)
        return 0

    def _merge(self, table: Table, i: int, j: int) -> None:
        if table.scattered and self.behavior.merges_all:
            i, j = 0, len(table.base)
            table.scattered = False
        table.merge(i, j)

    # memblock_isolate_range(): the slice inside, None where the array could not be doubled.
    def _isolate(self, table: Table, base: int, size: int) -> tuple[int, int] | None:
        size = min(size, self.phys_addr_max - base)
        if not size:
            return 0, 0
        while (len(table.base) or self.behavior.empty_dummy) + 2 > table.max:
            if not self._double(table, base, size):
                return None
        return table.isolate(base, base + size)

    # -- doubling -------------------------------------------------------------------------------------

    # memblock_double_array(): tell whether there was memory for it.
    def _double(self, table: Table, new_base: int, new_size: int) -> bool:
        if not self.can_resize:
            if self.behavior.resize_panics:
                raise GuestPanicError(f"memblock: cannot resize {table.name} array")
            return False
        old_alloc, new_alloc = self._array_bytes(table.max), self._array_bytes(2 * table.max)
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
        # The static array of physmem is no exception to the C, which only knows those of the other two.
        frees = not table.in_slab and (not table.static or table.name == "physmem")
        old_base = table.array_base
        table.array_base, table.array_va, table.static = array_base, None, False
        table.max *= 2
        self.doublings += 1
        if frees:
            self._free_array(old_base, old_alloc)
        if array_base is not None and self._reserve_own(array_base, new_alloc, NUMA_NO_NODE):
            raise GuestPanicError("BUG in memblock_double_array()")
        table.in_slab = self.slab_up
        return True

    # Stop where the new array would lie on one that is in use. That happens when a caller frees a list's array,
    # and by the kernel's own code: the new array of `memory` is reserved only after its old one was freed, and
    # freeing may double `reserved`, which then takes the same place.
    def _refuse_overlap(self, table: Table, base: int, size: int) -> None:
        for other in (self.memory, self.reserved):
            at = other.array_base
            # The linker puts other variables behind a static one.
            length = other.max * self.config.region_size if other.static else self._array_bytes(other.max)
            if at is not None and at < base + size and base < at + length:
                raise GuestPanicError(
                    f"the doubled {table.name} array at {base:#x} overwrites the {other.name} array", overwrites=True
                )

    # memblock_free(); nothing is known to change where `base` is not known.
    def _free_array(self, base: int | None, size: int) -> None:
        if base is not None and (self.config.keep or not (self.behavior.late_free_to_buddy and self.slab_up)):
            self.remove_range("reserved", base, size)

    # Reserve what memblock itself has handed out.
    def _reserve_own(self, base: int, size: int, nid: int) -> int:
        own = (nid, MEMBLOCK_RSRV_KERN) if self.behavior.marks_kernel else (self.config.max_numnodes, 0)
        return self.add_range("reserved", base, size, *own)

    def _array_bytes(self, max: int) -> int:
        return -(-max * self.config.region_size // self.config.page_size) * self.config.page_size

    # -- search ---------------------------------------------------------------------------------------

    # choose_memblock_flags(), and what is tried after them: mirrored memory first, then any.
    def _wanted_flags(self) -> tuple[int, ...]:
        if self.kho_scratch_only and self.behavior.kho_scratch:
            return (MEMBLOCK_KHO_SCRATCH,)
        return (MEMBLOCK_MIRROR, 0) if self.has_mirror else (0,)

    # Tell whether `nid` confines a search to one node.
    def _selects(self, nid: int) -> bool:
        return nid != NUMA_NO_NODE if self.behavior.strict_nid else 0 <= nid < self.config.max_numnodes

    # Which regions of memory a search may take.
    def _usable(self, nid: int, wanted: int) -> search.Usable:
        if self.discarded:
            return lambda m: True  # memblock_memory is NULL then, and no list is taken for it
        only = nid if self._selects(nid) else None
        return search.usable_regions(self.memory, wanted, only, hotplug=not self.movable_node)

    # memblock_find_in_range_node()
    def _find(self, size: int, align: int, start: int, end: int, nid: int, wanted: int) -> int:
        if end <= 1:  # MEMBLOCK_ALLOC_ACCESSIBLE, MEMBLOCK_ALLOC_NOLEAKTRACE
            end = self.current_limit
        start = max(start, self.config.page_size)
        usable, limit = self._usable(nid, wanted), self.phys_addr_max
        return search.find(
            self.memory, self.reserved, usable, start, max(start, end), size, align, limit, up=self.bottom_up
        )

    # memblock_find_in_range(), page by page.
    def _find_anywhere(self, start: int, end: int, size: int) -> int:
        page = self.config.page_size
        found = (self._find(size, page, start, end, NUMA_NO_NODE, wanted) for wanted in self._wanted_flags())
        return next(filter(None, found), 0)

    # -- view -----------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Return the whole state as a `Snapshot` (no firmware map, no virtual addresses of doubled arrays)."""
        config, tables = self.config, self.tables.values()
        memory, reserved, *others = (
            table.view(dummy=self.behavior.empty_dummy, nodes=config.no_node is not None, limit=self.phys_addr_max)
            for table in tables
        )
        arrays = (
            RegionArray(t.name, t.array_va, t.max, t.static, t.max * config.region_size, t.array_base) for t in tables
        )
        return Snapshot(
            memory=memory,
            reserved=reserved,
            others=tuple(others),
            storage=MemblockStorage(arrays=tuple(arrays)),
            layout=self.layout,
            bits=config.bits,
            page_size=config.page_size,
            current_limit=self.current_limit,
            bottom_up=self.bottom_up,
            arch=self.arch,
            byte_order=self.byte_order,
            flag_names=FLAG_NAMES if config.flag_names is None else config.flag_names,
            no_node=config.no_node,
        )
