# SPDX-License-Identifier: GPL-2.0-or-later
"""`lmb-map` and the bar of `lmb-dump` on the fixture kernel, beside its lists as JSON and its own symbols."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gdb_lmb.report.terminal import Terminal
from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import CommandError, GuestSession

pytestmark = pytest.mark.kernel

KERNEL_MAP = 0xFFFFFFFF80000000
ENDS = ("__early_page_tables_start", "__bss_end")


def ranges(data: dict[str, Any], name: str) -> list[tuple[int, int]]:
    rows = data[name]["regions"]
    return [(int(row["base"], 16), int(row["base"], 16) + int(row["size"], 16)) for row in rows]


def meet(rows: list[tuple[int, int]], low: int, high: int) -> int:
    return sum(max(0, min(end, high) - max(base, low)) for base, end in rows)


def image_of(guest: GuestSession) -> tuple[int, int]:
    """Return where the linker script put the kernel, by the fixture's own labels."""
    low, high = (int(guest.command(f"output/u (unsigned long)&{name}")) - KERNEL_MAP for name in ENDS)
    return low, high


def test_each_cell_of_the_bar_is_what_the_lists_say(fixture_kernel: Path) -> None:
    options = QemuOptions(append="lmb.scenario=random lmb.static=8 lmb.ops=200")
    with GuestSession(fixture_kernel, options, terminal=Terminal(100)) as guest:
        guest.run_until("lmb_scenario_done")
        data = json.loads(guest.command("lmb-dump --json"))
        memory, reserved, image = ranges(data, "memory"), ranges(data, "reserved"), image_of(guest)
        end = max(high for _, high in (*memory, *reserved))
        size = -(-end // 98)
        expected = ""
        for low in range(0, end, size):
            high = min(low + size, end)
            taken = meet(reserved, low, high)
            if meet([image], low, high):
                held = sum(meet([(max(a, image[0]), min(b, image[1]))], low, high) for a, b in reserved
                           if a < image[1] and image[0] < b)  # fmt: skip
                expected += "K" if 2 * held >= high - low else "k"
            elif taken:
                expected += "#" if taken == high - low else "=" if 2 * taken >= high - low else "-"
            else:
                expected += "." if meet(memory, low, high) else " "
        lines = guest.command("lmb-dump").split("\n")
        assert lines[2] == "  " + expected
        assert {"=", "-", ".", "K"} <= set(expected)
        # gdb's own setting is followed, and 0 means unlimited.
        guest.command("set width 40")
        assert len(guest.command("lmb-dump").split("\n")[2]) == 40
        guest.command("set width 0")
        assert len(guest.command("lmb-dump").split("\n")[2]) == 80
        assert guest.command("lmb-dump --kernel").startswith("LMB configuration:")
        assert guest.command("lmb-dump blocks").split("\n")[2].startswith("blocks: ")


def test_a_map_of_a_part_and_its_owners(fixture_kernel: Path) -> None:
    with GuestSession(fixture_kernel, terminal=Terminal(140, unicode=True)) as guest:
        guest.run_until("lmb_ready")
        low, high = image_of(guest)
        text = guest.command(f"lmb-map {low:#x}-{high:#x}")
        assert text.startswith(f"map of [{low:#x}, {high:#x}), ")
        assert "KKKK" in text and "reserve_kernel_image+" in text and "owners: the guest's operation log" in text
        # A symbol, a size, and the whole: the same grammar as lmb-who's.
        region = json.loads(guest.command("lmb-who lmb_log --json"))["parts"][0]["reserved"]
        found = json.loads(guest.command("lmb-map lmb_log --json"))
        assert (found["base"], found["size"]) == (region["base"], region["size"])
        found = json.loads(guest.command("lmb-map 16M+1M --json"))
        assert (found["base"], found["size"]) == ("0x1000000", "0x100000")
        # Part by part the same as lmb-who tells.
        who = json.loads(guest.command("lmb-who 16M+1M --json"))
        keys = ("base", "size", "state", "places", "owners")
        assert found["parts"] == [{key: part[key] for key in keys} for part in who["parts"]]
        everything = json.loads(guest.command("lmb-map --json"))
        data = json.loads(guest.command("lmb-dump --json"))
        assert int(everything["bytes"]["reserved"], 16) == meet(ranges(data, "reserved"), 0, 1 << 64)
        assert int(everything["size"], 16) == max(end for _, end in ranges(data, "memory"))
        whole = guest.command("lmb-map")
        assert "█" in whole and "alloc_mem_map+" in whole
        for words, message in (
            ("5-3", "lmb-map: the range 5-3 is empty"),
            ("no_such_symbol", "lmb-map: .*no_such_symbol"),
            ("0 1", "lmb-map: .*see: help lmb-map"),
        ):
            with pytest.raises(CommandError, match=message):
                guest.command(f"lmb-map {words}")
        assert guest.command("complete lmb-map --j").split("\n")[0] == "lmb-map --json"


def test_a_damaged_list_is_drawn(fixture_kernel: Path) -> None:
    with GuestSession(fixture_kernel, terminal=Terminal(80)) as guest:
        guest.run_until("lmb_ready")
        before = guest.command("lmb-dump").split("\n")[2]
        # The first region of reserved now claims all addresses from 2^63 on, and wraps.
        first = "((struct lmb_region *)lmb.reserved.regions.next)"
        guest.command(f"set var {first}->base = 1ull << 63")
        guest.command(f"set var {first}->size = ~0ull")
        text = guest.command("lmb-dump")
        assert "warning: " in text and text.split("\n")[2] != before
        assert "#" in text.split("\n")[2] and len(text.split("\n")[2]) <= 80
        assert "0x10000000000000000" in guest.command("lmb-map")
