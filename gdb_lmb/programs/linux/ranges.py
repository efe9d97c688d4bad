# SPDX-License-Identifier: GPL-2.0-or-later
"""What lies where in a Linux kernel's memory, as far as its variables tell at this stop, and its firmware map.

Each is looked for by the names that kernels have for it, and left out where this one has none, where they are
not filled in yet, or where they are gone. Mirrors init/do_mounts_initrd.c, drivers/of/fdt.c, init/main.c,
mm/percpu.c, arch/x86/kernel/setup.c.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

from gdb_lmb.core.address import Phase, TranslatedMemory
from gdb_lmb.core.errors import LayoutError, ReadError
from gdb_lmb.core.machine import Machine, Variable
from gdb_lmb.core.memory import read_together
from gdb_lmb.core.ranges import Range
from gdb_lmb.core.roles import Role
from gdb_lmb.core.snapshot import (
    FIRMWARE_RAM,
    FIRMWARE_RAM_KEPT,
    Defect,
    FirmwareMap,
    FirmwareReserved,
    RegionList,
    firmware_type,
)
from gdb_lmb.formats.devicetree import DeviceTree, UefiMap, read_tree
from gdb_lmb.formats.uefi import read_uefi_map
from gdb_lmb.programs.base import Guest, RoleRange
from gdb_lmb.programs.linux.kernel import E820_TABLES, FREEING_INITMEM, Kernel, init_memory

# Variables that hold the device tree's physical address: on arm64, on all since late 2024, on riscv.
_TREES = ("__fdt_pointer", "initial_boot_params_pa", "dtb_early_pa")
_FDT_MAGIC = 0xD00DFEED
_FDT_HEADER_BYTES = 8
_E820_TABLE, _E820_FIRMWARE = E820_TABLES
_USUAL_RANGES = 64  # read along with their number: more than most machines have, and few enough for one packet
_MAX_COMMAND_LINE_BYTES = 1 << 14
_MAPPED_BYTES = 2 << 20  # `struct page`s are mapped by pages of this size, and no smaller part of them is left out
# Where `boot_params` tells of an initrd, its size and the command line: low and high 32 bits of each.
_LOADED = (
    "hdr.ramdisk_image", "ext_ramdisk_image", "hdr.ramdisk_size", "ext_ramdisk_size",
    "hdr.cmd_line_ptr", "ext_cmd_line_ptr",
)  # fmt: skip
_MAX_NODES = 64  # whose data is looked for: more than most machines have, and few enough for one packet
_MAX_UNITS = 1 << 13  # more per-CPU units than any kernel has
_PACKET_BYTES = 2048  # what QEMU's stub gives in one packet
_MAX_PAGES = 1 << 28  # 1 TiB: beyond it what is read is no number of pages, and the walk would not end


@dataclass(kw_only=True)
class KernelGuest(Guest):
    """A kernel's variables, whose names are looked up once; its symbols are `moved` by so much."""

    kernel: Kernel
    moved: int

    def variable(self, name: str) -> Variable | None:
        return self.kernel.variable(self.machine, name, self.moved)

    def label(self, name: str) -> int | None:
        return self.kernel.label(self.machine, name, self.moved)


def linux_image(guest: Guest, kernel: Kernel) -> Iterator[RoleRange]:
    """Return init memory and parts of the image that only Linux has."""
    init = init_memory(guest.machine, kernel)
    line = None if _init_may_be_freed(guest) else guest.variable("boot_command_line")
    until = Phase.HANDED_OVER
    return chain(
        () if init is None else guest.inside(Role.INIT, init[0], init[1] - init[0], "__init_begin", until=until),
        _brk(guest, kernel),
        _page_tables(guest, kernel),
        _boot_stack(guest),
        guest.inside(Role.COMMAND_LINE, line.address, line.size, "boot_command_line", Phase.MAPPED, until)
        if line is not None
        else (),
    )


def linux_ranges(guest: Guest, kernel: Kernel) -> Iterator[RoleRange]:
    """Return what the boot loader left, and what the kernel has allocated for itself."""
    freed = _init_may_be_freed(guest)
    return chain(
        _initrds(guest, freed),
        *(() if freed else (_loaded(guest, kernel), _loaded_line(guest, kernel))),
        _trees(guest),
        _command_line(guest),
        _per_cpu(guest, kernel),
        _memory_map(guest),
    )


def must_be_reserved(
    guest: Guest, kernel: Kernel, sp: int | None, tables: list[Range], memory: RegionList
) -> Iterator[RoleRange]:
    """Return what the kernel reserves, or takes, for itself before the page allocator is there.

    `sp` is the stack pointer, `tables` is where the page tables lie that the CPU has, `memory` the memory list.
    """
    page_size = kernel.program.page_size
    image = list(_reserved_image(guest, kernel))
    stack = guest.physical(sp and sp - sp % page_size)
    # All early reservations have been made when the first memory is added.
    loaded = list(_loaded(guest, kernel)) if any(memory.size) and guest.word("initrd_start") == 0 else []
    # EFI's table tells of the same initrd.
    told = {(one.base, one.end) for one in loaded}
    return chain(
        image,
        _brk(guest, kernel),
        _at(Role.STACK, stack, page_size, "stack pointer", reserved=kernel.arch.image_reserved),
        (_table(base, end, image) for base, end in tables),
        (one for one in _initrds(guest, freed=False) if (one.base, one.end) not in told),
        loaded,
        _first_mib(guest),
        _trees(guest),
        _per_cpu(guest, kernel),
        _nodes(guest, kernel, memory),
    )


def _reserved_image(guest: Guest, kernel: Kernel) -> Iterator[RoleRange]:
    # Yield what is reserved of the image as such. x86 reserves the rest, its brk, by itself as far as it was used;
    # arm64 begins behind the header, and may free its first page tables again.
    # Source: `setup_arch()` of arch/x86; `arm64_memblock_init()`, `paging_init()` of arch/arm64.
    arch, label = kernel.arch, guest.label
    past = label(arch.image_to)
    past = label("_end") if past is None else past
    edges = [at for at in (*map(label, (arch.image_from, *arch.image_freed)), past) if at is not None]
    if len(edges) % 2 == 0:
        for low, high in zip(edges[::2], edges[1::2], strict=True):
            must: dict[str, Any] = {"reserved": arch.image_reserved, "alone": True}
            yield from guest.inside(Role.IMAGE, low, high - low, arch.image_from, **must)


def _table(base: int, end: int, image: list[RoleRange]) -> RoleRange:
    apart = not any(part.base < end and base < part.end for part in image)
    return RoleRange(Role.PAGE_TABLES, base, end, "page table base register", reserved=Phase.COMPLETE, alone=apart)


def _first_mib(guest: Guest) -> Iterator[RoleRange]:
    # Yield what x86 never uses, since Linux 5.13: before it was `reserve_low` bytes. Source: `reserve_real_mode()`.
    if guest.variable("real_mode_header") is not None and guest.variable("reserve_low") is None:
        yield RoleRange(Role.FIRST_MIB, 0, 1 << 20, "reserve_real_mode()", reserved=Phase.COMPLETE, memory=False)


def _nodes(guest: Guest, kernel: Kernel, memory: RegionList) -> Iterator[RoleRange]:
    # Yield the data of each node that has some. Source: `alloc_node_data()`.
    table, word = guest.label("node_data"), guest.machine.bits // 8
    most = kernel.program.no_node
    nodes = [] if most is None else [nid for nid in memory.nid if 0 <= nid < min(most, _MAX_NODES)]
    if table is None or not nodes:
        return
    with contextlib.suppress(ReadError, LayoutError):
        size = kernel.struct(guest.machine, "struct pglist_data").size
        raw = guest.read(guest.map.of_symbol(table), (max(nodes) + 1) * word)
        for at in range(0, len(raw), word):
            base = guest.physical(int.from_bytes(raw[at : at + word], guest.machine.byte_order))
            yield from _at(Role.NODE, base, size, "node_data", reserved=Phase.COMPLETE, alone=True)


def _init_may_be_freed(guest: Guest) -> bool:
    state = guest.word("system_state")
    return state is None or state >= FREEING_INITMEM


def _at(
    role: Role,
    base: int | None,
    size: int | None,
    source: str,
    since: Phase | None = None,
    until: Phase | None = None,
    **reserved: Any,
) -> tuple[RoleRange, ...]:
    # Return the range that variables tell of, if they have been filled in.
    return (RoleRange(role, base, base + size, source, since, until, **reserved),) if base and size and size > 0 else ()


def _initrds(guest: Guest, freed: bool) -> Iterator[RoleRange]:
    start, past = guest.word("initrd_start"), guest.word("initrd_end")
    if start is None or past is None:
        return
    must: dict[str, Any] = {"reserved": Phase.COMPLETE, "alone": True}
    yield from _at(Role.INITRD, guest.physical(start), past - start, "initrd_start", Phase.COMPLETE, **must)
    if not start and not freed:
        base, size = guest.word("phys_initrd_start"), guest.word("phys_initrd_size")
        yield from _at(Role.INITRD, base, size, "phys_initrd_start", Phase.MAPPED, Phase.COMPLETE, **must)


def _loaded(guest: Guest, kernel: Kernel) -> Iterator[RoleRange]:
    # Yield the initrd that x86's `boot_params` tells of, as the boot loader has put it into memory.
    for base, size, _ in _boot_params(guest, kernel):
        must: dict[str, Any] = {"reserved": Phase.MAPPED, "memory": False, "alone": True}
        yield from _at(Role.LOADED_INITRD, base, size, "boot_params.hdr.ramdisk_image", until=Phase.MAPPED, **must)


def _loaded_line(guest: Guest, kernel: Kernel) -> Iterator[RoleRange]:
    for _, _, line in _boot_params(guest, kernel):
        size = _string_bytes(guest, line)
        yield from _at(Role.COMMAND_LINE, line, size, "boot_params.hdr.cmd_line_ptr", until=Phase.MAPPED)


def _boot_params(guest: Guest, kernel: Kernel) -> Iterator[tuple[int, int, int]]:
    # Yield where the boot loader has put an initrd, its size, and where the command line is; once at most.
    found = guest.variable("boot_params")
    if found is None:
        return
    struct = kernel.struct(guest.machine, "boot_params")
    fields = {name: struct.fields[name] for name in _LOADED if name in struct.fields}
    start = min(field.offset for field in fields.values())
    past = max(field.offset + field.size for field in fields.values())
    try:
        raw = bytes(start) + guest.read(guest.map.of_symbol(found.address) + start, past - start)
    except ReadError:
        return

    def value(low: str, high: str) -> int:
        parts = [(name, shift) for name, shift in ((low, 0), (high, 32)) if name in fields]
        return sum(struct.value(raw, name, guest.machine.byte_order) << shift for name, shift in parts)

    yield value(*_LOADED[:2]), value(*_LOADED[2:4]), value(*_LOADED[4:])


def _trees(guest: Guest) -> Iterator[RoleRange]:
    # Yield the flattened device tree: its header says big-endian how long it is.
    found = {name: guest.word(name) for name in _TREES}
    found["initial_boot_params"] = guest.physical(guest.word("initial_boot_params"))
    for name, base in found.items():
        with contextlib.suppress(ReadError):
            head = guest.read(base, _FDT_HEADER_BYTES) if base else b""
            if base and int.from_bytes(head[:4], "big") == _FDT_MAGIC:
                size = int.from_bytes(head[4:], "big")
                # One that is part of the image is reserved with it.
                alone = not any(one.physical <= base < one.physical + one.size for one in guest.map.parts)
                must: dict[str, Any] = {"reserved": Phase.COMPLETE, "memory": False, "alone": alone}
                yield from _at(Role.DEVICE_TREE, base, size, name, Phase.MAPPED, **must)


def _command_line(guest: Guest) -> tuple[RoleRange, ...]:
    # Return the copy that is kept, with its end.
    base, length = guest.physical(guest.word("saved_command_line")), guest.word("saved_command_line_len")
    size = length + 1 if length else _string_bytes(guest, base)
    return _at(Role.COMMAND_LINE, base, size, "saved_command_line", Phase.COMPLETE)


def _string_bytes(guest: Guest, base: int | None) -> int | None:
    # Return the size of the string at physical `base`, with its end; None if there is none.
    text = b""
    with contextlib.suppress(ReadError):
        while base and len(text) < _MAX_COMMAND_LINE_BYTES:
            # No further than to where memory may end.
            text += guest.read(base + len(text), 256 - (base + len(text)) % 256)
            if b"\0" in text:
                return text.index(b"\0") + 1
    return None


def _brk(guest: Guest, kernel: Kernel) -> Iterator[RoleRange]:
    # Yield the early heap behind the bss: after `reserve_brk()` as much of it as was used.
    start, end = guest.word("_brk_start"), guest.word("_brk_end")
    if start is None or end is None:
        return  # looking for a label that is not there takes the debugger long
    base, limit = guest.label("__brk_base"), guest.label("__brk_limit")
    if base is None or limit is None:
        return
    if start:
        yield from guest.inside(Role.BRK, base, limit - base, "__brk_base", until=Phase.MAPPED)
    else:
        with contextlib.suppress(ReadError):
            first = guest.map.of_symbol(base)
            past = guest.map.of_virtual(end)
            yield RoleRange(Role.BRK, first, past, "_brk_end", Phase.COMPLETE, reserved=kernel.arch.image_reserved)


def _page_tables(guest: Guest, kernel: Kernel) -> Iterator[RoleRange]:
    # Yield the tables that are part of the image, and the one that the CPU has now; each is a page at the least.
    page_size = kernel.program.page_size
    init = init_memory(guest.machine, kernel)
    for name in kernel.arch.page_tables:
        at = guest.label(name)
        kept = init is not None and at is not None and not init[0] <= at < init[1]
        if at is not None and (kept or not _init_may_be_freed(guest)):
            found = guest.variable(name)
            size = page_size if found is None else max(page_size, found.size)
            yield from guest.inside(Role.PAGE_TABLES, at, size, name)
    for base in guest.tables if guest.map.parts else ():
        yield RoleRange(Role.PAGE_TABLES, base, base + page_size, "page table base register")


def _boot_stack(guest: Guest) -> Iterator[RoleRange]:
    # Yield the stack of the first task, on which `start_kernel()` runs, and which idle has later.
    start = guest.label("init_stack") or guest.label("init_thread_union")
    sizes = [found.size for found in map(guest.variable, ("init_thread_union", "init_stack")) if found]
    if start is not None and any(sizes):
        yield from guest.inside(Role.STACK, start, max(sizes), "init_stack", Phase.IDENTITY)


def _per_cpu(guest: Guest, kernel: Kernel) -> Iterator[RoleRange]:
    # Yield the unit of each CPU in the first chunk, as far as it is kept. Source: `pcpu_setup_first_chunk()`.
    base, units = guest.word("pcpu_base_addr"), guest.word("pcpu_nr_units")
    offsets_va, chunk_va = guest.word("pcpu_unit_offsets"), guest.word("pcpu_first_chunk")
    if not base or not units or not offsets_va or not chunk_va or units > _MAX_UNITS:
        return
    order, word = guest.machine.byte_order, guest.machine.bits // 8
    with contextlib.suppress(ReadError, LayoutError, KeyError):
        chunk = kernel.struct(guest.machine, "pcpu_first_chunk")
        places = ((guest.map.of_virtual(va), size) for va, size in ((chunk_va, chunk.size), (offsets_va, units * word)))
        raw, offsets = read_together(guest.memory, [*places], _PACKET_BYTES)
        size = (
            chunk.value(raw, "base_addr", order) + chunk.value(raw, "nr_pages", order) * kernel.program.page_size - base
        )
        for at in range(0, len(offsets), word):
            unit = guest.physical(base + int.from_bytes(offsets[at : at + word], order))
            must: dict[str, Any] = {"reserved": Phase.COMPLETE, "alone": True}
            yield from _at(Role.PER_CPU, unit, size, "pcpu_unit_offsets", Phase.COMPLETE, **must)


def _memory_map(guest: Guest) -> Iterator[RoleRange]:
    # Yield where the array of `struct page` lies that `vmemmap_base` maps: the holes of memory have none.
    va, pages = guest.word("vmemmap_base"), guest.word("max_pfn")
    if not va or not pages or pages > _MAX_PAGES or guest.paged is None:
        return
    try:
        end = va + pages * guest.machine.struct("struct page").size
    except LayoutError:
        return
    pieces: list[Range] = []
    while va < end:
        try:
            base, left = guest.paged.to_physical(va)
            low = pieces.pop()[0] if pieces and pieces[-1][1] == base else base
            pieces.append((low, base + min(left, end - va)))
        except ReadError:
            left = _MAPPED_BYTES - va % _MAPPED_BYTES
        va += left
    for base, past in pieces:
        yield RoleRange(Role.MEMORY_MAP, base, past, "vmemmap_base", Phase.COMPLETE)


# -- the firmware map: x86's e820 tables, elsewhere the flattened device tree -----------------------


@dataclass(frozen=True)
class Firmware:
    """What the firmware said about memory: `map`, and `edited`, what the kernel made of it where it keeps both.

    `lacking` says in words what of it there is not; `readable` is False where it is none of the kernel's to have now.
    For `reserved` and `placed` see `DeviceTree`.
    """

    map: FirmwareMap | None = None
    edited: FirmwareMap | None = None
    lacking: str | None = None
    readable: bool = True
    reserved: tuple[FirmwareReserved, ...] = ()
    placed: tuple[str, ...] = ()

    def edits(self, usual: Sequence[Range]) -> tuple[Defect, ...]:
        """Return where `edited` says otherwise than `map`, but for ranges inside `usual`, and RAM that stays RAM."""
        if self.map is None or self.edited is None:
            return ()
        before, after = _Types(self.map), _Types(self.edited)
        found: list[tuple[int, int, str, str]] = []
        for low, high in pairwise(sorted({*before.cuts, *after.cuts})):
            was, now = before.name(low), after.name(low)
            if was == now or any(base <= low and high <= end for base, end in usual):
                continue
            if found and found[-1][1:] == (low, was, now):
                low = found.pop()[0]
            found.append((low, high, was, now))
        text = "[{:#x}, {:#x}) is {} in the firmware map, and {} as the kernel edited it"
        return tuple(Defect(text.format(*row), row[:2]) for row in found)


class _Types:
    # The type of every address in a map, by name; of ranges that overlap the last counts.

    def __init__(self, told: FirmwareMap) -> None:
        rows = sorted(zip(told.base, told.size, told.type, strict=True))
        self._base, self._rows = [row[0] for row in rows], rows
        self.cuts = {at for base, size, _ in rows for at in (base, base + size)}

    def name(self, address: int) -> str:
        base, size, kind = self._rows[bisect_right(self._base, address) - 1]
        if not base <= address < base + size:
            return "not listed"
        return firmware_type(FIRMWARE_RAM if kind == FIRMWARE_RAM_KEPT else kind)


def read_firmware(
    machine: Machine, kernel: Kernel, memory: TranslatedMemory, *, linked: bool, complete: bool = True
) -> Firmware:
    """Return what the firmware said about memory, as far as the kernel knows it yet.

    `linked`: before the hand-over; `complete`: the kernel has taken over all memory.

    Source: `e820__memory_setup()`, which copies the firmware's map to `e820_table_firmware`; "memmap=" and "mem=" then
    edit `e820_table` (`parse_memopt()`, `parse_memmap_one()`), which `e820__memblock_setup()` takes memory from.
    """
    if _E820_TABLE not in kernel.symbols:
        return _device_tree(kernel, memory, complete)
    tables = {name: _e820(machine, kernel, memory, name, linked) for name in E820_TABLES if name in kernel.symbols}
    empty = [name for name, table in tables.items() if table is None]
    lacking = f"the firmware map ({' and '.join(empty)} cannot be read or has no ranges)" if empty else None
    edited = tables[_E820_TABLE]
    told = tables.get(_E820_FIRMWARE, edited)
    return Firmware(told, edited if told is not edited else None, lacking)


def _e820(machine: Machine, kernel: Kernel, memory: TranslatedMemory, name: str, linked: bool) -> FirmwareMap | None:
    # Before the hand-over the table is where the ELF says: only `e820__reallocate_tables()` moves it, which
    # `free_initmem()` calls.
    order = kernel.arch.byte_order
    table, entry = kernel.struct(machine, _E820_TABLE), kernel.struct(machine, _E820_TABLE, "entries")
    most = table.fields["entries"].size // entry.size
    start = table.fields["entries"].offset
    with contextlib.suppress(ReadError):
        at = kernel.tables.get(name) if linked else None
        at = kernel.word(memory, name) if at is None else at + memory.placement.virtual
        if at is None:
            return None
        try:
            # Counter and entries in one request; only the kernel's late, trimmed copy may end before.
            head = memory.read(at, start + min(most, _USUAL_RANGES) * entry.size)
        except ReadError:
            head = memory.read(at, start)
        count = table.value(head, "nr_entries", order)
        size = count * entry.size
        if 0 < count <= most:
            rows = head[start : start + size] if start + size <= len(head) else memory.read(at + start, size)
            return FirmwareMap(*entry.columns(rows, ("addr", "size", "type"), order))
    return None


def trimmed_bytes(firmware: Firmware, page_size: int) -> int | None:
    """Return how many bytes are cut off where RAM does not begin or end with a page; None without a map.

    Source: `e820__memblock_setup()`, which adds what is RAM and what the kernel keeps for itself of it.
    """
    found = firmware.edited or (None if firmware.lacking else firmware.map)
    if found is None:
        return None
    return sum(-base % page_size + end % page_size for base, end in found.ram())


def _device_tree(kernel: Kernel, memory: TranslatedMemory, complete: bool) -> Firmware:
    # `initial_boot_params` is an address in a map of its own; `initial_boot_params_pa` (since 6.13, and in
    # stable trees) and `__fdt_pointer`, which is freed with init memory, are physical.
    unknown = Firmware(lacking="the firmware map (the pointer to the device tree has been freed)", readable=False)
    for name in ("initial_boot_params_pa", "__fdt_pointer"):
        if name in kernel.symbols and kernel.in_freed_memory(memory, kernel.symbols[name]) is False:
            at = kernel.word(memory, name, kernel.program.bits // 8)
            if at:
                tree = read_tree(memory.physical, at)
                if tree is None:
                    return Firmware(lacking="the firmware map (no device tree can be read)")
                if tree.uefi is None:
                    return Firmware(tree.map, None, None, True, tree.reserved, tree.placed)
                return _uefi(kernel, memory, tree, tree.uefi, complete)
            unknown = Firmware(lacking=f"the firmware map ({name} is 0)")
    return unknown


def _uefi(kernel: Kernel, memory: TranslatedMemory, tree: DeviceTree, where: UefiMap, complete: bool) -> Firmware:
    # `efi_init()` throws away what the tree said, and takes memory from UEFI's map instead.
    if not complete:
        lacking = "the firmware map (UEFI's, before memory is complete)"
        return Firmware(None, None, lacking, False, tree.reserved, tree.placed)
    found = read_uefi_map(memory.physical, where, kernel.program.page_size)
    if found is None:
        return Firmware(None, None, "the firmware map (UEFI's cannot be read)", True, tree.reserved, tree.placed)
    return Firmware(found[0], None, None, True, (*tree.reserved, *found[1]), tree.placed)
