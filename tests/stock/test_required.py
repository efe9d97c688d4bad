# SPDX-License-Identifier: GPL-2.0-or-later
"""What every boot must have reserved: no healthy stop is accused, and whatever is taken out of it is found."""

from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path

import pytest

from gdb_lmb.kernels.stock import find_kernel
from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import CommandError, GuestSession
from tests.helpers.initramfs import write_initrd
from tests.helpers.soak import ROUNDS, SEED
from tests.helpers.stock import AMD64, CONSOLE

pytestmark = pytest.mark.stock

ARM64 = "debian:6.12-cloud-arm64"
EFI = {"x86_64": "/usr/share/ovmf/OVMF.fd", "aarch64": "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd"}
TWO_NODES = (
    "-object", "memory-backend-ram,id=a,size=512M", "-object", "memory-backend-ram,id=b,size=512M",
    "-numa", "node,memdev=a", "-numa", "node,memdev=b",
)  # fmt: skip
MACHINES = {
    "plain": ("", "512M", ()),
    "nokaslr, crash kernel": ("nokaslr crashkernel=64M", "1G", ()),
    "two nodes": ("", "1G", TWO_NODES),
    # EFI's table tells of the initrd too.
    "EFI": ("", "716M", ("-bios", EFI["x86_64"])),
}
"""Words for the kernel, memory, and words for QEMU, by name."""

CHANGES = ("memblock_add_range", "memblock_remove_range", "memblock_free_all")
"""Functions through which every change goes until the page allocator takes over, which most kernels have."""

PLACES = ("setup_arch", "e820__memblock_setup", "efi_init", "init_mem_mapping", "initmem_init", "reserve_crashkernel",
          "paging_init", "sparse_init", "bootmem_init", "early_init_fdt_scan_reserved_mem", "setup_per_cpu_areas",
          "vfs_caches_init_early", "build_all_zonelists", "sched_init", "start_kernel")  # fmt: skip
"""Places on the way, a few of which are chosen."""


def booted(name: str, folder: Path, machine: tuple[str, str, tuple[str, ...]], *, initrd: bool = True) -> GuestSession:
    append, memory, words = machine
    kernel, arm64 = find_kernel(name, notice=print), name == ARM64
    options = QemuOptions(
        append=("console=ttyAMA0 earlycon " if arm64 else CONSOLE + " ") + append,
        memory=memory,
        smp=2,
        initrd=write_initrd(folder / "initrd", "aarch64" if arm64 else "x86_64") if initrd else None,
        arguments=words,
    )
    return GuestSession(kernel.image, options, symbols=kernel.vmlinux, timeout_s=240)


def random_machine(rng: random.Random, arch: str) -> tuple[str, str, tuple[str, ...]]:
    """Return words for the kernel, memory, and words for QEMU."""
    nodes = rng.choice((1, 1, 2, 3))
    each = rng.choice((*(rng.randrange(256, 900, 2) for _ in range(4)), 2200))
    append = [*rng.sample(["nokaslr", "crashkernel=64M", "numa=off", "memtest=0", "hugepages=8"], rng.randrange(3))]
    words = ["-bios", EFI[arch]] if rng.random() < 0.3 else []
    for node in range(nodes if nodes > 1 else 0):
        words += ["-object", f"memory-backend-ram,id=m{node},size={each}M", "-numa", f"node,memdev=m{node}"]
    if arch == "x86_64":
        # With EFI the last one would make memory of its firmware's.
        maps = ["memmap=3K$50M", "mem=230M", "memmap=exactmap memmap=640K@0 memmap=200M@1M"]
        append += rng.sample(maps[:2] if "-bios" in words else maps, rng.random() < 0.2)
    return " ".join(append), f"{each * nodes}M", tuple(words)


def codes(guest: GuestSession) -> dict[str, list[str]]:
    """Return the messages of the findings by code, notes left out."""
    out: dict[str, list[str]] = {}
    for found in json.loads(guest.command("lmb-check --json"))["findings"]:
        if found["severity"] == "finding":
            out.setdefault(found["code"], []).append(found["message"])
    return out


# In the soak lane each kernel on five machines, some 1,200 stops; otherwise x86's on one each.
BOOTS = [(name, seed) for name in (*AMD64, ARM64) for seed in range(SEED, SEED + 5)]


SAMPLES = dict(zip(AMD64, map(MACHINES.__getitem__, ("two nodes", "nokaslr, crash kernel", "EFI")), strict=True))


@pytest.mark.random
@pytest.mark.parametrize(("name", "seed"), BOOTS if ROUNDS > 1 else [(name, 0) for name in SAMPLES])
def test_no_healthy_stop_is_accused(name: str, seed: int, tmp_path: Path) -> None:
    """At every change of a list and at some places between, until the page allocator takes over."""
    rng, arm64 = random.Random(f"{name}/{seed}"), name == ARM64
    machine = random_machine(rng, "aarch64" if arm64 else "x86_64") if seed else SAMPLES[name]
    with booted(name, tmp_path, machine, initrd=not seed or rng.random() < 0.7) as guest:
        guest.command("lmb-attach --wait")
        skipped = []
        for function in (*CHANGES, "setup_log_buf", *rng.sample(PLACES, 5)):
            with contextlib.suppress(CommandError):  # not every kernel has each
                guest.command(f"{'hbreak' if function in CHANGES else 'tbreak'} {function}")
                # The firmware's map makes 200 changes.
                if machine is MACHINES["EFI"] and function in CHANGES[:2]:
                    skipped.append(f"ignore {guest.command('output $bpnum')} 3")
        stops = 0
        while True:
            for command in skipped:
                guest.command(command)
            guest.command("continue")
            stops += 1
            where = guest.command("output/a $pc")
            assert codes(guest) == {}, (machine, stops, where, guest.command("backtrace 8"))
            if "memblock_free_all" in where:
                break
        assert stops > 40


def number(guest: GuestSession, expression: str) -> int:
    return int(guest.command(f"output/x (unsigned long)({expression})"), 16)


def physical(guest: GuestSession, va: int) -> int:
    """Return where QEMU's page-table walk says that a virtual address lies."""
    return int(guest.command(f"monitor gva2gpa {va:#x}").partition("gpa: ")[2], 16)


def word(guest: GuestSession, at: int) -> int:
    return int(guest.command(f"monitor xp /1gx {at:#x}").split()[-1], 16)


def take_out(guest: GuestSession, base: int, end: int, name: str = "reserved") -> None:
    """Cut [base, end) out of a list, as `memblock_remove_range()` would leave it; by gdb's own expressions."""
    guest.command(f"set $cnt = memblock.{name}.cnt")
    rows = [
        tuple(number(guest, f"memblock.{name}.regions[{at}].{member}") for member in ("base", "size", "flags", "nid"))
        for at in range(number(guest, "$cnt"))
    ]
    out = []
    for low, size, flags, nid in rows:
        pieces = [(low, min(low + size, base)), (max(low, end), low + size)]
        whole = low + size <= base or end <= low
        out += [(low, low + size, flags, nid)] if whole else [(*one, flags, nid) for one in pieces if one[0] < one[1]]
    write(guest, name, out)


def write(guest: GuestSession, name: str, rows: list[tuple[int, ...]]) -> None:
    for at, (low, past, flags, nid) in enumerate(rows):
        region = f"memblock.{name}.regions[{at}]"
        guest.command(f"set var {region}.base = {low:#x}")
        guest.command(f"set var {region}.size = {past - low:#x}")
        guest.command(f"set var {region}.flags = {flags}")
        guest.command(f"set var {region}.nid = {nid - (1 << 64) if nid >> 63 else nid}")
    guest.command(f"set var memblock.{name}.cnt = {len(rows)}")
    guest.command(f"set var memblock.{name}.total_size = {sum(past - low for low, past, *_ in rows):#x}")


@pytest.mark.random
@pytest.mark.parametrize("name", [*AMD64, ARM64] if ROUNDS > 1 else AMD64[1:2])
def test_what_is_taken_out_is_found(name: str, tmp_path: Path) -> None:
    """Each change is written into a sound guest by gdb, found, and written back."""
    arm64 = name == ARM64
    with booted(name, tmp_path, MACHINES["plain"]) as guest:
        guest.command("lmb-attach --wait")
        guest.run_until("memblock_free_all")
        assert codes(guest) == {}
        page = 4096
        text = physical(guest, number(guest, "&_text" if not arm64 else "&_stext"))
        struct = physical(guest, number(guest, "&memblock")) & -page
        stack = physical(guest, number(guest, "$sp")) & -page
        root = number(guest, "$TTBR1_EL1" if arm64 else "$cr3") & 0xFFFF_FFFF_F000
        # The first table that the upper half of the root leads to.
        entries = (word(guest, root + 8 * at) for at in range(0 if arm64 else 256, 512))
        table = next(entry for entry in entries if entry & 1) & 0xFFFF_FFFF_F000
        initrd = physical(guest, number(guest, "initrd_start"))
        area = physical(guest, number(guest, "pcpu_base_addr"))
        node = physical(guest, number(guest, "node_data[0]"))
        cases = {
            "kernel image": (text + page, text + 2 * page),
            "the page of memblock": (struct, struct + page),
            "boot stack": (stack, stack + page),
            "page tables": (root, root + page),
            "page tables further down": (table, table + page),
            "initrd": (initrd, initrd + 64),
            "per-CPU area": (area, area + page),
            "node's data": (node, node + page),
        }
        if not arm64:
            cases["the first MiB"] = (0x2000, 0x3000)
        files = {one: tmp_path / one for one in ("memory", "reserved")}
        whole = tmp_path / "memblock"
        guest.command(f"dump binary value {whole} memblock")
        for one, file in files.items():
            guest.command(f"dump binary value {file} *memblock.{one}.regions@memblock.{one}.cnt")

        def put_back() -> None:
            guest.command(f"restore {whole} binary &memblock")
            for one, file in files.items():
                guest.command(f"restore {file} binary memblock.{one}.regions")

        for what, (base, end) in cases.items():
            for code, listed in (("required-unreserved", "reserved"), ("required-not-memory", "memory")):
                if (code, what) == ("required-not-memory", "the first MiB"):
                    continue
                take_out(guest, base, end, listed)
                found = codes(guest)
                assert any(f"[{base:#x}, {end:#x})" in message for message in found.get(code, ())), (what, found)
                put_back()
        assert codes(guest) == {}
        for listed, code in (("reserved", "required-unreserved"), ("memory", "required-not-memory")):
            write(guest, listed, [])
            assert code in codes(guest)
            put_back()
        rows = []
        for at in range(number(guest, "memblock.memory.cnt")):
            low, size = (number(guest, f"memblock.memory.regions[{at}].{member}") for member in ("base", "size"))
            rows.append((low, low + size, 4, 0))
        write(guest, "memory", rows)
        assert "required-not-memory" in codes(guest)
        put_back()
        assert codes(guest) == {}
        # What is told of is what is at the place, and no more than is missing.
        take_out(guest, stack, stack + page)
        assert codes(guest)["required-unreserved"] == [
            f"[{stack:#x}, {stack + page:#x}) must be reserved, but is not: boot stack"
        ]


def test_an_initrd_in_the_image_is_found(tmp_path: Path) -> None:
    """Put there at `setup_arch()`, as a boot loader would: told before memory is complete, and after."""
    with booted(AMD64[1], tmp_path, MACHINES["nokaslr, crash kernel"]) as guest:
        guest.run_until("setup_arch")
        base, size = physical(guest, number(guest, "&_text")) + (1 << 20), (tmp_path / "initrd").stat().st_size
        guest.command(f"set var boot_params.hdr.ramdisk_image = {base:#x}")
        where = f"[{base:#x}, {base + size:#x}) is used twice: kernel image, initrd"
        for stop, what in (("init_mem_mapping", ", where the boot loader put it"), ("memblock_free_all", "")):
            guest.run_until(stop)
            assert codes(guest) == {"required-overlap": [where + what]}
