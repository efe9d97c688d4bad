# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables fit a terminal: what gives way, in which order, what never does; expected lines are written by hand."""

from __future__ import annotations

import re
import sys

import pytest

from gdb_lmb.core.errors import LmbError
from gdb_lmb.core.memory import Meter
from gdb_lmb.core.snapshot import Finding
from gdb_lmb.report.table import fitted, table
from gdb_lmb.report.terminal import BAD, HEADING, PLAIN, Terminal, is_utf8, may_color
from gdb_lmb.report.text import finding_lines, stats_line

HEADERS = ["#", "base", "end", "size", "bytes", "flags", "owner"]
ROWS = [
    [0, "0x0000000000001000", "0x0000000000002000", "4 KiB", "4,096", "-", "early_init (arch/x86/kernel/head64.c:12)"],
    [1, "0x00000000fffff000", "0x0000000100000000", "4 KiB", "4,096", "-", "late (a.c:1)"],
]


def shown(width: int | None, **how: bool) -> list[str]:
    return table(ROWS, HEADERS, ("#", "size", "bytes"), Terminal(width, **how), cut=("owner",), spare=("bytes",))


def test_nothing_is_cut_without_a_width_or_with_room() -> None:
    assert shown(None) == shown(200) == table(ROWS, HEADERS, ("#", "size", "bytes"))
    assert shown(None)[2].endswith("early_init (arch/x86/kernel/head64.c:12)")
    assert max(map(len, shown(None))) == 113


def test_first_leading_zeros_then_text_in_the_middle() -> None:
    # Of 113 columns 15 less: the zeros alone, 7 of base and 7 of end (0xfffff000 has eight digits, 0x100000000 nine).
    assert shown(100) == [
        "    #  base        end            size    bytes  flags    owner",
        "  ---  ----------  -----------  ------  -------  -------  ----------------------------------------",
        "    0  0x00001000  0x000002000   4 KiB    4,096  -        early_init (arch/x86/kernel/head64.c:12)",
        "    1  0xfffff000  0x100000000   4 KiB    4,096  -        late (a.c:1)",
    ]
    lines = shown(80, unicode=True)
    assert lines[2] == "    0  0x00001000  0x000002000   4 KiB    4,096  -        early_init …ad64.c:12)"
    assert lines[3] == "    1  0xfffff000  0x100000000   4 KiB    4,096  -        late (a.c:1)"
    assert max(map(len, lines)) == 80
    assert shown(80)[2].endswith("  early_init...d64.c:12)")


def test_then_text_goes_below_and_columns_are_left_out() -> None:
    assert shown(50) == [
        "    #  base        end            size    bytes",
        "  ---  ----------  -----------  ------  -------",
        "    0  0x00001000  0x000002000   4 KiB    4,096",
        "    owner: early_init (arc...6/kernel/head64.c:12)",
        "    1  0xfffff000  0x100000000   4 KiB    4,096",
        "    owner: late (a.c:1)",
    ]
    assert shown(40)[2:4] == [
        "    0  0x00001000  0x000002000   4 KiB",
        "    owner: early_init...nel/head64.c:12)",
    ]


def test_what_identifies_a_row_is_never_lost() -> None:
    for width in range(1, 120):
        lines = shown(width)
        rows = [line.split() for line in lines if line.lstrip()[:1] in "01"]
        assert [row[0] for row in rows] == ["0", "1"]
        assert [int(row[1], 16) for row in rows] == [0x1000, 0xFFFFF000]
        assert [int(row[2], 16) for row in rows] == [0x2000, 0x100000000]
        assert all(row[3:5] == ["4", "KiB"] for row in rows)
        if width >= 38:
            assert max(map(len, lines)) <= width, width


@pytest.mark.parametrize(
    ("text", "width", "ascii_text", "unicode_text"),
    [
        ("abcdefghij", 10, "abcdefghij", "abcdefghij"),
        ("abcdefghij", 9, "abc...hij", "abcd…ghij"),
        ("abcdefghij", 4, "a...", "ab…j"),
        ("abcdefghij", 3, "abc", "a…j"),
        ("abcdefghij", 0, "", ""),
    ],
)
def test_cut_in_the_middle(text: str, width: int, ascii_text: str, unicode_text: str) -> None:
    assert Terminal(80).cut(text, width) == ascii_text
    assert Terminal(80, unicode=True).cut(text, width) == unicode_text


def test_text_is_cut_to_sixteen_and_then_goes_below() -> None:
    at_least = fitted([["x" * 60]], ["owner"], 16, Terminal(20), cut=("owner",))
    assert (at_least.rows, at_least.below) == ([["xxxxxxx...xxxxxx"]], [])
    less = fitted([["x" * 60]], ["owner"], 15, Terminal(20), cut=("owner",))
    assert (less.rows, less.below) == ([[]], [["owner...xxxxx"]])


CALL = "alloc(size=0x8000, align=0x1000, min=0x0)"


@pytest.mark.parametrize(
    ("room", "row", "below"),
    [
        (92, ["7", CALL, "setup_areas+0x27 (main.c:142)"], []),
        (79, ["7", CALL, "setup_a...c:142)"], []),
        # What a row is about is whole for longer than what tells where it comes from.
        (78, ["7", CALL], ["caller: setup_areas+0x27 (main.c:142), in the boot: early"]),
        (59, ["7", CALL], ["caller: setup_areas+0x27 (main.c:142), in the boot: early"]),
        (58, ["7", CALL], ["caller: setup_areas+0x27 (main.c:142)", "in the boot: early"]),
        (50, ["7", CALL], ["caller: setup_areas+0x27 (main.c:142)", "in the boot: early"]),
        (
            40,
            ["7", "alloc(size=0x800...0x1000, min=0x0)"],
            ["caller: setup_areas+0x27 (main.c:142)", "in the boot: early"],
        ),
    ],
)
def test_what_a_row_is_about_is_cut_last(room: int, row: list[str], below: list[str]) -> None:
    cells = ["7", CALL, "setup_areas+0x27 (main.c:142)", "early"]
    headers = ["#", "operation", "caller", "in the boot"]
    found = fitted([cells], headers, room, Terminal(room), cut=("caller", "in the boot"), last=("operation",))
    assert (found.rows[0][: len(row)], found.below) == (row, [below] if below else [])


def test_a_column_loses_its_zeros_though_an_address_is_missing() -> None:
    rows = [["0x0000000000001000", "-"], ["0x0000000000002000", "0x0000000000000010"]]
    found = fitted(rows, ["base", "end"], 20, Terminal(20))
    assert found.rows == [["0x1000", "-"], ["0x2000", "0x10"]]


def test_no_more_rows_than_are_wanted_and_texts_stay_as_they_are() -> None:
    assert table([["0010", "1e3"], ["a", "b"], ["c", "d"]], ["x", "y"], (), Terminal(rows=1)) == [
        "  x     y", "  ----  ---", "  0010  1e3", "  ... and 2 more: --all shows them",
    ]  # fmt: skip


def test_without_the_package_that_draws_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tabulate", None)
    with pytest.raises(LmbError) as refusal:
        table([["a"]], ["x"], ())
    assert str(refusal.value) == (
        "the Python package tabulate is not found: start gdb with `gdb-lmb gdb`, use the lines that "
        "`gdb-lmb gdbinit` prints, or ask for --json"
    )


def test_what_may_be_coloured(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (
        (None, "xterm", True),
        ("", "xterm", True),
        ("1", "xterm", False),
        (None, "dumb", False),
        (None, None, False),
    )
    for no_color, term, may in rows:
        for name, value in (("NO_COLOR", no_color), ("TERM", term)):
            monkeypatch.delenv(name, raising=False)
            if value is not None:
                monkeypatch.setenv(name, value)
        assert may_color() == may
    assert [is_utf8(name) for name in ("utf-8", "UTF8", "latin-1", None)] == [True, True, False, False]


def test_widths() -> None:
    assert [Terminal(width).columns for width in (None, 19, 20, 21)] == [80, 20, 20, 21]


def test_a_line_of_what_a_command_cost() -> None:
    told = stats_line(Meter(1, 1234, 0.25), 1.5)
    assert told == "stats: 1 request, 1,234 bytes, 1500.0 ms in all, 250.0 ms of it reading"


def test_several_columns_of_text_share_what_there_is() -> None:
    rows = [["a" * 10, "b" * 60, "c" * 60]]
    found = fitted(rows, ["x", "y", "z"], 80, Terminal(80), cut=("x", "y", "z"))
    assert [len(cell) for cell in found.rows[0]] == [10, 33, 33]


def test_an_empty_table() -> None:
    assert table([], ["#", "base"], (), Terminal(30)) == table([], ["#", "base"], ())


def test_colours() -> None:
    colours = Terminal(80, color=True)
    lines = table(ROWS, HEADERS, ("#", "size", "bytes"), colours, cut=("owner",))
    assert lines[0].startswith("\x1b[1m") and lines[0].endswith("\x1b[0m") and "\x1b" not in "".join(lines[1:])
    assert [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines] == shown(80)
    assert finding_lines([Finding("overlap", "finding", "two regions")], colours) == [
        "\x1b[1;31mfinding: overlap:\x1b[0m two regions"
    ]
    assert finding_lines([Finding("headroom", "note", "none left")], colours)[0].startswith("\x1b[33mnote: headroom:")
    assert finding_lines([Finding("overlap", "finding", "two regions")]) == ["finding: overlap: two regions"]
    assert PLAIN.paint("text", BAD) == "text" and colours.paint("", HEADING) == "" and colours.paint("x", None) == "x"
