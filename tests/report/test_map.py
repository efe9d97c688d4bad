# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory as a picture: what a cell shows, the scale, holes, damaged lists; every expected line is written by hand."""

from __future__ import annotations

import dataclasses
import itertools
import json
import random
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from gdb_lmb.allocators.lmb.storage import LmbStorage
from gdb_lmb.allocators.memblock.storage import MemblockStorage
from gdb_lmb.core.snapshot import LMB_NOMAP, Place, RegionList, Snapshot, column
from gdb_lmb.report.map import Shown, map_json, map_text
from gdb_lmb.report.picture import Cell, Layers, bar_lines, drawn, glyph, grid_lines, why_not
from gdb_lmb.report.terminal import PLAIN, Terminal
from gdb_lmb.report.text import DRAWN, PARTS, dump_text
from tests.helpers.owned import owned_state, past

K, M, G = 1 << 10, 1 << 20, 1 << 30
Rows = list[tuple[int, int]]


def listed(name: str, rows: Rows, flags: dict[int, int] | None = None) -> RegionList:
    """Return a list of (base, size) as it stands in memory: nothing here is sorted or checked."""
    return RegionList(
        name=name, cnt=len(rows), total_size=sum(size for _, size in rows) % (1 << 64),
        base=column(base for base, _ in rows), size=column(size for _, size in rows),
        flags=column((flags or {}).get(base, 0) for base, _ in rows), entry=column(range(len(rows))),
    )  # fmt: skip


def state(memory: Rows, reserved: Rows, bits: int = 64, flags: dict[int, int] | None = None) -> Snapshot:
    return Snapshot(
        memory=listed("memory", memory, flags), reserved=listed("reserved", reserved), bits=bits, page_size=4096,
        current_limit=(1 << bits) - 1, bottom_up=False, layout="memblock", storage=MemblockStorage(),
    )  # fmt: skip


def bar(snapshot: Snapshot, width: int, image: Sequence[tuple[int, int]] = (), **how: bool) -> list[str]:
    return bar_lines(snapshot, [(base, base + size) for base, size in image], Terminal(width, **how))


def test_what_a_cell_shows() -> None:
    size = 100
    cells = {
        " ": Cell(0, size),
        ".": Cell(0, size, free=1),
        "-": Cell(0, size, reserved=1, free=99),
        "=": Cell(0, size, reserved=50, free=50),
        "#": Cell(0, size, reserved=100),
        "K": Cell(0, size, reserved=60, image=50, image_reserved=50),
        "k": Cell(0, size, reserved=100, image=1, image_reserved=1),
        "N": Cell(0, size, kept=50),
        "n": Cell(0, size, kept=1, free=99),
    }
    assert {shown: glyph(cell).ascii for shown, cell in cells.items()} == {shown: shown for shown in cells}
    # One byte that is free, or none, is told from all reserved, however large the cell.
    assert glyph(Cell(0, 1 << 40, reserved=(1 << 40) - 1, free=1)).ascii == "="
    assert glyph(Cell(0, 1 << 40, reserved=1)).ascii == "-"
    # An image that nobody has reserved is no reserved memory.
    assert glyph(Cell(0, size, free=100, image=100)).ascii == "k"
    kinds = [glyph(cell) for cell in cells.values()]
    assert len({each.unicode for each in kinds}) == len({each.ascii for each in kinds}) == len(kinds)


def test_a_bar_is_as_wide_as_the_terminal_and_has_a_scale() -> None:
    # 38 characters of 1 MiB: page 0 and 8 MiB at 16 MiB reserved, the image in the first of them, 4 KiB at the end.
    snapshot = state([(0, 38 * M)], [(0, 4 * K), (16 * M, 8 * M), (38 * M - 4 * K, 4 * K)])
    lines = bar(snapshot, 40, [(16 * M, 2 * M)])
    assert lines == [
        "  -...............KK######.............-",
        "  |0x0            |0x1000000  0x2600000|",
        "   0               16 MiB        38 MiB",
        "  # all reserved  = half or more",
        "  - less than half  . free",
        "  K kernel image  blank no memory",
        "  1 character = 1 MiB",
    ]
    assert bar(snapshot, 40, [(16 * M, 2 * M)], unicode=True)[0] == "  ░···············KK██████·············░"
    for width in (40, 80, 133, 200):
        assert len(bar(snapshot, width)[0]) == width
    assert len(bar_lines(snapshot, (), PLAIN)[0]) == 80
    assert all(line.isascii() for line in bar(snapshot, 80))


def test_a_hole_is_drawn_to_scale_while_it_is_small_and_else_left_out() -> None:
    # Three GiB of memory, one without, three of memory, as a PC with 6 GiB: 28 characters of 256 MiB.
    small = bar(state([(0, 3 * G), (4 * G, 3 * G)], [(G, G)]), 30)
    assert small[0] == "  " + "." * 4 + "#" * 4 + "." * 4 + " " * 4 + "." * 12
    assert small[1] == "  |0x0            0x1c0000000|"
    assert small[2] == "   0                    7 GiB"
    # A terabyte without memory between two GiB: left out, and its size told.
    large = bar(state([(0, G), (1 << 40, G)], []), 42)
    assert large[0] == "  " + "." * 18 + " // " + "." * 18
    assert large[1] == "  |0x0                  |0x10000000000"
    assert large[2] == "   0                     1 TiB"
    assert any("// no memory, not drawn: 1023 GiB" in line for line in large)
    # Memory that begins at 1 GiB: so does the bar.
    later = bar(state([(G, G)], []), 40)
    assert later[:3] == [
        "  " + "." * 38,
        "  |0x40000000                0x80000000|",
        "   1 GiB                          2 GiB",
    ]


def test_what_is_drawn() -> None:
    present = Layers(state([(4 * K, K), (100 * K, K)], [])).present
    assert drawn((0, 101 * K), present, 8) == ([(4 * K, 5 * K), (100 * K, 101 * K)], [(0, 4 * K), (5 * K, 100 * K)])
    # No more than allowed is left out, the largest first.
    assert drawn((0, 101 * K), present, 1) == ([(0, 5 * K), (100 * K, 101 * K)], [(5 * K, 100 * K)])
    assert drawn((0, 101 * K), present, 0) == ([(0, 101 * K)], [])
    # The same wherever the range begins; and no more than is needed: 3 KiB of 22 KiB are less than a quarter.
    here = Layers(state([(G, K), (G + 100 * K, K)], [])).present
    assert drawn((G, G + 101 * K), here, 8) == ([(G, G + K), (G + 100 * K, G + 101 * K)], [(G + K, G + 100 * K)])
    two = Layers(state([(0, K), (100 * K, 17 * K), (120 * K, K)], [])).present
    assert drawn((0, 121 * K), two, 8) == ([(0, K), (100 * K, 121 * K)], [(K, 100 * K)])
    # A hole that takes a quarter at most stays.
    assert drawn((0, 4 * K), Layers(state([(0, 2 * K), (3 * K, K)], [])).present, 8) == ([(0, 4 * K)], [])
    assert drawn((0, 4 * K), Layers(state([], [])).present, 8) == ([], [(0, 4 * K)])


def test_a_little_that_is_reserved_does_not_vanish() -> None:
    # One byte in 64 GiB, and eight bytes free in 64 GiB of reserved memory.
    assert bar(state([(0, 64 * G)], [(63 * G, 1)]), 42)[0].count("-") == 1
    assert bar(state([(0, 64 * G)], [(0, 32 * G), (32 * G + 8, 32 * G - 8)]), 42)[0].count("=") == 1


@pytest.mark.parametrize("bits", [32, 64])
def test_the_end_of_the_address_space(bits: int) -> None:
    # phys_addr_t cannot hold the end of the last page, 2^W.
    top = 1 << bits
    page = min(1 << (bits - 5), (1 << 63))
    snapshot = state([(top - 20 * page, 20 * page - 1)], [(top - page, page - 1)], bits)
    lines = bar(snapshot, 22)
    assert lines[0] == "  " + "." * 19 + "#"
    # What wraps is cut off at the end.
    wrapped = state([(top - 20 * page, 20 * page)], [(top - page, 18 * page)], bits)
    assert bar(wrapped, 22)[0] == "  " + "." * 19 + "#"


def test_damaged_lists_are_the_bytes_that_they_cover() -> None:
    # Unsorted, overlapping, empty, and one region twice: the same picture as when sound.
    sound = state([(0, 10 * M)], [(2 * M, 3 * M), (7 * M, M)])
    damaged = state(
        [(8 * M, 2 * M), (0, 9 * M), (3 * M, 0)],
        [(7 * M, M), (3 * M, 2 * M), (2 * M, 2 * M), (7 * M, M), (9 * M, 0)],
    )
    assert bar(sound, 42) == bar(damaged, 42)
    assert bar(sound, 42)[0] == "  ........############........####........"
    layers = Layers(damaged)
    assert layers.cell(0, 10 * M) == Cell(0, 10 * M, reserved=4 * M, free=6 * M)


def test_random_damage_is_drawn_in_bounds_and_adds_up() -> None:
    rng = random.Random(1)
    for _ in range(200):
        bits = rng.choice((32, 64))

        def rows() -> Rows:
            return [(rng.getrandbits(rng.randrange(1, bits + 1)), rng.getrandbits(rng.randrange(1, bits + 1)))  # noqa: B023
                    for _ in range(rng.randrange(6))]  # fmt: skip

        snapshot = state(rows(), rows(), bits)
        width = rng.randrange(1, 300)
        lines = bar(snapshot, width)
        assert len(lines[0]) <= max(width, 20) or lines[0].startswith("map:")
        layers = Layers(snapshot)
        # Every byte is exactly one of four, wherever it is cut into cells.
        whole = layers.cell(0, 1 << bits)
        cuts = sorted({0, 1 << bits, *(rng.getrandbits(bits) for _ in range(20))})
        parts = [layers.cell(low, high) for low, high in itertools.pairwise(cuts)]
        for name in ("reserved", "free", "kept"):
            assert sum(getattr(part, name) for part in parts) == getattr(whole, name)
        if layers.present.ranges:
            text = map_text(Shown(snapshot, layers.all), Terminal(width))
            assert len(text.splitlines()) < 80


def test_no_memory_at_all() -> None:
    assert bar(state([], []), 80) == ["map: no memory, and nothing is reserved"]
    assert bar(state([(0, 0)], [(0, 0)]), 80) == ["map: no memory, and nothing is reserved"]
    # Reserved before memory is known, as on x86 with the image.
    assert bar(state([], [(0, 20 * M)]), 22)[0] == "  " + "#" * 20


def test_lists_that_are_not_true_any_more_are_not_drawn() -> None:
    snapshot = dataclasses.replace(state([(0, M)], []), refused={"reserved": "its array was freed"})
    assert why_not(snapshot) == "not drawn: reserved: its array was freed"
    assert bar(snapshot, 80) == ["map: not drawn: reserved: its array was freed"]


def test_memory_that_no_allocation_gets() -> None:
    snapshot = state([(0, 10 * M), (10 * M, 10 * M)], [(0, M)], flags={10 * M: LMB_NOMAP})
    lines = bar(snapshot, 22)
    assert lines[0] == "  #.........NNNNNNNNNN"
    assert any("N never given (as NOMAP)" in line for line in lines)


def test_colours_add_nothing_but_colour() -> None:
    snapshot = state([(0, 38 * M)], [(0, 4 * K), (16 * M, 8 * M)])
    plain, coloured = bar(snapshot, 40, [(16 * M, M)]), bar(snapshot, 40, [(16 * M, M)], color=True)
    assert [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in coloured] == plain
    assert coloured[0].count("\x1b[0m") == coloured[0].count("\x1b[") // 2 > 0


def test_rows_begin_with_their_addresses() -> None:
    image = [(33 * M, 33 * M + 512 * K)]
    layers = Layers(state([(0, 64 * M)], [(0, 3 * M), (33 * M, 512 * K)]), image)
    lines, cell = grid_lines(layers, (0, 64 * M), Terminal(45))
    # 16 rows of 4 MiB, 32 cells in each.
    assert cell == 128 * K
    assert lines[0] == "             +0      +1 MiB  +2 MiB  +3 MiB"
    assert lines[1] == "  0x0000000  " + "#" * 24 + "." * 8
    assert lines[9] == "  0x2000000  " + "." * 8 + "KKKK" + "." * 20
    assert lines[16] == "  0x3c00000  " + "." * 32
    assert len(lines) == 17 + 3


def test_large_holes_between_rows_are_left_out() -> None:
    lines, _ = grid_lines(Layers(state([(0, M), (G, M)], [])), (0, G + M), Terminal(80))
    assert "// 1023 MiB without memory" in lines[9].strip()
    assert lines[10].startswith("  0x40000000  ....")


def test_the_heading_of_few_cells() -> None:
    lines, _ = grid_lines(Layers(state([(0, 64 * M)], [])), (0, 64 * M), Terminal(20))
    assert lines[0].split() == ["+0"]
    assert grid_lines(Layers(state([], [])), (0x1000, 0x3000), PLAIN) == (
        ["  no memory, and nothing is reserved"],
        0x2000,
    )


def test_rows_behind_a_hole_begin_at_their_multiple() -> None:
    # 16 rows of 32 cells of 4 KiB: of the memory from 0x40001000 on the row from 0x40000000 has 31 cells.
    memory = [(0, M), (G + 4 * K, M - 4 * K)]
    lines, cell = grid_lines(Layers(state(memory, [])), (0, G + M), Terminal(48))
    assert cell == 4 * K
    assert [line.split()[0] for line in lines if line.startswith("  0x")][8:10] == ["0x40000000", "0x40020000"]
    assert "  0x40000000   " + "." * 31 in lines


def test_what_a_legend_tells() -> None:
    image = [(33 * M, 33 * M + 512 * K)]
    lines, _ = grid_lines(Layers(state([(0, 64 * M)], [(33 * M, 512 * K)]), image), (0, 64 * M), Terminal(45))
    assert lines[-3:] == [
        "  # all reserved  = half or more",
        "  - less than half  . free  K kernel image",
        "  blank no memory  1 character = 128 KiB",
    ]
    # Of three holes that are left out, the first two are told by size.
    memory = [(0, G), (64 * G, G), (200 * G, G), (264 * G, G)]
    lines = bar(state(memory, []), 80)
    assert lines[0].count(" // ") == 3
    assert any("// no memory, not drawn: 63 GiB, 135 GiB, 1 more" in line for line in lines)
    assert [bar(state(memory, []), width)[0].count(" // ") for width in (21, 22)] == [1, 2]
    (told,) = [line for line in bar(state(memory[:3], []), 80) if "not drawn" in line]
    assert "drawn: 63 GiB, 135 GiB" in told and "more" not in told
    for width in range(60, 130):
        assert max(map(len, bar(state(memory, []), width))) <= width


def test_no_more_than_sixteen_rows_and_eight_holes() -> None:
    cells = [grid_lines(Layers(state([(0, size)], [])), (0, size), Terminal(45))[1] for size in (64 * M, 64 * M + 1)]
    assert cells == [128 * K, 256 * K]
    many = Layers(state([(at * 64 * G, G) for at in range(10)], []))
    lines, _ = grid_lines(many, many.all, PLAIN)
    assert sum("// 63 GiB without memory" in line for line in lines) == 8


def test_less_memory_than_columns() -> None:
    lines = bar(state([(0, 10)], []), 42)
    assert lines[0] == "  .........." and lines[-1].endswith("1 character = 1 byte")


def test_a_part_of_the_bar_has_round_addresses_of_its_own_only() -> None:
    lines = bar(state([(0, G), ((1 << 40) + 300 * M, G)], []), 80)
    assert lines[1] == "  |0x0              |0x20000000            |0x10012c00000         0x10052c00000|"
    # The first part has room for 1 TiB at its end.
    assert bar(state([(0, G), ((1 << 40) + 260 * M, G)], []), 120)[1] == (
        "  |0x0                        |0x20000000"
        "                      |0x10010400000                             0x10050400000|"
    )
    # 97 characters for each part: between them there would be room for 1 TiB, which is in neither.
    wide = bar(state([(0, G), ((1 << 40) + 220 * M, G)], []), 200)[1]
    first, second = (
        ["0x0", "0x10000000", "0x20000000", "0x30000000"],
        ["0x1000dc00000", "0x10020000000", "0x10030000000"],
    )
    assert re.findall("0x[0-9a-f]+", wide) == [*first, *second, "0x1004dc00000"]


def test_memory_with_other_flags_is_free() -> None:
    layers = Layers(state([(0, M), (M, M)], [], flags={M: 1}))
    assert layers.cell(0, 2 * M) == Cell(0, 2 * M, free=2 * M)


def test_a_map_with_owners() -> None:
    places = [Place(M, M + 8 * K, "text")]
    shown = Shown(owned_state(), (M, 3 * M), places=places, history=past())
    lines = [" ".join(line.split()) for line in map_text(shown).splitlines()]
    assert [line for line in lines if line.startswith("0x0000000000")] == [
        "0x0000000000100000 0x0000000000200000 1 MiB reserved text; reserve_image+0x30",
        "0x0000000000200000 0x0000000000210000 64 KiB reserved reserve_initrd+0x20 (main.c:77)",
        "0x0000000000210000 0x0000000000300000 960 KiB free -",
    ]
    assert lines[-1] == "owners: the trace of this test"
    free = map_text(replace(shown, range=(3 * M, 4 * M))).splitlines()
    assert free[-1].split()[-2:] == ["free", "-"]
    unknown = map_text(replace(shown, history=None)).splitlines()
    assert unknown[-1] == "owners: none: who reserved it is not known (no trace, and no operation log in this kernel)"
    owners = [[one["owner"] for one in part["owners"]] for part in map_json(shown)["parts"]]
    assert owners == [["reserve_image+0x30", "reserve_initrd+0x20 (main.c:77)"], []]


def test_places_of_a_range() -> None:
    def told(*places: tuple[int, int, str]) -> str:
        shown = Shown(state([(0, M)], [(0x1000, 0x8000)]), (0x1000, 0x9000), places=[Place(*one) for one in places])
        (line,) = [line for line in map_text(shown).splitlines() if line.startswith("  0x0000000000")]
        return line.partition(" reserved  ")[2].strip()

    # The largest that it meets, without what lies in them.
    inside = (0x3000, 0x4000, "b"), (0x5000, 0x6000, "c")
    assert told((0x2000, 0x6000, "a"), *inside, (0x7000, 0xA000, "d")) == "a, partly d"
    # The smallest that holds it.
    assert told((0, 0x9800, "large"), (0x1000, 0x9000, "small")) == "small"


def test_how_many_parts_are_listed() -> None:
    def rows(number: int, size: int) -> str:
        return map_text(Shown(state([(0, G)], [(2 * at * size, size) for at in range(number)]), (0, G)))

    # A cell is 1 MiB here: what is smaller is summed up where there are more than 40 parts.
    assert " mixed " not in rows(20, 4 * K) and " mixed " in rows(21, 4 * K)
    large = rows(21, M)
    assert " mixed " not in large and large.count("  reserved  ") == 20
    assert "\n  ... and more: show a smaller range\n" in large and "and more" not in rows(20, M)


def test_a_map_lists_what_lies_there() -> None:
    shown = Shown(
        state([(0x1000, 0xF000)], [(0x2000, 0x1000)]), (0x1000, 0x4000), places=[Place(0x2000, 0x2800, "initrd")]
    )
    text = map_text(shown)
    assert text.splitlines()[0] == "map of [0x1000, 0x4000), 12 KiB: 4 KiB reserved, 8 KiB free"
    rows = [" ".join(line.split()) for line in text.splitlines() if line.startswith("  0x0000000000")]
    assert rows == [
        "0x0000000000001000 0x0000000000002000 4 KiB free -",
        "0x0000000000002000 0x0000000000003000 4 KiB reserved initrd",
        "0x0000000000003000 0x0000000000004000 4 KiB free -",
    ]
    data = map_json(shown)
    assert data["schema"] == "gdb-lmb/map/1" and (data["base"], data["size"]) == ("0x1000", "0x3000")
    assert data["bytes"] == {"reserved": "0x1000", "free": "0x2000", "never given": "0x0", "not memory": "0x0"}
    assert [part["state"] for part in data["parts"]] == ["free", "reserved", "free"]
    assert data["parts"][1]["places"] == [{"base": "0x2000", "size": "0x800", "what": "initrd"}]
    assert json.dumps(data).isascii() and data["more"] is False


def test_a_place_that_goes_on_outside_is_there_partly() -> None:
    # As an image whose last 8 KiB the kernel did not need: free from there up to the next reservation.
    snapshot = state([(0x1000, 0x8F000)], [(0x10000, 0x4000), (0x80000, 0x1000)])
    shown = Shown(snapshot, (0x10000, 0x81000), places=[Place(0x10000, 0x16000, "kernel image")])
    rows = [" ".join(line.split()) for line in map_text(shown).splitlines() if line.startswith("  0x0000000000")]
    assert rows == [
        "0x0000000000010000 0x0000000000014000 16 KiB reserved kernel image",
        "0x0000000000014000 0x0000000000080000 432 KiB free partly kernel image",
        "0x0000000000080000 0x0000000000081000 4 KiB reserved -",
    ]


def test_many_small_parts_are_summed_up() -> None:
    # 500 reservations of 4 KiB, each second page, in the middle of 1 GiB.
    snapshot = state([(0, G)], [(512 * M + at * 8 * K, 4 * K) for at in range(500)])
    rows = [" ".join(line.split()) for line in map_text(Shown(snapshot, (0, G))).splitlines() if " mixed " in line]
    assert rows == [
        "0x0000000020000000 0x00000000203e7000 3.9 MiB mixed 999 small parts: 2.0 MiB reserved, 1.9 MiB free"
    ]
    # Seen closer, each is listed.
    text = map_text(Shown(snapshot, (512 * M, 512 * M + 160 * K)))
    assert text.count("  reserved  ") == 20 and " mixed " not in text


def test_lmb_dump_begins_with_the_bar() -> None:
    snapshot = dataclasses.replace(state([(0, 38 * M)], [(16 * M, 8 * M)]), layout="lmb-list", storage=LmbStorage())
    image = [(16 * M, 17 * M)]
    for part in PARTS:
        lines = dump_text(snapshot, part, image=image, terminal=Terminal(40)).splitlines()
        assert (lines[1:3] == ["", "  ................K#######.............."]) is (part in DRAWN)
    assert DRAWN == ("memory", "reserved", "all")
