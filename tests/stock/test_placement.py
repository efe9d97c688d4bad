# SPDX-License-Identifier: GPL-2.0-or-later
"""Which kernel runs, where RAM holds older images of the same build: after resets, and with a parked CPU selected."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from gdb_lmb.kernels.stock import find_kernel
from gdb_lmb.runner.session import CommandError, GuestSession
from tests.helpers.initramfs import SPIN_VA, write_kexec_initrd
from tests.helpers.stock import AMD64, CONSOLE, KERNEL_MAP_VA, boot, plain_read, shown, words_at
from tests.helpers.stock_arm64 import guest_with_a_second

pytestmark = pytest.mark.stock

KERNEL_TEXT = 0x1000000
"""`CONFIG_PHYSICAL_START`: where the image is linked to lie."""

RESETS = ("-action", "reboot=reset")


def really_at(guest: GuestSession) -> int:
    """Return by how much the image is moved physically, by QEMU's own walk of the page tables."""
    text = int(guest.command("output (unsigned long)&_text"))
    found = re.search(r"gpa: 0x(\w+)", guest.command(f"monitor gva2gpa {text:#x}"))
    assert found is not None
    moved = json.loads(guest.command("lmb-attach --json"))
    return int(found[1], 16) - (text - int(moved["virtual"], 16) - KERNEL_MAP_VA)


def run_to(guest: GuestSession, place: str) -> None:
    guest.command(f"tbreak {place}")
    guest.command("continue")


@pytest.mark.parametrize("name", [AMD64[0], AMD64[2]])
def test_a_reset_is_noticed(name: str) -> None:
    """The image of the last boot stays in RAM, at another place: it is never shown, and the new one is waited for."""
    with boot(find_kernel(name, notice=print), words=RESETS) as guest:
        guest.run_until("memblock_free_all")
        for _ in range(2):
            guest.command("monitor system_reset")
            for command in ("lmb-check", "lmb-dump --json", "lmb-attach"):
                with pytest.raises(CommandError, match=r"is run by this CPU at 0xfff0: .* the guest was reset"):
                    guest.command(command)
            told = json.loads(guest.command("lmb-attach --wait --json").splitlines()[-1])
            assert (told["at_first_instruction"], told["phase"]) == (True, "identity-mapped")
            assert sum(size for _, size, _, _ in shown(guest)["memory"]) == 0
            guest.run_until("memblock_free_all")
            assert int(told["physical"], 16) == really_at(guest)
            assert shown(guest) == plain_read(guest)
            assert "lmb-check: clean" in guest.command("lmb-check")


ARM64 = "debian:6.12-cloud-arm64"
PLACE = {
    # What `lmb-attach` calls the physical place, in the kernel's own variables, and where the image begins from there.
    AMD64[0]: ("(unsigned long)phys_base", KERNEL_TEXT),
    ARM64: ("(unsigned long)&_text - kimage_voffset", 0),
}


def with_a_second(name: str, folder: Path, crash_on: int | None = None) -> GuestSession:
    """Start a kernel on four CPUs that starts itself again, by kexec or by crashing on a CPU."""
    kernel = find_kernel(name, notice=print)
    if name == ARM64:
        return guest_with_a_second(kernel, folder, 4, crash_on)
    one, room = ("", "") if crash_on is None else ("nr_cpus=1", "crashkernel=128M")
    initrd = write_kexec_initrd(folder / "initrd", kernel.image, f"{CONSOLE} nokaslr {one}", crash_on)
    return boot(kernel, f"nokaslr {room}", smp=4, initrd=initrd)


def attached(guest: GuestSession, words: str = "") -> dict[str, Any]:
    told = json.loads(guest.command(f"lmb-attach --json {words}").splitlines()[-1])
    assert isinstance(told, dict)
    return told


def refused(guest: GuestSession, threads: tuple[int, ...], why: str, *commands: str) -> None:
    for thread in threads:
        guest.command(f"thread {thread}")
        for command in ("lmb-check", "lmb-attach", "lmb-dump", *commands):
            with pytest.raises(CommandError, match=why):
                guest.command(command)


@pytest.mark.parametrize("name", PLACE)
def test_a_crash_kernel_on_another_cpu(tmp_path: Path, name: str) -> None:
    """The other CPUs are halted in the kernel that has crashed, which is whole in memory, and of the same build."""
    dead = r"the kernel found has crashed, and another CPU .* with `thread 3`"
    with with_a_second(name, tmp_path, crash_on=2) as guest:
        guest.command("lmb-attach --wait")
        run_to(guest, "machine_kexec")
        assert "thread is 3 " in guest.command("thread")
        low, high = (int(guest.command(f"output crashk_res.{name}")) for name in ("start", "end"))
        first = int(guest.command(f"output {PLACE[name][0]}"))
        for thread in (1, 2, 3, 4):  # it runs still, on its way out
            guest.command(f"thread {thread}")
            assert int(attached(guest)["physical"], 16) == first
        guest.command("thread 3")
        run_to(guest, "*kexec_crash_image->start")
        assert low <= int(guest.command("output (long)$pc")) <= high
        refused(guest, (1, 2, 3, 4), dead, "lmb-attach --wait")
        guest.command("thread 3")
        run_to(guest, "memblock_free_all")
        assert "thread is 3 " in guest.command("thread")
        moved = int(attached(guest)["physical"], 16)
        assert low <= moved + PLACE[name][1] <= high and moved == int(guest.command(f"output {PLACE[name][0]}"))
        assert shown(guest) == plain_read(guest)
        assert "lmb-check: clean" in guest.command("lmb-check")
        refused(guest, (1, 2, 4), dead, "lmb-attach --wait")
        guest.command("thread 3")
        run_to(guest, f"*{SPIN_VA:#x}")
        refused(guest, (1, 2, 3, 4), dead, "lmb-attach --wait")


@pytest.mark.parametrize("name", PLACE)
def test_a_kernel_started_by_kexec(tmp_path: Path, name: str) -> None:
    """The other CPUs stay stopped in the kernel before, which is whole in memory, and of the same build."""
    with with_a_second(name, tmp_path) as guest:
        guest.command("lmb-attach --wait")
        run_to(guest, "machine_kexec")
        before = int(guest.command(f"output {PLACE[name][0]}"))
        for thread in (4, 1):
            guest.command(f"thread {thread}")
            assert int(attached(guest)["physical"], 16) == before
        if name != ARM64:
            # What is loaded may take the place of a process's page tables. The kernel's own are in its image.
            for thread, tables in ((4, "init_top_pgt"), (3, "empty_zero_page"), (2, "init_top_pgt")):
                guest.command(f"thread {thread}")
                guest.command(f"set $cr3 = (unsigned long)&{tables} - {KERNEL_MAP_VA:#x}")
            guest.command("thread 1")
        run_to(guest, "*kexec_image->start")
        between = guest.command("output/x (long)$pc")
        refused(guest, (4, 1), f"no kernel of the build of .* is run by this CPU at {between}: ")
        guest.command("thread 4")
        assert attached(guest, "--wait")["at_first_instruction"] is True
        run_to(guest, "memblock_free_all")
        after, lists = int(guest.command(f"output {PLACE[name][0]}")), plain_read(guest)
        assert after != before
        for thread in (4, 3, 2, 1):
            guest.command(f"thread {thread}")
            assert int(attached(guest)["physical"], 16) == int(attached(guest, "--wait")["physical"], 16) == after
            assert shown(guest) == lists
            assert "lmb-check: clean" in guest.command("lmb-check")
        # Where the new one stops too, the CPU that is looked at tells.
        guest.command("thread 4")
        stopped = guest.command("output/x (long)$pc")
        guest.command("thread 1")
        guest.command(f"set $pc = {stopped}")
        assert int(attached(guest)["physical"], 16) == after
        why = "the kernel found has started another one, and has stopped this CPU: .* with `thread 1`"
        refused(guest, (4, 2), why, "lmb-attach --wait", "lmb-trace start --until free_area_init")


@pytest.mark.parametrize("words", [(), ("-bios", "/usr/share/ovmf/OVMF.fd")], ids=["SeaBIOS", "OVMF"])
def test_a_command_that_must_not_run_the_guest_never_does(words: tuple[str, ...]) -> None:
    """Whichever CPU is selected, and however far the boot has come since the kernel was in its place."""
    with boot(find_kernel(AMD64[0], notice=print), "nokaslr", smp=4, words=words) as guest:
        guest.command("lmb-attach --wait")
        for way in ("stepi 3", "tbreak setup_arch", "tbreak memblock_add", "tbreak memblock_free_all"):
            guest.command(way)
            if way.startswith("tbreak"):
                guest.command("continue")
            before = guest.command("info registers")
            for thread in (4, 1):
                for command in (
                    "lmb-attach --wait",
                    "lmb-attach",
                    "lmb-check",
                    "lmb-trace start --lockstep --until free_area_init",
                    "lmb-trace stop",
                ):
                    guest.command(f"thread {thread}")
                    guest.command(command)
                    guest.command("thread 1")
                    assert guest.command("info registers") == before, (way, thread, command)


def test_a_check_reads_no_device() -> None:
    """Reading an e1000's interrupt causes clears them."""
    kernel = find_kernel(AMD64[0], notice=print)
    with boot(kernel, "nokaslr", words=("-device", "e1000,netdev=n", "-netdev", "hubport,id=n,hubid=0")) as guest:
        guest.run_until("memblock_free_all")
        found = re.search(r"BAR0: 32 bit memory at 0x(\w+) ", guest.command("monitor info pci"))
        assert found is not None
        causes = int(found[1], 16) + 0xC0
        direct = int(guest.command("output page_offset_base"))

        def raise_one() -> None:
            guest.command("maintenance packet Qqemu.PhyMemMode:1")
            guest.command(f"set var *(unsigned *){causes + 8:#x} = 4")
            guest.command("maintenance packet Qqemu.PhyMemMode:0")

        raise_one()
        assert words_at(guest, causes, 1)[0] & 4
        assert not words_at(guest, causes, 1)[0] & 4, "it is the reading that clears it"
        for name in ("memory", "reserved"):
            raise_one()
            before = guest.command(f"output (long)memblock.{name}.regions")
            guest.command(f"set var memblock.{name}.regions = (void *){direct + causes:#x}")
            says = f"the array of {name} is at {direct + causes:#x}, which "
            assert f"finding: array-pointer: {says}" in guest.command("lmb-check")
            for command in ("lmb-dump", "lmb-attach"):
                guest.command(command)
            for command in ("lmb-who 0x1000", "lmb-free", "lmb-map", "lmb-whatif alloc 4K"):
                with contextlib.suppress(CommandError):
                    guest.command(command)
            assert words_at(guest, causes, 1)[0] & 4, name
            guest.command(f"set var memblock.{name}.regions = (void *){before}")


@pytest.mark.long
def test_a_kernel_above_64_gib() -> None:
    """KASLR uses all of a large machine's memory, which QEMU need not really have."""
    kernel, highest = find_kernel(AMD64[0], notice=print), 0
    backend = "memory-backend-ram,id=m,size=200G,reserve=off"
    for _ in range(12):
        with boot(kernel, memory="200G", words=("-machine", "pc,memory-backend=m", "-object", backend)) as guest:
            told = json.loads(guest.command("lmb-attach --wait --json").splitlines()[-1])
            assert told["at_first_instruction"] is True
            guest.run_until("e820__memory_setup")
            guest.command("python from gdb_lmb.programs.linux import place; place._LAST.clear()")
            assert int(told["physical"], 16) == really_at(guest)
            highest = max(highest, int(told["physical"], 16))
        if highest > 64 << 30:
            break
    assert highest > 64 << 30
