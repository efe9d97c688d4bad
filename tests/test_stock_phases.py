# SPDX-License-Identifier: GPL-2.0-or-later
"""Stock x86-64 kernels at stops where gdb itself sees nothing of them: before paging, and in user mode.

A lane of its own (`scripts/test --kernels`), because it brings kernels into the cache first.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from gdb_lmb.runner.session import CommandError, GuestSession
from gdb_lmb.runner.stock import KernelFiles, find_kernel
from tests.initramfs import SPIN_VA, write_initrd
from tests.stock import (
    AMD64,
    KERNEL_MAP_VA,
    boot,
    console_of,
    dump,
    moved_by,
    printed_firmware,
    regions_of,
    shown_firmware,
    words_at,
)

pytestmark = pytest.mark.stock


@pytest.fixture(scope="session", params=AMD64)
def kernel(request: pytest.FixtureRequest) -> KernelFiles:
    """One stock kernel, brought into the cache if it is not there."""
    return find_kernel(request.param, notice=print)


def linked(guest: GuestSession, name: str) -> int:
    """Return the address of a symbol where gdb has it now."""
    return int(guest.command(f"output/x (unsigned long)&{name}"), 16)


def read_physically(guest: GuestSession, moved: int) -> dict[str, list[tuple[int, int]]]:
    """Read (base, size) of both arrays, which lie in the image, with QEMU's monitor.

    `moved` is what a virtual address of the image is more than its physical one.
    """
    # bottom_up, current_limit, then {cnt, max, total_size, regions, name} of both lists.
    words = words_at(guest, linked(guest, "memblock") - moved, 12)
    out = {}
    for name, (cnt, _, _, array, _) in (("memory", words[2:7]), ("reserved", words[7:12])):
        rows = words_at(guest, array - moved, 3 * cnt)
        out[name] = [(rows[3 * at], rows[3 * at + 1]) for at in range(cnt)]
    return out


def physical_mode(guest: GuestSession) -> str:
    """Return what QEMU's stub says about physical reads: "0" for off."""
    return guest.command("maintenance packet qqemu.PhyMemMode").partition("received: ")[2].strip().strip('"')


def test_in_user_mode_with_the_kernels_pages_unmapped(kernel: KernelFiles, tmp_path: Path) -> None:
    initrd = write_initrd(tmp_path / "initrd", "x86_64")
    with boot(kernel, "pti=on", initrd=initrd) as guest:
        guest.run_until("memblock_free_all")
        before = regions_of(dump(guest))
        physical, virtual = moved_by(guest)
        moved = KERNEL_MAP_VA + virtual - physical
        guest.command(f"hbreak *{SPIN_VA:#x}")
        guest.command("continue")
        guest.command("delete")
        assert int(guest.command("output/x $pc"), 16) == SPIN_VA and int(guest.command("output $cs & 3")) == 3
        assert "page tables isolation" in console_of(guest)

        def unmapped() -> None:
            with pytest.raises(CommandError, match="Cannot access memory"):
                guest.command("output memblock.memory.cnt")

        unmapped()
        # Forget where the kernel was: physical memory must tell.
        guest.command("python from gdb_lmb.target import place; place._LAST.clear()")
        snapshot = dump(guest)
        assert snapshot["phase"] == "discarded" and snapshot["refused"] == {}
        assert not snapshot["torn"] and snapshot["stop"] == {"pc": f"{SPIN_VA:#x}", "symbol": None}
        rows = {name: [row[:2] for row in rows] for name, rows in regions_of(snapshot).items()}
        assert rows == read_physically(guest, moved)
        assert regions_of(snapshot)["memory"] == before["memory"]
        assert shown_firmware(snapshot) == printed_firmware(console_of(guest), updated=True)
        assert "lmb-check: clean" in guest.command("lmb-check")
        assert moved_by(guest) == (physical, virtual)
        # Nothing of it is left behind: reads are virtual again, and gdb goes on as before.
        assert physical_mode(guest) == "0"
        unmapped()
        # The next interrupt takes the CPU, and gdb, back to where the kernel is mapped.
        guest.command("hbreak ktime_get")
        guest.command("continue")
        assert regions_of(dump(guest)) == regions_of(snapshot)
        assert int(guest.command("output memblock.memory.cnt")) == len(before["memory"])
