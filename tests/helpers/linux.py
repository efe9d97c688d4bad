# SPDX-License-Identifier: GPL-2.0-or-later
"""A small x86-64 Linux in bytes: moved by KASLR, with a memblock, an e820 table and what the boot loader left.

Every address here is chosen by hand; tests compare what the tool finds with these numbers.
"""

from __future__ import annotations

import struct
from pathlib import Path

from gdb_lmb.core.fields import Field, Struct
from gdb_lmb.core.machine import Variable
from tests.helpers.image import c_struct
from tests.helpers.machine import BytesMachine, small_elf

MAP = 0xFFFF_FFFF_8000_0000
TEXT = MAP + 0x100_0000
SIZE = 0x1_0000
PHYSICAL_MOVE, VIRTUAL_MOVE = 0x300_0000, 0x500_0000
BASE = 0x100_0000 + PHYSICAL_MOVE
"""Where the image is physically."""
DIRECT = 0xFFFF_8880_0000_0000
NOTE_AT = 0x100
TOP_AT, TABLES = 0x7000, 0x500_0000
"""Where the top page table is in the image, and where a copy of it and those below it are physically."""

REGION = Struct("memblock_region", 24, {"base": Field(0, 8), "size": Field(8, 8), "flags": Field(16, 4)}, 8)
TYPE = c_struct("memblock_type", [("cnt", 8), ("max", 8), ("total_size", 8), ("regions", 8), ("name", 8)])
MEMBLOCK = c_struct("memblock", [("bottom_up", 1), ("current_limit", 8), ("memory", TYPE), ("reserved", TYPE)])
E820_ENTRY = Struct("e820_entry", 20, {"addr": Field(0, 8), "size": Field(8, 8), "type": Field(16, 4)}, 1)
E820_TABLE = Struct("e820_table", 4 + 131 * 20, {"nr_entries": Field(0, 4), "entries": Field(4, 131 * 20)}, 1)

MEMBLOCK_AT, MEMORY_AT, RESERVED_AT, E820_AT, NAME_AT, FIRMWARE_AT = 0x2000, 0x3000, 0x4000, 0x6000, 0x8000, 0xF000
WORDS = {
    "_totalram_pages": 0x5000, "memblock_memory": 0x5010, "page_offset_base": 0x5028,
    "e820_table": 0x5030, "initrd_start": 0x5038, "initrd_end": 0x5040, "saved_command_line": 0x5048,
    "_brk_start": 0x5050, "_brk_end": 0x5058, "pcpu_base_addr": 0x5060, "pcpu_unit_offsets": 0x5068,
    "pcpu_first_chunk": 0x5070, "e820_table_firmware": 0x5078, "vm_zone_stat": 0x5098,
}  # fmt: skip
"""Offsets of variables of 8 bytes in the image."""
INTS = {
    "system_state": 0x5080, "memblock_can_resize": 0x5084, "saved_command_line_len": 0x5088, "pcpu_nr_units": 0x508C,
    "slab_state": 0x5090,
}  # fmt: skip
"""Offsets of variables of 4 bytes."""
LABELS = {
    "_text": 0, "startup_64": 0, "__start_notes": NOTE_AT, "_etext": 0x1000, "_sinittext": 0x9000,
    "_einittext": 0xA000, "__init_begin": 0x9000, "__init_end": 0xB000, "__bss_start": 0xB000, "__bss_stop": 0xC000,
    "init_stack": 0xC000, "__brk_base": 0xE000, "__brk_limit": 0x10000, "init_top_pgt": TOP_AT, "_end": SIZE,
}  # fmt: skip
MEMORY = [(0x1000, 0x9E000, 0), (0x10_0000, 0x7EE_0000, 0)]
RESERVED = [(0, 0x10_0000, 0), (BASE, SIZE, 0)]
E820 = [(0, 0x9_FC00, 1), (0x10_0000, 0x7EE_0000, 1), (0x7FE_0000, 0x2_0000, 3)]


def linux(
    folder: Path,
    *,
    symbols_moved: int = 0,
    words: dict[str, int] | None = None,
    e820: list[tuple[int, int, int]] = E820,
    firmware: list[tuple[int, int, int]] | None = None,
) -> BytesMachine:
    """Return the guest at `start_kernel()`, memory complete; `words` replaces values of variables.

    `firmware` are the rows of `e820_table_firmware`, None for a kernel without.
    """
    content = bytearray(SIZE)
    regions = [(MEMORY_AT, MEMORY), (RESERVED_AT, RESERVED)]
    for at, rows in regions:
        for number, (base, size, flags) in enumerate(rows):
            struct.pack_into("<QQI", content, at + 24 * number, base, size, flags)
    for at, table in ((E820_AT, e820), (FIRMWARE_AT, firmware or [])):
        struct.pack_into("<I", content, at, len(table))
        for number, row in enumerate(table):
            struct.pack_into("<QQI", content, at + 4 + 20 * number, *row)

    def lay(target: bytearray, moved: int) -> bytes:
        struct.pack_into("<BxxxxxxxQ", target, MEMBLOCK_AT, 0, (1 << 64) - 1)
        for offset, (at, rows) in zip((16, 56), regions, strict=True):
            total = sum(size for _, size, _ in rows)
            where, name = TEXT + at + moved, TEXT + NAME_AT + offset + moved
            struct.pack_into("<QQQQQ", target, MEMBLOCK_AT + offset, len(rows), 128, total, where, name)
        struct.pack_into("<Q", target, WORDS["e820_table"], TEXT + E820_AT + moved)
        struct.pack_into("<Q", target, WORDS["e820_table_firmware"], TEXT + FIRMWARE_AT + moved)
        return bytes(target)

    elf = small_elf(folder / "vmlinux", TEXT, 0x100_0000, lay(bytearray(content), 0), NOTE_AT)
    values = {"page_offset_base": DIRECT, "memblock_can_resize": 1, **(words or {})}
    for name, value in values.items():
        struct.pack_into("<Q" if name in WORDS else "<I", content, (WORDS | INTS)[name], value)
    image = elf.read_bytes()[64 + 2 * 56 :]
    running = bytearray(lay(content, VIRTUAL_MOVE))
    running[NOTE_AT : NOTE_AT + 36] = image[NOTE_AT : NOTE_AT + 36]
    struct.pack_into("<Q", running, TOP_AT + 8 * 511, TABLES + 0x1000 | 1)
    tables = bytearray(0x3000)
    tables[:0x1000] = running[TOP_AT : TOP_AT + 0x1000]
    struct.pack_into("<Q", tables, 0x1000 + 8 * 510, TABLES + 0x2000 | 1)
    struct.pack_into("<Q", tables, 0x2000 + 8 * ((TEXT + VIRTUAL_MOVE - MAP) >> 21), BASE | 0x81)
    at = TEXT + symbols_moved
    there = WORDS if firmware is not None else {name: at for name, at in WORDS.items() if name != "e820_table_firmware"}
    sizes = {"memblock": (MEMBLOCK_AT, MEMBLOCK.size), "memblock_memory_init_regions": (MEMORY_AT, 3072),
             "memblock_reserved_init_regions": (RESERVED_AT, 3072), "init_thread_union": (0xC000, 0x2000),
             **{name: (offset, 8) for name, offset in there.items()},
             **{name: (offset, 4) for name, offset in INTS.items()}}  # fmt: skip
    return BytesMachine(
        variables={name: Variable(at + offset, size, elf) for name, (offset, size) in sizes.items()},
        labels={name: at + offset for name, offset in LABELS.items()},
        data=frozenset(("_end", "__bss_start", "__bss_stop", "__brk_base", "__brk_limit", "init_top_pgt")),
        structs={("memblock", ""): MEMBLOCK, ("memblock", "memory"): TYPE, ("memblock", "memory.regions"): REGION,
                 ("e820_table", ""): E820_TABLE, ("e820_table", "entries"): E820_ENTRY},
        enums={("memblock", "memory.regions.flags"): {0: "MEMBLOCK_NONE", 4: "MEMBLOCK_NOMAP"}},
        registers={"pc": TEXT + 0x200 + VIRTUAL_MOVE, "rsp": TEXT + 0xD000 + VIRTUAL_MOVE, "cr0": 1 << 31 | 1,
                   "cr3": BASE + TOP_AT | 0x18, "cr4": 1 << 5, "efer": 1 << 10, "cs": 0x10},
        memory={BASE: bytes(running), 0: bytes(0x10_0000), TABLES: bytes(tables), 0x600_0000: bytes(0x1000)},
        ranges=[(0, 0x800_0000)],
    )  # fmt: skip
