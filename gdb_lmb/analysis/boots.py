# SPDX-License-Identifier: GPL-2.0-or-later
"""What many boots of one kernel have in common: which reservations stand still, which move, and how much stays free."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gdb_lmb.core.golden import Environment, Golden, GoldenStop, Item, sorted_by
from gdb_lmb.core.ranges import Range, subtract, union

MEMORY, RESERVED = "memory", "reserved"
IMAGE, RAM_END = "the image", "the end of RAM"


@dataclass(frozen=True)
class Reservation:
    """One reservation over many boots: the `number`-th of its name (None: nobody knows), in `seen` of the `boots`.

    `places` are all that it had, in ascending order. `follows` is what it moves with, IMAGE or RAM_END, None: neither.
    """

    at: str
    name: str | None
    number: int
    seen: int
    boots: int
    places: tuple[Range, ...]
    follows: str | None

    @property
    def stands_still(self) -> bool:
        return self.seen == self.boots and len(self.places) == 1


@dataclass(frozen=True)
class Window:
    """The largest free range of the boot `boot` at the stop `at`: `base` and `end`."""

    boot: str
    at: str
    base: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.base


def reservations(boots: Iterable[Golden]) -> list[Reservation]:
    """Return the reservations of all boots, each once, by stop and address."""
    goldens = list(boots)
    found: dict[tuple[str, str | None, int], list[tuple[Item, Environment]]] = defaultdict(list)
    count: dict[str, int] = defaultdict(int)
    for golden in goldens:
        for stop in golden.stops:
            count[stop.at] += 1
            for (name, number), item in _named(stop):
                found[stop.at, name, number].append((item, golden.environment))
    rows = []
    for (at, name, number), items in found.items():
        places = tuple(sorted({(item.base, item.end) for item, _ in items}))
        rows.append(Reservation(at, name, number, len(items), count[at], places, _follows(items)))
    return sorted(rows, key=lambda row: (row.at, row.places))


# What all the items keep their distance to, though that moves.
def _follows(items: Iterable[tuple[Item, Environment]]) -> str | None:
    rows = [(item.base, None if own.image is None else own.image[0], own.ram_end) for item, own in items]
    for words, which in ((IMAGE, 1), (RAM_END, 2)):
        known = [(row[0], at) for row in rows if (at := row[which]) is not None]
        anchors, distances = {at for _, at in known}, {base - at for base, at in known}
        if len(known) == len(rows) and len(anchors) > 1 and len(distances) == 1:
            return words
    return None


# The items of the reserved list by name, and which of that name each is. Nobody's are told apart by where they are.
def _named(stop: GoldenStop) -> Iterable[tuple[tuple[str | None, int], Item]]:
    numbers: dict[str, int] = defaultdict(int)
    ours = [item for item in stop.items if item.list == RESERVED]
    # In the order in which they were made, where that is known: addresses change places.
    for item in sorted(ours, key=lambda item: (item.seq is None, sorted_by(item.seq), item.base)):
        if item.name is None:
            yield (None, item.base), item
        else:
            yield (item.name, numbers[item.name]), item
            numbers[item.name] += 1


def smallest_window(boots: Mapping[str, Golden]) -> Window | None:
    """Return the smallest of the largest free ranges that boots, by their names, have at their stops."""
    stops = [(name, stop) for name, golden in boots.items() for stop in golden.stops]
    # Where no memory is known yet, none could be free.
    with_memory = [(name, stop) for name, stop in stops if any(item.list == MEMORY for item in stop.items)]
    windows = [Window(name, stop.at, *_largest(stop)) for name, stop in with_memory]
    return min(windows, key=lambda window: window.size, default=None)


def _largest(stop: GoldenStop) -> Range:
    memory = union((item.base, item.end) for item in stop.items if item.list == MEMORY)
    taken = union((item.base, item.end) for item in stop.items if item.list == RESERVED)
    return max(subtract(memory, taken), key=lambda free: free[1] - free[0], default=(0, 0))
