# SPDX-License-Identifier: GPL-2.0-or-later
"""Stock kernels whose arrays were doubled or damaged, and reads that were interrupted."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gdb_lmb.kernels.cache import KernelFiles
from gdb_lmb.kernels.stock import find_kernel
from gdb_lmb.runner.session import CommandError, GuestSession
from tests.helpers.stock import AMD64, CONSOLE, boot, console_of, dump, faults, plain_read, regions_of, shown

pytestmark = pytest.mark.stock

COMMAND_LINE_BYTES = 2048
HOLES, SOFT = 140, 20

INTERRUPTS = Path(__file__).parent.parent / "helpers" / "stock_interrupts.py"

# What is written into the arrays of a live stock kernel, and the code that must come.
DAMAGE = [
    ("memblock.memory.cnt", "memblock.memory.max + 1", "count-over-max"),
    ("memblock.reserved.regions[1].base", "0", "overlap"),
    ("memblock.reserved.regions[2].size", "0", "empty-region"),
    ("memblock.memory.regions[1].size", "~0UL", "region-wraps"),
    ("memblock.memory.regions[1].base", "0xa0000", "outside-firmware"),
    ("memblock.memory.regions", "(struct memblock_region *)0x4141414141414140", "array-pointer"),
]


@pytest.fixture(scope="session", params=AMD64)
def kernel(request: pytest.FixtureRequest) -> KernelFiles:
    """One stock kernel, brought into the cache if it is not there."""
    return find_kernel(request.param, notice=print)


def many_ranges() -> str:
    """Return a command line of one-byte holes and soft-reserved bytes, all behind where the image lies.

    The kernel makes what its image covers RAM again; so many ranges keep KASLR from moving it physically.
    """
    holes = [f"1${68 + 2 * at}M" for at in range(HOLES)]
    soft = [f"8%{69 + 2 * (HOLES + at)}M+0xefffffff" for at in range(SOFT)]
    line = "memmap=" + ",".join(holes + soft)
    assert len(line) + len(CONSOLE) + 2 < COMMAND_LINE_BYTES
    return line


def notes(guest: GuestSession) -> list[tuple[str, str]]:
    """Return (code, message) of the notes, and check that there is nothing else."""
    found = json.loads(guest.command("lmb-check --json"))["findings"]
    assert {f["severity"] for f in found} <= {"note"}
    return [(f["code"], f["message"]) for f in found]


def check_size_notes(guest: GuestSession) -> None:
    """Hold the notes on total_size against a plain read; memblock_trim_memory() has made memory's wrong."""
    expected = []
    for name, rows in plain_read(guest).items():
        total = int(guest.command(f"output memblock.{name}.total_size"))
        if total != sum(size for _, size, _, _ in rows):
            expected.append(f"{name}.total_size is {total:#x}")
    assert [message.split(",")[0] for code, message in notes(guest) if code == "size-stale"] == expected


def torn(guest: GuestSession) -> bool:
    return bool(dump(guest)["torn"])


def check_doubling(guest: GuestSession) -> str:
    """Follow one memblock_double_array() from its entry to its return; return the list's name."""
    guest.run_until("memblock_double_array")
    name = "memory" if "<memblock+16>" in guest.command("output type") else "reserved"
    # The caller is in the middle of its work.
    assert torn(guest)
    before = shown(guest)
    assert before == plain_read(guest) and dump(guest)[name]["max"] == 128
    left = 128 - len(before[name])
    assert ("headroom", f"the array of {name} has room for {left} more: the next addition may double it") in notes(
        guest
    )
    guest.command("finish")
    assert torn(guest)
    assert re.match(r"torn: the stop is inside memblock_(add|isolate)_range:", guest.command("lmb-check"))
    assert "headroom" not in dict(notes(guest))
    after = dump(guest)
    assert after[name]["max"] == 256 and regions_of(after) == plain_read(guest)
    assert regions_of(after)[name][: len(before[name])] == before[name] or name == "reserved"
    return name


def check_hostile_counts(guest: GuestSession, snapshot: dict[str, Any]) -> None:
    """Claim a million regions in readable RAM: a list ends with its array's reservation, and is text for a person."""
    for name in ("memory", "reserved"):
        for member in ("cnt", "max"):
            guest.command(f"set var memblock.{name}.{member} = 1 << 20")
        found = dump(guest)
        (array,) = [array for array in snapshot["arrays"] if array["list"] == name]
        base = int(array["base"], 16)
        held = [low + size - base for low, size, _, _ in regions_of(snapshot)["reserved"] if low <= base < low + size]
        assert snapshot[name]["cnt"] <= len(found[name]["regions"]) <= held[0] // 24
        texts = [guest.command(f"lmb-dump {name}"), guest.command("lmb-check"), guest.command("lmb-free")]
        assert all(len(text.splitlines()) < 500 for text in texts)
        assert {"count-over-max", "array-unreserved"} <= {f["code"] for f in found["findings"]}
        assert guest.command("output $lmb_status") == "1"
        guest.command(f"set var memblock.{name}.cnt = {snapshot[name]['cnt']}")
        guest.command(f"set var memblock.{name}.max = 256")
    assert faults(guest) == []


def test_doubled_arrays(kernel: KernelFiles) -> None:
    with boot(kernel, many_ranges()) as guest:
        assert [check_doubling(guest) for _ in range(2)] == ["memory", "reserved"]
        guest.run_until("memblock_free_all")
        snapshot = dump(guest)
        assert not snapshot["torn"] and faults(guest) == []
        assert regions_of(snapshot) == plain_read(guest)
        check_size_notes(guest)
        assert "size-stale" in dict(notes(guest)) and "headroom" not in dict(notes(guest))
        arrays = {array["list"]: array for array in snapshot["arrays"]}
        for name in ("memory", "reserved"):
            assert snapshot[name]["cnt"] > 128 and snapshot[name]["max"] == arrays[name]["max"] == 256
            assert arrays[name]["static"] is False
            base, end = (int(arrays[name]["base"], 16), int(arrays[name]["base"], 16) + 256 * 24)
            assert any(low <= base and end <= low + size for low, size, _, _ in regions_of(snapshot)["reserved"])
            # The kernel says where it put the array.
            assert re.search(rf"{name} is doubled to 256 at \[{base:#018x}-", console_of(guest))
        check_hostile_counts(guest, snapshot)
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
        assert sorted(snapshot["refused"]) == ["memory", "reserved"]
        assert snapshot["memory"]["regions"] == snapshot["reserved"]["regions"] == []
        assert all(f["severity"] == "note" for f in snapshot["findings"])
        text = guest.command("lmb-check")
        for name in ("memory", "reserved"):
            assert f"not verified: {name}: its array was freed by memblock_discard()" in text
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

        # What looks odd only: two neighbours that kernels since 6.12 may leave apart.
        rows = plain_read(guest)["reserved"]
        at = next(at for at in range(1, len(rows) - 1) if rows[at][2:] == rows[at + 1][2:])
        guest.command(f"set var memblock.reserved.regions[{at}].size = {rows[at + 1][0] - rows[at][0]}")
        wider = rows[at + 1][0] - rows[at][0] - rows[at][1]
        guest.command(f"set var memblock.reserved.total_size += {wider}")
        assert [message for code, message in notes(guest) if code == "unmerged"] == [
            f"reserved[{at}] and reserved[{at + 1}] touch and could be one region: "
            "since 6.12 only neighbours of what was added are merged"
        ]
        check_size_notes(guest)


def test_physical_mode_is_never_left_on() -> None:
    """A Ctrl-C before and after every packet of lmb-dump, raised and as a real signal."""
    with boot(find_kernel(AMD64[0], notice=print)) as guest:
        guest.run_until("setup_arch")
        guest.command(f"source {INTERRUPTS}")
        swept = json.loads(guest.command("python sweep()").splitlines()[-1])
        assert swept["left_on"] == [] and swept["interrupted"] >= 2 * 16
        assert 'received: "0"' in guest.command("maintenance packet qqemu.PhyMemMode")
        assert dump(guest)["phase"] == "mapped"
