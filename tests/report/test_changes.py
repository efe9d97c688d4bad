# SPDX-License-Identifier: GPL-2.0-or-later
"""What has changed between two boots, as text and as JSON: every expected line is written by hand."""

from __future__ import annotations

from dataclasses import replace

from gdb_lmb.core.golden import Environment, Golden, GoldenStop, Item, Rule
from gdb_lmb.report.changes import Comparison, change_lines, comparison, diff_json, diff_text
from gdb_lmb.report.terminal import Terminal
from tests.helpers.schemas import error_of

HOME = Environment("vmlinux", "memblock", "x86_64", "little", 64, 4096, append="nokaslr")
SETUP = Item("reserved", 0x4000000, 0x2000, name="setup", by="owner", seq=3)
LOST = Item("reserved", 0x5000000, 0x1000)
KEPT = Item("reserved", 0x6000000, 0x800, 4, 1, "keep", "owner", 4)


def stop(at: str, *items: Item) -> GoldenStop:
    return GoldenStop(at, (Item("memory", 0, 0x10000000), *items), 0x10000000, False)


def compared(before: list[GoldenStop], after: list[GoldenStop]) -> Comparison:
    return comparison(Golden(HOME, tuple(before)), Golden(HOME, tuple(after)), ("old.golden", "new\n"))


GROWN = replace(SETUP, size=0x3000)
ONE = compared([stop("here", SETUP, LOST, KEPT)], [stop("here", GROWN, KEPT)])


def test_the_text_of_one_stop() -> None:
    lines = diff_text(ONE).splitlines()
    assert change_lines(ONE.changes) == lines[:2]
    assert [" ".join(line.split()) for line in lines if "---" not in line] == [
        "reserved [0x4000000, 0x4002000) by setup grew by 4 KiB to [0x4000000, 0x4003000)",
        "reserved [0x5000000, 0x5001000), 4 KiB, vanished",
        "",
        "bytes reserved:",
        "reserved by before after change",
        "setup 8 KiB 12 KiB +4 KiB",
        "unknown owner 4 KiB 0 bytes -4 KiB",
        "all 14 KiB 14 KiB 0",
        "",
        "2 changes from old.golden to new\\n",
    ]
    assert (
        diff_text(ONE, Terminal(color=True)).splitlines()[-1] == "\x1b[1;31m2 changes from old.golden to new\\n\x1b[0m"
    )


def test_what_the_rules_ignore_is_counted() -> None:
    before, after = Golden(HOME, (stop("here", SETUP, LOST),)), Golden(HOME, (stop("here", GROWN),))
    for rules, words, ignored in (
        ((Rule(kind="grew"),), "1 change from a to b, 1 more ignored by its rules", 1),
        ((Rule(),), "no change from a to b, 2 changes ignored by its rules", 2),
        ((Rule(name="setup"),), "1 change from a to b, 1 more ignored by its rules", 1),
        ((), "2 changes from a to b", 0),
    ):
        found = comparison(replace(before, rules=rules), after, ("a", "b"))
        assert diff_text(found).splitlines()[-1] == words
        assert diff_json(found)["ignored"] == ignored


def test_the_text_of_several_stops_says_where() -> None:
    found = compared(
        [stop("early"), stop("here", SETUP), stop("there", KEPT)], [stop("here", GROWN), stop("there", KEPT)]
    )
    lines = [" ".join(line.split()) for line in diff_text(found).splitlines()]
    assert lines[:4] == [
        "note: only one of them has a stop at early",
        "here: reserved [0x4000000, 0x4002000) by setup grew by 4 KiB to [0x4000000, 0x4003000)",
        "",
        "bytes reserved at here:",
    ]
    # A budget that has not changed is not shown.
    assert len(lines) == 10 and lines[-3:] == ["all 8 KiB 12 KiB +4 KiB", "", "1 change from old.golden to new\\n"]


def test_no_change() -> None:
    same = compared([stop("here", SETUP)], [stop("there", SETUP)])
    assert (same.notes, same.changes) == ((), ())
    assert diff_text(same) == "no change from old.golden to new\\n"
    assert diff_text(same, Terminal(color=True)) == "\x1b[32mno change from old.golden to new\\n\x1b[0m"


def test_owners_of_one_side_only_are_noted() -> None:
    found = compared([stop("here", SETUP)], [stop("here", replace(SETUP, name=None, by=None, seq=None))])
    assert found.notes == ("owners are known of one of them only: whole regions are compared",)


def test_the_json() -> None:
    data = diff_json(ONE)
    assert error_of(data, "gdb-lmb/diff/1") is None
    assert (data["before"], data["after"], data["notes"]) == ("old.golden", "new\\n", [])
    setup = {"list": "reserved", "base": "0x4000000", "size": "0x2000", "flags": 0, "node": None, "name": "setup",
             "by": "owner", "seq": 3}  # fmt: skip
    lost = setup | {"base": "0x5000000", "size": "0x1000", "name": None, "by": None, "seq": None}
    assert [(one["kind"], one["at"], one["before"], one["after"]) for one in data["changes"]] == [
        ("grew", "here", setup, setup | {"size": "0x3000"}), ("vanished", "here", lost, None),
    ]  # fmt: skip
    assert data["budget"] == [{"at": "here", "owners": [
        {"name": "setup", "before": "0x2000", "after": "0x3000"}, {"name": None, "before": "0x1000", "after": "0x0"},
        {"name": "keep", "before": "0x800", "after": "0x800"},
    ]}]  # fmt: skip
    nowhere = replace(ONE, changes=tuple(replace(one, at=None) for one in ONE.changes))
    assert [one["at"] for one in diff_json(nowhere)["changes"]] == [None, None]
