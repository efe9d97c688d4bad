# SPDX-License-Identifier: GPL-2.0-or-later
"""Between a table of the model and a `RegionList` as a guest's list is decoded into one."""

from __future__ import annotations

from array import array
from operator import sub

from gdb_lmb.allocators.memblock.table import Table
from gdb_lmb.core.errors import StateError
from gdb_lmb.core.snapshot import RegionList, column


def view(table: Table, *, dummy: bool, nodes: bool, limit: int) -> RegionList:
    """Return the table as a list of a snapshot.

    `dummy` tells that empty is shown as one region of size 0, `nodes` that regions have a node; `limit` is
    PHYS_ADDR_MAX.
    """
    base, end, flags, nid = table.base, table.end, table.flags, table.nid
    if dummy and not base:
        base, end, flags, nid = [0], [0], [0], [table.dummy_nid]
    return RegionList(
        name=table.name,
        cnt=len(base),
        total_size=table.total_size & limit,
        base=column(base),
        size=column(map(sub, end, base)),
        flags=column(flags),
        entry=column(range(len(base))),
        max=table.max,
        nid=array("q", nid) if nodes else (),
    )


def load(table: Table, regions: RegionList) -> None:
    """Take a walked list over. Raises: `StateError` for one that no memblock has."""
    if regions.max is None or regions.cnt != len(regions) or regions.cnt > regions.max:
        raise StateError(f"{regions.name} has {len(regions)} regions, but cnt {regions.cnt} and max {regions.max}")
    table.max, table.total_size = regions.max, regions.total_size
    if regions.dummy:
        table.dummy_nid = regions.nid[0] if len(regions.nid) else 0
        return
    last = 0
    for base, size in zip(regions.base, regions.size, strict=True):
        if base < last or not size:
            raise StateError(f"{regions.name} is damaged at {base:#x}: its regions are not sorted or overlap")
        last = base + size
    table.base = [*regions.base]
    table.end = [base + size for base, size in zip(regions.base, regions.size, strict=True)]
    table.flags = [*regions.flags]
    table.nid = [*regions.nid] if len(regions.nid) else [0] * len(regions)
    table.scattered = True
