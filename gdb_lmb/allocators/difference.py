# SPDX-License-Identifier: GPL-2.0-or-later
"""One thing in which two states of an allocator differ: as a sentence, and as rows of a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gdb_lmb.core.snapshot import Entry, Snapshot
from gdb_lmb.core.words import truth

EXPECTED, FOUND = "-", "+"

# Values of every snapshot that are compared.
SWITCHES = ("current_limit", "bottom_up")


@dataclass(frozen=True)
class RegionRow:
    """A region that only one of the states has: `sign` is "-" for the expected one, "+" for the one found.

    `position` is its place in the list; `nid` is None where the kernel knows no nodes, `entry` where regions
    lie in an array. Base and size are bytes.
    """

    sign: str
    list: str
    position: int
    base: int
    size: int
    flags: int
    nid: int | None = None
    entry: Entry | None = None


@dataclass(frozen=True)
class ValueRow:
    """A counter, a switch or a place that is not what it should be, both ways in words."""

    name: str
    expected: str
    found: str


@dataclass(frozen=True)
class Difference:
    """One thing in which two states differ: in words, on which list, at which physical address.

    `regions` and `value` are the same as rows of a table. `redundant` tells that the lists themselves do not
    show it: a counter, the ranges handed over, damage that the walk met.
    """

    message: str
    where: str | None = None
    address: int | None = None
    regions: tuple[RegionRow, ...] = ()
    value: ValueRow | None = None
    redundant: bool = False


def value_differences(
    want: object, got: object, names: tuple[str, ...], of: str | None = None, *, redundant: bool = False
) -> Iterator[Difference]:
    """Yield in which of the attributes `names` two values differ; `of` names the list that they belong to."""
    for name in names:
        expected, found = getattr(want, name), getattr(got, name)
        if expected != found:
            row = ValueRow(f"{of}.{name}" if of else name, in_words(name, expected), in_words(name, found))
            yield Difference(
                f"{row.name} is {row.found}, but {row.expected} is expected", of, value=row, redundant=redundant
            )


def damage(found: Snapshot) -> Iterator[Difference]:
    """Yield the damage that the decoder of a state found."""
    for defect in found.defects:
        at = defect.addresses[0] if defect.addresses else None
        yield Difference(defect.what, address=at, value=ValueRow("walk", "no damage", defect.what), redundant=True)


def in_words(name: str, value: object) -> str:
    """Return a counter or switch as it is written: addresses and sizes in hex, counts and truths plainly."""
    if isinstance(value, bool):
        return truth(value)
    in_hex = name in ("current_limit", "block_size") or name.endswith("total_size")
    return hex(value) if in_hex and isinstance(value, int) else str(value)
