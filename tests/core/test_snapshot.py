# SPDX-License-Identifier: GPL-2.0-or-later
"""What a state says of itself: flags, the firmware's map."""

from __future__ import annotations

from gdb_lmb.core.snapshot import FirmwareMap, firmware_type, flag_names


def test_names_of_flags() -> None:
    # `enum memblock_flags` of the kernel.
    assert [flag_names(flags) for flags in (0, 1, 2, 4, 7, 0x41, 8)] == [
        "-", "HOTPLUG", "MIRROR", "NOMAP", "HOTPLUG|MIRROR|NOMAP", "HOTPLUG|0x40", "0x8",
    ]  # fmt: skip


def test_types_of_the_firmwares_map() -> None:
    # `enum e820_type` of the kernel.
    assert {kind: firmware_type(kind) for kind in (1, 2, 3, 4, 5, 6, 7, 12, 128, 0xEFFFFFFF)} == {
        1: "RAM", 2: "reserved", 3: "ACPI tables", 4: "ACPI NVS", 5: "unusable", 6: "type 6", 7: "persistent memory",
        12: "persistent memory (PRAM)", 128: "RAM kept by the kernel", 0xEFFFFFFF: "soft reserved",
    }  # fmt: skip


def test_ram_that_another_entry_covers() -> None:
    found = FirmwareMap([0x1000, 0x8000, 0x2000], [0x4000, 0x1000, 0x1000], [1, 128, 2])
    assert found.ram() == [(0x1000, 0x5000), (0x8000, 0x9000)]
    assert found.ram(alone=True) == [(0x1000, 0x2000), (0x3000, 0x5000), (0x8000, 0x9000)]
