# SPDX-License-Identifier: GPL-2.0-or-later
"""An unmodified arm64 distribution kernel, from the reset on: against its own printout, a plain read, QEMU's word.

A lane of its own (`scripts/test --kernels`), because it brings kernels into the cache first. What is true of
the machine is written by hand here: QEMU's `virt` has its RAM at 1 GiB, puts its device tree 128 MiB into it
and an Image 2 MiB into it.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from pathlib import Path

import pytest

from gdb_lmb.cli import main
from gdb_lmb.core.errors import UsageError
from gdb_lmb.core.memory import BytesMemory
from gdb_lmb.core.snapshot import FIRMWARE_RAM
from gdb_lmb.formats.devicetree import read_tree
from gdb_lmb.kernels.cache import KernelFiles
from gdb_lmb.kernels.stock import find_kernel
from gdb_lmb.runner.elf import read_elf
from gdb_lmb.runner.existing import AttachedSession, CoreSession
from gdb_lmb.runner.process import RunFolder
from gdb_lmb.runner.qemu import Qemu, QemuOptions
from gdb_lmb.runner.session import CommandError, GuestSession
from tests.helpers.dtb import Node, cells, with_reserved_memory
from tests.helpers.initramfs import SPIN_VA, write_initrd
from tests.helpers.stock import Rows, console_of, faults, last_dump, plain_read, shown
from tests.helpers.stock_arm64 import CONSOLE, RAM, guest_of

pytestmark = pytest.mark.stock

IMAGE = RAM + (2 << 20)
LINKED = 0xFFFF800080000000
TWO_NODES = ("-object", "memory-backend-ram,id=m0,size=256M", "-object", "memory-backend-ram,id=m1,size=256M",
             "-numa", "node,memdev=m0,cpus=0", "-numa", "node,memdev=m1,cpus=1")  # fmt: skip
# The default CPU has 52-bit addresses; this one has 48, and no feature that lets KASLR do without KPTI.
SMALL = ("-cpu", "cortex-a57")
# With a hypervisor's level the kernel runs there.
EL2 = ("-machine", "virtualization=on")

SETTINGS = [
    # (command line, memory, CPUs, QEMU's words)
    pytest.param("", "512M", 1, (), id="kaslr-512M"),
    pytest.param("nokaslr", "512M", 1, (), id="nokaslr-512M"),
    pytest.param("", "5G", 1, SMALL, id="kaslr-5G-48bit"),
    pytest.param("nokaslr", "5G", 1, SMALL, id="nokaslr-5G-48bit"),
    pytest.param("", "512M", 2, (*EL2, *TWO_NODES), id="kaslr-numa-el2"),
]
BYTES = {"512M": 512 << 20, "5G": 5 << 30}


@pytest.fixture(scope="session")
def kernel() -> KernelFiles:
    """The stock kernel, brought into the cache if it is not there."""
    return find_kernel("debian:6.12-cloud-arm64", notice=print)


def phase(guest: GuestSession) -> str:
    return str(json.loads(guest.command("lmb-dump --json"))["phase"])


def linked(guest: GuestSession, name: str) -> int:
    """Return the address of a symbol where gdb has it now."""
    return int(guest.command(f'printf "%lu", (unsigned long)&{name}'))


def read_physically(guest: GuestSession, address: int, voffset: int = LINKED - IMAGE) -> dict[str, Rows]:
    """Read both arrays with gdb's own expressions while QEMU's stub takes every address for a physical one.

    `address` is memblock's; the arrays' pointers are `voffset` more than their physical addresses.
    """
    guest.command("maintenance packet Qqemu.PhyMemMode:1")
    try:
        out: dict[str, Rows] = {}
        place = f"((struct memblock *){address})"
        for name in ("memory", "reserved"):
            count = int(guest.command(f'printf "%lu", {place}->{name}.cnt'))
            first = int(guest.command(f'printf "%lu", (unsigned long){place}->{name}.regions'))
            out[name] = []
            for at in range(count):
                region = f"((struct memblock_region *){first - voffset})[{at}]"
                fields = f"{region}.base, {region}.size, (unsigned){region}.flags, {region}.nid"
                base, size, flags, nid = map(int, guest.command(f'printf "%lu %lu %u %d", {fields}').split())
                out[name].append((base, size, flags, nid))
        return out
    finally:
        guest.command("maintenance packet Qqemu.PhyMemMode:0")


@pytest.mark.parametrize(("append", "memory", "smp", "words"), SETTINGS)
def test_a_stock_boot(kernel: KernelFiles, append: str, memory: str, smp: int, words: tuple[str, ...]) -> None:
    with guest_of(kernel, append, memory=memory, smp=smp, words=words) as guest:
        # Early in setup_arch: mapped, the device tree read, nothing printed yet.
        guest.run_until("setup_arch")
        assert faults(guest) == [] and shown(guest) == plain_read(guest)
        assert phase(guest) == "mapped"
        where = guest.command("lmb-attach")
        assert f"at {IMAGE:#x} physically, moved by 0x" in where
        assert ("moved by 0x0 virtually" in where) == (append == "nokaslr")

        # The kernel's own dump, byte for byte.
        guest.run_until("memblock_dump_all")
        guest.command("finish")
        assert guest.command("lmb-dump --kernel") == last_dump(console_of(guest))
        assert faults(guest) == []
        assert phase(guest) == "allocator complete"

        guest.run_until("memblock_free_all")
        snapshot = json.loads(guest.command("lmb-dump --json"))
        assert snapshot["arch"] == "aarch64" and snapshot["page_size"] == "0x1000"
        assert snapshot["phase"] == "allocator complete"
        assert faults(guest) == [] and shown(guest) == plain_read(guest)

        # The device tree's RAM against what the machine was given, and the kernel's word on its nodes.
        told = [(int(r["base"], 16), int(r["size"], 16)) for r in snapshot["firmware"] if r["type"] == 1]
        half = BYTES[memory] // 2
        assert told == ([(RAM, half), (RAM + half, half)] if smp == 2 else [(RAM, BYTES[memory])])
        printed = re.findall(r"^  node +\d+: \[mem (0x\w+)-(0x\w+)\]", console_of(guest), re.M)
        assert [(int(low, 16), int(high, 16) + 1 - int(low, 16)) for low, high in printed] == told
        if smp == 2:
            assert [r["nid"] for r in snapshot["memory"]["regions"]] == [0, 1]


def test_from_the_reset_to_the_mapped_kernel(kernel: KernelFiles) -> None:
    with guest_of(kernel) as guest:
        # QEMU has put the Image in memory, but its CPU stands in the boot loader.
        with pytest.raises(CommandError, match="this CPU has not got to it"):
            guest.command("lmb-check")
        memblock = linked(guest, "memblock") - LINKED + IMAGE

        # The Image's first instruction, MMU off: nothing is mapped, nothing is decided.
        guest.command(f"hbreak *{IMAGE:#x}")
        guest.command("continue")
        guest.command("delete")
        with pytest.raises(CommandError, match="Cannot access memory"):
            guest.command("print memblock")
        assert phase(guest) == "unmapped" and faults(guest) == []
        assert shown(guest) == read_physically(guest, memblock) == {"memory": [], "reserved": []}
        assert "not decided yet at this stop" in guest.command("lmb-attach")

        # MMU on, but at the identity map's addresses: after __enable_mmu, before the kernel's own map.
        switch = linked(guest, "__primary_switch") - LINKED + IMAGE
        calls = [at for at in range(switch, switch + 64, 4) if _is_call(guest, at)]
        guest.command(f"hbreak *{calls[0] + 4:#x}")
        guest.command("continue")
        guest.command("delete")
        assert phase(guest) == "identity-mapped" and shown(guest) == read_physically(guest, memblock)

        # To where it will stay: the first instruction at its own address.
        told = guest.command("lmb-attach --wait")
        moved = re.search(r"gdb's symbols are now moved by 0x(\w+), from 0x0", told)
        assert moved is not None, told
        pc = int(guest.command('printf "%lu", $pc'))
        assert pc == linked(guest, "__primary_switched") and phase(guest) == "mapped"
        assert shown(guest) == plain_read(guest)
        assert linked(guest, "memblock") - LINKED + IMAGE - int(moved[1], 16) == memblock

        # The kernel's own word: kimage_voffset, read by gdb where the symbols now stand.
        guest.run_until("setup_arch")
        voffset = int(guest.command('printf "%lu", kimage_voffset'))
        assert voffset == LINKED + int(moved[1], 16) - IMAGE
        assert "gdb's symbols are there already" in guest.command("lmb-attach")


def _is_call(guest: GuestSession, address: int) -> bool:
    """Tell whether a BL stands at a physical address; the MMU is still off."""
    return int(guest.command(f'printf "%u", *(unsigned int *){address}')) >> 26 == 0b100101


@pytest.mark.parametrize("words", [(), SMALL], ids=["52bit", "48bit"])
def test_pointers_into_the_linear_map(kernel: KernelFiles, words: tuple[str, ...]) -> None:
    with guest_of(kernel, words=words) as guest:
        guest.run_until("memblock_free_all")
        # A free page, which the kernel has mapped; copied there, a list must read the same.
        page = RAM + (256 << 20)
        before = shown(guest)
        assert not any(base <= page < base + size for base, size, _, _ in before["reserved"])
        guest.command(f"set var $va = (unsigned long){page} - memstart_addr - (1UL << 52)")
        count = len(before["reserved"])
        guest.command(f"print *((struct memblock_region *)$va)@{count} = *memblock.reserved.regions@{count}")
        guest.command("set var memblock.reserved.regions = (struct memblock_region *)$va")
        # What a doubled array has: twice the room.
        guest.command("set var memblock.reserved.max *= 2")
        snapshot = json.loads(guest.command("lmb-dump --json"))
        assert shown(guest) == before
        (array,) = [array for array in snapshot["arrays"] if array["list"] == "reserved"]
        assert int(array["base"], 16) == page and not array["static"]
        # It lies in free memory, and that is a finding.
        assert [message for message in faults(guest) if "is not reserved" in message]


def test_offset_equals_the_kernels_own_word(kernel: KernelFiles) -> None:
    # Without a root the kernel panics, and says at the end by how much it was moved.
    with guest_of(kernel) as guest:
        guest.run_until("panic")
        moved = re.search(r"moved by 0x(\w+) virtually", guest.command("lmb-attach"))
        # memblock is kept on arm64.
        assert phase(guest) == "handed over" and shown(guest) == plain_read(guest)
        with pytest.raises(CommandError, match="did not stop"):
            guest.command("continue", timeout_s=6)
        printed = re.search(r"Kernel Offset: 0x(\w+) from 0x(\w+)", console_of(guest))
        assert moved is not None and printed is not None
        assert (int(moved[1], 16), LINKED) == (int(printed[1], 16), int(printed[2], 16))


def test_the_device_tree_is_what_memory_is_held_to(kernel: KernelFiles) -> None:
    with guest_of(kernel) as guest:
        guest.run_until("memblock_free_all")
        # One MiB more at its beginning; its end, where the kernel's page tables lie, stays.
        guest.command("set var memblock.memory.regions[0].base -= 0x100000")
        for grown in ("regions[0].size", "total_size"):
            guest.command(f"set var memblock.memory.{grown} += 0x100000")
        assert faults(guest) == ["memory [0x3ff00000, 0x40000000) is not RAM in the firmware map"]
        # A tree that is damaged says nothing, about memory or otherwise.
        guest.command("set var $va = (unsigned long)initial_boot_params_pa - memstart_addr - (1UL << 52)")
        guest.command("set var *(unsigned int *)$va = 0")
        assert faults(guest) == [] and "no map can be read" in guest.command("lmb-dump firmware")
        assert guest.command("lmb-check").rstrip().endswith(
            "; not verified against the firmware map (no device tree can be read)"
        )  # fmt: skip


def test_memory_that_the_command_line_takes_off(kernel: KernelFiles) -> None:
    # The device tree lies above the limit: it is no memory any more, and need not be reserved.
    with guest_of(kernel, "nokaslr mem=100M") as guest:
        guest.run_until("memblock_free_all")
        assert "Memory limited to 100MB" in console_of(guest)
        (memory,) = shown(guest)["memory"]
        assert memory[:2] == (RAM, 100 << 20) and faults(guest) == []
        # What lies below the limit must be.
        reserved = shown(guest)["reserved"]
        last = len(reserved) - 1
        guest.command(f"set var memblock.reserved.regions[{last}].size -= 0x1000")
        guest.command("set var memblock.reserved.total_size -= 0x1000")
        end = reserved[last][0] + reserved[last][1]
        assert faults(guest) == [f"[{end - 0x1000:#x}, {end:#x}) must be reserved, but is not: page tables"]


def test_a_dump_shows_the_same(kernel: KernelFiles, tmp_path: Path) -> None:
    core = tmp_path / "core"
    with guest_of(kernel, words=SMALL) as guest:
        guest.run_until("memblock_free_all")
        guest.command(f"monitor dump-guest-memory {core}")
        live = json.loads(guest.command("lmb-dump --json"))
    with CoreSession(core, kernel.vmlinux, timeout_s=120) as dump:
        assert json.loads(dump.command("lmb-dump --json")) == live
        assert f"at {IMAGE:#x} physically" in dump.command("lmb-attach")
        assert dump.command("print $pc == (unsigned long)&memblock_free_all").endswith("= 1\n")
    core.unlink()


def test_an_image_of_ones_own(kernel: KernelFiles, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["run", str(kernel.image), "--symbols", str(kernel.vmlinux), "--memory", "512M", "--arch"]
    assert main([*words, "aarch64", "--", "lmb-check"]) == 0
    assert capfd.readouterr().out.startswith("lmb-check: clean, verified: ")
    assert main([*words, "x86-64"]) == 2
    assert capfd.readouterr().err.endswith("this is for aarch64, not for x86-64\n")
    assert main([*words, "vax"]) == 2


def test_in_user_mode_with_the_kernels_pages_unmapped(kernel: KernelFiles, tmp_path: Path) -> None:
    initrd = write_initrd(tmp_path / "initrd", "aarch64")
    options = QemuOptions(append=CONSOLE, memory="512M", initrd=initrd, arguments=SMALL)
    with GuestSession(kernel.image, options, symbols=kernel.vmlinux, timeout_s=120) as guest:
        guest.run_until("kernel_init")
        memblock = linked(guest, "memblock")
        voffset = int(guest.command('printf "%lu", kimage_voffset'))
        guest.command(f"hbreak *{SPIN_VA:#x}")
        guest.command("continue")
        assert "isolation forced ON by KASLR" in console_of(guest)
        with pytest.raises(CommandError, match="Cannot access memory"):
            guest.command("print memblock")
        # Forget where the kernel was: the page tables of user mode must tell.
        guest.command("python from gdb_lmb.programs.linux import place; place._LAST.clear()")
        assert phase(guest) == "handed over" and faults(guest) == []
        # The image is not where the linked addresses have it, so its arrays' pointers are taken back by hand.
        assert shown(guest) == read_physically(guest, memblock - voffset, voffset)
        assert f"at {IMAGE:#x} physically" in guest.command("lmb-attach")


def test_few_requests_and_mode_put_back(kernel: KernelFiles) -> None:
    with guest_of(kernel) as guest:
        guest.run_until("memblock_free_all")
        guest.command("lmb-check")
        stats = re.search(r"(\d+) requests", guest.command("lmb-check --stats"))
        # Page tables are among them.
        assert stats is not None and 4 <= int(stats[1]) <= 24
        assert 'received: "0"' in guest.command("maintenance packet qqemu.PhyMemMode")


@pytest.mark.parametrize(
    ("words", "rows"),
    [
        (["-m", "512M"], [(RAM, 512 << 20)]),
        (["-m", "5G"], [(RAM, 5 << 30)]),
        (["-m", "512M", "-smp", "2", *TWO_NODES], [(RAM, 256 << 20), (RAM + (256 << 20), 256 << 20)]),
    ],
    ids=["512M", "5G", "numa"],
)
def test_the_trees_that_qemu_writes(words: list[str], rows: list[tuple[int, int]], tmp_path: Path) -> None:
    out = tmp_path / "dtb"
    command = ["qemu-system-aarch64", "-M", f"virt,dumpdtb={out}", "-display", "none", *words]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    tree = read_tree(BytesMemory({RAM: out.read_bytes()}), RAM)
    assert tree is not None and tree.map is not None and not tree.reserved
    found = tree.map
    assert set(found.type) == {FIRMWARE_RAM}
    assert list(zip(found.base, found.size, strict=True)) == rows


def test_another_build_is_refused(kernel: KernelFiles, tmp_path: Path) -> None:
    # The same kernel with one bit of its build id turned, as the guest's own.
    content = bytearray(kernel.image.read_bytes())
    with guest_of(kernel) as guest:
        build_id = bytes.fromhex(re.findall(r"build id (\w+)", guest.command("lmb-attach"))[0])
    at = content.find(build_id)
    content[at] ^= 1
    other = tmp_path / "Image"
    other.write_bytes(content)
    options = QemuOptions(append=CONSOLE, memory="512M")
    with pytest.raises(UsageError, match=r"another build than .*vmlinux-6\.12\S+, whose build id .* is not in it"):
        GuestSession(other, options, symbols=kernel.vmlinux)
    # Who boots it by other means is told by the commands.
    with contextlib.closing(RunFolder()) as folder:
        qemu = Qemu(folder, read_elf(kernel.vmlinux), options, other)
        with AttachedSession(qemu.endpoint, kernel.vmlinux, timeout_s=60) as guest:
            with pytest.raises(CommandError, match="or the guest runs another build"):
                guest.command("lmb-check")
            with pytest.raises(CommandError, match=r"no kernel of the build of vmlinux-6\.12\S+ came up within 2 s"):
                guest.command("lmb-attach --wait --timeout 2")


MIB = 1 << 20
AT = RAM + 256 * MIB


def with_nodes(folder: Path, nodes: list[Node], reserve: tuple[tuple[int, int], ...] = ()) -> tuple[str, str]:
    """Return the words for QEMU to use its own device tree with these nodes of /reserved-memory."""
    out = folder / "dtb"
    command = ["qemu-system-aarch64", "-M", f"virt,dumpdtb={out}", "-display", "none", "-m", "512M", "-cpu", "max"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    out.write_bytes(with_reserved_memory(out.read_bytes(), nodes, reserve))
    return ("-dtb", str(out))


def test_reserved_memory_that_is_honoured(kernel: KernelFiles, tmp_path: Path) -> None:
    """Kept and unmapped nodes, beside each other, beyond RAM, of no fixed place, disabled, and a reservation."""
    nodes: list[Node] = [
        ("kept@50000000", {"reg": cells(AT, MIB)}),
        ("unmapped@50100000", {"reg": cells(AT + MIB, MIB), "no-map": b""}),
        ("two@50400000", {"reg": cells(AT + 4 * MIB, MIB, AT + 6 * MIB, MIB)}),
        ("beyond@90000000", {"reg": cells(0x90000000, MIB), "no-map": b""}),
        ("anywhere", {"size": cells(MIB), "alignment": cells(MIB)}),
        ("off@50800000", {"reg": cells(AT + 8 * MIB, MIB), "status": b"disabled\0"}),
    ]
    with guest_of(kernel, words=with_nodes(tmp_path, nodes, ((AT + 16 * MIB, MIB),))) as guest:
        for where in ("setup_arch", "memblock_free_all", "panic"):
            guest.run_until(where)
            text = guest.command("lmb-check")
            assert "lmb-check: clean" in text and "not verified" not in text
            named = "; not at hand at this phase: /reserved-memory/anywhere, whose place the kernel has chosen" in text
            assert named == (where != "setup_arch")
        assert "OVERLAP" not in console_of(guest) and "failed to reserve" not in console_of(guest)


def test_reserved_memory_that_is_not_honoured(kernel: KernelFiles, tmp_path: Path) -> None:
    nodes: list[Node] = [
        ("first@50000000", {"reg": cells(AT, 16 * MIB)}),
        ("second@50800000", {"reg": cells(AT + 8 * MIB, 16 * MIB), "no-map": b""}),
    ]
    with guest_of(kernel, words=with_nodes(tmp_path, nodes, ((AT + 64 * MIB, MIB),))) as guest:
        guest.run_until("setup_arch")
        assert faults(guest) == []
        guest.run_until("memblock_free_all")
        # The kernel's own words.
        assert "failed to reserve memory for node 'second@50800000'" in console_of(guest)
        assert "OVERLAP DETECTED!\nfirst@50000000" in console_of(guest)
        told = [
            "[0x50800000, 0x51800000) of /reserved-memory/second@50800000 is memory that is mapped, but must not be",
            "/reserved-memory/second@50800000 and /reserved-memory/first@50000000 share [0x50800000, 0x51000000)",
        ]
        assert faults(guest) == told
        # Without the regions that the kernel has reserved for the others.
        at = {base: at for at, (base, _, _, _) in enumerate(shown(guest)["reserved"])}
        for base, size, name in ((AT, 16 * MIB, "/reserved-memory/first@50000000"),
                                 (AT + 64 * MIB, MIB, "a memory reservation")):  # fmt: skip
            guest.command(f"set var memblock.reserved.regions[{at[base]}].size = 1")
            lost = f"[{base + 1:#x}, {base + size:#x}) of {name} is memory that is not reserved"
            assert lost in faults(guest)
