# SPDX-License-Identifier: GPL-2.0-or-later
"""Stock kernels that EFI firmware starts: the image is a program of the firmware's, whose memory map comes with it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gdb_lmb.cli import main
from gdb_lmb.kernels.cache import KernelFiles
from gdb_lmb.kernels.stock import find_kernel
from gdb_lmb.runner.session import CommandError, GuestSession
from tests.helpers.stock import (
    AMD64,
    boot,
    console_of,
    dump,
    faults,
    last_dump,
    moved_by,
    plain_read,
    printed_firmware,
    printed_regions,
    regions_of,
    shown,
    shown_firmware,
)
from tests.helpers.stock_arm64 import RAM, guest_of
from tests.helpers.stock_entry import check_entry

pytestmark = pytest.mark.stock

OVMF = ("-bios", "/usr/share/ovmf/OVMF.fd")
QEMU_EFI = ("-bios", "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd")
ARM64 = "debian:6.12-cloud-arm64"


@pytest.fixture(params=AMD64)
def kernel(request: pytest.FixtureRequest) -> KernelFiles:
    """One stock kernel, brought into the cache if it is not there."""
    return find_kernel(request.param, notice=print)


def compare_with_printout(guest: GuestSession, *, with_memory: bool = True) -> None:
    """Run to the end of the kernel's own dump; hold text and regions against it."""
    guest.run_until("memblock_dump_all")
    guest.command("finish")
    console = console_of(guest)
    assert "efi: EFI v2" in console
    assert guest.command("lmb-dump --kernel") == last_dump(console)
    printed = printed_regions(last_dump(console))
    assert printed["reserved"] and (printed["memory"] or not with_memory)
    assert {name: [row[:3] for row in rows] for name, rows in printed.items()} == {
        name: [row[:3] for row in rows] for name, rows in shown(guest).items()
    }
    assert faults(guest) == []


@pytest.mark.parametrize("append", ["", "nokaslr"])
def test_a_boot_by_efi(kernel: KernelFiles, append: str) -> None:
    with boot(kernel, append, words=OVMF) as guest:
        for command in ("lmb-check", "lmb-attach"):
            with pytest.raises(CommandError, match=r"no kernel of the build of .* is run by this CPU"):
                guest.command(command)
        assert "gdb's symbols are " in guest.command("lmb-attach --wait")
        physical, virtual = moved_by(guest)
        assert (virtual == 0) == (append == "nokaslr")
        check_entry(guest, physical, virtual)
        guest.run_until("e820__memory_setup")
        guest.command("finish")
        early = dump(guest)
        assert early["phase"] == "mapped" and regions_of(early) == plain_read(guest)
        compare_with_printout(guest)
        guest.run_until("memblock_free_all")
        last = dump(guest)
        assert last["phase"] == "allocator complete"
        assert faults(guest) == [] and regions_of(last) == plain_read(guest)
        assert shown_firmware(early) == printed_firmware(console_of(guest))


@pytest.mark.parametrize("words", [(), ("-device", "virtio-rng-pci")], ids=["no-rng", "rng"])
@pytest.mark.parametrize("append", ["", "nokaslr"])
def test_arm64_by_efi(append: str, words: tuple[str, ...]) -> None:
    """With a source of random numbers the firmware's stub also moves the image physically."""
    kernel = find_kernel(ARM64, notice=print)
    # Where the image will be is only known once the stub runs, for hundredths of a second; a busy machine may look
    # too late. Where KASLR is off, the first instruction's address is known beforehand.
    for _ in range(5 if not append else 1):
        # EFI's own tables, not a device tree's, tell of the machine: where the console is they do not say so early.
        with guest_of(kernel, f"earlycon=pl011,0x9000000 {append}", words=(*QEMU_EFI, *words)) as guest:
            assert ("moved by 0x0 virtually" in guest.command("lmb-attach --wait")) == bool(append)
            if "__primary_switched in section" in guest.command("info symbol $pc"):
                follow_arm64(guest)
                return
            assert faults(guest) == []
    pytest.fail("the first instruction was never stopped at")


def follow_arm64(guest: GuestSession) -> None:
    """Hold the boot, from its first instruction on, against plain reads and the kernel's own dumps."""
    guest.run_until("setup_arch")
    assert faults(guest) == [] and shown(guest) == plain_read(guest)
    # First printed before the firmware's memory is taken over.
    compare_with_printout(guest, with_memory=False)
    compare_with_printout(guest)
    # What the firmware keeps for itself is memory that the kernel must not map.
    assert 4 in {flags for _, _, flags, _ in shown(guest)["memory"]}
    guest.run_until("memblock_free_all")
    assert faults(guest) == [] and shown(guest) == plain_read(guest)
    assert dump(guest)["phase"] == "allocator complete"
    check_uefi_map(guest)


def check_uefi_map(guest: GuestSession) -> None:
    """Hold memory to UEFI's map: what is no memory there, and what the firmware keeps, each told where it is wrong."""
    assert "not verified" not in guest.command("lmb-check")
    rows = shown(guest)["memory"]
    at = next(at for at, row in enumerate(rows) if row[2] == 4 and row[0] >= RAM)
    guest.command(f"set var memblock.memory.regions[{at}].flags = 0")
    found = faults(guest)
    assert found and all(re.fullmatch(r"\[.*\) of UEFI's map \(.*\) is memory that is mapped, but must not be", one)
                         for one in found)  # fmt: skip
    guest.command(f"set var memblock.memory.regions[{at}].flags = 4")
    last = len(rows) - 1
    end = rows[last][0] + rows[last][1]
    for grown in (f"regions[{last}].size", "total_size"):
        guest.command(f"set var memblock.memory.{grown} += 0x1000")
    assert faults(guest) == [f"memory [{end:#x}, {end + 0x1000:#x}) is not RAM in the firmware map"]
    for grown in (f"regions[{last}].size", "total_size"):
        guest.command(f"set var memblock.memory.{grown} -= 0x1000")
    assert faults(guest) == []


@pytest.mark.parametrize(("name", "words"), [*((name, OVMF) for name in AMD64), (ARM64, QEMU_EFI)])
def test_lockstep_by_efi(name: str, words: tuple[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "efi.jsonl"
    options = ["--memory", "512M", "--timeout", "120", f"--qemu-arg={words[0]}", f"--qemu-arg={words[1]}"]
    # From the first operation on: see test_arm64_by_efi.
    options += ["--append", "nokaslr"] if name == ARM64 else []
    assert main(["trace", name, *options, "--lockstep", "-o", str(out)]) == 0, capfd.readouterr()
    assert "kernel and model agree" in capfd.readouterr().out
    callers = {json.loads(line).get("op") for line in out.read_text().splitlines()}
    assert {"add_range", "free_all"} <= callers
