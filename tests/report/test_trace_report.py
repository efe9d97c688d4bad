# SPDX-License-Identifier: GPL-2.0-or-later
"""What is said of a divergence: every line as a person will read it, strings from outside made harmless."""

from __future__ import annotations

import json

from gdb_lmb.allocators.difference import RegionRow, ValueRow
from gdb_lmb.analysis.compare import StateDiff
from gdb_lmb.analysis.lockstep import Divergence
from gdb_lmb.core.operation import Record, Symbol
from gdb_lmb.core.snapshot import Entry
from gdb_lmb.report.divergence import diff_lines, divergence_json, divergence_text, headline, site, symbols_json
from gdb_lmb.report.terminal import Terminal
from tests.helpers.operations import op

RECORD = Record(
    17,
    op("add_range", 0x9000, 0x1000, list="reserved", nid=1024),
    0,
    (0xFFFFFFFF81000010, 0xFFFFFFFF82000020, 0xFFFFFFFF83000030),
    "mapped",
)
SYMBOLS = {
    0xFFFFFFFF81000010: Symbol("memblock_reserve", 0x10, "mm/memblock.c", 865),
    0xFFFFFFFF82000020: Symbol("setup\x1b[2J", 0, "a\nb.c"),
}
DIFF = StateDiff(
    (
        RegionRow("-", "reserved", 3, 0x9000, 0x1000, 0, 1024),
        RegionRow("+", "reserved", 3, 0x9000, 0x180000, 5, 0),
    ),
    (ValueRow("reserved.total_size", "0x1000", "0x180000"),),
)
DIVERGENCE = Divergence("state", RECORD, 16, "reserved[3] is wrong", 0, 0, DIFF, 0xA000)


def test_the_whole_report() -> None:
    assert divergence_text(DIVERGENCE, SYMBOLS) == (
        "kernel and model differ after operation 17 add_range(list=reserved, base=0x9000, size=0x1000, nid=1024, "
        "flags=0x0): reserved[3] is wrong\n"
        "in the boot: mapped\n"
        "called from:\n"
        "  #0 0xffffffff81000010 memblock_reserve+0x10 (mm/memblock.c:865)\n"
        "  #1 0xffffffff82000020 setup\\x1b[2J (a\\nb.c)\n"
        "  #2 0xffffffff83000030 ?\n"
        "regions (- expected, + found):\n"
        "      list        #  base                end                    size  flags            node\n"
        "  --  --------  ---  ------------------  ------------------  -------  -------------  ------\n"
        "  -   reserved    3  0x0000000000009000  0x000000000000a000    4 KiB  -                1024\n"
        "  +   reserved    3  0x0000000000009000  0x0000000000189000  1.5 MiB  HOTPLUG|NOMAP       0\n"
        "values:\n"
        "                       expected    found\n"
        "  -------------------  ----------  --------\n"
        "  reserved.total_size  0x1000      0x180000"
    )


def test_entries_and_a_narrow_machine() -> None:
    diff = StateDiff((RegionRow("-", "memory", 0, 0, 0x1000, 0, None, Entry(2, 7)),))
    lines = divergence_text(Divergence("state", None, 0, "m", diff=diff), {}, 32).splitlines()
    assert lines[0] == "kernel and model differ from the beginning: m"
    assert [line.split() for line in lines[2:]] == [
        ["list", "#", "base", "end", "size", "flags", "entry"],
        ["--", "------", "---", "----------", "----------", "------", "-------", "-------"],
        ["-", "memory", "0", "0x00000000", "0x00001000", "4", "KiB", "-", "2:7"],
    ]


def test_only_what_is_known_is_said() -> None:
    bare = Record(3, op("free_all"), 0)
    assert (
        divergence_text(Divergence("state", bare, 2, "m"), {})
        == "kernel and model differ after operation 3 free_all(): m"
    )
    values = StateDiff((), (ValueRow("bottom_up", "false", "true"),))
    assert divergence_text(Divergence("state", None, 0, "m", diff=values), {}).splitlines()[1:] == [
        "values:", "             expected    found",
        "  ---------  ----------  -------",
        "  bottom_up  false       true",
    ]  # fmt: skip


def test_rows_have_the_colour_of_their_sign() -> None:
    lines = divergence_text(DIVERGENCE, SYMBOLS, terminal=Terminal(color=True)).splitlines()
    assert [line for line in lines if line.startswith("\x1b")] == [
        f"\x1b[1;31m{headline(DIVERGENCE)}\x1b[0m",
        "\x1b[1mregions (- expected, + found):\x1b[0m",
        "\x1b[1m      list        #  base                end                    size  flags            node\x1b[0m",
        "\x1b[1;31m  -   reserved    3  0x0000000000009000  0x000000000000a000    4 KiB  -                1024\x1b[0m",
        "\x1b[32m  +   reserved    3  0x0000000000009000  0x0000000000189000  1.5 MiB  HOTPLUG|NOMAP       0\x1b[0m",
        "\x1b[1mvalues:\x1b[0m",
        "\x1b[1m                       expected    found\x1b[0m",
    ]


def test_a_long_message_is_cut() -> None:
    long = "m" * 1001
    for found, start in (
        (Divergence("state", None, 0, long), "kernel and model differ from the beginning"),
        (Divergence("outside", RECORD, 17, long), f"the state changed after operation {RECORD}, outside of any"),
        (Divergence("state", RECORD, 16, long), f"kernel and model differ after operation {RECORD}"),
    ):
        assert headline(found) == f"{start}: {'m' * 1000}..."


def test_what_was_not_looked_at_is_said() -> None:
    early = Divergence("state", RECORD, 10, "m")
    assert divergence_text(early, {}).splitlines()[1] == (
        "  (seen only now: the states last agreed after operation 10, so that any operation from 11 to "
        "17 may have done it)"
    )
    never = Divergence("result", RECORD, 0, "m")
    assert divergence_text(never, {}).splitlines()[1] == (
        "  (states were not compared: any operation from 1 to 17 may have done it)"
    )
    outside = Divergence("outside", RECORD, 17, "bottom_up is True")
    assert headline(outside).startswith("the state changed after operation 17 add_range(")
    assert "may have done it" not in divergence_text(outside, {})


def test_a_long_diff_is_cut() -> None:
    rows = tuple(RegionRow("+", "memory", at, at, 1, 0) for at in range(100))
    lines = divergence_text(Divergence("state", RECORD, 16, "m", diff=StateDiff(rows, (), 23)), {}).splitlines()
    # Unless told otherwise, addresses have 64 bits.
    assert lines[-1].startswith("  ... and ") and diff_lines(StateDiff(rows[:1]))[3].split()[3] == "0x" + "0" * 16
    assert lines[-1] == "  ... and 83 more" and sum(line.startswith("  +") for line in lines) == 40


def test_places() -> None:
    assert site(0x1234, None) == "0x1234"
    assert site(1, Symbol("f", 0)) == "f" and site(1, Symbol("f", 16, "x.c")) == "f+0x10 (x.c)"
    assert symbols_json([1, 2], {1: Symbol("f", 0)}) == {"0x1": "f"}


def test_as_json() -> None:
    row = json.loads(json.dumps(divergence_json(DIVERGENCE)))
    assert (row["kind"], row["good"], row["exact"], row["message"]) == ("state", 16, True, "reserved[3] is wrong")
    assert row["record"]["seq"] == 17 and row["record"]["callers"][0] == "0xffffffff81000010"
    assert row["regions"][1] == {
        "sign": "+", "list": "reserved", "position": 3, "base": "0x9000", "size": "0x180000", "flags": 5, "nid": 0,
        "entry": None,
    }  # fmt: skip
    assert row["values"] == [{"name": "reserved.total_size", "expected": "0x1000", "found": "0x180000"}]
    assert divergence_json(Divergence("outside", None, 0, "m"))["record"] is None
    stored = StateDiff((RegionRow("-", "memory", 0, 0, 0x1000, 0, None, Entry(2, 7)),))
    assert divergence_json(Divergence("state", None, 0, "m", diff=stored))["regions"][0]["entry"] == [2, 7]
