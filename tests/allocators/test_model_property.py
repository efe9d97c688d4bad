# SPDX-License-Identifier: GPL-2.0-or-later
"""The model against rules that are written down once more, cell by cell: no regions, no entries, only what a byte is.

A cell is 1 KiB. Regions are the runs of cells with equal flags, and what an operation needs is their number after it
less that before it. Entries have no names here; of them is asked only what always holds.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

from gdb_lmb.allocators.lmb.model import LmbConfig, LmbModel
from gdb_lmb.allocators.lmb.state import Table
from tests.helpers.soak import ROUNDS, SEED

K = 1024
CELLS = 96
PAGE = 4  # in cells
BLOCK = 4
MAX = (1 << 64) - 1
EINVAL, EBUSY, ENOMEM = -22, -16, -12
HOTPLUG, NOMAP, OWN = 1, 4, 0x80000000

Cells = dict[int, int]
"""What each cell of a list is: its flags."""


def runs(cells: Cells) -> list[tuple[int, int, int]]:
    """Return the regions as (base, end, flags)."""
    out: list[tuple[int, int, int]] = []
    for cell in sorted(cells):
        if out and out[-1][1] == cell and out[-1][2] == cells[cell]:
            out[-1] = (out[-1][0], cell + 1, cells[cell])
        else:
            out.append((cell, cell + 1, cells[cell]))
    return out


@dataclass
class Oracle:
    """Revision 2 on cells; `entries` counts those of all blocks."""

    entries: int
    memory: Cells = field(default_factory=dict)
    reserved: Cells = field(default_factory=dict)
    limit: int = CELLS
    bottom_up: bool = False
    may_grow: bool = False
    per_block: int = 101

    def places(self, size: int, align: int, low: int, high: int, hotplug: bool, shut: range) -> list[int]:
        """Return every cell at which `size` cells fit."""
        regions = [(b, e) for b, e, f in runs(self.memory) if not f & NOMAP and bool(f & HOTPLUG) == hotplug]
        return [
            at
            for at in range(max(low, PAGE), min(high, self.limit) - size + 1)
            if at % align == 0
            and any(b <= at and at + size <= e for b, e in regions)
            and not any(cell in self.reserved or cell in shut for cell in range(at, at + size))
        ]

    def best(self, places: list[int]) -> int | None:
        """Return where the search ends."""
        return (min if self.bottom_up else max)(places, default=None)  # type: ignore[call-overload]

    def change(self, name: str, new: Cells, shut: range) -> int:
        """Put `new` in the place of a list, growing as often as needed."""
        while True:
            old = getattr(self, name)
            free = self.entries - len(runs(self.memory)) - len(runs(self.reserved))
            if free - max(0, len(runs(new)) - len(runs(old))) >= 1:
                setattr(self, name, new)
                return 0
            at = self.best(self.places(BLOCK, BLOCK, 0, CELLS, False, shut)) if self.may_grow else None
            if at is None:
                return ENOMEM
            block = dict.fromkeys(range(at, at + BLOCK), OWN)
            self.reserved |= block
            self.entries += self.per_block
            if name == "reserved":
                new = new | block

    def run(self, op: str, base: int, size: int, flags: int, align: int, low: int, high: int) -> int:
        """Do one operation; a range that ends at CELLS stands for one that goes past the end."""
        span = range(base, base + size)
        if op == "enforce":
            return self.enforce(size)
        if not size or flags & OWN or (op in ("mark", "clear") and flags not in (1, 2, 4)):
            return EINVAL
        if op == "alloc":
            at = self.best(self.places(size, align, low, high or CELLS, False, range(0)))
            if at is None:
                at = self.best(self.places(size, align, low, high or CELLS, True, range(0)))
            if at is None:
                return ENOMEM
            place = range(at, at + size)
            done = self.change("reserved", self.reserved | dict.fromkeys(place, flags), place)
            return done or at
        owned = any(self.reserved.get(cell) == OWN for cell in span)
        if owned and (op in ("reserve", "remove", "free") or (op == "mark" and flags != 2)):
            return EBUSY
        name = "reserved" if op in ("reserve", "free") else "memory"
        old: Cells = getattr(self, name)
        new = {cell: own for cell, own in old.items() if cell not in span}
        if op in ("add", "reserve"):
            new = dict.fromkeys(span, flags) | old
        elif op in ("mark", "clear"):
            has = {cell: own for cell, own in old.items() if cell in span}
            new |= {cell: own | flags if op == "mark" else own & ~flags for cell, own in has.items()}
        return self.change(name, new, span)

    def enforce(self, size: int) -> int:
        """Cut both lists."""
        if not size:
            return EINVAL
        if self.may_grow:
            return EBUSY
        usable = [cell for cell in sorted(self.memory) if not self.memory[cell] & NOMAP]
        if size >= len(usable):
            return 0
        cut = usable[size - 1] + 1
        self.memory = {cell: own for cell, own in self.memory.items() if cell < cut}
        self.reserved = {cell: own for cell, own in self.reserved.items() if cell < cut}
        return 0


def rows(table: Table) -> list[tuple[int, int, int]]:
    return [(b // K, e // K, f) for b, e, f in zip(table.base, table.end, table.flags, strict=True)]


def held(table: Table) -> dict[tuple[int, int, int], int]:
    return dict(zip(zip(table.base, table.end, table.flags, strict=True), table.entry, strict=True))


def call(model: LmbModel, op: str, **given: int) -> int:
    base, size, flags = given["base"] * K, given["size"] * K, given["flags"]
    arguments: dict[str, tuple[Any, ...]] = {
        "alloc": (size, given["align"] * K, given["low"] * K, given["high"] * K, flags),
        "remove": (base, size), "free": (base, size),
    }  # fmt: skip
    if op == "enforce":
        return model.enforce_memory_limit(size)
    result = int(getattr(model, op)(*arguments.get(op, (base, size, flags))))
    return result // K if op == "alloc" and result > 0 else result


@pytest.mark.random
@pytest.mark.parametrize("static", [2, 3, 6, 12])
def test_the_model_does_what_the_rules_say_cell_by_cell(static: int) -> None:
    rng = random.Random(2 + static + SEED)
    grown = refused = failed = 0
    ops = [*("add", "reserve", "free", "alloc", "mark") * 2, "remove", "clear", "enforce"]
    for _ in range(60 * ROUNDS):
        model, oracle = LmbModel(LmbConfig(static=static)), Oracle(static)
        growth = rng.choice((0, 1, 4, 20, 60))
        for number in range(60):
            if number == growth:
                oracle.may_grow = model.allow_growth() == 0
            if rng.random() < 0.05:
                oracle.bottom_up = not oracle.bottom_up
                assert model.set_bottom_up(oracle.bottom_up) == 0
            if rng.random() < 0.03:
                oracle.limit = rng.choice((CELLS, rng.randrange(CELLS)))
                assert model.set_current_limit(oracle.limit * K) == 0
            op = rng.choice(ops) if number else "add"
            base = rng.randrange(CELLS)
            flags = {"mark": (1, 2, 4, 4, 3), "clear": (1, 4, 4), "remove": (0,), "free": (0,)}
            given = {
                "base": base, "size": min(rng.choice((0, 1, 1, 2, 4, 8, 30)), CELLS - base),
                "flags": rng.choice(flags.get(op, (0, 0, 0, 1, 2, 4, 64, OWN))), "align": rng.choice((1, 1, 4)),
                "low": rng.choice((0, 0, base)), "high": rng.choice((0, 0, rng.randrange(CELLS))),
            }  # fmt: skip
            before = held(model.memory), held(model.reserved)
            nr_blocks = len(model.blocks)
            want, got = oracle.run(op, **given), call(model, op, **given)
            assert got == want, f"{number}: {op} {given}"
            assert (rows(model.memory), rows(model.reserved)) == (runs(oracle.memory), runs(oracle.reserved))
            # Each entry is in one place, one is always free, and no region that stayed has moved.
            entries = [*model.memory.entry, *model.reserved.entry, *model.free_entries]
            assert sorted(entries) == list(range(oracle.entries)) and model.free_entries
            for then, table in zip(before, (model.memory, model.reserved), strict=True):
                now = held(table)
                assert all(now[region] == entry for region, entry in then.items() if region in now)
                assert all(a[1] < b[0] or a[2] != b[2] for a, b in pairwise(now))
            grown += len(model.blocks) - nr_blocks
            refused += got == EBUSY
            failed += got == ENOMEM
    # The runs must have gone where the rules are.
    assert grown > 10 and refused > 10 and failed > 10
