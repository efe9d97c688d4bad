# SPDX-License-Identifier: GPL-2.0-or-later
"""Goldens: what an early allocator held at the stops of a boot, to hold later boots to; and what has changed since.

Addresses are physical, sizes are bytes. What is not known is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gdb_lmb.core.ranges import Range
from gdb_lmb.core.snapshot import FLAG_NAMES

OWNER, ROLE = "owner", "role"
"""What an item is called by: the function that reserved it, or what is known to lie there."""

APPEARED, VANISHED, MOVED, GREW, SHRANK, SPLIT, MERGED = (
    "appeared", "vanished", "moved", "grew", "shrank", "split", "merged"
)  # fmt: skip
FLAGS, NODE, OWNED, ORDER, LIMIT, DIRECTION = "flags", "node", "owner", "order", "limit", "direction"
KINDS = (APPEARED, VANISHED, MOVED, GREW, SHRANK, SPLIT, MERGED, FLAGS, NODE, OWNED, ORDER, LIMIT, DIRECTION)
"""The kinds of change."""

WITH_AMOUNT = (APPEARED, VANISHED, MOVED, GREW, SHRANK)
"""The kinds of change that have a number of bytes, by which a rule may bound them."""

OF_NO_LIST = (LIMIT, DIRECTION)
"""The kinds of change that are in no list, and of no item."""


@dataclass(frozen=True)
class Item:
    """One line of a golden: a piece of a region of the list `list`, with one history.

    `name` is that of its owner, or the words of its role, as `by` says; None where nobody knows. `seq` is the number of
    the operation that made it, `node` is None where it has none. `role` is what is known to lie there beside its owner:
    page tables only, of which KASLR decides how many there are.
    """

    list: str
    base: int
    size: int
    flags: int = 0
    node: int | None = None
    name: str | None = None
    by: str | None = None
    seq: int | None = None
    role: str | None = None

    @property
    def end(self) -> int:
        return self.base + self.size


def sorted_by(number: int | None) -> tuple[int, ...]:
    """Return what sorts by a number that may not be known, those that are not first."""
    return () if number is None else (number,)


@dataclass(frozen=True)
class Environment:
    """What a golden is of: the kernel, how it was booted, and what addresses mean in it.

    `kernel` is the name of a file, `memory` is as QEMU was given it. `image` is the physical range of the kernel's
    image, `ram_end` the end of the list "memory". `history` says by what owners are known: "trace" or "log".
    `relocatable` tells whether the kernel may put itself elsewhere, as a compressed one does.
    """

    kernel: str
    layout: str
    arch: str
    byte_order: str
    bits: int
    page_size: int
    flag_names: Mapping[int, str] = field(default_factory=lambda: FLAG_NAMES)
    release: str | None = None
    build_id: str | None = None
    append: str | None = None
    memory: str | None = None
    smp: int | None = None
    machine: str | None = None
    relocatable: bool | None = None
    history: str | None = None
    image: Range | None = None
    ram_end: int | None = None


@dataclass(frozen=True)
class GoldenStop:
    """The allocator at one stop: `at` is the symbol, `findings` the codes of what a check found there.

    `items` are in ascending order, one list after the other.
    """

    at: str
    items: tuple[Item, ...]
    current_limit: int
    bottom_up: bool
    phase: str | None = None
    closed: bool = False
    findings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rule:
    """What may vary: changes of the given `kind`, `list` and `name` (None: any), up to the given amounts.

    `bytes` and `percent` (of the size before) bound by how much a size or an address may differ, and let no other kind
    of change pass; where both are None, it is any amount and any kind.
    """

    kind: str | None = None
    list: str | None = None
    name: str | None = None
    bytes: int | None = None
    percent: float | None = None


@dataclass(frozen=True)
class Golden:
    """What one boot held at each of its stops, and what of that may vary."""

    environment: Environment
    stops: tuple[GoldenStop, ...]
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Change:
    """One difference between two goldens at the stop `at`: `words` is one sentence.

    `list` is empty for what is no list's. `before` and `after` are None where there is no such item. `moved_by` tells
    how many bytes above where it would stand still an item lies that has moved, negative below it; None of all others.
    """

    kind: str
    list: str
    words: str
    before: Item | None = None
    after: Item | None = None
    at: str | None = None
    moved_by: int | None = None


@dataclass(frozen=True)
class Share:
    """The bytes reserved by one owner or role, in a budget; `name` is None for what nobody is known to own."""

    name: str | None
    before: int
    after: int

    @property
    def change(self) -> int:
        return self.after - self.before
