# SPDX-License-Identifier: GPL-2.0-or-later
"""What lies where in a Linux kernel's memory, as far as its variables tell at this stop.

Each is looked for by the names that kernels have for it, and left out where this one has none, where they are
not filled in yet, or where they are gone. Mirrors init/do_mounts_initrd.c, drivers/of/fdt.c, init/main.c,
mm/percpu.c, arch/x86/kernel/setup.c.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from gdb_lmb.core.address import Phase
from gdb_lmb.core.errors import LayoutError, ReadError
from gdb_lmb.programs.base import Guest, Role, RoleRange
from gdb_lmb.programs.linux.kernel import FREEING_INITMEM, Kernel, init_memory

_TREES = ("__fdt_pointer", "initial_boot_params_pa", "dtb_early_pa")
"""Variables that hold the device tree's physical address: on arm64, on all since late 2024, on riscv."""

_FDT_MAGIC = 0xD00DFEED
_FDT_HEADER_BYTES = 8

MAX_COMMAND_LINE_BYTES = 1 << 14
MAPPED_BYTES = 2 << 20
"""The array of `struct page` is mapped by pages of this size, and no smaller part of it is left out."""

MAX_UNITS = 1 << 13
"""More per-CPU units than any kernel has."""


def linux_image(guest: Guest, kernel: Kernel) -> Iterator[RoleRange]:
    """Yield init memory and parts of the image that only Linux has."""
    low, high = init_memory(guest.machine, kernel)
    yield from guest.inside(Role.INIT, low, high - low, "__init_begin", until=Phase.HANDED_OVER)
    yield from _brk(guest)
    yield from _page_tables(guest, kernel)
    yield from _boot_stack(guest)
    if not _init_is_freed(guest):
        found = guest.machine.variable("boot_command_line")
        if found is not None:
            yield from guest.inside(
                Role.COMMAND_LINE, found.address, found.size, "boot_command_line", Phase.MAPPED, Phase.HANDED_OVER
            )


def linux_ranges(guest: Guest, kernel: Kernel) -> Iterator[RoleRange]:
    """Yield what the boot loader left, and what the kernel has allocated for itself."""
    yield from _initrds(guest)
    yield from _loaded(guest)
    yield from _trees(guest)
    yield from _command_line(guest)
    yield from _per_cpu(guest, kernel.program.page_size)
    yield from _memory_map(guest)


def _init_is_freed(guest: Guest) -> bool:
    return (guest.word("system_state") or 0) >= FREEING_INITMEM


def _at(
    role: Role, base: int | None, size: int | None, source: str, since: Phase | None = None, until: Phase | None = None
) -> Iterator[RoleRange]:
    """Yield the range that variables tell of, if they have been filled in."""
    if base and size and size > 0:
        yield RoleRange(role, base, base + size, source, since, until)


def _initrds(guest: Guest) -> Iterator[RoleRange]:
    start, past = guest.word("initrd_start") or 0, guest.word("initrd_end") or 0
    yield from _at(Role.INITRD, guest.physical(start), past - start, "initrd_start", Phase.COMPLETE)
    if not _init_is_freed(guest):
        base, size = guest.word("phys_initrd_start"), guest.word("phys_initrd_size")
        yield from _at(Role.INITRD, base, size, "phys_initrd_start", Phase.MAPPED, Phase.COMPLETE)


def _loaded(guest: Guest) -> Iterator[RoleRange]:
    """Yield what x86's `boot_params` tells of what the boot loader has put into memory."""
    params = None if _init_is_freed(guest) else guest.struct("boot_params")
    if params is None:
        return
    struct, raw = params

    def value(low: str, high: str) -> int:
        parts = [(name, shift) for name, shift in ((low, 0), (high, 32)) if name in struct.fields]
        return sum(struct.value(raw, name, guest.machine.byte_order) << shift for name, shift in parts)

    base, size = value("hdr.ramdisk_image", "ext_ramdisk_image"), value("hdr.ramdisk_size", "ext_ramdisk_size")
    yield from _at(Role.LOADED_INITRD, base, size, "boot_params.hdr.ramdisk_image", until=Phase.MAPPED)
    line = value("hdr.cmd_line_ptr", "ext_cmd_line_ptr")
    size = _string_bytes(guest, line)
    yield from _at(Role.COMMAND_LINE, line, size, "boot_params.hdr.cmd_line_ptr", until=Phase.MAPPED)


def _trees(guest: Guest) -> Iterator[RoleRange]:
    """Yield the flattened device tree: its header says big-endian how long it is."""
    found = {name: guest.word(name) for name in _TREES}
    found["initial_boot_params"] = guest.physical(guest.word("initial_boot_params"))
    for name, base in found.items():
        with contextlib.suppress(ReadError):
            head = guest.memory.read(base, _FDT_HEADER_BYTES) if base else b""
            if int.from_bytes(head[:4], "big") == _FDT_MAGIC:
                yield from _at(Role.DEVICE_TREE, base, int.from_bytes(head[4:], "big"), name, Phase.MAPPED)


def _command_line(guest: Guest) -> Iterator[RoleRange]:
    """Yield the copy that is kept, with its end."""
    base, length = guest.physical(guest.word("saved_command_line")), guest.word("saved_command_line_len")
    size = length + 1 if length else _string_bytes(guest, base)
    yield from _at(Role.COMMAND_LINE, base, size, "saved_command_line", Phase.COMPLETE)


def _string_bytes(guest: Guest, base: int | None) -> int:
    """Return the size of the string at physical `base`, with its end; 0 if there is none."""
    text = b""
    with contextlib.suppress(ReadError):
        while base and len(text) < MAX_COMMAND_LINE_BYTES:
            # No further than to where memory may end.
            text += guest.memory.read(base + len(text), 256 - (base + len(text)) % 256)
            if b"\0" in text:
                return text.index(b"\0") + 1
    return 0


def _brk(guest: Guest) -> Iterator[RoleRange]:
    """Yield the early heap behind the bss: after `reserve_brk()` as much of it as was used."""
    start, end = guest.word("_brk_start"), guest.word("_brk_end")
    base, limit = guest.machine.label("__brk_base"), guest.machine.label("__brk_limit")
    if base is None or limit is None or start is None or end is None:
        return
    if start:
        yield from guest.inside(Role.BRK, base, limit - base, "__brk_base", until=Phase.MAPPED)
        return
    with contextlib.suppress(ReadError):
        first = guest.map.of_symbol(base)
        yield RoleRange(Role.BRK, first, guest.map.of_virtual(end), "_brk_end", Phase.COMPLETE)


def _page_tables(guest: Guest, kernel: Kernel) -> Iterator[RoleRange]:
    """Yield the tables that are part of the image, and the one that the CPU has now; each is a page at the least."""
    page_size = kernel.program.page_size
    for name in kernel.arch.page_tables:
        at = guest.machine.label(name)
        low, high = init_memory(guest.machine, kernel)
        if at is not None and not (low <= at < high and _init_is_freed(guest)):
            found = guest.machine.variable(name)
            size = max(page_size, 0 if found is None else found.size)
            yield from guest.inside(Role.PAGE_TABLES, at, size, name)
    for base in guest.tables if guest.map.parts else ():
        yield RoleRange(Role.PAGE_TABLES, base, base + page_size, "page table base register")


def _boot_stack(guest: Guest) -> Iterator[RoleRange]:
    """Yield the stack of the first task, on which `start_kernel()` runs, and which idle has later."""
    start = guest.machine.label("init_stack") or guest.machine.label("init_thread_union")
    sizes = [found.size for found in map(guest.machine.variable, ("init_thread_union", "init_stack")) if found]
    if start is not None and any(sizes):
        yield from guest.inside(Role.STACK, start, max(sizes), "init_stack", Phase.IDENTITY)


def _per_cpu(guest: Guest, page_size: int) -> Iterator[RoleRange]:
    """Yield the unit of each CPU in the first chunk, as far as it is kept. Source: `pcpu_setup_first_chunk()`."""
    base, units = guest.word("pcpu_base_addr"), guest.word("pcpu_nr_units")
    offsets_va, chunk_va = guest.word("pcpu_unit_offsets"), guest.word("pcpu_first_chunk")
    if not base or not units or not offsets_va or not chunk_va or units > MAX_UNITS:
        return
    order, word = guest.machine.byte_order, guest.machine.bits // 8
    try:
        chunk = guest.machine.struct("pcpu_first_chunk")
        raw = guest.memory.read(guest.map.of_virtual(chunk_va), chunk.size)
        pages, first = (chunk.value(raw, name, order) for name in ("nr_pages", "base_addr"))
        offsets = guest.memory.read(guest.map.of_virtual(offsets_va), units * word)
    except (ReadError, LayoutError, KeyError):
        return
    size = first + pages * page_size - base
    for at in range(0, len(offsets), word):
        unit = guest.physical(base + int.from_bytes(offsets[at : at + word], order))
        yield from _at(Role.PER_CPU, unit, size, "pcpu_unit_offsets", Phase.COMPLETE)


def _memory_map(guest: Guest) -> Iterator[RoleRange]:
    """Yield where the array of `struct page` lies that `vmemmap_base` maps: the holes of memory have none."""
    va, pages = guest.word("vmemmap_base"), guest.word("max_pfn")
    if not va or not pages or guest.paged is None:
        return
    try:
        end = va + pages * guest.machine.struct("struct page").size
    except LayoutError:
        return
    low = high = 0
    while va < end:
        try:
            base, left = guest.paged.to_physical(va)
        except ReadError:
            base, left = high, MAPPED_BYTES - va % MAPPED_BYTES
        else:
            left = min(left, end - va)
            if base != high and high:
                yield RoleRange(Role.MEMORY_MAP, low, high, "vmemmap_base", Phase.COMPLETE)
            low, high = low if base == high and high else base, base + left
        va += left
    if high:
        yield RoleRange(Role.MEMORY_MAP, low, high, "vmemmap_base", Phase.COMPLETE)
