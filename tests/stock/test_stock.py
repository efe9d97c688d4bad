# SPDX-License-Identifier: GPL-2.0-or-later
"""Unmodified distribution kernels: what the commands show against the kernel's own printout and a plain read.

A lane of its own (`scripts/test --kernels`), because it brings kernels into the cache first.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gdb_lmb.kernels.cache import KernelFiles
from gdb_lmb.kernels.stock import find_kernel
from gdb_lmb.runner.session import CommandError, GuestSession
from tests.helpers.stock import (
    AMD64,
    KERNEL_MAP_VA,
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
    words_at,
)
from tests.helpers.stock_entry import check_entry

pytestmark = pytest.mark.stock


def two_nodes(megabytes: int) -> tuple[str, ...]:
    """Return QEMU's words for two nodes that share the memory."""
    half = megabytes // 2
    return ("-object", f"memory-backend-ram,id=m0,size={half}M", "-object", f"memory-backend-ram,id=m1,size={half}M",
            "-numa", "node,memdev=m0,cpus=0", "-numa", "node,memdev=m1,cpus=1")  # fmt: skip


MAX_NUMNODES = 1 << 10
"""CONFIG_NODES_SHIFT of all these kernels is 10."""

SETTINGS = [
    pytest.param(append, megabytes, nodes, id=f"{append or 'kaslr'}-{megabytes}M-{nodes}-node")
    for append in ("", "nokaslr")
    for megabytes in (512, 5120)
    for nodes in (1, 2)
]


@pytest.fixture(scope="session", params=AMD64)
def kernel(request: pytest.FixtureRequest) -> KernelFiles:
    """One stock kernel, brought into the cache if it is not there."""
    return find_kernel(request.param, notice=print)


@pytest.mark.parametrize(("append", "megabytes", "nodes"), SETTINGS)
def test_a_stock_boot(kernel: KernelFiles, append: str, megabytes: int, nodes: int) -> None:
    words = two_nodes(megabytes) if nodes == 2 else ()
    with boot(kernel, append, memory=f"{megabytes}M", smp=nodes, words=words) as guest:
        # At reset there is nothing but the compressed image.
        for command in ("lmb-check", "lmb-dump", "lmb-attach"):
            with pytest.raises(CommandError, match=r"no kernel of the build of .* still compressed at this stop"):
                guest.command(command)

        # The first instruction: unmoved symbols would be wrong by now, and nothing is mapped where they are.
        assert "gdb's symbols are " in guest.command("lmb-attach --wait")
        physical, virtual = moved_by(guest)
        if append == "nokaslr":
            assert (physical, virtual) == (0, 0)
        check_entry(guest, physical, virtual)

        # Early in setup_arch: the firmware's map is new and untouched, the first reservations are made.
        guest.run_until("e820__memory_setup")
        guest.command("finish")
        early = dump(guest)
        assert early["phase"] == "mapped" and faults(guest) == []
        assert regions_of(early) == plain_read(guest)
        assert len(early["reserved"]["regions"]) >= 2

        # The kernel's own dump, byte for byte, and region by region.
        guest.run_until("memblock_dump_all")
        guest.command("finish")
        text = last_dump(console_of(guest))
        assert guest.command("lmb-dump --kernel") == text
        printed = printed_regions(text)
        assert all(printed.values())
        assert printed == {
            name: [(base, size, flags, nid if 0 <= nid < MAX_NUMNODES else None) for base, size, flags, nid in rows]
            for name, rows in shown(guest).items()
        }
        assert faults(guest) == []

        guest.run_until("memblock_free_all")
        last = dump(guest)
        assert last["phase"] == "allocator complete"
        assert faults(guest) == [] and regions_of(last) == plain_read(guest)
        assert {r["nid"] for r in last["memory"]["regions"]} == set(range(nodes))
        assert (max(int(r["base"], 16) for r in last["memory"]["regions"]) >= 4 << 30) == (megabytes > 4096)

        # The whole firmware map, every type, against the kernel's own printout of it and of what it changed.
        console = console_of(guest)
        assert shown_firmware(early) == printed_firmware(console)
        assert {kind for _, _, kind in shown_firmware(early)} >= {1, 2}
        assert shown_firmware(last) == shown_firmware(early)
        assert (
            shown_firmware(last, "firmware_edited") == printed_firmware(console, updated=True) != shown_firmware(early)
        )
        check_words_that_are_lost(guest)

        # The banner lies where the kernel is said to be.
        banner = console[console.index("Linux version") :].split("\n", 1)[0]
        at = int(guest.command("output/x (unsigned long)&linux_banner"), 16) - virtual - KERNEL_MAP_VA + physical
        raw = b"".join(word.to_bytes(8, "little") for word in words_at(guest, at, 8))
        assert banner.encode().startswith(raw) and len(raw) == 64


EVERY_TYPE = "memmap=1M#160M,1M$168M,4M!176M,1M%184M-1+4,1M%192M-1+5,1M%200M-1+7,1M%208M-1+0xefffffff"


MIB = 1 << 20
EVERY_NAME = [
    (160 * MIB, MIB, "ACPI tables"), (168 * MIB, MIB, "reserved"), (176 * MIB, 4 * MIB, "persistent memory (PRAM)"),
    (184 * MIB, MIB, "ACPI NVS"), (192 * MIB, MIB, "unusable"), (200 * MIB, MIB, "persistent memory"),
    (208 * MIB, MIB, "soft reserved"),
]  # fmt: skip


def check_words_that_are_lost(guest: GuestSession) -> None:
    """Overwrite what a check goes by, at a sound stop before the hand-over: never "verified", and named."""
    for word, value, named in (
        ("_totalram_pages.counter", 1, "words that agree on the phase (_totalram_pages 0x1, vm_zone_stat 0x0,"),
        ("e820_table->nr_entries", 0, "the firmware map (e820_table cannot be read or has no ranges)"),
        ("e820_table->nr_entries", 1 << 20, "the firmware map (e820_table cannot be read or has no ranges)"),
        ("e820_table_firmware->nr_entries", 0, "the firmware map (e820_table_firmware cannot be read"),
    ):
        guest.command(f"set var $saved = {word}")
        guest.command(f"set var {word} = {value}")
        text = guest.command("lmb-check")
        assert "lmb-check: NOT verified, 0 findings" in text and f"; not verified against {named}" in text
        assert int(guest.command("output $lmb_status")) == 5
        assert dump(guest)["phase"] == "allocator complete"
        guest.command(f"set var {word} = $saved")
    assert "lmb-check: clean" in guest.command("lmb-check") and "not verified" not in guest.command("lmb-check")


def test_memory_of_the_command_lines_own(kernel: KernelFiles) -> None:
    """The firmware has no such memory: the kernel will die of it."""
    with boot(kernel, "memmap=1G@4G") as guest:
        guest.run_until("init_mem_mapping")
        assert faults(guest) == ["memory [0x100000000, 0x140000000) is not RAM in the firmware map"]
        assert (4 << 30, 5 << 30, 1) in shown_firmware(dump(guest), "firmware_edited")
        assert (4 << 30, 5 << 30, 1) not in shown_firmware(dump(guest))


def test_every_type_of_the_firmware_map(kernel: KernelFiles) -> None:
    """A map that the command line has changed, where QEMU's firmware has two types only."""
    # Where KASLR put the image onto such a range, the kernel would make it RAM again.
    with boot(kernel, f"nokaslr {EVERY_TYPE}") as guest:
        guest.run_until("memblock_free_all")
        snapshot, console = dump(guest), console_of(guest)
        assert shown_firmware(snapshot) == printed_firmware(console)
        edited = shown_firmware(snapshot, "firmware_edited")
        assert edited == printed_firmware(console, "user", updated=True)
        assert {kind for _, _, kind in edited} == {1, 2, 3, 4, 5, 7, 12, 0xEFFFFFFF}
        # Each is worth a note, and nothing else is.
        noted = [f["message"] for f in snapshot["findings"] if f["code"] == "firmware-edited"]
        assert noted == [
            f"[{base:#x}, {base + size:#x}) is RAM in the firmware map, and {name} as the kernel edited it"
            for base, size, name in EVERY_NAME
        ]
        # Memory is what is RAM there; of the others, soft-reserved ranges are reserved.
        assert faults(guest) == [] and regions_of(snapshot) == plain_read(guest)
        assert any(base == 208 << 20 and size == 1 << 20 for base, size, _, _ in regions_of(snapshot)["reserved"])
        # Memory that the firmware has for something else is a finding, whatever the type.
        last = f"memblock.memory.regions[{len(regions_of(snapshot)['memory']) - 1}]"
        guest.command(f"set var $saved = {last}")
        guest.command(f"set var {last}.size = 1 << 20")
        for base in (at << 20 for at in (160, 168, 176, 184, 192, 200)):
            guest.command(f"set var {last}.base = {base}")
            assert (
                f"memory [{base:#x}, {base + (1 << 20):#x}) is not RAM in the firmware map as the kernel edited it"
                in faults(guest)
            )
        guest.command(f"set var {last} = $saved")
        assert faults(guest) == []


def test_after_boot(kernel: KernelFiles) -> None:
    """A kernel without a root panics: its own word on KASLR, and what is left of memblock by then."""
    with boot(kernel) as guest:
        guest.run_until("memblock_free_all")
        before = shown(guest)
        guest.run_until("panic")
        _, virtual = moved_by(guest)
        snapshot = dump(guest)
        # These keep memblock out of init memory (CONFIG_MEMORY_HOTPLUG), and its arrays were never doubled.
        assert (snapshot["phase"], snapshot["refused"]) == ("discarded", {})
        assert int(guest.command("output (long)memblock_memory")) == 0
        assert regions_of(snapshot) == plain_read(guest)
        assert regions_of(snapshot)["memory"] == before["memory"]
        assert "clean" in guest.command("lmb-check")
        # The firmware's map has moved out of init memory by now, to a copy no longer than it must be.
        assert shown_firmware(snapshot) == printed_firmware(console_of(guest))
        assert shown_firmware(snapshot, "firmware_edited") == printed_firmware(console_of(guest), updated=True)
        with pytest.raises(CommandError, match="did not stop"):
            guest.command("continue", timeout_s=6)
        printed = re.search(r"Kernel Offset: (?:0x(\w+) from|disabled)", console_of(guest))
        assert printed is not None
        assert virtual == int(printed[1] or "0", 16)


def test_another_build_is_refused_in_one_line(tmp_path: Path) -> None:
    """The symbols of 6.12 on a guest that runs 6.1."""
    runs, other = (find_kernel(name, notice=print) for name in AMD64[:2])
    with boot(runs) as guest:
        guest.run_until("memblock_free_all")
        guest.command(f"symbol-file {other.vmlinux}")
        for command in ("lmb-check", "lmb-dump", "lmb-attach"):
            with pytest.raises(CommandError) as caught:
                guest.command(command)
            assert "no kernel of the build of" in caught.value.message
            assert "the guest runs another build" in caught.value.message and "\n" not in caught.value.message


def test_few_requests(kernel: KernelFiles, tmp_path: Path) -> None:
    with boot(kernel) as guest:
        log = tmp_path / "packets"
        guest.mi.execute(f"-gdb-set remotelogfile {log}", 10)
        guest.run_until("memblock_free_all")
        before = log.stat().st_size
        out = guest.command("lmb-check --stats")
        stats = re.search(r"stats: (\d+) requests, ([\d,]+) bytes, [\d.]+ ms in all, [\d.]+ ms of it reading", out)
        # Ten or more are page tables, from CR3 down, each of two packets; KASLR decides how many there are.
        assert stats is not None and 4 <= int(stats[1]) <= 40
        # What went over the wire, gdb's own packets too: each begins with $, after an acknowledgement or not.
        guest.command("echo")
        sent = re.findall(r"^w \+?\$", log.read_text()[before:], re.M)
        assert int(stats[1]) <= len(sent) <= 56
