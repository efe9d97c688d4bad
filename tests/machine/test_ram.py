# SPDX-License-Identifier: GPL-2.0-or-later
"""What is read physically: RAM in several pieces, persistent memory, what is plugged in later; and nothing between."""

from __future__ import annotations

from pathlib import Path

import pytest

from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import GuestSession

pytestmark = pytest.mark.kernel

HOLE, APIC = 0xF000_0000, 0xFEE0_0000
ABOVE = 1 << 32

READ = """
import gdb
from gdb_lmb.machine.current import current

class Physical(gdb.Function):
    def invoke(self, address):
        with current().physical() as memory:
            try:
                return memory.read(int(address), 4).hex()
            except Exception as error:
                return str(error)

Physical("physical")
"""


def test_all_that_is_ram_is_read_and_nothing_else(fixture_kernel: Path, tmp_path: Path) -> None:
    words = (
        "-machine", "pc,nvdimm=on", "-m", "128M,slots=4,maxmem=4G", "-device", "ramfb",
        "-object", "memory-backend-ram,id=plain,size=128M", "-device", "pc-dimm,memdev=plain",
        "-object", "memory-backend-ram,id=kept,size=128M", "-device", "nvdimm,memdev=kept",
    )  # fmt: skip
    script = tmp_path / "physical.py"
    script.write_text(READ)
    with GuestSession(fixture_kernel, QemuOptions(memory="128M", arguments=words)) as guest:
        guest.run_until("lmb_ready")
        guest.command(f"source {script}")
        assert "lmb-check: clean" in guest.command("lmb-check")

        def read(address: int) -> str:
            return guest.command(f"output $physical({address:#x}UL)").strip('"')

        def write(address: int, value: int) -> None:
            guest.command("maintenance packet Qqemu.PhyMemMode:1")
            guest.command(f"set var *(unsigned *){address:#x} = {value}")
            guest.command("maintenance packet Qqemu.PhyMemMode:0")

        later = ABOVE + (256 << 20)
        for number, address in enumerate((0x10_0000, (128 << 20) - 4, ABOVE, ABOVE + (128 << 20), later)):
            if address == later:
                assert "this is not RAM" in read(address)
                guest.command("monitor object_add memory-backend-ram,id=late,size=128M")
                guest.command("monitor device_add pc-dimm,memdev=late,id=dimm9")
            write(address, 0x1234_5600 + number)
            assert read(address) == (0x1234_5600 + number).to_bytes(4, "little").hex()
        for address in (128 << 20, HOLE, APIC, later + (128 << 20), (128 << 20) - 2):
            assert "this is not RAM" in read(address)
