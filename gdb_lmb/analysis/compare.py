# SPDX-License-Identifier: GPL-2.0-or-later
"""Two states held against each other: the first thing in which they differ, in words.

`compare` looks at what the lists hold; with `whole`, as memblock always is, also at the counters, at what
the hand-over gave away and at whether the walk met any damage.
"""

from __future__ import annotations

from dataclasses import dataclass

from gdb_lmb.core.snapshot import RegionArray, RegionList, Snapshot
from gdb_lmb.core.written import truth


@dataclass(frozen=True)
class Difference:
    """The first thing in which two states differ: in words, on which list, at which physical address."""

    message: str
    where: str = ""
    address: int | None = None


def compare(expected: Snapshot, found: Snapshot, *, whole: bool = False) -> Difference | None:
    """Return the first difference between two states, entry for entry; None where there is none.

    Lists that are not true any more in the state found say nothing.
    """
    if expected.layout != found.layout:
        return Difference(f"the allocator is {found.layout}, but {expected.layout} is expected")
    if expected.layout == "memblock":
        return _compare_memblock(expected, found)
    return (
        _compare_lists(expected.memory, found.memory)
        or _compare_lists(expected.reserved, found.reserved)
        or _compare_freelists(expected, found)
        or _compare_blocks(expected, found)
        or _compare_values(expected, found, ("current_limit", "bottom_up", "may_grow", "closed"))
        or (_compare_whole(expected, found) if whole else None)
    )


def _compare_whole(expected: Snapshot, found: Snapshot) -> Difference | None:
    """Compare what no list holds: counters, the hand-over, and whether the links were sound."""
    return (
        _compare_counters(expected.memory, found.memory)
        or _compare_counters(expected.reserved, found.reserved)
        or _compare_values(expected, found, ("nr_free", "nr_blocks", "block_size"))
        or _compare_handover(expected, found)
        or _damage(found)
    )


def _compare_memblock(expected: Snapshot, found: Snapshot) -> Difference | None:
    for name in ("memory", "reserved", "physmem"):
        want, got = getattr(expected, name), getattr(found, name)
        if want is None or got is None or name in found.refused:  # only s390 has physmem
            continue
        difference = _compare_lists(want, got) or _compare_counters(want, got)
        if difference is not None:
            return difference
    return (
        _compare_arrays(expected, found)
        or _compare_values(expected, found, ("current_limit", "bottom_up"))
        or _damage(found)
    )


def _compare_lists(want: RegionList, got: RegionList) -> Difference | None:
    array_backed = want.max is not None
    if (
        want.base == got.base
        and want.size == got.size
        and want.flags == got.flags
        and want.nid == got.nid
        and (array_backed or want.entry == got.entry)
    ):
        return None  # the way of nearly every operation: whole columns, at the speed of C
    name = got.name
    nodes = len(want.nid) == len(want) and len(got.nid) == len(got)
    for at in range(min(len(want), len(got))):
        expected, found = _row(want, at, nodes), _row(got, at, nodes)
        if expected != found:
            return Difference(
                f"{name}[{at}] is {_in_words(found)}, but {_in_words(expected)} is expected",
                name,
                _first_byte(expected, found),
            )
        if not array_backed and want.entry[at] != got.entry[at]:
            return Difference(
                f"{name}[{at}] at {got.base[at]:#x} is stored in another entry than expected "
                f"(index {got.entry[at]}, not {want.entry[at]})",
                name,
                got.base[at],
            )
    if len(want) != len(got):
        longer = want if len(want) > len(got) else got
        return Difference(
            f"the {name} list has {len(got)} regions, but {len(want)} are expected",
            name,
            longer.base[min(len(want), len(got))],
        )
    return None


_Row = tuple[int, int, int, "int | None"]


def _row(regions: RegionList, at: int, nodes: bool) -> _Row:
    return regions.base[at], regions.size[at], regions.flags[at], regions.nid[at] if nodes else None


def _in_words(row: _Row) -> str:
    base, size, flags, nid = row
    return f"[{base:#x}, {base + size:#x}) flags {flags:#x}" + ("" if nid is None else f" node {nid}")


def _first_byte(expected: _Row, found: _Row) -> int:
    """Return where two regions begin to differ, or end to."""
    if expected[0] != found[0]:
        return min(expected[0], found[0])
    return min(expected[0] + expected[1], found[0] + found[1])


def _compare_counters(want: RegionList, got: RegionList) -> Difference | None:
    for counter in ("cnt", "max", "total_size"):
        expected, found = getattr(want, counter), getattr(got, counter)
        if expected != found:
            return Difference(
                f"{got.name}.{counter} is {shown(counter, found)}, but {shown(counter, expected)} is expected", got.name
            )
    return None


def _compare_arrays(expected: Snapshot, found: Snapshot) -> Difference | None:
    wanted = {array.name: array for array in expected.arrays}
    for got in found.arrays:
        want = wanted.get(got.name)
        if want is not None and got.name not in found.refused and elsewhere(want, got):
            return Difference(
                f"the array of {got.name} is {array_place(got)}, but {array_place(want)} is expected",
                got.name,
                got.base,
            )
    return None


def elsewhere(want: RegionArray, got: RegionArray) -> bool:
    """Tell whether an array lies elsewhere than expected; a static array's place is the linker's business."""
    if want.static or got.static:
        return want.static != got.static
    return want.base is not None and got.base is not None and want.base != got.base


def array_place(array: RegionArray) -> str:
    """Return where one of memblock's arrays lies, in words."""
    if array.static:
        return "the static one"
    return "a grown one" if array.base is None else f"a grown one at {array.base:#x}"


def _compare_freelists(expected: Snapshot, found: Snapshot) -> Difference | None:
    if expected.free == found.free:
        return None
    for at, (want, got) in enumerate(zip(expected.free, found.free, strict=False)):
        if want != got:
            return Difference(
                f"the freelist has {_slot(found, got)} at place {at}, but {_slot(expected, want)} is expected"
            )
    if len(expected.free) != len(found.free):
        return Difference(f"the freelist has {len(found.free)} entries, but {len(expected.free)} are expected")
    return None


def _compare_blocks(expected: Snapshot, found: Snapshot) -> Difference | None:
    for number, (want, got) in enumerate(zip(expected.blocks, found.blocks, strict=False)):
        if (want.base, want.nr) != (got.base, got.nr):
            return Difference(
                f"block {number} lies at {got.base:#x} with {got.nr} entries, but {want.base:#x} with {want.nr} "
                "is expected"
            )
    if len(expected.blocks) != len(found.blocks):
        return Difference(f"there are {len(found.blocks)} blocks, but {len(expected.blocks)} are expected")
    return None


def _compare_values(expected: Snapshot, found: Snapshot, names: tuple[str, ...]) -> Difference | None:
    for name in names:
        want, got = getattr(expected, name), getattr(found, name)
        if want != got:
            return Difference(f"{name} is {shown(name, got)}, but {shown(name, want)} is expected")
    return None


def shown(name: str, value: object) -> str:
    """Return a counter or switch as it is written: addresses and sizes in hex, counts and truths plainly."""
    if isinstance(value, bool):
        return truth(value)
    in_hex = name in ("current_limit", "block_size") or name.endswith("total_size")
    return hex(value) if in_hex and isinstance(value, int) else str(value)


def _compare_handover(expected: Snapshot, found: Snapshot) -> Difference | None:
    if found.handover is None or expected.handover is None:
        return None  # `closed` tells; and some programs keep no table
    if expected.handover_nr != found.handover_nr:
        return Difference(f"{found.handover_nr} ranges were handed over, but {expected.handover_nr} are expected")
    for at, (want, got) in enumerate(zip(expected.handover, found.handover, strict=False)):
        if want != got:
            return Difference(
                f"range {at} handed over is [{got[0]:#x}, {got[1]:#x}), but [{want[0]:#x}, {want[1]:#x}) is expected",
                address=min(want[0], got[0]),
            )
    return None


def _damage(found: Snapshot) -> Difference | None:
    """Tell of what the walk met and no column holds: links that disagree, memory that is none."""
    for defect in found.defects:
        return Difference(defect.what, address=defect.addresses[0] if defect.addresses else None)
    for name, walk in (("memory", found.memory.walk), ("reserved", found.reserved.walk), ("free", found.free_walk)):
        if walk is not None and not walk.mutual:
            return Difference(f"the links of the {name} list do not agree with each other", name)
    return None


def _slot(snapshot: Snapshot, index: int) -> str:
    where = snapshot.entry(index)
    return f"entry {where.block}:{where.slot}"
