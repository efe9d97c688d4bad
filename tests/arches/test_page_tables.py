# SPDX-License-Identifier: GPL-2.0-or-later
"""Walking page tables that hardware walks: all of a large machine's, and what is said where they never end."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from gdb_lmb.arches.base import MAX_TABLES, TableForm
from gdb_lmb.arches.linux import linux_architecture
from gdb_lmb.core.errors import ReadError
from gdb_lmb.core.memory import BytesMemory
from tests.helpers.core_image import Piece, core_image

PAGE = 4096
FORM = TableForm(PAGE, (PAGE,) * 4, 1, 1, (1 << 52) - PAGE)


class Tables:
    """Memory with page tables: a root, as many upper tables as are needed for `count` middle ones, no lower ones."""

    def __init__(self, count: int) -> None:
        uppers = -(-count // 512)
        self.pages = {PAGE: [2 + at for at in range(uppers)]}
        for at in range(uppers):
            middles = range(at * 512, min(count, at * 512 + 512))
            self.pages[(2 + at) * PAGE] = [0x1000 + number for number in middles]

    def read(self, address: int, size: int) -> bytes:
        if address >= (0x1000 + 512 * 512) * PAGE:
            raise ReadError(address, size, "not RAM")
        numbers = self.pages.get(address, [])
        return struct.pack("<512Q", *(number * PAGE | 1 for number in numbers), *[0] * (512 - len(numbers)))


@pytest.mark.parametrize(("count", "whole"), [(1, True), (600, True), (4000, True), (MAX_TABLES, False)])
def test_page_tables_are_walked_to_a_bound(count: int, whole: bool) -> None:
    found, all_of_them = FORM.tables(Tables(count), "little")
    assert all_of_them == whole
    # Those that are not read are still known by the entries that lead to them.
    assert len(found) == 1 + -(-count // 512) + count
    assert found[0] == (PAGE, 2 * PAGE) and found[-1] == ((0x1000 + count - 1) * PAGE, (0x1000 + count) * PAGE)


def test_tables_that_lead_back_end() -> None:
    tables = Tables(1)
    tables.pages[0x1000 * PAGE] = [1, 2, 0x1000]
    assert FORM.tables(tables, "little") == (
        [(PAGE, 2 * PAGE), (2 * PAGE, 3 * PAGE), (0x1000 * PAGE, 0x1001 * PAGE)],
        True,
    )


class Counted(BytesMemory):
    """Memory, and at which addresses it was read."""

    def __init__(self, segments: dict[int, bytes]) -> None:
        super().__init__(segments)
        self.addresses: list[int] = []

    def read(self, address: int, size: int) -> bytes:
        self.addresses.append(address)
        return super().read(address, size)


@pytest.mark.parametrize(("order", "entry"), [("little", 4), ("big", 4), ("little", 8), ("big", 8)])
def test_tables_of_each_entry(order: str, entry: int) -> None:
    def page(*entries: int) -> bytes:
        return b"".join(one.to_bytes(entry, order) for one in entries).ljust(64, b"\0")  # type: ignore[arg-type]

    # An entry for another table has 1 in its lowest two bits; the tables of the last level are not read.
    memory = Counted({0x1000: page(0x2001, 0x3003, 0x4000, 0x5001), 0x2000: page(0x6001), 0x6000: page(0x7001)})
    form = TableForm(0x1000, (64, 32, 16), 3, 1, 0xF000, entry)
    assert form.tables(memory, order) == (  # type: ignore[arg-type]
        [(0x1000, 0x1040), (0x2000, 0x2020), (0x5000, 0x5020), (0x6000, 0x6010)], True,
    )  # fmt: skip
    assert memory.addresses == [0x1000, 0x2000, 0x5000]


@pytest.mark.parametrize(("count", "whole"), [(MAX_TABLES - 9, True), (MAX_TABLES - 8, False)])
def test_as_many_tables_as_are_read_and_one_more(count: int, whole: bool) -> None:
    # The root, eight upper tables for 4,087 or 4,088 middle ones.
    tables, addresses = Tables(count), list[int]()

    class Noted:
        def read(self, address: int, size: int) -> bytes:
            addresses.append(address)
            return tables.read(address, size)

    assert FORM.tables(Noted(), "little")[1] == whole
    assert len(addresses) == MAX_TABLES


TCR = {"4K": 2, "16K": 1, "64K": 3}
FORMS = [
    # T1SZ 16: 48 bits of address. Arm's "Translation granule" tables: four levels of 9 bits with 4 KiB, four with
    # 16 KiB of which the first has one bit, three with 64 KiB of which the first has six.
    ("4K", 16, (4096,) * 4, 0x0000_FFFF_FFFF_F000),
    ("4K", 25, (4096,) * 3, 0x0000_FFFF_FFFF_F000),
    ("16K", 16, (16, 16384, 16384, 16384), 0x0000_FFFF_FFFF_C000),
    ("64K", 16, (512, 65536, 65536), 0x0000_FFFF_FFFF_0000),
    ("64K", 22, (65536, 65536), 0x0000_FFFF_FFFF_0000),
    ("4K", 28, (512, 4096, 4096), 0x0000_FFFF_FFFF_F000),
]


@pytest.mark.parametrize(("granule", "size", "sizes", "address"), FORMS, ids=range(len(FORMS)))
def test_tables_of_arm64(granule: str, size: int, sizes: tuple[int, ...], address: int) -> None:
    arm64 = linux_architecture("aarch64")
    control = TCR[granule] << 30 | size << 16 | 0x3F
    for level, name in ((5, "EL1"), (9, "EL2")):
        known = {"cpsr": level, f"TTBR1_{name}": 0x0012_0000_4123_0001, f"TCR_{name}": control}
        form = arm64.table_form(known.get)
        assert form == TableForm(0x4123_0000, sizes, 3, 3, address)
        assert arm64.table_form({**known, "cpsr": 14 - level}.get) is None
        assert arm64.table_form({**known, f"TTBR1_{name}": 0}.get) is None
        assert arm64.table_form({**known, f"TCR_{name}": size << 16}.get) is None
        del known[f"TCR_{name}"]
        assert arm64.table_form(known.get) is None


@pytest.mark.parametrize(("flags", "size"), [(0, 4096), (2, 4096), (4, 16384), (6, 65536), (0xD, 16384)])
def test_pages_of_arm64_by_the_images_header(tmp_path: Path, flags: int, size: int) -> None:
    # `flags` at byte 24. Source: Documentation/arch/arm64/booting.rst.
    arm64, path = linux_architecture("aarch64"), tmp_path / "vmlinux"
    header = b"\xff" * 24 + flags.to_bytes(8, "little") + b"\xff" * 32
    path.write_bytes(core_image([Piece(0, header, va=0x10000)], machine=183))
    assert arm64.page_size(path, (0x10000, 0x20000)) == size
    assert arm64.page_size(path, (0x20000, 0x30000)) == 4096
    # `early_init_dt_add_memory_arch()` of drivers/of/fdt.c adds whole ones only.
    assert not arm64.trims
