# SPDX-License-Identifier: GPL-2.0-or-later
"""Stock kernels whose arrays were doubled or damaged, and reads that were interrupted."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gdb_lmb.runner.session import CommandError, GuestSession
from gdb_lmb.runner.stock import KernelFiles, find_kernel
from tests.stock import AMD64, CONSOLE, boot, console_of, dump, faults, plain_read, regions_of, shown

pytestmark = pytest.mark.stock

COMMAND_LINE_BYTES = 2048

INTERRUPTS = Path(__file__).with_name("stock_interrupts.py")

# What is written into the arrays of a live stock kernel, and the code that must come.
DAMAGE = [
    ("memblock.memory.cnt", "memblock.memory.max + 1", "count-over-max"),
    ("memblock.reserved.regions[1].base", "0", "overlap"),
    ("memblock.reserved.regions[2].size", "0", "empty-region"),
    ("memblock.memory.regions[1].size", "~0UL", "region-wraps"),
    ("memblock.memory.regions[1].base", "0xa0000", "outside-firmware"),
    ("memblock.memory.regions", "(struct memblock_region *)0x4141414141414140", "storage-corrupt"),
]


@pytest.fixture(scope="session", params=AMD64)
def kernel(request: pytest.FixtureRequest) -> KernelFiles:
    """One stock kernel, brought into the cache if it is not there."""
    return find_kernel(request.param, notice=print)


def many_ranges() -> str:
    """Return a command line of soft-reserved bytes and one-byte holes, as many as fit."""
    soft = [f"8%{34 + 2 * at}M+0xefffffff" for at in range(84)]
    holes = [f"1${33 + 2 * at}M" for at in range(70)]
    line = "memmap=" + ",".join(soft + holes)
    assert len(line) + len(CONSOLE) + 2 < COMMAND_LINE_BYTES
    return line


def nr_doubled(kernel: KernelFiles) -> int:
    """Return how many arrays these ranges double: 7.3 is seen to end with 122 regions of memory, of 128."""
    return 1 if kernel.version.startswith("7.") else 2


def torn(guest: GuestSession) -> bool:
    return bool(dump(guest)["torn"])


def check_doubling(guest: GuestSession) -> str:
    """Follow one memblock_double_array() from its entry to its return; return the list's name."""
    guest.run_until("memblock_double_array")
    name = "memory" if "<memblock+16>" in guest.command("output type") else "reserved"
    # The caller, memblock_add_range(), is in the middle of its work.
    assert torn(guest)
    before = shown(guest)
    assert before == plain_read(guest) and dump(guest)[name]["max"] == 128
    guest.command("finish")
    assert torn(guest) and "memblock_add_range" in guest.command("lmb-check")
    after = dump(guest)
    assert after[name]["max"] == 256 and regions_of(after) == plain_read(guest)
    assert regions_of(after)[name][: len(before[name])] == before[name] or name == "reserved"
    return name


def test_doubled_arrays(kernel: KernelFiles) -> None:
    with boot(kernel, many_ranges()) as guest:
        doubled = sorted(check_doubling(guest) for _ in range(nr_doubled(kernel)))
        assert doubled == ["memory", "reserved"][-nr_doubled(kernel) :]
        guest.run_until("memblock_free_all")
        snapshot = dump(guest)
        assert not snapshot["torn"] and faults(guest) == []
        assert regions_of(snapshot) == plain_read(guest)
        arrays = {array["list"]: array for array in snapshot["arrays"]}
        for name in doubled:
            assert snapshot[name]["cnt"] > 128 and snapshot[name]["max"] == arrays[name]["max"] == 256
            assert arrays[name]["static"] is False
            base, end = (int(arrays[name]["base"], 16), int(arrays[name]["base"], 16) + 256 * 24)
            assert any(low <= base and end <= low + size for low, size, _, _ in regions_of(snapshot)["reserved"])
            # The kernel says where it put the array.
            assert re.search(rf"{name} is doubled to 256 at \[{base:#018x}-", console_of(guest))
        # An array that nobody reserved may be overwritten.
        at = next(
            at for at, (low, size, _, _) in enumerate(regions_of(snapshot)["reserved"])
            if low <= int(arrays["reserved"]["base"], 16) < low + size
        )  # fmt: skip
        guest.command(f"set var memblock.reserved.regions[{at}].size = 1")
        found = json.loads(guest.command("lmb-check --json"))["findings"]
        assert "array-unreserved" in {f["code"] for f in found}


def test_doubled_arrays_are_refused_once_they_are_freed(kernel: KernelFiles) -> None:
    with boot(kernel, many_ranges()) as guest:
        guest.run_until("panic")
        snapshot = dump(guest)
        assert snapshot["phase"] == "discarded"
        assert sorted(snapshot["refused"]) == ["memory", "reserved"][-nr_doubled(kernel) :]
        assert snapshot["reserved"]["regions"] == []
        assert all(f["severity"] == "note" for f in snapshot["findings"])
        text = guest.command("lmb-check")
        assert "not verified: reserved: its array was freed by memblock_discard()" in text
        with pytest.raises(CommandError, match="cannot be shown any more"):
            guest.command("lmb-dump --kernel")
        assert guest.verdict().exit_status == 5


def test_damaged_arrays(kernel: KernelFiles) -> None:
    with boot(kernel) as guest:
        guest.run_until("memblock_free_all")
        for place, value, code in DAMAGE:
            guest.command(f"set var $saved = {place}")
            guest.command(f"set var {place} = {value}")
            found = {f["code"] for f in json.loads(guest.command("lmb-check --json"))["findings"]}
            assert code in found, (place, found)
            guest.command(f"set var {place} = $saved")
        assert faults(guest) == []


def test_physical_mode_is_never_left_on() -> None:
    """A Ctrl-C before and after every packet of lmb-dump, raised and as a real signal."""
    with boot(find_kernel(AMD64[0], notice=print)) as guest:
        guest.run_until("setup_arch")
        guest.command(f"source {INTERRUPTS}")
        swept = json.loads(guest.command("python sweep()").splitlines()[-1])
        assert swept["left_on"] == [] and swept["interrupted"] >= 2 * 16
        assert 'received: "0"' in guest.command("maintenance packet qqemu.PhyMemMode")
        assert dump(guest)["phase"] == "mapped"
