# SPDX-License-Identifier: GPL-2.0-or-later
"""Goldens without a guest: how regions are cut, what is a change, and what only looks like one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdb_lmb.analysis.golden import matching
from gdb_lmb.analysis.golden.compare import budget, compare
from gdb_lmb.analysis.golden.items import Owned, items_of, regions_of
from gdb_lmb.analysis.golden.relation import differences_of_environment
from gdb_lmb.core.golden import Change, Environment, Golden, GoldenStop, Item, Rule
from gdb_lmb.core.snapshot import Place, RegionList

MIB = 1 << 20
RAM_END = 256 * MIB
HOME = Environment("vmlinux", "memblock", "x86_64", "little", 64, 4096, append="", memory="256M", smp=1,
                   image=(16 * MIB, 24 * MIB), ram_end=RAM_END)  # fmt: skip


def golden(*items: Item, memory: int = RAM_END, **stop: object) -> Golden:
    """Return a golden of one stop: RAM from 0 to `memory`, and what is reserved."""
    rows = (Item("memory", 0, memory), *sorted(items, key=lambda item: item.base))
    limit = {"current_limit": memory, "bottom_up": False, **stop}
    return Golden(HOME, (GoldenStop("here", rows, **limit),))  # type: ignore[arg-type]


def at(name: str | None, base: int, size: int = 4096, seq: int | None = None, **more: int) -> Item:
    """Return what `name` has reserved; without a number it is a role, not an owner."""
    by = None if name is None else "role" if seq is None else "owner"
    return Item("reserved", base, size, name=name, by=by, seq=seq, **more)


def elsewhere(found: Golden, **environment: object) -> Golden:
    """Return a golden with another environment."""
    return replace(found, environment=replace(found.environment, **environment))  # type: ignore[arg-type]


def changed(before: Golden, after: Golden) -> list[Change]:
    return compare(before, after)[0]


def told(before: Golden, after: Golden) -> list[str]:
    return [change.words for change in changed(before, after)]


def stack(*sizes: tuple[str | None, int], top: int = RAM_END, seq: int | None = None) -> list[Item]:
    """Return what an allocator that searches top-down makes of allocations one after the other."""
    items = []
    for number, (name, size) in enumerate(sizes):
        top -= size
        items.append(at(name, top, size, None if seq is None else seq + number))
    return items


# -- cutting ----------------------------------------------------------------------------------------------------------


def regions(*rows: tuple[int, int]) -> RegionList:
    base = [low for low, _ in rows]
    sizes = [high - low for low, high in rows]
    return RegionList("reserved", len(rows), 0, base, sizes, [0] * len(rows), range(len(rows)))


def cut(found: RegionList, roles: list[Place], owned: list[Owned] = []) -> list[tuple[int, int, str | None]]:  # noqa: B006
    return [(item.base, item.end, item.name) for item in items_of(found, None, roles, owned)]


def test_a_region_is_cut_by_role_and_the_largest_role_counts() -> None:
    roles = [Place(0x1000, 0x9000, "kernel image"), Place(0x2000, 0x3000, "text"), Place(0xA000, 0xB000, "initrd")]
    assert cut(regions((0x1000, 0xC000), (0xD000, 0xE000)), roles) == [
        (0x1000, 0x9000, "kernel image"),
        (0x9000, 0xA000, None),
        (0xA000, 0xB000, "initrd"),
        (0xB000, 0xC000, None),
        (0xD000, 0xE000, None),
    ]


def test_what_merging_has_made_does_not_matter() -> None:
    roles = [Place(0x1000, 0x2000, "a"), Place(0x2000, 0x3000, "b")]
    rows = [(0x1000, 0x2000), (0x2000, 0x3000)]
    merged, apart = (cut(regions(*found), roles) for found in ([(0x1000, 0x3000)], rows))
    assert merged == apart


def test_owners_come_before_roles() -> None:
    owned = [Owned(0x1000, 0x1800, "f", 3), Owned(0x1800, 0x2000, "f", 4)]
    assert cut(regions((0x1000, 0x3000)), [Place(0, 0x4000, "image")], owned) == [
        (0x1000, 0x1800, "f"), (0x1800, 0x2000, "f"), (0x2000, 0x3000, "image"),
    ]  # fmt: skip
    # That it is page tables is kept, where all of it is.
    tables = [Place(0x1000, 0x1800, "page tables"), Place(0x1900, 0x3000, "page tables")]
    roles = [(item.name, item.role) for item in items_of(regions((0x1000, 0x3000)), None, tables, owned)]
    assert roles == [("f", "page tables"), ("f", None), ("page tables", None)]
    # Between two owners, and what is page tables within a larger role.
    owned = [Owned(0x1000, 0x1800, "f", 3), Owned(0x2000, 0x2800, "f", 4)]
    roles = [(item.name, item.role) for item in items_of(regions((0x1000, 0x2800)), None, [
        Place(0, 0x4000, "image"), Place(0x2000, 0x2800, "page tables")], owned)]  # fmt: skip
    assert roles == [("f", None), ("image", None), ("f", "page tables")]


def test_memory_is_not_cut_and_has_no_node_where_none_is_kept() -> None:
    found = replace(regions((0, 0), (0x1000, 0x3000)), name="memory")
    assert list(items_of(found, 64, [Place(0x1000, 0x2000, "image")])) == [Item("memory", 0x1000, 0x2000)]


def test_regions_are_what_touches_and_is_alike() -> None:
    rows = [at("f", 0x1000, seq=1), at(None, 0x2000), at(None, 0x3000, flags=4), at(None, 0x5000, flags=4)]
    assert list(regions_of(rows)) == [at(None, 0x1000, 8192), *rows[2:]]
    assert list(regions_of([])) == []


# -- changes ----------------------------------------------------------------------------------------------------------

ROLES = [at("initrd", 0x4000000, 0x100000), at("device tree", 0x5000000, 0x2000), at(None, 0x6000000)]
CASES = [
    ("nothing", ROLES, []),
    ("moved", [at("initrd", 0x4001000, 0x100000), *ROLES[1:]],
     ["reserved [0x4000000, 0x4100000) (initrd) moved up by 4 KiB to [0x4001000, 0x4101000)"]),
    ("moved, of nobody", [*ROLES[:2], at(None, 0x5FFF000)],
     ["reserved [0x6000000, 0x6001000) moved down by 4 KiB to [0x5fff000, 0x6000000)"]),
    ("vanished", ROLES[:2], ["reserved [0x6000000, 0x6001000), 4 KiB, vanished"]),
    ("appeared", [*ROLES, at(None, 0x7000000)], ["reserved [0x7000000, 0x7001000), 4 KiB, appeared"]),
    ("shrank", [at("initrd", 0x4000000, 0xFF000), *ROLES[1:]],
     ["reserved [0x4000000, 0x4100000) (initrd) shrank by 4 KiB to [0x4000000, 0x40ff000)"]),
    ("grew and moved", [at("initrd", 0x3000000, 0x200000), *ROLES[1:]],
     ["reserved [0x4000000, 0x4100000) (initrd) grew by 1 MiB to [0x3000000, 0x3200000), elsewhere"]),
    ("split", [at("initrd", 0x4000000, 0x1000), at("initrd", 0x4002000, 0xFE000), *ROLES[1:]],
     ["reserved [0x4000000, 0x4100000) (initrd) was split into [0x4000000, 0x4001000) and [0x4002000, 0x4100000), "
      "without 4 KiB of it"]),
    ("split without a hole", [at("initrd", 0x4000000, 0x1000), at("initrd", 0x4001000, 0xFF000), *ROLES[1:]],
     ["reserved [0x4000000, 0x4100000) (initrd) was split into [0x4000000, 0x4001000) and [0x4001000, 0x4100000)"]),
    ("no split: the rest is another's", [at("initrd", 0x4000000, 0x1000), at("x", 0x4001000, 0xFF000), *ROLES[1:]],
     ["reserved [0x4000000, 0x4100000) (initrd) shrank by 1020 KiB to [0x4000000, 0x4001000)",
      "reserved [0x4001000, 0x4100000) (x), 1020 KiB, appeared"]),
    ("no split: not from its base", [at("initrd", 0x4001000), at("initrd", 0x40FF000), *ROLES[1:]],
     ["reserved [0x4001000, 0x4002000) (initrd), 4 KiB, appeared",
      "reserved [0x4000000, 0x4100000) (initrd) shrank by 1020 KiB to [0x40ff000, 0x4100000)"]),
    ("another one where its base was", [at("x", 0x4000000), *ROLES[1:]],
     ["reserved [0x4000000, 0x4100000) (initrd), 1 MiB, vanished",
      "reserved [0x4000000, 0x4001000) (x), 4 KiB, appeared"]),
    ("in the order of addresses", [at("x", 0x1000000), *ROLES[:2]],
     ["reserved [0x1000000, 0x1001000) (x), 4 KiB, appeared", "reserved [0x6000000, 0x6001000), 4 KiB, vanished"]),
    ("flags", [*ROLES[:2], at(None, 0x6000000, flags=4)],
     ["reserved [0x6000000, 0x6001000) has flags NOMAP, and had -"]),
    ("node", [*ROLES[:2], at(None, 0x6000000, node=1)],
     ["reserved [0x6000000, 0x6001000) is of node 1, and was of no node"]),
    ("role", [*ROLES[:2], at("initrd", 0x6000000)],
     ["reserved [0x6000000, 0x6001000) belongs to initrd, and belonged to an unknown owner"]),
]  # fmt: skip


@pytest.mark.parametrize(("items", "words"), [row[1:] for row in CASES], ids=[row[0] for row in CASES])
def test_a_change_of_one_item(items: list[Item], words: list[str]) -> None:
    assert told(golden(*ROLES), golden(*items)) == words


def test_merged_is_split_backwards() -> None:
    parts = [at("initrd", 0x4000000, 0x1000), at("initrd", 0x4001000, 0xFF000), *ROLES[1:]]
    assert told(golden(*parts), golden(*ROLES)) == [
        "reserved [0x4000000, 0x4100000) (initrd) was merged from [0x4000000, 0x4001000) and [0x4001000, 0x4100000)"
    ]


def test_what_was_split_is_its_first_part() -> None:
    parts = [at("initrd", 0x4000000, 0x1000), at("initrd", 0x4002000, 0xFE000)]
    [change] = changed(golden(ROLES[0]), golden(*parts))
    assert (change.kind, change.before, change.after) == ("split", ROLES[0], parts[0])


def test_memory_is_held_byte_for_byte() -> None:
    found = told(golden(), golden(memory=RAM_END - 4096))
    assert found == ["memory [0x0, 0x10000000) shrank by 4 KiB to [0x0, 0xffff000)"]
    pair = [golden(Item("memory", base, MIB)) for base in (0x20000000, 0x30000000)]
    assert told(*pair) == ["memory [0x20000000, 0x20100000) moved up by 256 MiB to [0x30000000, 0x30100000)"]


def test_limit_and_direction() -> None:
    assert told(golden(), golden(current_limit=0x8000000, bottom_up=True)) == [
        "the limit of allocations is 0x8000000, and was 0x10000000",
        "the search for free memory goes bottom-up, and went top-down",
    ]


def test_many_with_the_same_change_are_told_once() -> None:
    rows = [at(None, 0x6000000 + number * 0x2000) for number in range(5)]
    found = told(golden(*rows), golden(*(replace(row, node=0) for row in rows)))
    assert found == ["reserved [0x6000000, 0x6001000) is of node 0, and was of no node; and so 4 more regions"]
    nodes = told(golden(*rows), golden(*(replace(row, node=number) for number, row in enumerate(rows))))
    assert [words.partition(" is ")[2] for words in nodes] == [f"of node {n}, and was of no node" for n in range(5)]


# -- which is which ---------------------------------------------------------------------------------------------------


def test_what_a_function_made_is_known_by_the_order_of_its_operations() -> None:
    before = golden(at("f", 0x6001000, seq=1), at("f", 0x4001000, seq=2), at(None, 0x2000000), at(None, 0x3000000))
    after = golden(at("f", 0x6001000, seq=4), at("f", 0x9001000, seq=3), at(None, 0x3000000), at(None, 0x3800000))
    assert told(before, after) == [
        "reserved [0x2000000, 0x2001000) moved up by 24 MiB to [0x3800000, 0x3801000)",
        "reserved [0x4001000, 0x4002000) by f moved up by 32 MiB to [0x6001000, 0x6002000)",
        "reserved [0x6001000, 0x6002000) by f moved up by 48 MiB to [0x9001000, 0x9002000)",
    ]
    crossed = golden(at("f", 0x2801000, seq=3), at("f", 0x8001000, seq=4))
    assert [words for words in told(before, crossed) if " by f " in words] == [
        "reserved [0x6001000, 0x6002000) by f moved down by 56 MiB to [0x2801000, 0x2802000)",
        "reserved [0x4001000, 0x4002000) by f moved up by 64 MiB to [0x8001000, 0x8002000)",
    ]


def test_of_the_same_size_it_is_the_one_with_its_node() -> None:
    rows = [at(None, 0x4001000, node=0), at(None, 0x5003000, node=1)]
    swapped = [at(None, 0x6007000, node=1), at(None, 0x700F000, node=0)]
    assert told(golden(*rows), golden(*swapped)) == [
        "reserved [0x5003000, 0x5004000) moved up by 16.0 MiB to [0x6007000, 0x6008000)",
        "reserved [0x4001000, 0x4002000) moved up by 48.1 MiB to [0x700f000, 0x7010000)",
    ]
    # A boot without nodes has those of the other one.
    assert told(golden(at(None, 0x4001000)), golden(at(None, 0x6007000, node=0))) == [
        "reserved [0x4001000, 0x4002000) moved up by 32.0 MiB to [0x6007000, 0x6008000)",
        "reserved [0x6007000, 0x6008000) is of node 0, and was of no node",
    ]


def test_sizes_tell_which_one_vanished() -> None:
    before = [at(None, 0x4001000, 4096), at(None, 0x4003000, 8192), at(None, 0x4007000, 12288)]
    after = [at(None, 0x6005000, 4096), at(None, 0x700B000, 12288)]
    found = [(one.kind, one.before and one.before.base) for one in changed(golden(*before), golden(*after))]
    assert found == [("vanished", 0x4003000), ("moved", 0x4001000), ("moved", 0x4007000)]


@pytest.mark.parametrize(("most", "kinds"), [(2, ["moved", "moved"]), (1, ["grew", "shrank"])])
def test_too_many_are_taken_in_their_order(most: int, kinds: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "_MOST_ALIGNED", most)
    before = golden(at("f", 0x4001000, 4096), at("f", 0x5001000, 8192))
    after = golden(at("f", 0x6003000, 8192), at("f", 0x7003000, 4096))
    assert [change.kind for change in changed(before, after)] == kinds


def test_a_change_is_of_a_list() -> None:
    assert [(one.kind, one.list) for one in changed(golden(*ROLES[1:]), golden(*ROLES[:2]))] == [
        ("appeared", "reserved"), ("vanished", "reserved"),
    ]  # fmt: skip


def test_stops_are_the_same_by_name_where_there_are_several() -> None:
    one, other = golden(ROLES[0]), golden(ROLES[1])
    there = replace(other.stops[0], at="there")
    assert len(told(one, replace(other, stops=(there,)))) == 2
    several = replace(one, stops=(one.stops[0], replace(there, at="nowhere"), there))
    assert told(several, replace(other, stops=(replace(one.stops[0], at="elsewhere"), there))) == []


# -- runs that one change has shifted ---------------------------------------------------------------------------------

CALLS: list[tuple[str | None, int]] = [("a", 4096), ("b", 8192), (None, 4096), ("c", 1 << 16), ("d", 4096)]


@pytest.mark.parametrize("seq", [None, 1])
def test_of_a_shifted_run_only_the_cause_is_told(seq: int | None) -> None:
    calls = [call for call in CALLS if seq is None or call[0]]
    before = golden(*stack(*calls, seq=seq))
    more = golden(*stack(*calls[:1], ("new", 8192), *calls[1:], seq=seq))
    assert told(before, more) == ["reserved [0xfffd000, 0xffff000) " + ("by new" if seq else "(new)")
                                  + ", 8 KiB, appeared"]  # fmt: skip
    less = golden(*stack(*calls[1:], seq=seq))
    assert told(before, less) == ["reserved [0xffff000, 0x10000000) " + ("by a" if seq else "(a)")
                                  + ", 4 KiB, vanished"]  # fmt: skip


def test_what_moves_by_itself_is_told_wherever_it_goes() -> None:
    """Also where its new neighbour is at the same distance as its former one."""
    rows = stack(*CALLS)
    gone = [row for row in rows if row.name != "d"]
    below_a_hole = [at("e", 0x8000000), at("d", 0x7FFF000)]
    before, after = golden(*rows, at("e", 0x8000000)), golden(*gone, *below_a_hole)
    assert len(told(before, after)) == 1 and "(d) moved down" in told(before, after)[0]


def test_a_run_that_moves_is_told_by_its_first() -> None:
    before = golden(*stack(*CALLS))
    after = golden(*stack(*CALLS, top=RAM_END - 4096))
    assert told(before, after) == ["reserved [0xffff000, 0x10000000) (a) moved down by 4 KiB to [0xfffe000, 0xffff000)"]


def test_two_that_touch_and_move_together_are_told() -> None:
    rows = [at("a", 0x4000000), at("b", 0x4001000)]
    after = [at("a", 0x4010000), at("b", 0x4011000)]
    assert told(golden(*rows), golden(*after)) == [
        "reserved [0x4001000, 0x4002000) (b) moved up by 64 KiB to [0x4011000, 0x4012000)"
    ]
    # It touched another one.
    assert told(golden(*rows), golden(at("x", 0x4000000, 0x3000), at("b", 0x4003000))) == [
        "reserved [0x4000000, 0x4001000) (a), 4 KiB, vanished",
        "reserved [0x4000000, 0x4003000) (x), 12 KiB, appeared",
        "reserved [0x4001000, 0x4002000) (b) moved up by 8 KiB to [0x4003000, 0x4004000)",
    ]


def test_what_follows_and_grows_has_only_grown() -> None:
    after = stack(("a", 8192), ("b", 16384))
    assert told(golden(*stack(("a", 4096), ("b", 8192))), golden(*after)) == [
        "reserved [0xfffd000, 0xffff000) (b) grew by 8 KiB to [0xfffa000, 0xfffe000)",
        "reserved [0xffff000, 0x10000000) (a) grew by 4 KiB to [0xfffe000, 0x10000000)",
    ]


@pytest.mark.parametrize(("more", "moved"), [(0x1FFF, False), (0x2000, True), (1, False), (0, True)])
def test_what_follows_is_at_a_multiple_of_its_alignment(more: int, moved: bool) -> None:
    before = golden(at("a", 0x8008000, 0x8000), at("b", 0x8001000))
    after = golden(at("a", 0x8008000 - more, 0x8000 + more), at("b", 0x8000000))
    assert any("(b) moved" in words for words in told(before, after)) == moved


def test_an_allocator_that_searches_bottom_up() -> None:
    def upwards(*items: Item, **more: int) -> Golden:
        return golden(*items, bottom_up=True, **more)  # type: ignore[arg-type]

    rows = [at("a", 0x4000000), at("b", 0x4001000), at("c", 0x4002000)]
    shifted = [at("a", 0x4000000, 8192), at("b", 0x4002000), at("c", 0x4003000)]
    assert told(upwards(*rows), upwards(*shifted)) == [
        "reserved [0x4000000, 0x4001000) (a) grew by 4 KiB to [0x4000000, 0x4002000)"
    ]
    moved = ["reserved [0x4001000, 0x4002000) (b) moved up by 4 KiB to [0x4002000, 0x4003000)"]
    assert told(upwards(rows[1]), upwards(shifted[1])) == moved
    # Nothing there follows the end of RAM; and what is placed goes on at the next byte.
    end = [elsewhere(upwards(row, memory=RAM_END + more), memory=None)
           for row, more in ((rows[1], 0), (shifted[1], 4096))]  # fmt: skip
    assert told(*end)[1:] == moved
    assert told(upwards(*rows), upwards(*shifted[:2], at("c", 0x4003001)))[1:] == [
        "reserved [0x4002000, 0x4003000) (c) moved up by 4.0 KiB to [0x4003001, 0x4004001)"
    ]


def test_what_has_another_neighbour_that_both_have_has_moved() -> None:
    holes = at(None, 0x6000000), at(None, 0x8000000)
    for before in (0x5FFF000, RAM_END - 4096):
        rows = [golden(*holes, at("x", base)) for base in (before, 0x7FFF000)]
        assert len(told(*rows)) == 1
        # With another command line which small piece is which cannot be told.
        assert told(rows[0], elsewhere(rows[1], append="x")) == []


# -- order ------------------------------------------------------------------------------------------------------------


def test_another_order_is_told_once() -> None:
    places = {"a": 0x4000000, "b": 0x5000000, "c": 0x6000000, "d": 0x7000000}

    def ordered(names: str) -> Golden:
        return golden(*(at(name, places[name], seq=number) for number, name in enumerate(names, 1)))

    assert told(ordered("abcd"), ordered("bcda")) == [
        "reserved [0x4000000, 0x4001000) by a is taken after [0x7000000, 0x7001000) by d, and was taken before it"
    ]
    assert told(ordered("bcda"), ordered("abcd")) == [
        "reserved [0x4000000, 0x4001000) by a is taken before [0x5000000, 0x5001000) by b, and was taken after it"
    ]
    assert told(ordered("abcd"), ordered("dabc")) == [
        "reserved [0x7000000, 0x7001000) by d is taken before [0x4000000, 0x4001000) by a, and was taken after it"
    ]
    assert len(told(ordered("abcd"), ordered("adbc"))) == 1
    twins = [
        golden(at("a", 0x4000000, seq=one), at("a", 0x5000000, 8192, seq=other)) for one, other in ((1, 2), (2, 1))
    ]
    assert told(*twins) == []
    shifted = golden(*(at(name, places[name], seq=number) for number, name in enumerate("abcd", 5)))
    assert told(ordered("abcd"), shifted) == []


# -- another environment ----------------------------------------------------------------------------------------------


def test_kaslr_moves_the_image_and_nothing_else() -> None:
    before = golden(at("kernel image", 16 * MIB, 8 * MIB), *ROLES)
    after = elsewhere(golden(at("kernel image", 40 * MIB, 8 * MIB), *ROLES), image=(40 * MIB, 48 * MIB))
    assert told(before, after) == []
    # But for the image, everything is where it was.
    wrong = golden(at("kernel image", 40 * MIB, 8 * MIB), ROLES[0], at("device tree", 0x5001000, 0x2000), ROLES[2])
    assert told(before, elsewhere(wrong, image=(40 * MIB, 48 * MIB))) == [
        "reserved [0x5000000, 0x5002000) (device tree) moved up by 4 KiB to [0x5001000, 0x5003000)"
    ]
    # An image of which a part only is reserved.
    short = golden(at("kernel image", 40 * MIB, 7 * MIB), *ROLES)
    assert told(before, elsewhere(short, image=(40 * MIB, 48 * MIB))) == [
        "reserved [0x1000000, 0x1800000) (kernel image) shrank by 1 MiB to [0x2800000, 0x2f00000)"
    ]


def test_kaslr_may_need_page_tables_more() -> None:
    rows: list[tuple[str | None, int]] = [("node", 8192), ("page tables", 8192), ("areas", 1 << 16)]
    more: list[tuple[str | None, int]] = [rows[0], ("page tables", 12288), rows[2]]
    many: list[tuple[str | None, int]] = [rows[0], ("page tables", 8192 + 17 * 4096), rows[2]]
    image = at("kernel image", 16 * MIB, 8 * MIB)
    before = golden(image, *stack(*rows))
    assert told(before, golden(image, *stack(*more))) == []
    none = golden(image, *stack(*rows[::2]))
    assert told(before, none) == ["reserved [0xfffc000, 0xfffe000) (page tables), 8 KiB, vanished"]
    grew = "reserved [0xfffc000, 0xfffe000) (page tables) grew by "
    assert told(before, golden(image, *stack(*many))) == [f"{grew}68 KiB to [0xffeb000, 0xfffe000)"]
    larger = [golden(at("page tables", 0x4000000, pages << 12)) for pages in (20, 36, 37)]
    assert told(*larger[:2]) == [] and len(told(*larger[::2])) == 1
    # Without KASLR each boot maps the same; and whoever else needs a page more has changed.
    fixed = [elsewhere(found, append="nokaslr") for found in (before, golden(image, *stack(*more)))]
    assert told(*fixed) == [f"{grew}4 KiB to [0xfffb000, 0xfffe000)"]
    other = golden(image, *stack(("node", 12288), *rows[1:]))
    assert told(before, other) == ["reserved [0xfffe000, 0x10000000) (node) grew by 4 KiB to [0xfffd000, 0x10000000)"]


def test_kaslr_may_need_page_tables_more_whoever_reserves_them() -> None:
    """As Debian's 7 has them with 3 GiB: `alloc_low_pages` maps RAM, `spp_getpage` the fixed mappings."""
    image = at("setup_arch", 16 * MIB, 8 * MIB, seq=1)
    rows = [("alloc_low_pages", 4096), ("numa_init", 8192), ("spp_getpage", 4096), ("areas", 1 << 16)]

    def boot(*left_out: str, twice: str | None = None) -> Golden:
        calls = [row for row in rows for _ in range(1 + (row[0] == twice)) if row[0] not in left_out]
        tables = ("alloc_low_pages", "spp_getpage")
        items = (replace(item, role="page tables") if item.name in tables else item for item in stack(*calls, seq=2))
        return golden(image, *items)

    before = boot()
    assert told(before, boot("alloc_low_pages")) == []
    assert told(boot("alloc_low_pages"), before) == []
    assert told(before, boot(twice="spp_getpage")) == []
    gone = ["reserved [0xffff000, 0x10000000) by alloc_low_pages, 4 KiB, vanished"]
    for fixed in ({"append": "quiet nokaslr"}, {"relocatable": False}):
        assert told(*(elsewhere(found, **fixed) for found in (before, boot("alloc_low_pages")))) == gone
    # It is page tables of which there may be another number, and never none.
    none = boot("alloc_low_pages", "spp_getpage")
    assert len(told(before, none)) == 2
    assert told(before, boot(twice="numa_init")) != []


def test_what_lay_where_the_image_lies_now_is_elsewhere() -> None:
    """One too large for what is left above the image goes below it; a later one takes what that has left."""
    image = (200 * MIB, 208 * MIB)
    calls = at("memmap", 206 * MIB, 50 * MIB, seq=2), at("percpu", 205 * MIB, MIB, seq=3)
    others = at("memmap", 150 * MIB, 50 * MIB, seq=2), at("percpu", 255 * MIB, MIB, seq=3)
    before = golden(at("kernel image", 16 * MIB, 8 * MIB, seq=1), *calls)
    after = elsewhere(golden(at("kernel image", image[0], 8 * MIB, seq=1), *others), image=image)
    assert told(before, after) == told(after, before) == []


def test_allocations_go_round_an_image_above_them() -> None:
    before = golden(at("kernel image", 16 * MIB, 8 * MIB), *stack(*CALLS))
    top = RAM_END - 8 * MIB
    after = golden(at("kernel image", top, 8 * MIB), *stack(*CALLS, top=top))
    assert told(before, elsewhere(after, image=(top, RAM_END))) == []
    lost = golden(at("kernel image", top, 8 * MIB), *stack(*CALLS[:2], *CALLS[3:], top=top))
    assert told(before, elsewhere(lost, image=(top, RAM_END))) == ["reserved [0xfffc000, 0xfffd000), 4 KiB, vanished"]


def test_another_build_may_have_a_larger_image() -> None:
    before = golden(at("kernel image", 16 * MIB, 8 * MIB), at("brk", 24 * MIB, 4096))
    after = golden(at("kernel image", 16 * MIB, 9 * MIB), at("brk", 25 * MIB, 4096))
    assert told(before, elsewhere(after, image=(16 * MIB, 25 * MIB), build_id="02")) == []

    # Elsewhere too, with what counts from its base.
    after = elsewhere(golden(at("x", 8 * MIB, MIB)), image=(8 * MIB, 17 * MIB))
    assert [one.kind for one in changed(golden(at("text", 16 * MIB, MIB)), after)] == ["owner"]


def test_what_lies_where_the_image_lay_stands_still() -> None:
    """One of the same name where the image takes it is another one."""
    before = golden(at("a", 20 * MIB))
    for size in (4096, 8192):
        after = elsewhere(golden(at("a", 12 * MIB, size), at("a", 20 * MIB)), image=(8 * MIB, 16 * MIB))
        assert [change.kind for change in changed(before, after)] == ["appeared"]


def test_parts_of_a_moved_image_are_merged() -> None:
    before = golden(at("text", 16 * MIB, MIB), at("text", 17 * MIB + 4096, MIB - 4096))
    after = elsewhere(golden(at("text", 32 * MIB, 2 * MIB)), image=(32 * MIB, 40 * MIB))
    assert [change.kind for change in changed(before, after)] == ["merged"]


def test_an_image_among_what_is_allocated() -> None:
    """Of its two places the first in the search was taken in the other boot, by the image or what that displaced."""
    image = (32 * MIB, 40 * MIB)
    for low, high, way, names in (
        (36 * MIB, 20 * MIB, False, []), (36 * MIB, 41 * MIB, False, ["moved"]), (10 * MIB, 20 * MIB, False, []),
        (39 * MIB, 60 * MIB, False, ["moved"]), (50 * MIB, 60 * MIB, False, ["moved"]),
        (36 * MIB, 41 * MIB, True, []), (36 * MIB, 20 * MIB, True, []), (36 * MIB, 30 * MIB, True, ["moved"]),
        (14 * MIB, 13 * MIB, True, ["moved"]), (50 * MIB, 60 * MIB, True, ["moved"]),
    ):  # fmt: skip
        before, after = golden(at("f", low), bottom_up=way), golden(at("f", high), bottom_up=way)
        assert [one.kind for one in changed(before, elsewhere(after, image=image))] == names, (low, high, way)
    # One takes the place of the other, whose place the image has taken.
    before = golden(at("f", 36 * MIB), at("g", 28 * MIB), at("h", 27 * MIB))
    after = golden(at("f", 28 * MIB), at("g", 27 * MIB), at("h", 20 * MIB))
    assert told(before, elsewhere(after, image=image)) == []
    # Here each is in the other's, and no image in either.
    before, after = golden(at("f", 50 * MIB), at("g", 60 * MIB)), golden(at("f", 60 * MIB), at("g", 50 * MIB))
    assert [one.kind for one in changed(before, elsewhere(after, image=image))] == ["moved", "moved"]


def test_a_moved_image_hides_nothing_else() -> None:
    """A reservation at a fixed address that moves is told wherever KASLR has put the image."""
    rows = [at("setup_arch", 0x2000000, 16 * MIB, 31), at("setup_arch", 0x3000000, 16 * MIB, 31)]
    images = [(base, base + 0x2800000) for base in (0xFC00000, 0x10A00000, 0x18E00000, 0x1B200000)]
    ram = 0x20000000
    for was, now in ((was, now) for was in images for now in images):
        pieces = [at("setup_arch", low, high - low, 1) for low, high in (was, now)]
        before, after = (golden(row, piece, memory=ram) for row, piece in zip(rows, pieces, strict=True))
        assert told(elsewhere(before, image=was), elsewhere(after, image=now)) == [
            "reserved [0x2000000, 0x3000000) by setup_arch moved up by 16 MiB to [0x3000000, 0x4000000)"
        ]
    # Nor is a part of the image allocated, wherever it lies.
    for base in images[1:]:
        before = golden(at("setup_arch", images[0][0] + 0x1000, 4096, 1))
        after = golden(at("setup_arch", base[0] + 0x2000, 4096, 1))
        (words,) = told(elsewhere(before, image=images[0]), elsewhere(after, image=base))
        assert words.endswith(
            f" moved up by 4 KiB to [{base[0] + 0x2000:#x}, {base[0] + 0x3000:#x}), counted from the image"
        )


@pytest.mark.parametrize("second", [0x402000, 0x700000])
def test_a_moved_image_does_not_hide_how_an_owner_has_it(second: int) -> None:
    """Though the total is the same."""
    before = golden(at("f", 0x400000, 8192, 3))
    after = golden(at("f", 0x400000, 4096, 3), at("f", second, 4096, 3))
    changes = changed(before, elsewhere(after, image=(32 * MIB, 40 * MIB)))
    assert [change.kind for change in changes] == ["shrank", "appeared"]


def test_the_total_of_what_lies_around_an_image_is_held() -> None:
    image = (32 * MIB, 40 * MIB)
    rows = (
        golden(at(None, 0x400000, 4096), at(None, 0x403000, 12288)),
        golden(at(None, 0x408000, 8192), at(None, 0x40B000, 8192)),
    )
    assert told(rows[0], elsewhere(rows[1], image=image)) == []
    new = golden(at(None, 0x400000, 4096), at(None, 0x403000, 12288), at(None, 0x40B000, 8192))
    assert told(rows[0], elsewhere(new, image=image)) == ["reserved [0x40b000, 0x40d000), 8 KiB, appeared"]


def test_another_size_of_ram() -> None:
    calls: list[tuple[str | None, int]] = [("node", 8192), ("memory map", 4 * MIB), (None, 4096), ("areas", 1 << 16)]
    before = golden(*ROLES, *stack(*calls))
    calls[1] = ("memory map", 8 * MIB)
    after = golden(*ROLES, *stack(*calls, top=2 * RAM_END), memory=2 * RAM_END)
    assert told(before, elsewhere(after, memory="512M", ram_end=2 * RAM_END)) == []
    calls[1] = ("memory map", 12 * MIB)
    too_large = golden(*ROLES, *stack(*calls, top=2 * RAM_END), memory=2 * RAM_END)
    assert told(before, elsewhere(too_large, memory="512M", ram_end=2 * RAM_END)) == [
        "reserved [0xfbfe000, 0xfffe000) (memory map) grew by 8 MiB to [0x1f3fe000, 0x1fffe000)"
    ]
    # RAM that has another size though the same was asked for is a change, which explains what lies at its end.
    assert [words.partition(" ")[0] for words in told(before, too_large)] == ["memory", "reserved"]


def test_another_command_line() -> None:
    before = golden(at("command line", 0xFFFF000, 20), at(None, 0xFFFE000, 20))
    after = elsewhere(golden(at("command line", 0xFFFF000, 13), at(None, 0xFFFE000, 13)), append="nokaslr")
    assert told(before, after) == []
    assert len(told(before, elsewhere(after, append=""))) == 2


@pytest.mark.parametrize(("size", "told_of"), [(4095, 0), (4096, 1)])
def test_with_another_command_line_less_than_a_page_may_lie_anywhere(size: int, told_of: int) -> None:
    before, after = golden(at("f", 0x4001000, size)), golden(at("f", 0x6003000, size))
    assert len(told(before, elsewhere(after, append="x"))) == told_of
    assert len(told(before, after)) == 1
    # What nobody owns may have come where another one lay.
    rows = golden(at(None, 0x4001000, size)), golden(at(None, 0x4001000, size, flags=4))
    assert told(*rows) != [] and told(rows[0], elsewhere(rows[1], append="x")) == []


@pytest.mark.parametrize(("more", "told_of"), [(400, 0), (401, 1)])
def test_a_kernel_keeps_four_copies_of_its_command_line(more: int, told_of: int) -> None:
    """Each is longer by 36 bytes and what is rounded up, to 64."""
    before, after = golden(at("f", 0x4001000, 1000)), golden(at("f", 0x4001000, 1000), at("f", 0x6003000, more))
    assert len(told(elsewhere(before, append="x" * 10), elsewhere(after, append="y" * 46))) == told_of
    # One copy may have grown by the difference once, whatever else there is now.
    one = golden(at("f", 0x4001000, 1100 + told_of), at("f", 0x6003000, 2000))
    assert len(told(elsewhere(before, append="x" * 10), elsewhere(one, append="y" * 46))) == told_of + 1


@pytest.mark.parametrize(("pieces", "told_of"), [(8, 0), (9, 1)])
def test_how_many_pieces_there_are_may_scale_with_ram(pieces: int, told_of: int) -> None:
    rows = [at("f", 0x4000000 + number * 0x800000, 0x400000, seq=number) for number in range(9)]
    before = golden(*rows[:4], memory=RAM_END)
    after = elsewhere(golden(*rows[:pieces], memory=2 * RAM_END), memory="512M")
    assert bool(told(before, after)) == told_of


@pytest.mark.parametrize(("more", "told_of"), [(2 * MIB, 0), (2 * MIB + 4096, 1)])
def test_the_memory_map_of_one_section_may_not_be_known(more: int, told_of: int) -> None:
    after = elsewhere(golden(at(None, 0x4000000, more), memory=2 * RAM_END), memory="512M")
    assert len(told(golden(), after)) == told_of


@pytest.mark.parametrize(("size", "told_of"), [(0x10000, 0), (0xFFFF, 1)])
def test_another_number_of_cpus(size: int, told_of: int) -> None:
    """Half of it for half of them, and sixteen pages less by rounding."""
    before, after = golden(at("percpu", 0x4000000, 0x40000)), golden(at("percpu", 0x4000000, size))
    assert len(told(elsewhere(before, smp=4), elsewhere(after, smp=2))) == told_of
    few = golden(at("percpu", 0x4000000, size + 0x8000))
    assert len(told(elsewhere(few, smp=2), elsewhere(before, smp=4))) == told_of
    assert len(told(elsewhere(before, smp=None), elsewhere(after, smp=2))) == 1


def test_a_boot_whose_memory_is_not_known() -> None:
    before = Golden(HOME, (replace(golden().stops[0], items=(at("f", 0x4000000),)),))
    assert told(before, elsewhere(golden(at("f", 0x4000000)), memory="512M")) == [
        "memory [0x0, 0x10000000), 256 MiB, appeared"
    ]


def test_where_the_size_of_ram_is_not_known_its_end_counts() -> None:
    """As of traces: what lies at the end has not moved, and that RAM ends elsewhere is told."""
    rows = [("f", 4096), ("map", 4 * MIB)], [("f", 4096), ("map", 8 * MIB)]
    before, after = (
        elsewhere(golden(*stack(*some, top=end, seq=1), memory=end), memory=None, ram_end=end)
        for some, end in zip(rows, (256 * MIB, 512 * MIB), strict=True)
    )
    said = "RAM ends at 0x20000000, and ended at 0x10000000: sizes may grow with it, and addresses count from its end"
    for old in (before, elsewhere(before, memory="256M")):
        assert told(old, after) == []
        assert differences_of_environment(old.environment, after.environment) == [said]
    # Of both it is known that they were to have the same.
    known = [elsewhere(one, memory="256M") for one in (before, after)]
    assert "memory [0x0, 0x10000000) grew by 256 MiB to [0x0, 0x20000000)" in told(*known)
    assert differences_of_environment(*(one.environment for one in known)) == []
    # Where no list says where RAM ends, nothing is let pass.
    unknown = elsewhere(before, ram_end=None)
    assert "memory [0x0, 0x10000000) grew by 256 MiB to [0x0, 0x20000000)" in told(unknown, after)


HOME_2 = replace(HOME, smp=2, build_id="01", machine=None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, []),
        ({"kernel": "vmlinux2", "build_id": "02"}, ["the kernel is vmlinux2, and was vmlinux"]),
        ({"arch": "aarch64"}, ["the architecture is aarch64, and was x86_64"]),
        ({"layout": "lmb"}, ["the allocator is lmb, and was memblock"]),
        ({"build_id": "02"}, ["it is another build of the kernel"]),
        ({"build_id": None, "memory": None, "smp": None, "append": None, "image": None}, []),
        ({"memory": "1G"}, ["RAM is 1G, and was 256M: sizes may grow with it, and addresses count from its end"]),
        ({"smp": 4}, ["there are 4 CPUs, and were 2: sizes may grow with them"]),
        ({"append": "quiet"}, ["the command line is another one: what holds it may have another size"]),
        ({"machine": "q35"}, ["QEMU's machine is q35, and was that"]),
        ({"image": (32 * MIB, 40 * MIB)}, ["the image lies at 0x2000000, and lay at 0x1000000"]),
        ({"image": (16 * MIB, 25 * MIB)}, []),
    ],
)  # fmt: skip
def test_differences_of_two_boots(change: dict[str, object], words: list[str]) -> None:
    assert differences_of_environment(HOME_2, replace(HOME_2, **change)) == words  # type: ignore[arg-type]


def test_the_default_machine_is_told_as_such() -> None:
    assert differences_of_environment(replace(HOME, machine="q35"), HOME) == [
        "QEMU's machine is the default one, and was q35"
    ]


# -- rules and the budget ---------------------------------------------------------------------------------------------

GROWN = [at("initrd", 0x4000000, 0x105000), *ROLES[1:]]


@pytest.mark.parametrize(
    ("rule", "passes"),
    [
        (Rule(), True),
        (Rule(kind="grew"), True),
        (Rule(kind="moved"), False),
        (Rule(list="memory"), False),
        (Rule(name="initrd", list="reserved"), True),
        (Rule(name="device tree"), False),
        (Rule(bytes=0x5000), True),
        (Rule(bytes=0x4FFF), False),
        (Rule(percent=2), True),
        (Rule(percent=1.9), False),
        (Rule(percent=1.9, bytes=0x5000), True),
    ],
)
def test_a_rule(rule: Rule, passes: bool) -> None:
    before = replace(golden(*ROLES), rules=(rule,))
    assert (changed(before, golden(*GROWN)) == []) == passes


@pytest.mark.parametrize(
    ("rule", "passes"),
    [(Rule(bytes=0x100000), True), (Rule(bytes=0xFFFFF), False), (Rule(percent=100), True), (Rule(percent=99), False)],
)
def test_a_rule_bounds_a_move_by_the_size_before(rule: Rule, passes: bool) -> None:
    before = golden(at("initrd", 0x4000000, 0x100000))
    assert (changed(replace(before, rules=(rule,)), golden(at("initrd", 0x4100000, 0x100000))) == []) == passes


@pytest.mark.parametrize(("most", "passes"), [(4096, True), (4095, False)])
def test_a_rule_bounds_what_comes_and_goes_by_its_size(most: int, passes: bool) -> None:
    rows = [replace(golden(*items), rules=(Rule(bytes=most),)) for items in (ROLES, ROLES[:2])]
    assert (changed(*rows) == []) == (changed(*rows[::-1]) == []) == passes


def test_a_rule_with_an_amount_is_not_of_flags() -> None:
    before, after = golden(ROLES[0]), golden(replace(ROLES[0], flags=4))
    for rule in (Rule(bytes=1 << 40), Rule(percent=100.0)):
        assert [change.kind for change in changed(replace(before, rules=(rule,)), after)] == ["flags"]
    assert changed(replace(before, rules=(Rule(kind="flags"),)), after) == []


def test_the_largest_change_of_the_budget_comes_first() -> None:
    before, after = golden(*ROLES), golden(*GROWN[:2], at("new", 0x8000000, 0x9000))
    shares = budget(before.stops[0], after.stops[0])
    assert [(one.name, one.change) for one in shares] == [
        ("new", 0x9000), ("initrd", 0x5000), (None, -0x1000), ("device tree", 0),
    ]  # fmt: skip


def test_a_change_has_both_sides() -> None:
    [change] = changed(golden(*ROLES), golden(*GROWN))
    assert change == Change("grew", "reserved", change.words, ROLES[0], GROWN[0], "here")


def test_with_owners_of_one_side_only_whole_regions_are_compared() -> None:
    before, after = golden(at("initrd", 0x4000000), at(None, 0x4001000)), golden(at("f", 0x4000000, 8192, seq=1))
    assert told(before, after) == []
    assert told(before, golden(at("f", 0x4000000, seq=1))) == [
        "reserved [0x4000000, 0x4002000) shrank by 4 KiB to [0x4000000, 0x4001000)"
    ]


@given(st.data())
def test_any_two_states_are_compared(data: st.DataObject) -> None:
    """Nothing is lost: what differs in bytes is told, and the same is the same."""
    names = st.sampled_from([None, "a", "b"])
    row = st.tuples(names, st.integers(1, 4), st.integers(0, 2), st.sampled_from([0, 4]), st.integers(1, 9))

    def state() -> Golden:
        base, items = 0x10000, [at("a", 0x1000, seq=10)]
        for name, pages, gap, flags, seq in data.draw(st.lists(row, max_size=6)):
            base += gap * 4096
            items.append(at(name, base, pages * 4096, seq if name else None, flags=flags))
            base += pages * 4096
        return golden(*items)

    before, after = state(), state()
    assert told(before, before) == []
    bytes_of = [
        {(item.base, item.end, item.flags, item.name) for item in one.stops[0].items} for one in (before, after)
    ]
    if told(before, after) == []:
        assert bytes_of[0] == bytes_of[1]


def test_by_how_much_something_moved_counts_from_where_it_would_be() -> None:
    """With another size of RAM that is the end of RAM: a tolerance of bytes still is one."""
    before, top = golden(at("f", RAM_END - 0x10000)), 2 * RAM_END
    after = golden(at("f", top - 0x12000), memory=top)
    after = elsewhere(after, memory="512M", ram_end=top)
    words = "reserved [0xfff0000, 0xfff1000) (f) moved down by 8 KiB to [0x1ffee000, 0x1ffef000)"
    words += ", counted from the end of RAM"
    assert told(before, after) == [words]
    for most, expected in ((0x2000, []), (0x1FFF, [words])):
        assert told(replace(before, rules=(Rule(kind="moved", bytes=most),)), after) == expected
    # What stands still counts from there.
    still = golden(at("f", 0x4001000), memory=top)
    assert told(golden(at("f", 0x4000000)), elsewhere(still, memory="512M", ram_end=top)) == [
        "reserved [0x4000000, 0x4001000) (f) moved up by 4 KiB to [0x4001000, 0x4002000)"
    ]
