# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables as values: titles, columns and typed cells that an allocator returns and `report` draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gdb_lmb.core.snapshot import FirmwareMap, RegionList, Snapshot, firmware_type
from gdb_lmb.core.words import human_size, plural

# Kinds of cells. An address is physical and shown with all digits of `phys_addr_t`, a wide one with those of 64
# bits, a pointer in hexadecimal without leading zeros. A size is shown in binary units, bytes with thousands
# separators, a number plainly; flags are a region's.
ADDRESS, WIDE, POINTER = "address", "wide", "pointer"
SIZE, BYTES, NUMBER, TEXT, FLAGS = "size", "bytes", "number", "text", "flags"

# Cells of a row: an int, or a str for text; None stands for what is not known or not there.
Cells = Sequence["int | str | None"]


@dataclass(frozen=True)
class Column:
    """One column: its heading, the kind of its cells, whether it may be `cut` or left out (`spare`) to fit."""

    title: str
    kind: str
    cut: bool = False
    spare: bool = False


@dataclass(frozen=True)
class Section:
    """A title, and rows of cells after `columns`; `shown` False tells that the title says why there are none."""

    title: str
    columns: tuple[Column, ...] = ()
    rows: Sequence[Cells] = ()
    shown: bool = True


_REGION = (
    Column("#", NUMBER), Column("base", ADDRESS), Column("end", ADDRESS), Column("size", SIZE),
    Column("bytes", BYTES, spare=True), Column("flags", FLAGS, cut=True),
)  # fmt: skip

_FIRMWARE = (
    Column("#", NUMBER), Column("base", WIDE), Column("end", WIDE), Column("size", SIZE),
    Column("type", TEXT, cut=True),
)  # fmt: skip


def region_section(
    snapshot: Snapshot, regions: RegionList, more: Sequence[Column] = (), cells: Callable[[int], Cells] = lambda at: ()
) -> Section:
    """Return one list of regions; `cells` returns those of the columns `more` for a region's place in the list."""
    room = "" if regions.max is None else f" (room for {regions.max:,})"
    if regions.dummy:
        return Section(f"{regions.name}: empty{room} (one dummy region of size 0)")
    if regions.name in snapshot.refused:
        return Section(f"{regions.name}: not shown: {snapshot.refused[regions.name]}", shown=False)
    node = (Column("node", TEXT),) if len(regions.nid) else ()
    rows = [
        (at, region.base, region.end, region.size, region.size, region.flags,
         *(_node(snapshot, regions.nid[at]) for _ in node), *cells(at))
        for at, region in enumerate(regions.regions())
    ]  # fmt: skip
    total = f"{human_size(regions.total_size)} ({regions.total_size:,} bytes)"
    title = f"{regions.name}: {plural(regions.cnt, 'region')}{room}, {total}"
    return Section(title, (*_REGION, *node, *more), rows)


def _node(snapshot: Snapshot, nid: int) -> str | None:
    return str(nid) if snapshot.no_node is None or 0 <= nid < snapshot.no_node else None


def firmware_section(firmware: FirmwareMap | None, none: str, title: str = "firmware") -> Section:
    """Return the firmware's map; `none` says why there is none."""
    if firmware is None:
        return Section(f"{title}: {none}", shown=False)
    rows = [
        (at, base, base + size, size, firmware_type(kind))
        for at, (base, size, kind) in enumerate(zip(firmware.base, firmware.size, firmware.type, strict=True))
    ]
    return Section(f"{title}: {plural(len(rows), 'range')}", _FIRMWARE, rows)
