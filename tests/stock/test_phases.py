# SPDX-License-Identifier: GPL-2.0-or-later
"""Stock x86-64 kernels at stops where gdb itself sees nothing of them: before paging, and in user mode.

A lane of its own (`scripts/test --kernels`), because it brings kernels into the cache first.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gdb_lmb.kernels.cache import KernelFiles
from gdb_lmb.kernels.stock import find_kernel
from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import CommandError, GuestSession
from tests.helpers.initramfs import SPIN_VA, write_initrd
from tests.helpers.stock import (
    AMD64,
    CONSOLE,
    KERNEL_MAP_VA,
    boot,
    console_of,
    dump,
    faults,
    moved_by,
    plain_read,
    printed_firmware,
    regions_of,
    shown_firmware,
    words_at,
)

pytestmark = pytest.mark.stock

PHASES = ["compressed", "unmapped", "identity-mapped", "mapped", "allocator complete", "handed over", "discarded"]

# From the first instruction at the kernel's own addresses on: (run until, the phase there).
STOPS = [
    ("x86_64_start_kernel", "mapped"),
    ("setup_arch", "mapped"),
    # Arrays may grow from within this on, but its memory is not all there yet.
    ("e820__memblock_setup", "mapped"),
    ("init_mem_mapping", "mapped"),
    ("memblock_free_all", "allocator complete"),
    ("memblock_discard", "handed over"),
    ("free_initmem", "discarded"),
]


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
        guest.command("python from gdb_lmb.programs.linux import place; place._LAST.clear()")
        snapshot = dump(guest)
        assert snapshot["phase"] == "discarded" and snapshot["refused"] == {}
        assert not snapshot["torn"] and snapshot["stop"] == {"pc": f"{SPIN_VA:#x}", "symbol": None}
        rows = {name: [row[:2] for row in rows] for name, rows in regions_of(snapshot).items()}
        assert rows == read_physically(guest, moved)
        assert regions_of(snapshot)["memory"] == before["memory"]
        assert shown_firmware(snapshot, "firmware_edited") == printed_firmware(console_of(guest), updated=True)
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


def hbreak(guest: GuestSession, address: int) -> None:
    """Run to an address, as the CPU will address it there."""
    guest.command(f"hbreak *{address:#x}")
    guest.command("continue")
    guest.command("delete")
    assert int(guest.command("output/x $pc"), 16) == address


def check_stops(guest: GuestSession) -> None:
    """Follow the boot from the kernel's own addresses on to its end."""
    for where, phase in STOPS:
        guest.run_until(where)
        snapshot = dump(guest)
        assert (where, snapshot["phase"], snapshot["refused"]) == (where, phase, {})
        assert regions_of(snapshot) == plain_read(guest)
        check_answers(guest, phase)


def check_answers(guest: GuestSession, phase: str) -> None:
    """Before the hand-over memblock has the free memory, afterwards the page allocator; no answer without a list."""
    if phase not in ("allocator complete", "handed over", "discarded"):
        return
    gone = phase != "allocator complete"
    first = "handed over: what was free then is the page allocator's now"
    base = json.loads(guest.command("lmb-free --json"))["holes"][-1]["base"]
    texts = [guest.command(command).splitlines() for command in (f"lmb-who {base}", "lmb-free", "lmb-map")]
    texts.append(guest.command("lmb-whatif alloc 64K").splitlines())
    assert [(lines[0] == first) for lines in texts] == [gone] * 4
    for command in ("lmb-dump memory", "lmb-map"):
        assert guest.command(command).count(". free") == (not gone)
    told = texts[3][gone]  # from 6.12 on its functions see that slab is up
    assert ("page allocator has had since" in told or "cannot be told: the slab allocator is up" in told) == gone
    assert (f"{base}: {'handed over' if gone else 'free'}") in texts[0]
    assert guest.command(f"output $lmb_region({base})").startswith('"handed over [' if gone else '"free [')
    for command in (f"lmb-who {base}", "lmb-free", "lmb-map", "lmb-whatif alloc 64K"):
        assert json.loads(guest.command(f"{command} --json"))["closed"] is gone
    if gone:
        return
    # What lies there is known to be in use: the kernel's own banner.
    assert guest.command("output $lmb_region(linux_banner)").startswith('"reserved [')
    guest.command("set var $saved = memblock.reserved.regions")
    guest.command("set var memblock.reserved.regions = 0")
    for command in ("lmb-who linux_banner", "lmb-free", "lmb-map", "output $lmb_region(linux_banner)"):
        with pytest.raises(CommandError, match="no answer without the reserved list"):
            guest.command(command)
    guest.command("set var memblock.reserved.regions = $saved")
    guest.command("set var $base = memblock.reserved.regions[1].base")
    guest.command("set var memblock.reserved.regions[1].base = memblock.reserved.regions[2].base + 0x10000000")
    for command in ("lmb-who linux_banner", "lmb-free", "lmb-map"):
        assert re.match(r"warning: \d+ findings?; lmb-check lists them\n", guest.command(command))
    guest.command("set var memblock.reserved.regions[1].base = $base")


def test_every_phase_that_a_vmlinux_goes_through(kernel: KernelFiles, tmp_path: Path) -> None:
    """QEMU boots the ELF itself by its PVH note: unmoved, and from 32-bit code without paging on."""
    options = QemuOptions(append=CONSOLE, memory="512M", initrd=write_initrd(tmp_path / "initrd", "x86_64"))
    with GuestSession(kernel.vmlinux, options, timeout_s=120) as guest:
        hbreak(guest, linked(guest, "pvh_start_xen") - KERNEL_MAP_VA)
        assert int(guest.command("output/x $cr0"), 16) >> 31 == 0
        with pytest.raises(CommandError, match="Cannot access memory"):
            guest.command("output memblock.memory.cnt")
        snapshot = dump(guest)
        assert snapshot["phase"] == "unmapped" and faults(guest) == []
        rows = {name: [row[:2] for row in rows] for name, rows in regions_of(snapshot).items()}
        assert rows == read_physically(guest, KERNEL_MAP_VA)
        # Before June 2024 an empty list has a dummy.
        assert rows["memory"] == rows["reserved"] in ([], [(0, 0)])
        assert "moved by 0x0 physically, by 0x0 virtually" in guest.command("lmb-attach")

        hbreak(guest, linked(guest, "startup_64") - KERNEL_MAP_VA)
        assert int(guest.command("output/x $cr0"), 16) >> 31 == 1
        assert dump(guest)["phase"] == "identity-mapped"
        check_stops(guest)


def test_every_phase_that_a_bzimage_goes_through(kernel: KernelFiles, tmp_path: Path) -> None:
    # Without an /init to run, it would not come to free_initmem().
    with boot(kernel, initrd=write_initrd(tmp_path / "initrd", "x86_64")) as guest:
        with pytest.raises(CommandError, match="still compressed at this stop"):
            guest.command("lmb-dump")
        guest.command("lmb-attach --wait")
        assert dump(guest)["phase"] == "identity-mapped"
        check_stops(guest)


def test_what_is_to_be_zero_says_nothing_before_it_is(kernel: KernelFiles) -> None:
    """The image has memory without content that the kernel's first instructions clear: whatever was there before."""
    with boot(kernel) as guest:
        guest.command("lmb-attach --wait")
        physical, virtual = moved_by(guest)
        at = int(guest.command("output/x (unsigned long)&_totalram_pages"), 16) - virtual - KERNEL_MAP_VA + physical
        guest.command(f"set var *(long *){at:#x} = 0x1234")
        assert words_at(guest, at, 1) == [0x1234]
        assert dump(guest)["phase"] == "identity-mapped" and faults(guest) == []


def test_the_search_of_all_ram_leads_to_the_kernel_too(kernel: KernelFiles) -> None:
    """Where neither registers nor stack of the decompressor tell, as with one that nobody has seen yet."""
    with boot(kernel) as guest:
        guest.command("python from gdb_lmb.arches.x86.boot import X86Linux; X86Linux.quick_way_points = lambda *_: ()")
        guest.command("lmb-attach --wait")
        # A search takes its time, and a guest that was let run meanwhile may be anywhere behind its beginning.
        phase = dump(guest)["phase"]
        assert phase not in ("compressed", "unmapped")
        if phase == "identity-mapped":
            guest.run_until("setup_arch")
        assert regions_of(dump(guest)) == plain_read(guest)


def test_phases_only_move_forward(kernel: KernelFiles) -> None:
    """Interrupted every 60 ms from reset to the panic at the end, symbols left where they were linked."""
    seen = []
    with boot(kernel) as guest:
        for _ in range(400):
            try:
                seen.append(str(dump(guest)["phase"]))
            except CommandError as error:
                # The decompressor has moved the image, but not relocated its pointers yet: nothing to show.
                assert "still compressed at this stop" in error.message or "not relocated yet" in error.message
                seen.append("compressed")
            if seen[-1] == "discarded":
                break
            with pytest.raises(CommandError, match="did not stop"):
                guest.command("continue", timeout_s=0.06)
    assert seen[0] == "compressed" and seen[-1] == "discarded" and len(seen) > 10
    assert [PHASES.index(phase) for phase in seen] == sorted(PHASES.index(phase) for phase in seen)
