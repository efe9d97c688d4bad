# SPDX-License-Identifier: GPL-2.0-or-later
"""Dumps that are no work of QEMU's: a copy of /proc/vmcore, `makedumpfile -E`, and files that are cut off.

A vmcore is made of QEMU's dump here as fs/proc/vmcore.c and kexec lay it out: a note of each CPU's registers,
VMCOREINFO, a header for the kernel's image and one for each range of RAM, both with the kernel's own addresses.
"""

from __future__ import annotations

import json
import os
import re
import struct
from pathlib import Path

import pytest

from gdb_lmb.cli import main
from gdb_lmb.core.errors import UsageError
from gdb_lmb.kernels.stock import find_kernel
from gdb_lmb.runner.existing import CoreSession
from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import GuestSession
from tests.helpers.core_image import note
from tests.helpers.dump import dump_of, refused
from tests.helpers.stock import AMD64, KERNEL_MAP_VA, boot, moved_by

Capture = pytest.CaptureFixture[str]


def as_vmcore(path: Path, text: tuple[int, int, int], direct_va: int) -> None:
    """Write the headers and notes of QEMU's dump as a vmcore has them.

    `text` is the image: its virtual and physical address, and its bytes; RAM begins at `direct_va`.
    """
    with path.open("r+b") as file:
        head = file.read(64)
        at, count = struct.unpack_from("<Q", head, 32)[0], struct.unpack_from("<H", head, 56)[0]
        file.seek(at)
        rows = [list(struct.unpack("<IIQQQQQQ", file.read(56))) for _ in range(count)]
        notes, ram, rom = rows
        file.seek(notes[2])
        raw = file.read(notes[5])
        # Of QEMU's notes the first is the registers, which a crashing kernel writes too.
        (name_size, size, kind) = struct.unpack_from("<III", raw)
        registers = raw[: 12 + (name_size + 3 & ~3) + (size + 3 & ~3)]
        assert (name_size, kind, registers[12:16]) == (5, 1, b"CORE")
        made = registers + note(b"VMCOREINFO", 0, b"OSRELEASE=6.1.0\nPAGESIZE=4096\n")
        assert len(made) <= len(raw)
        file.seek(notes[2])
        file.write(made)
        notes[5] = notes[6] = len(made)
        va, physical, length = text
        image = [1, 7, ram[2] + physical - ram[4], va, physical, length, length, 0]
        ram[1], ram[3] = 7, direct_va + ram[4]
        for number, row in enumerate((notes, image, ram)):
            file.seek(at + number * 56)
            file.write(struct.pack("<IIQQQQQQ", *row))
        assert rom[4] >= 0xFFF00000


@pytest.mark.kernel
def test_a_vmcore_of_the_fixture(fixture_kernel: Path, capfd: Capture) -> None:
    append = "lmb.scenario=random lmb.ops=2000 lmb.static=8"
    with GuestSession(fixture_kernel, QemuOptions(append=append, memory="64M")) as guest:
        guest.run_until("lmb_ready")
        alive = guest.command("lmb-dump --json")
        size = int(guest.command("output (unsigned long)&_end - (unsigned long)&_text"))
        with dump_of(guest) as path:
            as_vmcore(path, (0xFFFFFFFF81000000, 0x1000000, size), 0xFFFF888000000000)
            capfd.readouterr()
            assert main(["core", str(path), str(fixture_kernel), "--", "lmb-dump --json", "lmb-check"]) == 0
            out = capfd.readouterr().out
            assert out.startswith(alive) and "lmb-check: clean" in out


@pytest.mark.stock
def test_a_vmcore_of_a_stock_kernel(capfd: Capture) -> None:
    kernel = find_kernel(AMD64[0], notice=print)
    with boot(kernel, memory="256M") as guest:
        guest.run_until("memblock_free_all")
        physical, virtual = moved_by(guest)
        alive = json.loads(guest.command("lmb-dump --json"))
        low, high, direct = (
            int(guest.command(f"output/x {what}"), 16)
            for what in ("(unsigned long)&_text", "(unsigned long)&_end", "page_offset_base")
        )
        with dump_of(guest) as path:
            as_vmcore(path, (low, low - virtual - KERNEL_MAP_VA + physical, high - low), direct)
            with CoreSession(path, kernel.vmlinux, timeout_s=120) as dump:
                shown = json.loads(dump.command("lmb-dump --json"))
                assert {**shown, "torn": False} == alive
                assert "clean" in dump.command("lmb-check")
                assert f"by {virtual:#x} virtually" in dump.command("lmb-attach")
                # gdb reads it by itself too: that is what the virtual addresses are for.
                assert dump.command("output memblock.reserved.cnt") == str(alive["reserved"]["cnt"])


@pytest.mark.kernel
def test_a_dump_that_is_cut_off_says_where(fixture_kernel: Path, capfd: Capture) -> None:
    with GuestSession(fixture_kernel, QemuOptions(memory="64M")) as guest:
        guest.run_until("lmb_ready")
        alive = guest.command("lmb-dump --json")
        with dump_of(guest) as path:
            with path.open("rb") as file:
                head = file.read(64)
                file.seek(struct.unpack_from("<Q", head, 32)[0] + 56)
                ram = struct.unpack("<IIQQQQQQ", file.read(56))[2]
            whole = ram + (64 << 20) + (256 << 10)  # the firmware's ROM comes last
            # What is missing is not needed.
            os.truncate(path, whole - 10)
            capfd.readouterr()
            assert main(["core", str(path), str(fixture_kernel), "--", "lmb-dump --json"]) == 0
            out, err = capfd.readouterr()
            assert out == alive and err.count("\n") == 1
            assert (
                f"{path} is cut off at byte {whole - 10:,} of {whole:,}: program header 2 of 3, of memory at [" in err
            )
            # It is needed.
            os.truncate(path, ram + 0x10000)
            assert main(["core", str(path), str(fixture_kernel)]) == 5
            err = capfd.readouterr().err
            where = (
                f"at byte {ram + 0x10000:,} of {whole:,}: program header 1 of 3, of memory at [0x0, 0x4000000), has "
            )
            assert err.count(f"{where}only 65,536 of 67,108,864 bytes") == 2 and err.count("\n") == 2
            # Nothing of memory is left, nor of the notes, nor of the headers.
            for length, says in (
                (ram, f"is cut off at byte {ram:,} of {whole:,}: program header 1 of 3"),
                (
                    400,
                    r"is cut off: it has 400 bytes, and its notes \(program header 0 of 3\) would reach to byte [\d,]+",
                ),
                (200, r"is cut off: it has 200 bytes, and its program headers would reach to byte [\d,]+"),
                (40, "the ELF headers are cut off or damaged"),
            ):
                os.truncate(path, length)
                assert main(["core", str(path), str(fixture_kernel)]) == (5 if length == ram else 2)
                assert re.search(says, capfd.readouterr().err)


@pytest.mark.stock
def test_a_dump_of_a_stock_kernel_that_is_cut_off(capfd: Capture) -> None:
    kernel = find_kernel(AMD64[0], notice=print)
    with boot(kernel, memory="256M") as guest:
        guest.run_until("memblock_free_all")
        with dump_of(guest) as path:
            os.truncate(path, 1 << 20)
            with CoreSession(path, kernel.vmlinux, timeout_s=120) as dump:
                message = refused(dump, "lmb-check")
                assert "no kernel of the build of" in message
                assert "the dump lacks it, for its file is cut off at byte 1,048,576 of 26" in message


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (
            b"KDUMP   ",
            r"compressed dump \(kdump format\).*`makedumpfile -E /proc/vmcore FILE` or a copy of /proc/vmcore",
        ),
        (b"DISKDUMP", r"compressed dump \(kdump format\).*without -z, -l or -s"),
        (b"makedumpfile\0".ljust(4112, b"\0") + b"KDUMP   ", r"compressed dump \(kdump format\)"),
        (b"makedumpfile\0".ljust(4112, b"\0") + b"\x7fELF\2\1\1", r"flattened dump .*`makedumpfile -R NEW < "),
    ],
)
def test_what_makedumpfile_writes(fixture_kernel: Path, tmp_path: Path, head: bytes, says: str) -> None:
    path = tmp_path / "vmcore"
    path.write_bytes(head + bytes(4096))
    with pytest.raises(UsageError, match=says) as caught:
        CoreSession(path, fixture_kernel)
    assert "\n" not in str(caught.value)
