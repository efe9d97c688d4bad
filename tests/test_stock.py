# SPDX-License-Identifier: GPL-2.0-or-later
"""Unmodified distribution kernels: what the commands show against the kernel's own printout and a plain read.

A lane of its own (`scripts/test --kernels`), because it brings kernels into the cache first.
"""

from __future__ import annotations

import json
import re

import pytest

from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import CommandError, GuestSession
from gdb_lmb.runner.stock import KernelFiles, find_kernel

pytestmark = pytest.mark.stock

AMD64 = ["debian:6.1-cloud-amd64", "debian:6.12-cloud-amd64", "debian:7-cloud-amd64"]
CONSOLE = "console=ttyS0 earlyprintk=serial memblock=debug loglevel=8"
TWO_NODES = ("-object", "memory-backend-ram,id=m0,size=256M", "-object", "memory-backend-ram,id=m1,size=256M",
             "-numa", "node,memdev=m0,cpus=0", "-numa", "node,memdev=m1,cpus=1")  # fmt: skip

SETTINGS = [
    # (command line, memory, CPUs, QEMU's words)
    pytest.param("", "512M", 1, (), id="kaslr-512M"),
    pytest.param("nokaslr", "512M", 1, (), id="nokaslr-512M"),
    pytest.param("", "5G", 1, (), id="kaslr-5G"),
    pytest.param("", "512M", 2, TWO_NODES, id="kaslr-numa"),
]


@pytest.fixture(scope="session", params=AMD64)
def kernel(request: pytest.FixtureRequest) -> KernelFiles:
    """One stock kernel, brought into the cache if it is not there."""
    return find_kernel(request.param, notice=print)


def guest_of(kernel: KernelFiles, append: str, memory: str, smp: int, words: tuple[str, ...]) -> GuestSession:
    options = QemuOptions(append=f"{CONSOLE} {append}", memory=memory, smp=smp, arguments=words)
    return GuestSession(kernel.image, options, symbols=kernel.vmlinux, timeout_s=120)


def console_of(guest: GuestSession) -> str:
    """Return the console without carriage returns and time stamps."""
    return re.sub(r"^\[ *\d+\.\d+\] ", "", guest.console().decode(errors="replace").replace("\r", ""), flags=re.M)


def last_dump(console: str) -> str:
    """Return the lines of the last whole memblock_dump_all() on the console."""
    lines = console.splitlines(keepends=True)
    start = max(at for at, line in enumerate(lines) if line == "MEMBLOCK configuration:\n")
    end = start + 1
    while end < len(lines) and re.match(r" (memory|reserved|physmem)", lines[end]):
        end += 1
    return "".join(lines[start:end])


def plain_read(guest: GuestSession) -> dict[str, list[tuple[int, int, int]]]:
    """Read both arrays with gdb's own expressions, at the virtual addresses where the symbols now are."""
    out = {}
    for name in ("memory", "reserved"):
        count = int(guest.command(f"output memblock.{name}.cnt"))
        rows = []
        for at in range(count):
            text = guest.command(
                f'printf "%lu %lu %u", memblock.{name}.regions[{at}].base, memblock.{name}.regions[{at}].size, '
                f"(unsigned)memblock.{name}.regions[{at}].flags"
            )
            base, size, flags = map(int, text.split())
            rows.append((base, size, flags))
        out[name] = rows
    return out


def shown(guest: GuestSession) -> dict[str, list[tuple[int, int, int]]]:
    data = json.loads(guest.command("lmb-dump --json"))
    assert data["layout"] == "memblock"
    return {
        name: [(int(r["base"], 16), int(r["size"], 16), r["flags"]) for r in data[name]["regions"]]
        for name in ("memory", "reserved")
    }


def faults(guest: GuestSession) -> list[str]:
    return [
        f["message"] for f in json.loads(guest.command("lmb-check --json"))["findings"] if f["severity"] == "finding"
    ]


@pytest.mark.parametrize(("append", "memory", "smp", "words"), SETTINGS)
def test_a_stock_boot(kernel: KernelFiles, append: str, memory: str, smp: int, words: tuple[str, ...]) -> None:
    with guest_of(kernel, append, memory, smp, words) as guest:
        # At reset there is nothing but the compressed image.
        with pytest.raises(CommandError, match="no kernel of the build of"):
            guest.command("lmb-check")

        # The first instruction: unmoved symbols would be wrong by now, and nothing is mapped where they are.
        guest.run_until("setup_arch")
        assert faults(guest) == [] and shown(guest) == plain_read(guest)
        assert json.loads(guest.command("lmb-dump --json"))["phase"] == "mapped"
        where = guest.command("lmb-attach")
        if append == "nokaslr":
            assert "moved by 0x0 physically, by 0x0 virtually" in where

        # The kernel's own dump, byte for byte.
        guest.run_until("memblock_dump_all")
        guest.command("finish")
        assert guest.command("lmb-dump --kernel") == last_dump(console_of(guest))
        assert faults(guest) == []

        guest.run_until("memblock_free_all")
        snapshot = json.loads(guest.command("lmb-dump --json"))
        assert snapshot["phase"] == "allocator complete"
        assert faults(guest) == [] and shown(guest) == plain_read(guest)
        # The firmware's map against the kernel's own printout of it.
        printed = re.findall(r"^BIOS-e820: \[mem (0x\w+)-(0x\w+)\] +(?:usable|System RAM)", console_of(guest), re.M)
        ram = [(int(low, 16), int(high, 16) + 1) for low, high in printed]
        told = [
            (int(r["base"], 16), int(r["base"], 16) + int(r["size"], 16))
            for r in snapshot["firmware"]
            if r["type"] == 1
        ]
        # Page 0 was retyped by the kernel after it was printed.
        assert [(max(low, 0x1000), high) for low, high in ram] == told
        if memory == "5G":
            assert max(low for low, _ in told) == 4 << 30
        if words:
            assert {r["nid"] for r in snapshot["memory"]["regions"]} == {0, 1}


def test_offset_equals_the_kernels_own_word(kernel: KernelFiles) -> None:
    # Without a root the kernel panics, and says at the end by how much it was moved.
    with guest_of(kernel, "", "512M", 1, ()) as guest:
        guest.run_until("panic")
        moved = re.search(r"by 0x(\w+) virtually", guest.command("lmb-attach"))
        with pytest.raises(CommandError, match="did not stop"):
            guest.command("continue", timeout_s=6)
        printed = re.search(r"Kernel Offset: (?:0x(\w+) from|disabled)", console_of(guest))
        assert moved is not None and printed is not None
        assert int(moved[1], 16) == int(printed[1] or "0", 16)


def test_after_boot_what_was_freed_is_refused(kernel: KernelFiles) -> None:
    with guest_of(kernel, "", "512M", 1, ()) as guest:
        guest.run_until("panic")
        try:
            snapshot = json.loads(guest.command("lmb-dump --json"))
        except CommandError as error:
            # memblock in init memory: nothing of it is left.
            assert "init memory" in str(error)
        else:
            assert snapshot["phase"] in ("handed over", "discarded")
            assert snapshot["memory"]["regions"], "the static array is still there"


# What is written into the arrays of a live stock kernel, and the code that must come.
DAMAGE = [
    ("memblock.memory.cnt", "memblock.memory.max + 1", "count-over-max"),
    ("memblock.reserved.regions[1].base", "0", "overlap"),
    ("memblock.reserved.regions[2].size", "0", "empty-region"),
    ("memblock.memory.regions[1].size", "~0UL", "region-wraps"),
    ("memblock.memory.regions[1].base", "0xa0000", "outside-firmware"),
    ("memblock.memory.regions", "(struct memblock_region *)0x4141414141414140", "storage-corrupt"),
]


def test_damaged_arrays(kernel: KernelFiles) -> None:
    with guest_of(kernel, "", "512M", 1, ()) as guest:
        guest.run_until("memblock_free_all")
        for place, value, code in DAMAGE:
            guest.command(f"set var $saved = {place}")
            guest.command(f"set var {place} = {value}")
            found = {f["code"] for f in json.loads(guest.command("lmb-check --json"))["findings"]}
            assert code in found, (place, found)
            guest.command(f"set var {place} = $saved")
        assert faults(guest) == []


def test_few_requests(kernel: KernelFiles) -> None:
    with guest_of(kernel, "", "512M", 1, ()) as guest:
        guest.run_until("memblock_free_all")
        guest.command("lmb-check")
        stats = re.search(r"(\d+) requests", guest.command("lmb-check --stats"))
        assert stats is not None and 4 <= int(stats[1]) <= 12


def test_physical_mode_is_never_left_on(kernel: KernelFiles) -> None:
    with guest_of(kernel, "", "512M", 1, ()) as guest:
        guest.run_until("setup_arch")
        guest.command("lmb-dump")
        assert 'received: "0"' in guest.command("maintenance packet qqemu.PhyMemMode")
