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
from gdb_lmb.core.fields import Struct
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
    yield from _trees(guest)
    yield from _command_line(guest)
    yield from _per_cpu(guest, kernel.program.page_size)
    yield from _memory_map(guest)


def _init_is_freed(guest: Guest) -> bool:
    return (guest.word("system_state") or 0) >= FREEING_INITMEM


def _initrds(guest: Guest) -> Iterator[RoleRange]:
    start, past = guest.word("initrd_start"), guest.word("initrd_end")
    if start and past and start < past:
        yield from guest.mapped(Role.INITRD, start, past - start, "initrd_start", Phase.COMPLETE)
    if _init_is_freed(guest):
        return
    base, size = guest.word("phys_initrd_start"), guest.word("phys_initrd_size")
    if base and size:
        yield RoleRange(Role.INITRD, base, base + size, "phys_initrd_start", Phase.MAPPED, Phase.COMPLETE)
    found = _boot_parameters(guest, "hdr.ramdisk_image", "ext_ramdisk_image", "hdr.ramdisk_size", "ext_ramdisk_size")
    if found is not None:
        image, image_high, length, length_high = found
        base, size = image | image_high << 32, length | length_high << 32
        if base and size:
            source = "boot_params.hdr.ramdisk_image"
            yield RoleRange(Role.LOADED_INITRD, base, base + size, source, until=Phase.MAPPED)


def _boot_parameters(guest: Guest, *names: str) -> list[int] | None:
    """Return members of x86's `boot_params`, 0 for one that this kernel does not have."""
    params: tuple[Struct, bytes] | None = guest.struct("boot_params")
    if params is None:
        return None
    struct, raw = params
    return [struct.value(raw, name, guest.machine.byte_order) if name in struct.fields else 0 for name in names]


def _trees(guest: Guest) -> Iterator[RoleRange]:
    """Yield the flattened device tree: its header says big-endian how long it is."""
    found = [(name, guest.word(name)) for name in _TREES]
    va = guest.word("initial_boot_params")
    if va:
        with contextlib.suppress(ReadError):
            found.append(("initial_boot_params", guest.map.of_virtual(va)))
    for name, base in found:
        if base:
            with contextlib.suppress(ReadError):
                head = guest.memory.read(base, _FDT_HEADER_BYTES)
                if int.from_bytes(head[:4], "big") == _FDT_MAGIC:
                    end = base + int.from_bytes(head[4:], "big")
                    yield RoleRange(Role.DEVICE_TREE, base, end, name, Phase.MAPPED)


def _command_line(guest: Guest) -> Iterator[RoleRange]:
    """Yield the copy that is kept; the loader's own is read before memblock knows of it."""
    va = guest.word("saved_command_line")
    if va:
        with contextlib.suppress(ReadError):
            base = guest.map.of_virtual(va)
            length = guest.word("saved_command_line_len") or _string_bytes(guest, base)
            if length:
                yield RoleRange(Role.COMMAND_LINE, base, base + length + 1, "saved_command_line", Phase.COMPLETE)
    found = None if _init_is_freed(guest) else _boot_parameters(guest, "hdr.cmd_line_ptr", "ext_cmd_line_ptr")
    if found is not None and found[0]:
        base = found[0] | found[1] << 32
        with contextlib.suppress(ReadError):
            length = _string_bytes(guest, base)
            if length:
                source = "boot_params.hdr.cmd_line_ptr"
                yield RoleRange(Role.COMMAND_LINE, base, base + length + 1, source, until=Phase.MAPPED)


def _string_bytes(guest: Guest, base: int) -> int | None:
    """Return the length of the string at physical `base`, without its end; None if it is none. Raises: `ReadError`."""
    step = 256 - base % 256
    text = b""
    while len(text) < MAX_COMMAND_LINE_BYTES:
        text += guest.memory.read(base + len(text), step)
        if b"\0" in text:
            return text.index(b"\0")
        step = 256
    return None


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
        va = base + int.from_bytes(offsets[at : at + word], order)
        yield from guest.mapped(Role.PER_CPU, va, size, "pcpu_unit_offsets", Phase.COMPLETE)


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
