# SPDX-License-Identifier: GPL-2.0-or-later
"""UEFI's memory map, written by hand after the UEFI specification's chapter 7.2 ("GetMemoryMap")."""

from __future__ import annotations

import struct

import pytest

from gdb_lmb.core.memory import BytesMemory
from gdb_lmb.core.snapshot import FirmwareReserved
from gdb_lmb.formats.devicetree import UefiMap
from gdb_lmb.formats.uefi import read_uefi_map

AT, STEP = 0x5C42_F018, 48
UC, WB, SPECIAL, RUNTIME = 1, 8, 0x40000, 1 << 63

# (type, physical start, pages, attributes)
ROWS = [
    (11, 0x900_0000, 1, UC | RUNTIME),  # memory-mapped I/O, which is no memory
    (7, 0x4000_0000, 0x1000, UC | WB),  # conventional
    (4, 0x4100_0000, 0x10, WB),  # boot services' data
    (9, 0x4101_0000, 0x10, WB),  # ACPI tables
    (6, 0x4102_0000, 1, UC | WB | RUNTIME),  # runtime services' data
    (0, 0x4102_1000, 0xF, WB),  # reserved
    (7, 0x4200_0000, 1, WB | SPECIAL),
    (7, 0x4300_0000, 1, 2),  # conventional, but not to be cached by write-back
]


def raw(rows: list[tuple[int, int, int, int]]) -> bytes:
    return b"".join(
        struct.pack("<IIQQQQ", kind, 0, base, 0, pages, attributes).ljust(STEP, b"\xee")
        for kind, base, pages, attributes in rows
    )


def test_what_is_memory_and_what_is_asked_for() -> None:
    found = read_uefi_map(BytesMemory({AT: raw(ROWS)}), UefiMap(AT, STEP * len(ROWS), STEP), 4096)
    assert found is not None
    told, asked = found
    assert told.ram() == [(0x4000_0000, 0x4103_0000), (0x4200_0000, 0x4200_1000), (0x4300_0000, 0x4300_1000)]
    assert asked == (
        FirmwareReserved(0x4101_0000, 0x4102_0000, "UEFI's map (ACPI tables)"),
        FirmwareReserved(0x4102_0000, 0x4102_1000, "UEFI's map (runtime services' data)", nomap=True),
        FirmwareReserved(0x4102_1000, 0x4103_0000, "UEFI's map (reserved)", nomap=True),
        FirmwareReserved(0x4300_0000, 0x4300_1000, "UEFI's map (type 7)", nomap=True),
    )


def test_the_kernels_pages_may_be_larger() -> None:
    rows = [(7, 0x4000_1000, 1, WB), (6, 0x4000_3000, 1, WB)]
    found = read_uefi_map(BytesMemory({AT: raw(rows)}), UefiMap(AT, STEP * 2, STEP), 0x10000)
    assert found is not None and found[0].ram() == [(0x4000_0000, 0x4001_0000)]
    assert [(one.base, one.end) for one in found[1]] == [(0x4000_0000, 0x4001_0000)]


@pytest.mark.parametrize(
    "where",
    [
        UefiMap(AT, 0, STEP),
        UefiMap(AT, STEP, 0),
        UefiMap(AT, STEP, 39),
        UefiMap(AT, STEP - 1, STEP),
        UefiMap(AT, 1 << 31, STEP),
        UefiMap(AT + (1 << 20), STEP, STEP),
        UefiMap(AT, STEP, STEP),  # nothing in it is memory
    ],
)
def test_a_damaged_map_says_nothing(where: UefiMap) -> None:
    assert read_uefi_map(BytesMemory({AT: raw(ROWS)}), where, 4096) is None


def test_numbers_that_wrap_are_cut() -> None:
    found = read_uefi_map(BytesMemory({AT: raw([(7, (1 << 64) - 4096, 1 << 60, WB)])}), UefiMap(AT, STEP, STEP), 4096)
    assert found is not None and found[0].ram() == [((1 << 64) - 4096, (1 << 64) - 1)]


def bases(rows: list[tuple[int, int, int, int]], where: UefiMap) -> list[int] | None:
    found = read_uefi_map(BytesMemory({AT: raw(rows).ljust(1 << 20, b"\0")}), where, 4096)
    return None if found is None else list(found[0].base)


def test_the_map_is_sorted_and_without_what_has_no_pages() -> None:
    rows = [(7, 0x5000_0000, 1, WB), (7, 0x4000_0000, 0, WB), (7, 0x4800_0000, 1, WB)]
    assert bases(rows, UefiMap(AT, STEP * 3, STEP)) == [0x4800_0000, 0x5000_0000]
    # A descriptor that is not whole is none.
    assert bases(rows, UefiMap(AT, STEP * 3 - 1, STEP)) == [0x5000_0000]


def test_the_least_and_the_most_that_is_read() -> None:
    one = struct.pack("<IIQQQQ", 7, 0, 0x4000_0000, 0, 1, WB)
    found = read_uefi_map(BytesMemory({AT: one + one}), UefiMap(AT, 80, 40), 4096)
    assert found is not None and list(found[0].base) == [0x4000_0000] * 2
    assert bases([(7, 0x5000_0000, 1, WB)], UefiMap(AT, 1 << 20, 1 << 20)) == [0x5000_0000]


def test_each_type_of_memory() -> None:
    # All of one page, which can be cached; named after the table "Memory Type Usage before ExitBootServices()".
    rows = [(kind, kind << 12, 1, WB) for kind in range(16)]
    found = read_uefi_map(BytesMemory({AT: raw(rows)}), UefiMap(AT, STEP * 16, STEP), 4096)
    assert found is not None and found[0].ram() == [(0, 0x10000)]
    assert [(one.base >> 12, one.what, one.nomap) for one in found[1]] == [
        (0, "UEFI's map (reserved)", True),
        (5, "UEFI's map (runtime services' code)", True),
        (6, "UEFI's map (runtime services' data)", True),
        (8, "UEFI's map (unusable)", True),
        (9, "UEFI's map (ACPI tables)", False),
        (10, "UEFI's map (ACPI NVS)", True),
        *((kind, f"UEFI's map (type {kind})", True) for kind in (11, 12, 13, 15)),
    ]
