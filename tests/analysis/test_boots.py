# SPDX-License-Identifier: GPL-2.0-or-later
"""What many boots have in common, on goldens written by hand."""

from __future__ import annotations

from dataclasses import replace

from gdb_lmb.analysis.boots import IMAGE, RAM_END, Window, reservations, smallest_window
from gdb_lmb.core.golden import Environment, Golden, GoldenStop, Item


def golden(*items: tuple[str, int, int, str | None], image: int = 0x1000, ram_end: int = 0x10000) -> Golden:
    """Return a golden of one stop, with memory up to the end of RAM; rows are list, base, size, name."""
    rows = [Item("memory", 0, ram_end), *(Item(*row[:3], name=row[3], seq=at) for at, row in enumerate(items))]
    environment = Environment(
        "vmlinux", "memblock", "made-up", "little", 64, 4096, image=(image, image + 0x1000), ram_end=ram_end
    )
    return Golden(environment, (GoldenStop("ready", tuple(rows), 0, False),))


def test_what_stands_still_and_what_moves() -> None:
    first = golden(
        ("reserved", 0, 0x100, "low"), ("reserved", 0x1000, 0x100, "image"), ("reserved", 0xF000, 0x1000, "top"),
        ("reserved", 0x5000, 0x10, "any"), ("reserved", 0x6000, 0x10, "any"), ("reserved", 0x7000, 0x10, None),
    )  # fmt: skip
    second = golden(
        ("reserved", 0, 0x100, "low"), ("reserved", 0x2000, 0x100, "image"), ("reserved", 0x1F000, 0x1000, "top"),
        ("reserved", 0x5100, 0x10, "any"), ("reserved", 0x6000, 0x10, "any"), image=0x2000, ram_end=0x20000,
    )  # fmt: skip
    found = {(row.name, row.number): row for row in reservations([first, second])}
    still = {key for key, row in found.items() if row.stands_still}
    assert still == {("low", 0), ("any", 1)}
    assert {key: row.follows for key, row in found.items() if row.follows} == {("image", 0): IMAGE, ("top", 0): RAM_END}
    assert found["any", 0].places == ((0x5000, 0x5010), (0x5100, 0x5110))
    # In one of two boots only.
    assert (found[None, 0x7000].seen, found[None, 0x7000].boots) == (1, 2)


def test_images_of_two_sizes() -> None:
    boots = [golden(("reserved", base, 0x100, "image"), image=base) for base in (0x1000, 0x2000)]
    grown = replace(boots[1].environment, image=(0x2000, 0x2800))
    (row,) = reservations([boots[0], replace(boots[1], environment=grown)])
    assert row.follows == IMAGE
    # One of which no image is known.
    (row,) = reservations([*boots, replace(boots[1], environment=replace(grown, image=None))])
    assert row.follows is None


def test_what_no_history_made_is_numbered_last() -> None:
    made = golden(("reserved", 0x5000, 0x10, "any"))
    (stop,) = made.stops
    stop = replace(stop, items=(*stop.items, Item("reserved", 0x1000, 0x10, name="any")))
    assert [(row.number, row.places) for row in reservations([replace(made, stops=(stop,))])] == [
        (1, ((0x1000, 0x1010),)),
        (0, ((0x5000, 0x5010),)),
    ]


def test_one_that_grows_does_not_stand_still() -> None:
    (row,) = reservations([golden(("reserved", 0, size, "log")) for size in (0x100, 0x200)])
    assert not row.stands_still
    assert row.places == ((0, 0x100), (0, 0x200))


def test_the_smallest_of_the_largest_windows() -> None:
    wide = golden(("reserved", 0x1000, 0x1000, "a"))
    narrow = golden(
        ("reserved", 0x8000, 0x1000, "a"), ("reserved", 0x3000, 0x100, "b"), ("reserved", 0x8800, 0x900, "c")
    )
    assert smallest_window({"boot 1": wide}) == Window("boot 1", "ready", 0x2000, 0x10000)
    assert smallest_window({"boot 1": wide, "boot 2": narrow}) == Window("boot 2", "ready", 0x9100, 0x10000)
    assert smallest_window({}) is None
    # The largest is neither the last, nor in what is there but is no memory for Linux.
    low = golden(("reserved", 0x8000, 0x1000, "a"), ("physmem", 0, 0x20000, None))
    assert smallest_window({"boot 1": low}) == Window("boot 1", "ready", 0, 0x8000)
    full = golden(("reserved", 0, 0x10000, "all"))
    found = smallest_window({"boot 1": full})
    assert found is not None and found.size == 0
    # Where there is no memory yet, none of it can be free.
    early = replace(wide, stops=(replace(wide.stops[0], items=()), *wide.stops))
    assert smallest_window({"boot 1": early}) == Window("boot 1", "ready", 0x2000, 0x10000)
