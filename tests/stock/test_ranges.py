# SPDX-License-Identifier: GPL-2.0-or-later
"""Ranges by role in stock kernels, against what the kernel prints and what a plain gdb and QEMU's monitor say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gdb_lmb.kernels.stock import find_kernel
from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import GuestSession
from tests.helpers.initramfs import write_initrd
from tests.helpers.linked import linked_symbols
from tests.helpers.stock import AMD64, CONSOLE, console_of

pytestmark = pytest.mark.stock

KERNELS = [*AMD64, "debian:6.12-cloud-arm64"]
PAGE, THREAD_SIZE = 4096, 16 << 10
"""Of both architectures, as these kernels are configured."""

ASK = """
import json
from gdb_lmb.machine.current import current
from gdb_lmb.programs.base import role_ranges
print(json.dumps([[one.role.name, one.base, one.end, one.source] for one in role_ranges(current())]))
"""

PARTS = {
    "TEXT": ("_text", "_etext"), "INIT_TEXT": ("_sinittext", "_einittext"), "DATA": ("_sdata", "_edata"),
    "RODATA": ("__start_rodata", "__end_rodata"), "INIT": ("__init_begin", "__init_end"),
    "BSS": ("__bss_start", "__bss_stop"),
}  # fmt: skip


class Ranges:
    """The table at one stop, by role."""

    def __init__(self, guest: GuestSession, script: Path) -> None:
        script.write_text(ASK)
        self.rows = json.loads(guest.command(f"source {script}").splitlines()[-1])

    def of(self, role: str) -> list[tuple[int, int]]:
        return [(base, end) for its, base, end, _ in self.rows if its == role]

    def by(self, source: str) -> tuple[int, int]:
        [(base, end)] = [(base, end) for _, base, end, its in self.rows if its == source]
        return base, end


def number(guest: GuestSession, expression: str) -> int:
    return int(guest.command(f"output/x {expression}"), 16)


def physical(guest: GuestSession, expression: str) -> int:
    """Return where QEMU's page-table walk says that an address of gdb's lies."""
    told = guest.command(f"monitor gva2gpa {number(guest, expression):#x}")
    return int(told.partition("gpa: ")[2], 16)


def bytes_at(guest: GuestSession, base: int, end: int, file: Path) -> bytes:
    """Return physical memory as QEMU saves it."""
    guest.command(f'monitor pmemsave {base:#x} {end - base:#x} "{file}"')
    return file.read_bytes()


@pytest.mark.parametrize("name", KERNELS)
def test_ranges_by_role(name: str, tmp_path: Path) -> None:
    kernel = find_kernel(name, notice=print)
    arm64 = name.endswith("arm64")
    initrd = write_initrd(tmp_path / "initrd", "aarch64" if arm64 else "x86_64")
    line = "console=ttyAMA0 earlycon loglevel=8" if arm64 else CONSOLE
    options = QemuOptions(append=line, memory="512M", smp=2, initrd=initrd)
    with GuestSession(kernel.image, options, symbols=kernel.vmlinux, timeout_s=240) as guest:
        guest.run_until("memblock_free_all")
        found, console = Ranges(guest, tmp_path / "ask.py"), console_of(guest)
        # The image's parts: the linker's labels as nm has them, from where QEMU walks to for the first.
        linked, start = linked_symbols(kernel.vmlinux), physical(guest, "(unsigned long)&_text")
        for role, labels in PARTS.items():
            low, high = (start + linked[label] - linked["_text"] for label in labels)
            assert found.of(role) == [(low, high)], role
        # The boot's CPU is on the first task's stack, and has the page table that its register points to.
        [(low, high)] = found.of("STACK")
        assert low < physical(guest, "$sp") < high and high - low == THREAD_SIZE
        if arm64:
            table = number(guest, "$TTBR1_EL1") & 0xFFFF_FFFF_F000
        else:
            table = int(re.search(r"CR3=(\w+)", guest.command("monitor info registers"))[1], 16) & ~0xFFF  # type: ignore[index]
        assert table in [base for base, _ in found.of("PAGE_TABLES")]
        # What the boot loader left, as the kernel prints it and as it was given to QEMU.
        given = initrd.read_bytes()
        loaded = [one for role in ("INITRD", "LOADED_INITRD") for one in found.of(role)]
        assert loaded and all(bytes_at(guest, *one, tmp_path / "memory") == given for one in loaded)
        if not arm64:
            printed = re.search(r"^RAMDISK: \[mem 0x(\w+)-0x(\w+)\]$", console, re.M)
            assert printed is not None
            assert (int(printed[1], 16), int(printed[2], 16) + 1) == (loaded[0][0], -(-loaded[0][1] // PAGE) * PAGE)
        used = re.search(r"^Kernel command line: (.*)$", console, re.M)
        assert used is not None
        [kept] = [found.by("saved_command_line")]
        assert bytes_at(guest, *kept, tmp_path / "memory") == used[1].encode() + b"\0"
        buffer = bytes_at(guest, *found.by("boot_command_line"), tmp_path / "memory")
        assert line.encode() in buffer.partition(b"\0")[0]
        if arm64:
            for base, end in found.of("DEVICE_TREE"):
                tree = bytes_at(guest, base, end, tmp_path / "memory")
                assert tree[:4] == bytes.fromhex("d00dfeed") and int.from_bytes(tree[4:8], "big") == len(tree)
            assert found.of("DEVICE_TREE")
        # Each CPU's own variables, as mm/percpu.c prints how it has laid them out.
        areas = re.search(r"^percpu: Embedded (\d+) pages/cpu s(\d+) r(\d+) d(\d+) u(\d+)", console, re.M)
        assert areas is not None
        pages, static, reserved, dynamic, unit = map(int, areas.groups())
        first = physical(guest, "(unsigned long)pcpu_base_addr")
        assert static + reserved + dynamic == pages * PAGE
        assert found.of("PER_CPU") == [(first + at * unit, first + at * unit + pages * PAGE) for at in range(2)]
        # One struct page for each page up to the last: 512 MiB of RAM have no hole of 2 MiB of these.
        if not arm64:
            maps, size = found.of("MEMORY_MAP"), number(guest, "sizeof(struct page)")
            assert sum(end - base for base, end in maps) == number(guest, "max_pfn") * size
            assert maps[0][0] == physical(guest, "vmemmap_base")
            last = physical(guest, f"vmemmap_base + (max_pfn - 1) * {size}")
            assert maps[-1][1] == last + size
        snapshot = json.loads(guest.command("lmb-dump reserved --json"))
        held = [(int(row["base"], 16), int(row["base"], 16) + int(row["size"], 16)) for row in
                snapshot["reserved"]["regions"]]  # fmt: skip
        for role in ("TEXT", "BSS", "BRK", "STACK", "PAGE_TABLES", "PER_CPU", "INITRD", "MEMORY_MAP"):
            for base, end in found.of(role):
                assert any(low <= base and end <= high for low, high in held), f"{role} is not reserved"
        # lmb-who tells of the same.
        base, end = found.of("PER_CPU")[1]
        told = json.loads(guest.command(f"lmb-who {base:#x} --json"))["parts"][0]["places"]
        assert {"base": hex(base), "size": hex(end - base), "what": "per-CPU area"} in told
        if name != KERNELS[0]:
            return
        # When init memory is gone, what lay in it is not told of any more.
        guest.run_until("run_init_process")
        late = Ranges(guest, tmp_path / "ask.py")
        assert late.by("saved_command_line") == kept and late.of("PER_CPU") == found.of("PER_CPU")
        assert "boot_command_line" not in [source for *_, source in late.rows] and not late.of("LOADED_INITRD")
