# SPDX-License-Identifier: GPL-2.0-or-later
"""What differs between the memblocks of different kernels, as named booleans that probing decides.

Mirrors the history of `mm/memblock.c` from 6.1 to 7.3. Distributions carry these changes back, so a
version number tells nothing: each boolean is decided by something that a program's debug information or
data shows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from gdb_lmb.allocators.memblock.storage import storage_of
from gdb_lmb.core.errors import StateError
from gdb_lmb.core.snapshot import Snapshot

MEMBLOCK_HOTPLUG = 0x1
MEMBLOCK_MIRROR = 0x2
MEMBLOCK_NOMAP = 0x4
MEMBLOCK_DRIVER_MANAGED = 0x8
MEMBLOCK_RSRV_KERN = 0x20
MEMBLOCK_KHO_SCRATCH = 0x40

NUMA_NO_NODE = -1


@dataclass(frozen=True)
class MemblockBehavior:
    """How one kernel's memblock behaves where kernels differ; every field is a plain boolean.

    `empty_dummy`: an empty list has one region of size 0 and cnt 1.
    Until `commit 721f4a6526da ("mm/memblock: remove empty dummy entry")`.
    `merges_all`: merging looks at the whole list, not only at what an operation touched.
    Until `commit 2fe03412e2e1 ("memblock: Avoid useless checks in memblock_merge_regions().")`.
    `resize_panics`: a full array that may not be doubled stops the kernel, where it was -ENOMEM before.
    `strict_nid`: any `nid` but NUMA_NO_NODE and MAX_NUMNODES selects, even one that no node can have.
    Until `commit 8043832e2a12 ("memblock: use numa_valid_node() helper to check for invalid node ID")`.
    `late_alloc_from_slab`: `memblock_alloc_range_nid()` turns to the slab once that is up.
    Since `commit 94ff46de4a73 ("memblock: Move late alloc warning down to phys alloc")`.
    `stamps_reserved`: `memblock_free_all()` gives reserved regions the nodes of the memory they lie in.
    Since `commit 61167ad5fecd ("mm: pass nid to reserve_bootmem_region()")`.
    `marks_kernel`: allocations keep the wanted `nid` and carry RSRV_KERN, as do doubled arrays.
    Since `commit 4c78cc596bb8 ("memblock: add MEMBLOCK_RSRV_KERN flag")`.
    `kho_scratch`: allocation can be confined to KHO_SCRATCH memory.
    Since `commit d59f43b57480 ("memblock: add support for scratch memory")`.
    `late_free_to_buddy`: once the slab is up, `memblock_phys_free()` gives pages to the buddy allocator and
    leaves the list alone unless the architecture keeps memblock (between 6.18 and 7.3).
    """

    empty_dummy: bool = False
    merges_all: bool = False
    resize_panics: bool = True
    strict_nid: bool = False
    late_alloc_from_slab: bool = True
    stamps_reserved: bool = True
    marks_kernel: bool = False
    kho_scratch: bool = False
    late_free_to_buddy: bool = False


def behavior_of(
    *,
    flag_names: Collection[str],
    initial_cnt: int,
    merge_parameters: int,
    has_free_late: bool,
    bootmem_parameters: int | None = None,
    panic_text: bool | None = None,
    max_numnodes_text: bool | None = None,
) -> MemblockBehavior:
    """Decide how a kernel's memblock behaves from what its program shows.

    `flag_names` are the enumerators of `enum memblock_flags`, with or without "MEMBLOCK_".
    `initial_cnt` is `memblock.memory.cnt` in the program's initialised data: 1 or 0.
    `merge_parameters` is the number of parameters of `memblock_merge_regions()`: 1 or 3.
    `has_free_late` tells whether the symbol `memblock_free_late` exists.
    `bootmem_parameters` is the number of parameters of `reserve_bootmem_region()`: 2 or 3; None where that
    function is gone, which is after it had taken the node.
    `panic_text` and `max_numnodes_text` tell whether the image holds "memblock: cannot resize %s array" and
    "Usage of MAX_NUMNODES is deprecated"; None if not looked for: then `initial_cnt` decides, whose change
    came later than both (6.7, 6.10, then 6.11), which is right for every kernel that has no backports.
    """
    names = {name.removeprefix("MEMBLOCK_") for name in flag_names}
    dummy = initial_cnt == 1
    return MemblockBehavior(
        empty_dummy=dummy,
        merges_all=merge_parameters == 1,
        resize_panics=panic_text if panic_text is not None else not dummy,
        strict_nid=max_numnodes_text if max_numnodes_text is not None else dummy,
        late_alloc_from_slab=not dummy,  # both came with the same pull for 6.11
        stamps_reserved=bootmem_parameters is None or bootmem_parameters > 2,
        marks_kernel="RSRV_KERN" in names,
        kho_scratch="KHO_SCRATCH" in names,
        late_free_to_buddy=not has_free_late,
    )


FLAG_NAMES = {
    MEMBLOCK_HOTPLUG: "HOTPLUG",
    MEMBLOCK_MIRROR: "MIRROR",
    MEMBLOCK_NOMAP: "NOMAP",
    MEMBLOCK_DRIVER_MANAGED: "DRIVER_MANAGED",
    0x10: "RSRV_NOINIT",
    MEMBLOCK_RSRV_KERN: "RSRV_KERN",
    MEMBLOCK_KHO_SCRATCH: "KHO_SCRATCH",
    0x80: "RSRV_HUGETLB",
}


_LISTS, _OF_A_LIST = ("memory", "reserved", "physmem"), ("cnt", "max", "total_size", "regions", "name")
_OF_A_REGION = ("base", "size", "flags", "nid")
_MEMBERS = {"bottom_up", "current_limit", *_OF_A_REGION, *(f"{one}.{name}" for one in _LISTS for name in _OF_A_LIST)}

# The functions of mm/memblock.c and include/linux/memblock.h from 6.1 to 7.3 that are named after it.
_FUNCTIONS = {
    "__memblock_alloc_or_panic", "__memblock_dump_all", "__memblock_find_range_bottom_up",
    "__memblock_find_range_top_down", "__memblock_reserve", "memblock_add", "memblock_add_node",
    "memblock_add_range", "memblock_addrs_overlap", "memblock_alloc", "memblock_alloc_exact_nid_raw",
    "memblock_alloc_from", "memblock_alloc_hugetlb", "memblock_alloc_internal", "memblock_alloc_low",
    "memblock_alloc_node", "memblock_alloc_or_panic", "memblock_alloc_range_nid", "memblock_alloc_raw",
    "memblock_alloc_try_nid", "memblock_alloc_try_nid_raw", "memblock_allow_resize", "memblock_bottom_up",
    "memblock_cap_memory_range", "memblock_cap_size", "memblock_clear_hotplug", "memblock_clear_kho_scratch",
    "memblock_clear_kho_scratch_only", "memblock_clear_nomap", "memblock_dbg", "memblock_debug_open",
    "memblock_debug_show", "memblock_debugfs_expose_arrays", "memblock_discard", "memblock_double_array",
    "memblock_dump", "memblock_dump_all", "memblock_end_of_DRAM", "memblock_enforce_memory_limit",
    "memblock_estimated_nr_free_pages", "memblock_find_in_range", "memblock_find_in_range_node", "memblock_free",
    "memblock_free_all", "memblock_free_late", "memblock_free_pages", "memblock_get_current_limit",
    "memblock_get_region_node", "memblock_has_mirror", "memblock_init_debugfs", "memblock_insert_region",
    "memblock_is_driver_managed", "memblock_is_hotpluggable", "memblock_is_kho_scratch", "memblock_is_map_memory",
    "memblock_is_memory", "memblock_is_mirror", "memblock_is_nomap", "memblock_is_region_memory",
    "memblock_is_region_reserved", "memblock_is_reserved", "memblock_is_reserved_noinit",
    "memblock_isolate_range", "memblock_mark_hotplug", "memblock_mark_kho_scratch", "memblock_mark_mirror",
    "memblock_mark_nomap", "memblock_mem_limit_remove_map", "memblock_merge_regions", "memblock_overlaps_region",
    "memblock_phys_alloc", "memblock_phys_alloc_range", "memblock_phys_alloc_try_nid", "memblock_phys_free",
    "memblock_phys_mem_size", "memblock_physmem_add", "memblock_prep_allocation",
    "memblock_region_memory_base_pfn", "memblock_region_memory_end_pfn", "memblock_region_reserved_base_pfn",
    "memblock_region_reserved_end_pfn", "memblock_remove", "memblock_remove_range", "memblock_remove_region",
    "memblock_reserve", "memblock_reserve_kern", "memblock_reserve_mem_open", "memblock_reserve_mem_show",
    "memblock_reserved_hugetlb_size", "memblock_reserved_kern_size", "memblock_reserved_mark_kern",
    "memblock_reserved_mark_noinit", "memblock_reserved_size", "memblock_search", "memblock_search_pfn_nid",
    "memblock_set_bottom_up", "memblock_set_current_limit", "memblock_set_kho_scratch_only", "memblock_set_node",
    "memblock_set_region_node", "memblock_setclr_flag", "memblock_start_of_DRAM", "memblock_trim_memory",
    "memblock_validate_numa_coverage",
}  # fmt: skip


def unknown_parts(
    flag_names: Mapping[int, str], members: Collection[str], functions: Collection[str]
) -> tuple[str, ...]:
    """Return what a kernel's memblock has that no known generation has, in words.

    A flag, a member or a function that was carried back, or that is still to come, may change which regions an
    allocation takes. `members` are those of both structures, flattened; of `functions` those count that are named
    after memblock.
    """
    own = (name for name in functions if name.startswith(("memblock_", "__memblock_")))
    return (
        *(f"the flag {name} ({bit:#x})" for bit, name in sorted(flag_names.items()) if FLAG_NAMES.get(bit) != name),
        *(f"the member {name}" for name in sorted(set(members) - _MEMBERS)),
        *(f"the function {name}()" for name in sorted(set(own) - _FUNCTIONS)),
    )


@dataclass(frozen=True)
class MemblockConfig:
    """What is fixed when a kernel is built or started; sizes in bytes.

    `cache_bytes` is SMP_CACHE_BYTES; `no_node` is MAX_NUMNODES, None without CONFIG_NUMA; `region_size` is
    `sizeof(struct memblock_region)`; `memory_max`, `reserved_max` and `physmem_max` (None: no such list)
    are the lengths of the static arrays. `keep` is CONFIG_ARCH_KEEP_MEMBLOCK. `max_low_pfn` bounds what
    `memblock_free_all()` counts, None where nothing does.
    """

    behavior: MemblockBehavior
    bits: int = 64
    page_size: int = 4096
    cache_bytes: int = 64
    no_node: int | None = 1024
    region_size: int = 24
    memory_max: int = 128
    reserved_max: int = 128
    physmem_max: int | None = None
    keep: bool = False
    max_low_pfn: int | None = None
    flag_names: Mapping[int, str] | None = None

    @property
    def max_numnodes(self) -> int:
        """Return MAX_NUMNODES, which is 1 without CONFIG_NUMA."""
        return 1 if self.no_node is None else self.no_node

    @classmethod
    def of(
        cls,
        snapshot: Snapshot,
        behavior: MemblockBehavior,
        *,
        cache_bytes: int = 64,
        keep: bool = False,
        max_low_pfn: int | None = None,
    ) -> MemblockConfig:
        """Return the configuration of the kernel that `snapshot` was taken from."""
        arrays = storage_of(snapshot).arrays
        widths = {array.size // array.max for array in arrays if array.max}
        room = {regions.name: regions.max for regions in snapshot.lists} | {a.name: a.max for a in arrays}
        memory_max, reserved_max = room["memory"], room["reserved"]
        if memory_max is None or reserved_max is None:
            raise StateError("this state does not tell how many regions memblock's arrays have room for")
        return cls(
            behavior=behavior,
            bits=snapshot.bits,
            page_size=snapshot.page_size,
            cache_bytes=cache_bytes,
            no_node=snapshot.no_node,
            region_size=widths.pop() if len(widths) == 1 else 24,
            memory_max=memory_max,
            reserved_max=reserved_max,
            physmem_max=room.get("physmem"),
            keep=keep,
            max_low_pfn=max_low_pfn,
            flag_names=snapshot.flag_names,
        )
