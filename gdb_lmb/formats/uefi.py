# SPDX-License-Identifier: GPL-2.0-or-later
"""UEFI's memory map, as its boot services have left it in the guest's memory for the kernel.

Mirrors `efi_memory_desc_t` of include/linux/efi.h, and `reserve_regions()` of drivers/firmware/efi/efi-init.c for what
becomes memory. The map may be damaged: its size is bounded.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from gdb_lmb.core.errors import ReadError
from gdb_lmb.core.memory import Memory
from gdb_lmb.core.snapshot import FIRMWARE_RAM, FirmwareMap, FirmwareReserved, column
from gdb_lmb.formats.devicetree import UefiMap

MAX_BYTES = 1 << 20  # firmware writes some hundred descriptors

_DESCRIPTOR = struct.Struct("<I4xQ8xQQ")  # type, physical start, number of pages, attributes
_PAGE_BITS = 12  # `EFI_PAGE_SHIFT`, whatever the kernel's pages are
_WORD = (1 << 64) - 1
_CACHED = 2 | 4 | 8  # `EFI_MEMORY_WC`, `_WT`, `_WB`: what is memory has one of them
_WRITE_BACK, _SPECIAL = 8, 0x40000  # `EFI_MEMORY_WB`, `EFI_MEMORY_SP`
_ACPI_TABLES = 9  # `EFI_ACPI_RECLAIM_MEMORY`
# Loader code and data, boot services' code and data, conventional memory, ACPI's tables, persistent memory.
_USABLE = frozenset((1, 2, 3, 4, 7, _ACPI_TABLES, 14))
_NAMES = {
    0: "reserved", 5: "runtime services' code", 6: "runtime services' data", 8: "unusable",
    _ACPI_TABLES: "ACPI tables", 10: "ACPI NVS",
}  # fmt: skip


def read_uefi_map(
    memory: Memory, where: UefiMap, page_size: int
) -> tuple[FirmwareMap, tuple[FirmwareReserved, ...]] | None:
    """Return the map, and what of it is to be reserved or not to be mapped; None where it cannot be read.

    Memory that the firmware keeps is memory too, but never mapped. What is special-purpose is left out: whether it is
    used is for the command line.
    """
    if not _DESCRIPTOR.size <= where.step <= MAX_BYTES or not where.step <= where.size <= MAX_BYTES:
        return None
    try:
        raw = memory.read(where.base, where.size)
    except ReadError:
        return None
    rows: list[tuple[int, int]] = []
    asked: list[FirmwareReserved] = []
    for kind, base, end, attributes in _descriptors(raw, where.step, page_size):
        if not attributes & _CACHED or base >= end:
            continue
        rows.append((base, end - base))
        name = f"UEFI's map ({_NAMES.get(kind, f'type {kind}')})"
        usable = kind in _USABLE and attributes & _WRITE_BACK
        if kind == _ACPI_TABLES or (not usable and not attributes & _SPECIAL):
            asked.append(FirmwareReserved(base, end, name, nomap=not usable))
    if not rows:
        return None
    rows.sort()
    bases, sizes = column(base for base, _ in rows), column(size for _, size in rows)
    return FirmwareMap(bases, sizes, column([FIRMWARE_RAM] * len(rows))), tuple(asked)


# (type, first byte, first byte past it, attributes) of each descriptor, in the kernel's whole pages.
def _descriptors(raw: bytes, step: int, page_size: int) -> Iterator[tuple[int, int, int, int]]:
    for at in range(0, len(raw) - step + 1, step):
        kind, base, pages, attributes = _DESCRIPTOR.unpack_from(raw, at)
        end = min(base + (pages << _PAGE_BITS), _WORD)
        yield kind, base - base % page_size, min(end + -end % page_size, _WORD), attributes
