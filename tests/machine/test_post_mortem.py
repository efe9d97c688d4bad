# SPDX-License-Identifier: GPL-2.0-or-later
"""Dumps by QEMU's `dump-guest-memory`: shown as the live guest was, and never completed from the ELF's data."""

from __future__ import annotations

import json
import os
import re
import struct
from pathlib import Path

import pytest

from gdb_lmb.arches.registry import find
from gdb_lmb.cli import main
from gdb_lmb.core.errors import UsageError
from gdb_lmb.formats.core_file import DumpMemory, read_core
from gdb_lmb.kernels.cache import KernelFiles
from gdb_lmb.kernels.stock import find_kernel
from gdb_lmb.runner.existing import CoreSession
from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import GuestSession
from tests.helpers.core_image import Piece, core_image
from tests.helpers.dump import dump_of, refused
from tests.helpers.stock import AMD64, boot
from tests.helpers.stock_arm64 import guest_of as guest_of_arm64

PAGING = [pytest.param("", id="physical"), pytest.param("-p", id="paging")]


@pytest.fixture(scope="session", params=AMD64)
def stock(request: pytest.FixtureRequest) -> KernelFiles:
    """One stock kernel, brought into the cache if it is not there."""
    return find_kernel(request.param, notice=print)


def limit_file(path: Path, end: int) -> None:
    """Have the headers of a dump without paging hold nothing at `end` and above."""
    punch(path, end, 1 << 63)


def punch(path: Path, base: int, size: int) -> None:
    """Have the headers of a dump without paging hold nothing of `size` bytes at `base`.

    The piece of RAM that it lies in is given two headers; the second is taken from the firmware's ROM.
    """
    with path.open("r+b") as file:
        head = file.read(64)
        at, count = struct.unpack_from("<Q", head, 32)[0], struct.unpack_from("<H", head, 56)[0]
        rows = []
        for number in range(count):
            file.seek(at + number * 56)
            rows.append(list(struct.unpack("<IIQQQQQQ", file.read(56))))
        ram = next(row for row in rows if row[0] == 1 and row[4] <= base < row[4] + row[5])
        rom = next(row for row in rows if row[0] == 1 and row[4] >= 0xFFF00000)
        skip = min(base + size - ram[4], ram[5])
        rom[2:7] = [ram[2] + skip, ram[3] + skip, ram[4] + skip, ram[5] - skip, ram[5] - skip]
        ram[5] = ram[6] = base - ram[4]
        for number, row in enumerate(rows):
            file.seek(at + number * 56)
            file.write(struct.pack("<IIQQQQQQ", *row))


@pytest.mark.kernel
@pytest.mark.parametrize("words", PAGING)
def test_fixture_as_it_was_alive(fixture_kernel: Path, words: str, capfd: pytest.CaptureFixture[str]) -> None:
    append = "lmb.scenario=random lmb.ops=2000 lmb.static=8"
    with GuestSession(fixture_kernel, QemuOptions(append=append, memory="64M")) as guest:
        guest.run_until("lmb_ready")
        # The notes of a sound random scenario, the blocks in the direct map, the log and the stop too.
        alive = [guest.command(line) for line in ("lmb-dump --json", "lmb-dump --entries", "lmb-check --json")]
        assert json.loads(alive[0])["torn"] is False and len(json.loads(alive[0])["blocks"]) > 2
        with dump_of(guest, words) as path:
            with CoreSession(path, fixture_kernel) as dump:
                assert [dump.command(x) for x in ("lmb-dump --json", "lmb-dump --entries", "lmb-check --json")] == alive
                assert dump.verdict().exit_status == 0
            capfd.readouterr()
            assert main(["core", str(path), str(fixture_kernel), "--", "lmb-dump --json"]) == 0
            assert capfd.readouterr().out == alive[0]


@pytest.mark.kernel
@pytest.mark.parametrize("words", PAGING)
def test_torn_is_seen_without_gdbs_unwinder(fixture_kernel: Path, words: str) -> None:
    with GuestSession(fixture_kernel, QemuOptions(memory="64M", append="lmb.static=8")) as guest:
        # Neither function is LMB's; the first is called by its user, with what LMB left below the stack pointer,
        # the second by one of LMB's.
        for place, torn, status in (("init_mem_mapping", "memset", 0), ("lmb_dump_all", "printk", 5)):
            guest.run_until(place)
            guest.command(f"tbreak {torn}")
            guest.command("continue")
            assert guest.command(f"output $pc == (long)&{torn}") == "1"
            alive = guest.command("lmb-dump --json")
            assert json.loads(alive)["torn"] is (status == 5)
            with dump_of(guest, words) as path, CoreSession(path, fixture_kernel) as dump:
                assert dump.command("lmb-dump --json") == alive
                assert dump.verdict().exit_status == status


@pytest.mark.kernel
def test_what_a_dump_of_the_fixture_lacks(fixture_kernel: Path, klimit_kernel: Path) -> None:
    append = "lmb.scenario=random lmb.ops=2000 lmb.static=8"
    with GuestSession(fixture_kernel, QemuOptions(append=append, memory="64M")) as guest:
        guest.run_until("lmb_ready")
        blocks = [int(b["base"], 16) for b in json.loads(guest.command("lmb-dump --json"))["blocks"] if not b["static"]]
        with dump_of(guest) as path:
            with CoreSession(path, klimit_kernel) as dump:
                assert "the guest runs another build" in refused(dump, "lmb-check")

            # One block of entries: a finding, and the rest is still looked at.
            punch(path, blocks[1], 4096)
            with CoreSession(path, fixture_kernel) as dump:
                found = json.loads(dump.command("lmb-check --json"))["findings"]
                assert any(f["code"] == "storage-corrupt" for f in found) and len(found) > 1, found
                assert dump.verdict().exit_status == 1

        with dump_of(guest) as path:
            # The file ends in the middle of RAM, as after a full disk.
            whole = path.stat().st_size
            os.truncate(path, whole // 100)
            with CoreSession(path, fixture_kernel) as dump:
                message = refused(dump, "lmb-check")
                assert message.startswith("lmb-check: cannot read ") and "the dump's file is cut off" in message

        with dump_of(guest) as path:
            # The whole image, of which gdb itself goes on to show what the ELF was built with.
            limit_file(path, 0x1000000)
            with CoreSession(path, fixture_kernel) as dump:
                assert dump.command("output lmb_page_size") == "4096"
                message = refused(dump, "lmb-dump")
                assert message.startswith("lmb-dump: cannot read ") and "the dump does not hold it" in message


@pytest.mark.kernel
@pytest.mark.parametrize("words", PAGING)
def test_dump_before_paging(fixture_kernel: Path, words: str) -> None:
    with GuestSession(fixture_kernel, QemuOptions(memory="64M")) as guest:
        guest.run_until("*(long)&pvh_start_physical")
        with dump_of(guest, words) as path, CoreSession(path, fixture_kernel) as dump:
            message = refused(dump, "lmb-check")
            assert "the kernel is not there yet: vmlinux is in memory at 0x" in message and "paging is off" in message


@pytest.mark.kernel
def test_page_tables_are_walked_as_qemu_walks_them(fixture_kernel: Path) -> None:
    with GuestSession(fixture_kernel, QemuOptions(memory="64M")) as guest:
        guest.run_until("lmb_ready")
        with dump_of(guest, "-p") as path:
            core = read_core(path)
            arch = find(e_machine=core.machine)
            assert arch is not None
            (cpu,) = arch.noted_cpus(core)
            assert [cpu[name] for name in ("pc", "cr3")] == [
                int(guest.command(f"output/x ${name}"), 16) for name in ("pc", "cr3")
            ]
            walk = arch.paged_memory(DumpMemory(core), cpu.get)
            assert walk is not None and core.has_mappings
            for segment in core.segments:
                for offset in range(0, segment.size, 0x1F_F000):
                    assert walk.to_physical(segment.va + offset)[0] == segment.physical + offset


def test_other_formats_are_refused_in_one_line(tmp_path: Path, fixture_kernel: Path) -> None:
    for image, message in (
        (b"KDUMP   " + bytes(4096), "is a compressed dump .*without -z, -l or -s"),
        (b"makedumpfile\0" + bytes(4096), "is a compressed dump .*without -z, -l or -s"),
        (b"PAGEDU64" + bytes(4096), "is a Windows dump"),
        (b"", "no ELF core file"),
        (fixture_kernel.read_bytes(), "an ELF file, but no core file"),
        (core_image([], machine=183), "a dump of another machine"),
        (core_image([Piece(0, b"x")])[:100], "is cut off: it has 100 bytes"),
    ):
        path = tmp_path / "a file, so to speak"
        path.write_bytes(image)
        with pytest.raises(UsageError, match=message) as caught:
            CoreSession(path, fixture_kernel)
        assert "\n" not in str(caught.value)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UsageError, match="not a regular file"):
        CoreSession(tmp_path / "fifo", fixture_kernel)
    with pytest.raises(UsageError, match="No such file"):
        CoreSession(tmp_path / "none", fixture_kernel)


@pytest.mark.kernel
def test_compressed_by_qemu(fixture_kernel: Path) -> None:
    with GuestSession(fixture_kernel, QemuOptions(memory="64M")) as guest:
        guest.run_until("lmb_ready")
        with dump_of(guest, "-z") as path, pytest.raises(UsageError, match="is a compressed dump"):
            CoreSession(path, fixture_kernel)


@pytest.mark.stock
def test_stock_as_it_was_alive(stock: KernelFiles) -> None:
    with boot(stock) as guest:
        # Still compressed: nothing of the kernel's is there, and the CPU is outside long mode.
        guest.command("output $pc")
        for words in ("", "-p"):
            with dump_of(guest, words) as path, CoreSession(path, stock.vmlinux) as dump:
                for command in ("lmb-dump", "lmb-check --json", "lmb-attach"):
                    assert "no kernel of the build of" in refused(dump, command)
                assert "leave --wait out" in refused(dump, "lmb-attach --wait")

        # The kernel's first instruction, before its own page tables.
        guest.command("lmb-attach --wait", timeout_s=120)
        guest.command("output $pc")  # takes what the many stops on the way still have to say
        alive_there = guest.command("lmb-dump --json")
        assert json.loads(alive_there)["phase"] == "identity-mapped"
        with dump_of(guest) as path, CoreSession(path, stock.vmlinux, timeout_s=120) as dump:
            assert dump.command("lmb-dump --json") == alive_there

        guest.run_until("memblock_free_all")
        alive = guest.command("lmb-dump --json"), guest.command("lmb-dump --kernel"), guest.command("lmb-check")
        where = guest.command("lmb-attach").splitlines()[0]
        assert json.loads(alive[0])["phase"] == "allocator complete" and json.loads(alive[0])["torn"] is False
        assert ", by 0x0 virtually" not in where
        for words in ("", "-p"):
            with dump_of(guest, words) as path, CoreSession(path, stock.vmlinux, timeout_s=120) as dump:
                for _ in range(2):  # gdb's symbols where they were linked, then where the kernel is
                    shown = tuple(dump.command(line) for line in ("lmb-dump --json", "lmb-dump --kernel", "lmb-check"))
                    assert shown == alive
                    assert dump.command("lmb-attach").splitlines()[0] == where
                assert dump.verdict().exit_status == 0
                if words:
                    # With paging gdb itself sees what we see.
                    snapshot = json.loads(alive[0])
                    assert dump.command("output memblock.reserved.cnt") == str(snapshot["reserved"]["cnt"])


@pytest.mark.stock
def test_torn_in_a_dump_of_a_stock_kernel(stock: KernelFiles) -> None:
    with boot(stock) as guest:
        guest.run_until("memblock_insert_region")
        alive = guest.command("lmb-dump --json")
        assert json.loads(alive)["torn"] is True
        with dump_of(guest) as path, CoreSession(path, stock.vmlinux, timeout_s=120) as dump:
            assert dump.command("lmb-dump --json") == alive

        # In a function of somebody else's that was called there, and with gdb's symbols where they were linked.
        guest.command("tbreak *(long)&memmove")
        guest.command("continue")
        assert guest.command("output $pc == (long)&memmove") == "1"
        with dump_of(guest) as path, CoreSession(path, stock.vmlinux, timeout_s=120) as dump:
            assert json.loads(dump.command("lmb-dump --json"))["torn"] is True


@pytest.mark.stock
def test_arm64_as_it_was_alive() -> None:
    kernel = find_kernel("debian:6.12-cloud-arm64", notice=print)
    with guest_of_arm64(kernel) as guest:
        for place, torn in (("memblock_insert_region", True), ("memmove", True), ("memblock_free_all", False)):
            guest.run_until(place)
            alive = guest.command("lmb-dump --json"), guest.command("lmb-check")
            where = guest.command("lmb-attach").splitlines()[0]
            assert json.loads(alive[0])["torn"] is torn and "moved by 0x" in where
            with dump_of(guest) as path, CoreSession(path, kernel.vmlinux, timeout_s=120) as dump:
                assert (dump.command("lmb-dump --json"), dump.command("lmb-check")) == alive
                assert dump.command("lmb-attach").splitlines()[0] == where
                assert dump.verdict().exit_status == (5 if torn else 0)


@pytest.mark.stock
def test_what_a_dump_of_a_stock_kernel_lacks(stock: KernelFiles, fixture_kernel: Path) -> None:
    with boot(stock) as guest:
        guest.run_until("memblock_free_all")
        snapshot = json.loads(guest.command("lmb-dump --json"))
        moved = re.search(r"by (0x\w+) physically, by (0x\w+) virtually", guest.command("lmb-attach"))
        assert moved is not None
        struct_va = int(guest.command("output/x (long)&memblock"), 16)
        base = struct_va - int(moved[2], 16) - 0xFFFFFFFF80000000 + int(moved[1], 16)
        arrays = {a["list"]: (int(a["base"], 16), int(a["size"], 16)) for a in snapshot["arrays"]}
        with dump_of(guest) as path:
            with CoreSession(path, fixture_kernel, timeout_s=120) as dump:
                assert "lmb-check: cannot read " in refused(dump, "lmb-check")
            other = next(files for files in map(find_kernel, AMD64) if files.vmlinux != stock.vmlinux)
            with CoreSession(path, other.vmlinux, timeout_s=120) as dump:
                assert "or the guest runs another build" in refused(dump, "lmb-check")

            # What the struct lies in: refused, although the ELF has data for it.
            punch(path, base & ~0xFFF, 0x1000)
            with CoreSession(path, stock.vmlinux, timeout_s=120) as dump:
                message = refused(dump, "lmb-dump")
                # Which of its members is missed first is the reader's business.
                missed = re.fullmatch(
                    r"lmb-dump: cannot read \d+ bytes of guest memory at (0x\w+): the dump does not hold it", message
                )
                assert missed is not None and base <= int(missed[1], 16) < base + 96
                # This is what gdb makes of it: an empty list, as it was linked.
                assert dump.command("output memblock.reserved.cnt") != str(snapshot["reserved"]["cnt"])

        # A page of an array: a finding, and the other list is still shown.
        pages = {
            (name, page)
            for name, (start, size) in arrays.items()
            for page in range(start & ~0xFFF, start + size, 0x1000)
            if page + 0x1000 <= base & ~0xFFF or page >= base + 96
        }
        used = {name: start + 24 * len(snapshot[name]["regions"]) for name, (start, _) in arrays.items()}
        name, page = min((name, page) for name, page in pages if page < used[name])
        with dump_of(guest) as path:
            punch(path, page, 0x1000)
            with CoreSession(path, stock.vmlinux, timeout_s=120) as dump:
                found = [f["message"] for f in json.loads(dump.command("lmb-check --json"))["findings"]]
                assert any(re.match(rf"the array of {name} at 0x\w+ cannot be read: ", message) for message in found)
                assert dump.verdict().exit_status == 1
