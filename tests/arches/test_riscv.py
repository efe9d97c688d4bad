# SPDX-License-Identifier: GPL-2.0-or-later
"""RISC-V without a guest: page tables after the privileged architecture's chapter on supervisor mode, dead guests."""

from __future__ import annotations

import struct

import pytest

from gdb_lmb.arches.registry import named
from gdb_lmb.core.memory import BytesMemory

RISCV = named("riscv64")
SV39, SV48, SV57 = 8 << 60, 9 << 60, 10 << 60
ASID = 0xFFFF << 44


@pytest.mark.parametrize(("mode", "levels"), [(SV39, 3), (SV48, 4), (SV57, 5), (0, 0), (11 << 60, 0), (None, 0)])
def test_page_tables(mode: int | None, levels: int) -> None:
    known = {"pc": 0x8020_0000, "sp": 0x8030_0000, "ra": 0x8020_0100}
    if mode is not None:
        known["satp"] = mode | ASID | 0x8_0200
    cpu, form = RISCV.cpu_state(known.get), RISCV.table_form(known.get)
    assert (cpu.pc, cpu.sp, cpu.link) == (0x8020_0000, 0x8030_0000, 0x8020_0100)
    assert (cpu.paging, cpu.tables) == {None: (None, ()), 0: (False, ())}.get(mode, (True, (0x8020_0000,)))
    assert (form is not None) == bool(levels)
    if form is not None:
        assert (form.root, form.sizes) == (0x8020_0000, (4096,) * levels)


def test_entries_of_page_tables() -> None:
    """An entry has the page's number from bit 10 on; one that is valid and may be neither read, written nor executed
    leads to another table."""

    def entry(page: int, bits: int) -> int:
        return page << 10 | bits

    # D, A, G and U (0xf0) tell nothing of it; W, X and R (0xe) make it a page; bits 54 to 63 are no address.
    root = [entry(0x1000, 0x01), entry(0x2000, 0xF1), entry(0x3000, 0x03), entry(0x4000, 0x09), entry(0x5000, 0xF0),
            entry(0x6000, 0x01) | 0xFFC0 << 48, entry((1 << 44) - 1, 0x01)]  # fmt: skip
    memory = BytesMemory({0x8020_0000: struct.pack("<512Q", *root, *[0] * 505)})
    form = RISCV.table_form({"satp": SV39 | 0x8_0200}.get)
    assert form is not None
    below = (0x8020_0000, 0x100_0000, 0x200_0000, 0x600_0000, (1 << 56) - 0x1000)
    found, whole = form.tables(memory, "little")
    assert whole and found == [(at, at + 0x1000) for at in below]


PC = 0xFFFF_FFFF_8000_1000
TOLD = " V      =   0\n pc       ffffffff80001000\n mstatus  {}\n mip      0000000000000080\n"
OFF, ON = "0000000a000000a0", "0000000a000000a2"
WFI, NOP, RET = 0x1050_0073, 0x0000_0013, 0x0000_8067
BACK_1, BACK_2 = 0xFFDF_F06F, 0xFF9F_F06F  # j .-4 and j .-8, as gas writes them
SHORT_1, SHORT_2 = 0x0001_BFF5, 0x8082_BFE5  # the same compressed, with c.nop and c.jr ra behind them

# Nine words around the program counter, which is at the fifth; whether that is a loop of nothing but waiting.
CODE: list[tuple[tuple[int, ...], bool]] = [
    ((RET, RET, RET, RET, WFI, BACK_1, RET, RET, RET), True),
    ((RET, RET, RET, WFI, BACK_1, RET, RET, RET, RET), True),
    ((RET, RET, RET, RET, WFI, SHORT_1, RET, RET, RET), True),
    ((RET, RET, WFI, WFI, BACK_2, RET, RET, RET, RET), True),
    ((RET, RET, RET, WFI, WFI, SHORT_2, RET, RET, RET), True),
    ((RET, RET, RET, RET, WFI, WFI, BACK_2, RET, RET), True),
    # Something else in the loop, a loop that begins behind the program counter, one that is left.
    ((RET, RET, RET, NOP, BACK_1, RET, RET, RET, RET), False),
    ((RET, RET, NOP, WFI, SHORT_2, RET, RET, RET, RET), False),
    ((RET, RET, RET, RET, NOP, WFI, BACK_1, RET, RET), False),
    ((RET, RET, RET, RET, WFI, WFI, BACK_1, RET, RET), False),
    ((RET, RET, RET, RET, WFI, RET, RET, RET, RET), False),
    ((RET, RET, RET, RET, WFI, 0x0040_006F, RET, RET, RET), False),
    ((RET, RET, RET, RET, WFI, 0xFFDF_F0EF, RET, RET, RET), False),  # jal ra, .-4
    ((WFI,) * 9, False),
    ((), False),
]


@pytest.mark.parametrize(("code", "dead"), CODE, ids=range(len(CODE)))
def test_a_guest_that_nothing_wakes(code: tuple[int, ...], dead: bool) -> None:
    def words(address: int, count: int) -> tuple[int, ...]:
        assert (address, count) == (PC - 16, 9)
        return code

    for status in (OFF, "0000000a000000a1", "0000000000000020"):
        assert RISCV.is_dead(TOLD.format(status), words) is dead
    for told in (TOLD.format(ON), " pc       ffffffff80001000\n", f" mstatus  {OFF}\n"):
        assert RISCV.is_dead(told, words) is False
