# SPDX-License-Identifier: GPL-2.0-or-later
"""Goldens as files: what is read back is what was written, comments stay where they belong, damage is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gdb_lmb.analysis.golden.compare import allows
from gdb_lmb.core.errors import InputError, UsageError
from gdb_lmb.core.golden import KINDS, Change, Environment, Golden, GoldenStop, Item, Rule
from gdb_lmb.report.golden import reading
from gdb_lmb.report.golden.comments import GoldenFile
from gdb_lmb.report.golden.reading import golden_from, read_golden
from gdb_lmb.report.golden.toml import tomllib
from gdb_lmb.report.golden.writing import golden_text, stops_with
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
    text = golden_text(GOLDEN)
    assert "# What may vary, such as " in text and "\nignore = []\n" in text


def test_it_is_read_as_it_was_written() -> None:
    found = golden_from(TEXT.encode())
    assert found.golden == GOLDEN
    assert golden_text(GOLDEN, found) == TEXT
    assert error_of(tomllib.loads(TEXT), "gdb-lmb/snapshot/2") is None


NAMES = st.text(min_size=1, max_size=8)
LISTS = st.sampled_from(("memory", "reserved", "physmem"))
AMOUNTS = (st.none() | st.integers(0, (1 << 64) - 1), st.none() | st.floats(0, 1e9))
RULES = (
    st.builds(Rule, st.none() | st.sampled_from(KINDS[:5]), st.none() | LISTS, st.none() | NAMES, *AMOUNTS)
    | st.builds(Rule, st.sampled_from(KINDS[5:11]), st.none() | LISTS, st.none() | NAMES)
    | st.builds(Rule, st.sampled_from(KINDS[11:]))
)


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


def test_comments_beside_headers_and_above_lists() -> None:
    text = MINE.replace("[environment]", "[environment]  # e. 1").replace("[rules]", "[rules]  # r. 2")
    text = text.replace("[[stop]]", "[[stop]]  # s. 3").replace(
        "memory = [", "# above memory\nmemory = [  # beside memory"
    )
    found = golden_from(text.encode())
    written = golden_text(found.golden, found)
    for line in (
        "[environment]  # e. 1",
        "[rules]  # r. 2",
        "[[stop]]  # s. 3",
        "# above memory",
        "memory = [  # beside memory",
    ):
        assert f"\n{line}\n" in written
    assert golden_text(found.golden, golden_from(written.encode())) == written


def test_rules_as_tables_and_at_the_end() -> None:
    rules = '# Mine\n[rules]\n[[rules.ignore]]\nkind = "grew"\n\n[[rules.ignore]]\nkind = "moved"\n# the end'
    head, _, stops = TEXT.partition("[rules]")
    text = f"{head}[[stop]]{stops.partition('[[stop]]')[2]}\n{rules}"
    found = golden_from(text.encode())
    assert [rule.kind for rule in found.golden.rules] == ["grew", "moved"]
    assert f"\n{rules}\n" in golden_text(found.golden, found)


def test_a_file_without_a_comment_gets_ours() -> None:
    bare = "".join(f"{line}\n" for line in TEXT.splitlines() if not line.startswith("#"))
    assert bare != TEXT and golden_text(GOLDEN, golden_from(bare.encode())).startswith("# A golden of gdb-lmb: ")


def commented(*items: str, more: str = "") -> GoldenFile:
    """Return a golden with two stops, the second with these lines of items."""
    first, middle, last = TEXT.partition('at = "lmb_scenario_done"')
    last = (
        last.partition("reserved = [\n")[0] + "reserved = [\n" + "".join(f"  {item}\n" for item in items) + f"]\n{more}"
    )
    return golden_from((first.rpartition("[[stop]]")[0] + "# of the second\n[[stop]]\n" + middle + last).encode())


def lines_after(found: GoldenFile, golden: Golden) -> list[str]:
    text = golden_text(golden, found)
    return [line.strip() for line in text.rpartition("reserved = [\n")[2].splitlines()]


WHOLE, LOW, HIGH = (Item("reserved", base, size, name="f", by="role")
                    for base, size in ((0x4000, 0x2000), (0x4000, 0x1000), (0x5000, 0x1000)))  # fmt: skip
WHOLE_LINE, LOW_LINE, HIGH_LINE = (f'{{ base = "{base}", size = "{size}", role = "f" }},' for base, size in (
    ("0x4000", "0x2000"), ("0x4000", "0x1000"), ("0x5000", "0x1000")))  # fmt: skip


def test_comments_of_what_is_split_or_merged_or_gone() -> None:
    def renewed(found: GoldenFile, *items: Item) -> Golden:
        stop = found.golden.stops[1]
        return replace(found.golden, stops=(found.golden.stops[0], replace(stop, items=(stop.items[0], *items))))

    whole = commented("# above", WHOLE_LINE + "  # beside")
    assert lines_after(whole, renewed(whole, LOW, HIGH)) == ["# above", LOW_LINE + "  # beside", HIGH_LINE, "]"]
    parts = commented("# one", LOW_LINE + "  # low", "# two", HIGH_LINE + "  # high")
    assert lines_after(parts, renewed(parts, WHOLE)) == ["# one", "# two", WHOLE_LINE + "  # low # high", "]"]
    # A list that is new; and the second stop, of which all is kept that somebody has written.
    physmem = Item("physmem", 0, 0x1000)
    text = golden_text(renewed(whole, WHOLE, physmem), whole)
    assert text.endswith('# beside\n]\nphysmem = [\n  { base = "0x0", size = "0x1000" },\n]\n')
    assert '# of the second\n[[stop]]\nat = "lmb_scenario_done"\n' in text
    gone = golden_text(replace(whole.golden, stops=whole.golden.stops[:1]), whole)
    assert [line.strip() for line in gone.splitlines()[-3:]] == ["# of the second", "# above", "# beside"]


def test_some_stops_are_renewed() -> None:
    first, second = GOLDEN.stops
    again = replace(second, closed=False)
    assert stops_with((first, second), [replace(first, at="unknown"), again]) == (first, again)


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
    assert named.environment.history is None


def test_owners_and_other_lists_of_version_1() -> None:
    callers = [{"pc": "0x5050"}, {"pc": "0x1", "function": "g"}]
    row = {"base": "0x1000", "size": "0x800", "owner": "f.isra.0+0x10", "seq": 7}
    rows = [
        row | {"callers": [{"pc": "0x10", "function": "f.isra.0"}]},
        row | {"base": "0x1800", "owner": "0x5050", "seq": 8, "callers": callers},
        {"base": "0x2000", "size": "0x1000", "owner": "reserved before the history begins"},
    ]
    physmem = {"cnt": 1, "regions": [{"base": "0x0", "size": "0x20000000", "flags": 0, "nid": 0}]}
    dump = DUMP | {"owners": {"history": "t", "reserved": [rows]}, "physmem": physmem}
    found = golden_from(json.dumps(dump).encode(), "old.json").golden
    assert found.environment.history == "log"
    assert found.stops[0].items[1:] == (
        Item("reserved", 0x1000, 0x800, name="f", by="owner", seq=7),
        Item("reserved", 0x1800, 0x800, name="0x5050", by="owner", seq=8),
        Item("reserved", 0x2000, 0x1000),
        Item("physmem", 0, 0x20000000, node=0),
    )


def ruled(rule: str) -> str:
    """Return a golden with one rule, as it is in the file."""
    return TEXT.replace("ignore = []", f"ignore = [{{ {rule} }}]")


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
    (ruled('list = "resreved"'), '"list" is "resreved"; expected one of memory, reserved, physmem$'),
    (ruled('list = "Memory"'), '"list" is "Memory"; expected one of memory, reserved, physmem$'),
    (ruled('list = "physmem"').replace('layout = "memblock"', 'layout = "lmb-list"'),
     "expected one of memory, reserved$"),
    (ruled('list = "memory"').replace('layout = "memblock"', 'layout = "x"'), "'x' is no layout that is known"),
    (ruled("list = 7"), '"list" is 7; expected one of memory'),
    (ruled("list = []"), '"list" is \\[\\]; expected one of memory'),
    (ruled("kind = []"), '"kind" is \\[\\]; expected one of appeared'),
    (ruled('name = ""'), '"name" is ""; expected an owner or a role'),
    (ruled('kind = "flags", bytes = 4096'), "a rule of kind flags has bytes, but only appeared, vanished, moved, grew, "
     "shrank have an amount$"),
    (ruled('kind = "order", percent = 5'), "a rule of kind order has percent, but only appeared, "),
    (ruled('kind = "limit", list = "memory"'), "a rule of kind limit has list, but such a change is in no list: leave "
     "it out$"),
    (ruled('kind = "direction", name = "f"'), "a rule of kind direction has name, but such a change is in no list: "),
    (TEXT.partition("[[stop]]")[0], "one \\[\\[stop\\]\\] or more"),
    (TEXT.replace("memory = [", "memory = [ 1,", 1), "a region"),
    (TEXT[: len(TEXT) // 2], "no TOML"),
    (TEXT.replace('image = ["0x1000000", "0x1800000"]', 'image = ["0x1000000"]'), "its base and its end"),
    (TEXT.replace('size = "0x800000"', 'size = "0x20000000000000000"'), "\"size\""),
    (TEXT.replace('flags = "NOMAP"', "flags = 4294967296"), "\"flags\""),
    (json.dumps({**DUMP, "page_size": 4096}), "this is no snapshot of schema gdb-lmb/snapshot/1: TypeError"),
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


@pytest.mark.parametrize("kind", KINDS)
def test_a_rule_that_is_taken_can_let_something_pass(kind: str) -> None:
    """What the reader takes and refuses of a kind is what the comparison can match, and cannot."""
    before = Item("reserved", 0x1000, 0x1000, name="f", by="owner")
    in_a_list = Change(kind, "reserved", "it changed", before, replace(before, base=0x2000))
    change = Change(kind, "", "it changed") if kind in ("limit", "direction") else in_a_list
    for more in ("", ', list = "reserved"', ', name = "f"', ", bytes = 0x10000", ", percent = 1000"):
        try:
            (rule,) = golden_from(ruled(f'kind = "{kind}"{more}').encode()).golden.rules
        except InputError:
            members = (
                {"list": "reserved"} if "list" in more else {"name": "f"} if "name" in more else {"bytes": 1 << 16}
            )
            assert not allows(Rule(kind, **members), change)  # type: ignore[arg-type]
        else:
            assert allows(rule, change)


def test_a_rule_may_be_of_each_list_that_an_allocator_has() -> None:
    for name in ("memory", "reserved", "physmem"):
        assert golden_from(ruled(f'list = "{name}"').encode()).golden.rules == (Rule(list=name),)


def test_the_largest_values_are_read() -> None:
    text = TEXT.replace('image = ["0x1000000", "0x1800000"]', 'image = ["0x0", "0x10000000000000000"]')
    text = text.replace('size = "0x800000"', 'size = "0x1ffffffffffffffff"').replace(
        'flags = "NOMAP"', "flags = 4294967295"
    )
    found = golden_from(text.encode()).golden
    assert found.environment.image == (0, 1 << 64)
    assert (found.stops[0].items[1].size, found.stops[0].items[2].flags) == ((1 << 65) - 1, (1 << 32) - 1)
    assert golden_from(TEXT.replace("bits = 64", "bits = 32").encode()).golden.environment.bits == 32


def test_a_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_MAX_BYTES", 1 << 20)
    path = tmp_path / "large.golden"
    path.write_text((TEXT + "#").ljust((1 << 20) - 1, "x") + "\n")
    assert read_golden(path).golden == GOLDEN
    path.write_text((TEXT + "#").ljust(1 << 20, "x") + "\n")
    with pytest.raises(InputError) as raised:
        read_golden(path)
    assert str(raised.value) == f"{path}: it is larger than 1 MiB"


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
