# SPDX-License-Identifier: GPL-2.0-or-later
"""Exceptions in stock kernels, inside memblock and outside: whether the lists may be between two states.

Each is raised by what lies in the guest's memory then. gdb itself cannot follow a stack through them: the kernel's
entry code is in assembly that debug information does not describe.
"""

from __future__ import annotations

import pytest

from gdb_lmb.kernels.cache import KernelFiles
from gdb_lmb.kernels.stock import find_kernel
from gdb_lmb.runner.existing import CoreSession
from gdb_lmb.runner.session import GuestSession
from tests.helpers.dump import dump_of
from tests.helpers.stock import AMD64, boot, dump, faults
from tests.helpers.stock_arm64 import guest_of

pytestmark = pytest.mark.stock

# 220 pages that are taken out of RAM, a MiB apart: more than the static array of regions has room for.
HOLES = f"memmap={','.join(f'4K${mib}M' for mib in range(140, 360))}"
# As bytes: ud2; mov %eax, 0; an arm64 instruction that is permanently undefined.
UD2, FAULT, UDF = (0x0F, 0x0B), (0x89, 0x04, 0x25, 0, 0, 0, 0), (0, 0, 0, 0)


@pytest.fixture(scope="module", params=AMD64)
def kernel(request: pytest.FixtureRequest) -> KernelFiles:
    """One stock kernel, brought into the cache if it is not there."""
    return find_kernel(request.param, notice=print)


def plant(guest: GuestSession, code: tuple[int, ...]) -> None:
    """Put other instructions where the guest goes on."""
    for at, byte in enumerate(code):
        guest.command(f"set var *(unsigned char *)($pc + {at}) = {byte}")


def inside(guest: GuestSession) -> str | None:
    """Return the function that lmb-check says the stop is inside of, and None for a state that it judges."""
    text = guest.command("lmb-check")
    assert dump(guest)["torn"] is ("torn: " in text) is ("NOT verified" in text)
    return text.partition("the stop is inside ")[2].partition(":")[0] or None


def check_dumped(guest: GuestSession, kernel: KernelFiles, where: str | None) -> None:
    """Check that dumps of the guest tell the same, with gdb's symbols where they were linked."""
    for words in ("", "-p"):
        with dump_of(guest, words) as path, CoreSession(path, kernel.vmlinux, timeout_s=120) as core:
            text = core.command("lmb-check")
            assert (text.partition("the stop is inside ")[2].partition(":")[0] or None) == where


def test_an_undefined_instruction_before_there_are_tables_of_exceptions(kernel: KernelFiles) -> None:
    with boot(kernel) as guest:
        # A page fault that is no fault of anybody's, as memory is mapped when it is first used.
        guest.run_until("__early_make_pgtable")
        assert "early_idt_handler_common" in guest.command("bt") and inside(guest) is None
        guest.run_until("memblock_insert_region")
        guest.command("advance *($pc + 24)")
        plant(guest, UD2)
        guest.run_until("do_early_exception")
        assert "memblock" not in guest.command("bt")
        assert inside(guest) in ("memblock_insert_region", "memblock_add_range")
        assert guest.verdict().exit_status == 5
        check_dumped(guest, kernel, inside(guest))


def test_a_page_fault_while_an_array_is_doubled(kernel: KernelFiles) -> None:
    with boot(kernel, HOLES) as guest:
        guest.run_until("memblock_double_array")
        guest.run_until("__early_make_pgtable")
        assert inside(guest) == "memblock_double_array"
        check_dumped(guest, kernel, "memblock_double_array")
        guest.command("finish")
        assert inside(guest) == "memblock_double_array"
        guest.run_until("memblock_free_all")
        assert inside(guest) is None and faults(guest) == []


@pytest.mark.parametrize("where", ["memblock_add_range", None])
def test_a_kernel_that_dies(kernel: KernelFiles, where: str | None) -> None:
    with boot(kernel) as guest:
        guest.run_until("initmem_init")
        if where is None:
            guest.run_until("memblock_alloc_range_nid")
            guest.command("finish")
        else:
            guest.run_until(where)
            guest.run_until("memblock_insert_region")
        plant(guest, FAULT)
        for place in ("exc_page_fault", "panic"):
            guest.run_until(place)
            assert (place, inside(guest)) == (place, where)
        check_dumped(guest, kernel, where)


@pytest.mark.parametrize("torn", [True, False])
def test_an_undefined_instruction_on_arm64(torn: bool) -> None:
    kernel = find_kernel("debian:6.12-cloud-arm64", notice=print)
    with guest_of(kernel) as guest:
        guest.run_until("memblock_insert_region")
        if not torn:
            guest.run_until("paging_init")
        plant(guest, UDF)
        where = inside(guest)
        assert (where is not None) is torn
        for place in ("do_el1_undef", "panic"):
            guest.run_until(place)
            assert (place, inside(guest)) == (place, where)
        check_dumped(guest, kernel, where)
