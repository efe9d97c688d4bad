# SPDX-License-Identifier: GPL-2.0-or-later
"""What is known to lie where without any history: the kernel's image, the initrd, the device tree, boot data.

Each is looked for by the names that kernels have for it, and left out where this one has none, where they are
not filled in yet, or where they are gone. Mirrors init/do_mounts_initrd.c, drivers/of/fdt.c,
arch/x86/kernel/setup.c.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from gdb_lmb.core.errors import LmbError, ReadError
from gdb_lmb.core.ranges import Range
from gdb_lmb.core.snapshot import Place
from gdb_lmb.machine.translate import AddressMap, address_map
from gdb_lmb.machine.variables import Variables, label, variables

_SECTIONS = (
    ("early page tables", "__early_page_tables_start", ("__early_page_tables_end",)),
    ("text", "_text", ("_etext",)),
    ("init text", "_sinittext", ("_einittext",)),
    ("read-only data", "__start_rodata", ("__end_rodata",)),
    ("data", "_sdata", ("_edata",)),
    ("init, freed after boot", "__init_begin", ("__init_end",)),
    ("bss", "__bss_start", ("__bss_stop", "__bss_end")),
)
"""Parts of an image: in words, its first symbol, and the first past it."""

_TREES = ("__fdt_pointer", "initial_boot_params_pa", "dtb_early_pa")
"""Variables that hold the device tree's physical address: on arm64, on all since late 2024, on riscv."""

_FDT_MAGIC = 0xD00DFEED
_SYSTEM_FREEING_INITMEM = 2
"""`SYSTEM_FREEING_INITMEM` of `enum system_states`: from here on init data are gone."""

MAX_BYTES = 1 << 34
"""No initrd is larger: beyond it what is read is no size."""


def known_places() -> list[Place]:
    """Return what is known at this stop; where guest memory cannot be read physically, the image alone."""
    try:
        with variables() as guest:
            return [*image_places(guest.map), *_boot_places(guest)]
    except LmbError:
        return []


def image_ranges() -> list[Range]:
    """Return the physical ranges that the kernel's image lies in; empty where they are not known at this stop."""
    try:
        return [(part.physical, part.physical + part.size) for part in address_map().parts]
    except LmbError:
        return []


def image_places(where: AddressMap) -> Iterator[Place]:
    """Yield the kernel's image, each of its loaded parts and what it is made of."""
    for part in where.parts:
        yield Place(part.physical, part.physical + part.size, "kernel image")
    for what, first, pasts in _SECTIONS:
        start = label(first)
        past = next((at for at in map(label, pasts) if at is not None), None)
        if start is None or past is None or start >= past:
            continue
        for part in where.parts:
            if part.symbol_va <= start and past <= part.symbol_va + part.size:
                base = start - part.symbol_va + part.physical
                yield Place(base, base + past - start, f"kernel image: {what}")


def _boot_places(guest: Variables) -> Iterator[Place]:
    """Yield what the boot loader left, as far as the kernel has noted it and still knows it."""
    found: dict[tuple[int, int], Place] = {}
    for place in (*_initrds(guest), *_trees(guest), *_fixture(guest)):
        # Several variables tell of the same thing.
        if 0 < place.end - place.base <= MAX_BYTES:
            found.setdefault((place.base, place.end), place)
    yield from found.values()


def _initrds(guest: Variables) -> Iterator[Place]:
    start, past = guest.word("initrd_start"), guest.word("initrd_end")
    if start and past and start < past:
        with contextlib.suppress(ReadError):
            base = guest.map.of_virtual(start)
            yield Place(base, base + past - start, "initrd")
    if (guest.word("system_state") or 0) >= _SYSTEM_FREEING_INITMEM:
        return
    base_word, size = guest.word("phys_initrd_start"), guest.word("phys_initrd_size")
    if base_word and size:
        yield Place(base_word, base_word + size, "initrd")
    params = guest.struct("boot_params")
    if params is not None:
        struct, raw = params

        def value(name: str) -> int:
            return struct.value(raw, name, guest.order) if name in struct.fields else 0

        base = value("hdr.ramdisk_image") | value("ext_ramdisk_image") << 32
        size = value("hdr.ramdisk_size") | value("ext_ramdisk_size") << 32
        if base and size:
            yield Place(base, base + size, "initrd, where the boot loader put it")


def _trees(guest: Variables) -> Iterator[Place]:
    """Yield the flattened device tree: its header says big-endian how long it is."""
    bases = [guest.word(name) for name in _TREES]
    va = guest.word("initial_boot_params")
    if va:
        with contextlib.suppress(ReadError):
            bases.append(guest.map.of_virtual(va))
    for base in filter(None, bases):
        with contextlib.suppress(ReadError):
            head = guest.memory.read(base, 8)
            if int.from_bytes(head[:4], "big") == _FDT_MAGIC:
                yield Place(base, base + int.from_bytes(head[4:], "big"), "device tree")


def _fixture(guest: Variables) -> Iterator[Place]:
    """Yield what a `struct boot_info` with ranges (base, size) tells, as the fixture kernel's does."""
    info = guest.struct("boot_info")
    if info is None:
        return
    struct, raw = info
    names = {"initrd": "initrd", "fdt": "device tree"}
    for name, what in names.items():
        if f"{name}.base" in struct.fields and f"{name}.size" in struct.fields:
            base, size = (struct.value(raw, f"{name}.{part}", guest.order) for part in ("base", "size"))
            yield Place(base, base + size, what)
    ranges, nr = struct.fields.get("boot_data"), struct.fields.get("nr_boot_data")
    half = struct.fields["initrd.size"].size if "initrd.size" in struct.fields else 0
    if ranges is None or nr is None or not half:
        return
    for at in range(min(struct.value(raw, "nr_boot_data", guest.order), ranges.size // (2 * half))):
        start = ranges.offset + at * 2 * half
        base, size = (int.from_bytes(raw[s : s + half], guest.order) for s in (start, start + half))
        yield Place(base, base + size, "boot loader's data")
