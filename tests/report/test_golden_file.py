# SPDX-License-Identifier: GPL-2.0-or-later
"""Goldens as files: what is read back is what was written, comments stay where they belong, damage is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gdb_lmb.core.errors import InputError, UsageError
from gdb_lmb.core.golden import KINDS, Environment, Golden, GoldenStop, Item, Rule
from gdb_lmb.report.golden.comments import GoldenFile
from gdb_lmb.report.golden.reading import golden_from, read_golden
from gdb_lmb.report.golden.toml import tomllib
from gdb_lmb.report.golden.writing import golden_text
from tests.helpers.schemas import error_of

HOME = Environment("vmlinux", "memblock", "x86_64", "little", 64, 4096, append="quiet", memory="256M", smp=2,
                   relocatable=True, image=(0x1000000, 0x1800000), ram_end=0x10000000)  # fmt: skip
ITEMS = (
    Item("memory", 0, 0x10000000, node=0),
    Item("reserved", 0x1000000, 0x800000, name="kernel image", by="role"),
    Item("reserved", 0x4000000, 0x1000, 4, name="setup_arch", by="owner", seq=7),
    Item("reserved", 0x6000000, 0x1000, 0x40),
    Item("reserved", 0xFFFF000, 0x1000, name="alloc", by="owner", seq=9, role="page tables"),
    Item("physmem", 0, 0x20000000),
)
STOP = GoldenStop("lmb_ready", ITEMS, 0x10000000, False, "allocator complete", False, ())
GOLDEN = Golden(HOME, (STOP, replace(STOP, at="lmb_scenario_done", closed=True)))
TEXT = golden_text(GOLDEN)


def lines_of(text: str, word: str) -> list[str]:
    return [line for line in text.splitlines() if word in line]


def test_a_golden_is_for_people() -> None:
    assert lines_of(TEXT, "base =")[:5] == [
        '  { base = "0x0", size = "0x10000000", node = 0 },',
        '  { base = "0x1000000", size = "0x800000", role = "kernel image", place = "image+0x0" },',
        '  { base = "0x4000000", size = "0x1000", flags = "NOMAP", owner = "setup_arch", seq = 7 },',
        '  { base = "0x6000000", size = "0x1000", flags = "0x40" },',
        '  { base = "0xffff000", size = "0x1000", owner = "alloc", role = "page tables", seq = 9, '
        'place = "ram_end-0x1000" },',
    ]
    assert TEXT.startswith("# A golden of gdb-lmb: ")


def test_it_is_read_as_it_was_written() -> None:
    found = golden_from(TEXT.encode())
    assert found.golden == GOLDEN
    assert golden_text(GOLDEN, found) == TEXT
    assert error_of(tomllib.loads(TEXT), "gdb-lmb/snapshot/2") is None


NAMES = st.text(min_size=1, max_size=8)
RULES = st.builds(
    Rule, st.none() | st.sampled_from(KINDS), st.none() | NAMES, st.none() | NAMES,
    st.none() | st.integers(0, (1 << 64) - 1), st.none() | st.floats(0, 1e9),
)  # fmt: skip


@settings(max_examples=40)
@example("\x85", [Rule(name="\x85\u2028")], '\x1c\r\n\x7f\\"')
@given(NAMES, st.lists(RULES), st.text(max_size=60))
def test_any_text_is_read_as_it_was_written(name: str, rules: list[Rule], append: str) -> None:
    item = replace(ITEMS[2], name=name)
    golden = Golden(replace(HOME, append=append), (replace(STOP, items=(item,)),), tuple(rules))
    text = golden_text(golden)
    assert golden_from(text.encode()).golden == golden
    assert error_of(tomllib.loads(text), "gdb-lmb/snapshot/2") is None


# -- comments ---------------------------------------------------------------------------------------------------------

MINE = """\
# Mine.
schema = "gdb-lmb/snapshot/2"  # the second

# What it was made with:
[environment]
kernel = "vmlinux"
arch = "x86_64"
byte_order = "little"
bits = 64
page_size = "0x1000"
layout = "memblock"
# above the names
flag_names = { "0x4" = "NO#MAP" }  # beside the names

# Nothing may vary,
[rules]
ignore = [
  # but this:
  { kind = "grew", bytes = "0x1000" },  # a page
]

# The stop.
[[stop]]
at = "here"
current_limit = "0x10000000"
bottom_up = false
memory = [
  { base = "0x0", size = "0x10000000" },
]
reserved = [
  # above the first
  # in two lines
  { base = "0x1000", size = "0x1000", owner = "f#1" },  # beside "the" first
  { base = "0x3000", size = "0x1000", flags = "NO#MAP", owner = "g" },
  # above the third
  { base = "0x5000", size = "0x1000", owner = "h" },  # beside the third
  # no more
]
# the end
"""


def test_comments_stay() -> None:
    found = golden_from(MINE.encode())
    assert found.golden.rules == (Rule("grew", bytes=0x1000),)
    assert found.golden.stops[0].items[2].flags == 4
    text = golden_text(found.golden, found)
    mine = [line.strip() for line in MINE.splitlines() if "#" in line]
    # The order of keys is ours.
    assert sorted(line.strip() for line in text.splitlines() if "#" in line) == sorted(mine)
    assert golden_text(golden_from(text.encode()).golden, golden_from(text.encode())) == text
    assert text.partition("[rules]")[2].partition("]\n")[0] == MINE.partition("[rules]")[2].partition("]\n")[0]


def test_comments_go_where_their_region_goes() -> None:
    found = golden_from(MINE.encode())
    stop = found.golden.stops[0]
    memory, first, second, third = stop.items
    moved = replace(first, base=0x8000)
    new = Item("reserved", 0x2000, 0x1000, name="new", by="owner")
    after = replace(found.golden, stops=(replace(stop, items=(memory, new, second, moved)),))
    reserved = golden_text(after, found).partition("reserved = [\n")[2].partition("]")[0].splitlines()
    assert [line.strip() for line in reserved] == [
        '{ base = "0x2000", size = "0x1000", owner = "new" },',
        '{ base = "0x3000", size = "0x1000", flags = "NO#MAP", owner = "g" },',
        "# above the first",
        "# in two lines",
        '{ base = "0x8000", size = "0x1000", owner = "f#1" },  # beside "the" first',
        # Of what has vanished nothing is lost that somebody has written.
        "# above the third",
        "# no more",
        "# beside the third",
    ]
    assert third.name == "h"


# -- other versions, and damage ---------------------------------------------------------------------------------------


def test_a_newer_one_is_told_in_one_line() -> None:
    with pytest.raises(InputError) as raised:
        golden_from(TEXT.replace("snapshot/2", "snapshot/3").encode())
    assert str(raised.value) == (
        "it is of schema gdb-lmb/snapshot/3, which is newer than this gdb-lmb (gdb-lmb/snapshot/2): update gdb-lmb"
    )
    with pytest.raises(InputError, match="which is newer than this gdb-lmb"):
        golden_from(json.dumps({"schema": "gdb-lmb/snapshot/12"}).encode())


DUMP = {
    "schema": "gdb-lmb/snapshot/1", "layout": "memblock", "arch": "x86_64", "byte_order": "little", "bits": 64,
    "page_size": "0x1000", "phase": "allocator complete", "torn": False, "stop": {"pc": "0x1", "symbol": "here"},
    "memory": {"cnt": 1, "max": 128, "total_size": "0x10000000",
               "regions": [{"base": "0x0", "size": "0x10000000", "flags": 0, "nid": 0}]},
    "reserved": {"cnt": 1, "max": 128, "total_size": "0x2000",
                 "regions": [{"base": "0x1000", "size": "0x2000", "flags": 0, "nid": 1024}]},
    "current_limit": "0x10000000", "bottom_up": False, "no_node": 1024, "findings": [], "firmware": [],
}  # fmt: skip


def test_version_1_is_read() -> None:
    found = golden_from(json.dumps(DUMP).encode(), "old.json").golden
    assert found.stops == (
        GoldenStop("here", (Item("memory", 0, 0x10000000, node=0), Item("reserved", 0x1000, 0x2000)),
                   0x10000000, False, "allocator complete"),
    )  # fmt: skip
    roles = {"roles": [{"base": "0x1000", "size": "0x1000", "role": "kernel image"}]}
    named = golden_from(json.dumps(DUMP | roles).encode(), "old.json").golden
    assert [item.name for item in named.stops[0].items] == [None, "kernel image", None]
    assert named.environment.image == (0x1000, 0x2000) and named.environment.kernel == "old.json"


DAMAGE = [
    ("", "neither|no TOML|\"schema\""),
    ("schema = 7", "\"schema\""),
    ("schema = \"gdb-lmb/trace/1\"", "a golden has gdb-lmb/snapshot/2"),
    (TEXT.replace("[environment]", "[elsewhere]"), "environment"),
    (TEXT.replace("bits = 64", "bits = 65"), "32 or 64"),
    (TEXT.replace('"0x4000000"', '"0x40000000000000000"'), "at lmb_ready: \"base\""),
    (TEXT.replace("seq = 7", "sequence = 7"), "a region has \"sequence\""),
    (TEXT.replace('flags = "NOMAP"', 'flags = "NOMAPS"'), "\"flags\""),
    (TEXT.replace("ignore = []", "ignored = []"), "expected ignore"),
    (TEXT.replace("ignore = []", 'ignore = [{ kind = "bigger" }]'), "one of appeared, vanished"),
    (TEXT.replace("ignore = []", "ignore = [{ percent = -1 }]"), "from 0 up"),
    (TEXT.replace("ignore = []", "ignore = [{ names = 1 }]"), "a rule has \"names\""),
    (TEXT.partition("[[stop]]")[0], "one \\[\\[stop\\]\\] or more"),
    (TEXT.replace("memory = [", "memory = [ 1,", 1), "a region"),
    (TEXT[: len(TEXT) // 2], "no TOML"),
    ("{", "no JSON"),
    (json.dumps({**DUMP, "reserved": 7}), "no snapshot"),
    ("\ud800", "UTF-8"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "why"), DAMAGE, ids=range(len(DAMAGE)))
def test_damage_is_told(text: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "damaged.golden"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(InputError, match=why) as raised:
        read_golden(path)
    assert str(raised.value).startswith(f"{path}: ") and "\n" not in str(raised.value)


@settings(max_examples=60)
@given(st.data())
def test_no_damage_is_an_exception_of_ours(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(TEXT) - 1))
    text = TEXT[:at] + data.draw(st.text(max_size=3)) + TEXT[at + data.draw(st.integers(0, 5)) :]
    try:
        found = golden_from(text.encode("utf-8", "replace"))
    except InputError:
        return
    assert isinstance(found, GoldenFile)
    golden_text(found.golden, found)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_golden(tmp_path / "none")
