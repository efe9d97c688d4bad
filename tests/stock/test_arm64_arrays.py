# SPDX-License-Identifier: GPL-2.0-or-later
"""An arm64 kernel that doubles an array: its device tree reserves nearly as many places as the static one holds."""

from __future__ import annotations

import json
import re
import struct
import subprocess
from pathlib import Path

import pytest

from gdb_lmb.cli import main
from gdb_lmb.kernels.stock import find_kernel
from gdb_lmb.runner.existing import CoreSession
from tests.helpers.stock import console_of, dump, faults, plain_read, regions_of, shown
from tests.helpers.stock_arm64 import RAM, guest_of

pytestmark = pytest.mark.stock

ARM64 = "debian:6.12-cloud-arm64"
ROOM = 641
"""INIT_MEMBLOCK_RESERVED_REGIONS of arm64: 128, CONFIG_NR_CPUS, which is 512 here, and one."""
PLACES = 628
"""Of one page each, with one between: as many as still fit when the array must not be doubled yet."""
REGION_BYTES = 24


def write_tree(path: Path) -> None:
    """Write QEMU's device tree with more in its memory reservation block (Devicetree Specification 5.3)."""
    words = ["qemu-system-aarch64", "-machine", f"virt,dumpdtb={path}", "-cpu", "max,pauth-impdef=on", "-m", "512M"]
    subprocess.run([*words, "-display", "none"], check=True, capture_output=True)
    raw = path.read_bytes()
    # magic, totalsize, off_dt_struct, off_dt_strings, off_mem_rsvmap, …, size_dt_strings, size_dt_struct
    header = list(struct.unpack(">10I", raw[:40]))
    nodes, names = raw[header[2] : header[2] + header[9]], raw[header[3] : header[3] + header[8]]
    places = [(RAM + (300 << 20) + at * 8192, 4096) for at in range(PLACES)]
    block = b"".join(struct.pack(">QQ", *place) for place in [*places, (0, 0)])
    header[4] = 40
    header[2] = header[4] + len(block)
    header[3] = header[2] + len(nodes)
    header[1] = header[3] + len(names)
    path.write_bytes(struct.pack(">10I", *header) + block + nodes + names)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    path = tmp_path / "many.dtb"
    write_tree(path)
    return path


def test_a_doubled_array(tree: Path) -> None:
    kernel = find_kernel(ARM64, notice=print)
    with guest_of(kernel, words=("-dtb", str(tree))) as guest:
        guest.run_until("memblock_double_array")
        before = dump(guest)
        assert before["torn"] and regions_of(before) == plain_read(guest)
        assert (before["reserved"]["cnt"], before["reserved"]["max"]) == (ROOM, ROOM)
        found = {f["code"]: f["message"] for f in json.loads(guest.command("lmb-check --json"))["findings"]}
        assert found["headroom"] == "the array of reserved has room for 0 more: the next addition may double it"
        guest.command("finish")
        during = dump(guest)
        assert during["torn"] and during["reserved"]["max"] == 2 * ROOM and regions_of(during) == plain_read(guest)

        guest.run_until("memblock_free_all")
        after = dump(guest)
        assert not after["torn"] and faults(guest) == []
        assert regions_of(after) == plain_read(guest) and after["reserved"]["cnt"] > ROOM
        (array,) = [array for array in after["arrays"] if array["list"] == "reserved"]
        assert (array["max"], array["static"]) == (2 * ROOM, False)
        base = int(array["base"], 16)
        assert re.search(rf"reserved is doubled to {2 * ROOM} at \[{base:#018x}-", console_of(guest))
        holding = [low <= base and base + 2 * ROOM * REGION_BYTES <= low + size
                   for low, size, _, _ in regions_of(after)["reserved"]]  # fmt: skip
        assert sum(holding) == 1

        # The same from a dump; then an array that nobody reserved.
        core = guest.folder / "guest.core"
        guest.command(f"monitor dump-guest-memory {core}")
        with CoreSession(core, kernel.vmlinux, timeout_s=120) as post_mortem:
            assert json.loads(post_mortem.command("lmb-dump --json")) == after
        core.unlink()
        guest.command(f"set var memblock.reserved.regions[{holding.index(True)}].size = 1")
        assert "array-unreserved" in {f["code"] for f in json.loads(guest.command("lmb-check --json"))["findings"]}
        assert shown(guest) == plain_read(guest)


def test_lockstep_through_the_doubling(tree: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["--memory", "512M", "--timeout", "120", "--qemu-arg=-dtb", f"--qemu-arg={tree}", "--lockstep"]
    status = main(["trace", ARM64, *words, "--", "lmb-check"])
    told = capfd.readouterr()
    assert status == 0, told
    assert "kernel and model agree" in told.out and "lmb-check: clean" in told.out
    found = re.search(r"kernel and model agree: (\d+) operations recorded", told.out)
    assert found is not None and int(found[1]) > PLACES
