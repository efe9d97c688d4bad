# SPDX-License-Identifier: GPL-2.0-or-later
"""Walking page tables that hardware walks: all of a large machine's, and what is said where they never end."""

from __future__ import annotations

import struct

import pytest

from gdb_lmb.arches.base import MAX_TABLES, TableForm
from gdb_lmb.core.errors import ReadError

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
