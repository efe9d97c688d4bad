# SPDX-License-Identifier: GPL-2.0-or-later
"""Two states, entry for entry: what is the first thing in which they differ."""

from __future__ import annotations

from dataclasses import dataclass

from gdb_lmb.region import RegionList, Snapshot


@dataclass(frozen=True)
class Difference:
    """The first thing in which two states differ: in words, on which list, at which physical address."""

    message: str
    where: str = ""
    address: int | None = None


def compare(expected: Snapshot, found: Snapshot) -> Difference | None:
    """Return the first difference between two states, entry for entry; None where there is none."""
    return (
        _compare_lists(expected.memory, found.memory)
        or _compare_lists(expected.reserved, found.reserved)
        or _compare_freelists(expected, found)
        or _compare_blocks(expected, found)
        or _compare_switches(expected, found)
    )


def _compare_lists(want: RegionList, got: RegionList) -> Difference | None:
    name = got.name
    rows = zip(want.base, want.size, want.flags, want.entry, got.base, got.size, got.flags, got.entry, strict=False)
    for at, (wb, ws, wf, we, gb, gs, gf, ge) in enumerate(rows):
        if (wb, ws, wf) != (gb, gs, gf):
            return Difference(
                f"{name}[{at}] is [{gb:#x}, {gb + gs:#x}) flags {gf:#x}, but [{wb:#x}, {wb + ws:#x}) "
                f"flags {wf:#x} is expected",
                name,
                min(wb, gb) if wb != gb else min(wb + ws, gb + gs),
            )
        if we != ge:
            return Difference(
                f"{name}[{at}] at {gb:#x} is stored in another entry than expected (index {ge}, not {we})", name, gb
            )
    if len(want) != len(got):
        longer = want if len(want) > len(got) else got
        return Difference(
            f"the {name} list has {len(got)} regions, but {len(want)} are expected",
            name,
            longer.base[min(len(want), len(got))],
        )
    return None


def _compare_freelists(expected: Snapshot, found: Snapshot) -> Difference | None:
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


def _compare_switches(expected: Snapshot, found: Snapshot) -> Difference | None:
    for name in ("current_limit", "bottom_up", "may_grow", "closed"):
        if getattr(expected, name) != getattr(found, name):
            return Difference(f"{name} is {getattr(found, name)}, but {getattr(expected, name)} is expected")
    return None


def _slot(snapshot: Snapshot, index: int) -> str:
    where = snapshot.entry(index)
    return f"entry {where.block}:{where.slot}"
