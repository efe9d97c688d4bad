# SPDX-License-Identifier: GPL-2.0-or-later
"""Registers by role, of CPUs of which the debugger has not all registers: what is not known is None, and not 0."""

from __future__ import annotations

import pytest

from gdb_lmb.arches.linux import linux_architecture
from gdb_lmb.core.memory import BytesMemory

ARM64, X86 = linux_architecture("aarch64"), linux_architecture("x86_64")
EL0, EL1, EL2 = 0, 5, 9
"""PSTATE in user mode, in a kernel at EL1, in one at EL2."""
PC = 0x4020_0000


@pytest.mark.parametrize(
    ("registers", "paging", "user"),
    [
        ({"cpsr": EL1, "SCTLR": 0x30D0_0801}, True, False),
        ({"cpsr": EL1, "SCTLR": 0}, False, False),
        ({"cpsr": EL1, "SCTLR_EL1": 1}, True, False),
        ({"cpsr": EL0, "SCTLR": 1}, True, True),
        ({"cpsr": EL2, "SCTLR": 1, "SCTLR_EL2": 0}, False, False),
        ({"cpsr": EL2, "SCTLR": 1}, None, False),
        ({"cpsr": EL1}, None, False),
        # Without the exception level nothing tells which of them is in force.
        ({"SCTLR": 1, "SCTLR_EL2": 0}, None, None),
        ({}, None, None),
    ],
)
def test_arm64(registers: dict[str, int], paging: bool | None, user: bool | None) -> None:
    cpu = ARM64.cpu_state({"pc": PC, **registers}.get)
    assert (cpu.paging, cpu.user) == (paging, user)


def test_tables_and_general_registers_of_arm64() -> None:
    cpu = ARM64.cpu_state({"pc": PC, "cpsr": EL1, "TTBR1_EL1": 0x4123_0001, "TTBR0_EL1": 0, "x0": 0, "x9": 7}.get)
    assert cpu.tables == (0x4123_0000,)
    assert (len(cpu.general), cpu.general[0], cpu.general[1], cpu.general[9]) == (31, 0, None, 7)
    known = {"TTBR1_EL1": 0x4123_0001, "TCR_EL1": 2 << 30 | 16 << 16}
    assert ARM64.table_form({"cpsr": EL1, **known}.get) is not None
    assert ARM64.table_form(known.get) is None, "no exception level"


@pytest.mark.parametrize("lost", ["cr0", "cr3", "cr4", "efer"])
def test_x86_walks_no_tables_by_registers_that_are_not_known(lost: str) -> None:
    known = {"pc": PC, "cr0": 1 << 31, "cr3": 0, "cr4": 1 << 5, "efer": 1 << 10}
    cpu = X86.cpu_state(known.get)
    assert (cpu.paging, cpu.tables, len(cpu.paged)) == (True, (0,), 1), "a table may be at 0"
    assert X86.table_form(known.get) is not None and X86.paged_memory(BytesMemory({}), known.get) is not None
    del known[lost]
    cpu = X86.cpu_state(known.get)
    assert (cpu.paging, cpu.paged) == (None if lost == "cr0" else True, ())
    assert X86.table_form(known.get) is None and X86.paged_memory(BytesMemory({}), known.get) is None


def test_x86_without_efer_is_in_no_long_mode_where_that_cannot_be() -> None:
    known = {"pc": PC, "cr0": 1 << 31, "cr3": 0x2000, "cr4": 1 << 4}
    form = X86.table_form(known.get)
    assert form is not None and form.sizes == (4096, 4096) and len(X86.cpu_state(known.get).paged) == 1


def test_a_program_counter_that_is_not_known() -> None:
    cpu = X86.cpu_state({}.get)
    assert cpu.pc is None and not cpu.below(1 << 64) and not cpu.past(0)
    assert X86.cpu_state({"pc": 0}.get).below(1)


def test_x86_in_user_mode_and_with_interrupts_off() -> None:
    def told(**registers: int) -> tuple[bool | None, bool | None, bool | None]:
        cpu = X86.cpu_state(registers.get)
        return cpu.user, cpu.masked, cpu.paging

    assert told() == (None, None, None)
    assert told(cs=0x33, eflags=0x246, cr0=0x8005_0033) == (True, False, True)
    assert told(cs=0x10, eflags=0x046, cr0=0x11) == (False, True, False)
    assert told(cs=0x11, eflags=0x200, cr0=1 << 31) == (False, False, True)
    # Without paging no table is in force, whatever cr3 holds.
    known = {"pc": PC, "cr0": 1, "cr3": 0x2000, "cr4": 1 << 5, "efer": 1 << 8}
    assert X86.table_form(known.get) is None and X86.cpu_state(known.get).paged == ()
    # EFER.LMA, and no other bit of it, is long mode: with PAE alone there are three levels.
    form = X86.table_form({**known, "cr0": 1 << 31}.get)
    assert form is not None and len(form.sizes) == 3


def test_the_top_table_of_x86() -> None:
    # CR3 has the address in bits 12 to 51, the PCID below it, and flags above it.
    known = {"pc": PC, "cr0": 1 << 31, "cr4": 1 << 5, "efer": 1 << 10}
    for cr3, table in ((0x800F_FFFF_FFFF_FFFF, 0x000F_FFFF_FFFF_F000), (0x8000_0000_0123_5FFF, 0x0123_5000)):
        assert X86.cpu_state({**known, "cr3": cr3}.get).tables == (table,)


def test_arm64_with_interrupts_off() -> None:
    for state, masked in ((0x3C5, True), (0x0C5, True), (0x085, False), (0x045, False), (0x005, False)):
        assert ARM64.cpu_state({"pc": PC, "cpsr": state}.get).masked is masked
    assert ARM64.cpu_state({"pc": PC}.get).masked is None
    # In the kernel's own addresses its registers tell of no kernel to come.
    assert ARM64.cpu_state({"pc": 1 << 63, "cpsr": EL1, "x0": 1}.get).general == ()
