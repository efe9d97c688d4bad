# SPDX-License-Identifier: GPL-2.0-or-later
"""What a list-based LMB has to show: its tables, and its JSON both ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gdb_lmb.allocators.json_fields import (
    COMMON,
    FIRMWARE,
    HEAD,
    HEX,
    KNOWN_HEX,
    NUMBER,
    RANGES,
    REGION,
    STOP,
    TRUTH,
    Codec,
    Field,
    Json,
    each,
    read,
    read_list,
    record,
    torn,
    write,
    write_list,
)  # fmt: skip
from gdb_lmb.allocators.lmb.storage import Block, LmbStorage, storage_of
from gdb_lmb.allocators.section import ADDRESS, POINTER, SIZE, TEXT, Column, Section
from gdb_lmb.allocators.section import NUMBER as COUNT
from gdb_lmb.core.snapshot import Snapshot, column
from gdb_lmb.core.words import human_size, plural

ENTRY = (Column("entry", TEXT), Column("entry address", POINTER, spare=True))

_FREE = (Column("#", COUNT), Column("entry", TEXT), Column("entry address", POINTER))

_BLOCKS = (
    Column("#", COUNT), Column("storage", TEXT, cut=True), Column("base", ADDRESS), Column("size", SIZE),
    Column("entries", COUNT), Column("first entry address", POINTER, spare=True),
)  # fmt: skip


def entry_cells(storage: LmbStorage, index: int) -> tuple[str, int | None]:
    """Return where an entry lies: block and slot, and its virtual address."""
    where = storage.entry(index)
    return f"{where.block}:{where.slot}", storage.entry_va(index)


def freelist(storage: LmbStorage, listed: bool) -> Section:
    """Return the freelist: its length, and its entries where `listed`."""
    title = f"free: {plural(storage.nr_free, 'entry')} on the freelist, of {storage.nr_entries:,} in all"
    entries = storage.free if listed else ()
    return Section(title, _FREE, [(at, *entry_cells(storage, index)) for at, index in enumerate(entries)])


def blocks(storage: LmbStorage) -> Section:
    """Return the blocks of entries."""
    size = human_size(storage.block_size)
    growth = f"grows by {size}" if storage.may_grow else f"may not grow yet (block size {size})"
    rows = [
        (number, "static array" if block.static else "klimit page" if number == 0 else "grown", block.base,
         block.size or None, block.nr, block.entries_va)
        for number, block in enumerate(storage.blocks)
    ]  # fmt: skip
    return Section(f"blocks: {plural(storage.nr_blocks, 'block')} of entries, {growth}", _BLOCKS, rows)


# -- JSON -------------------------------------------------------------------------------------------

_BLOCK = record(Block, {"base": ("base", KNOWN_HEX), "entries": ("nr", NUMBER), "static": ("static", TRUTH)})


def _entry(storage: LmbStorage) -> Codec:
    """Return the codec of an entry's index, which JSON has as [block, slot]."""

    def write_index(index: int) -> list[int]:
        where = storage.entry(index)
        return [where.block, where.slot]

    def read_index(pair: Any) -> int:
        block, slot = map(int, pair)
        if not 0 <= slot < storage.blocks[block].nr:
            raise ValueError(f"there is no entry {block}:{slot}")
        return storage.first[block] + slot

    return Codec(write_index, read_index)


def _tail(entry: Codec) -> tuple[Field, ...]:
    """Return the fields behind the lists."""
    return (
        Field("free", each(entry, column), stored=True),
        Field("nr_free", NUMBER, stored=True),
        Field("blocks", each(_BLOCK), stored=True),
        Field("nr_blocks", NUMBER, stored=True),
        Field("block_size", HEX, stored=True),
        # Snapshots written before these two were there cannot be gone on from; all else works.
        Field("entry_size", KNOWN_HEX, stored=True, default="0x0"),
        Field("header_size", KNOWN_HEX, stored=True, default="0x0"),
        *COMMON,
        Field("may_grow", TRUTH, stored=True),
        Field("closed", TRUTH, stored=True),
        Field("handover", RANGES),
        FIRMWARE,
    )


_FIRST = (torn("an LMB function"), Field("stop", STOP))


def to_json(snapshot: Snapshot) -> Json:
    """Return the members of a snapshot's JSON object."""
    entry = _entry(storage_of(snapshot))
    lists = {regions.name: write_list(regions, {**REGION, "entry": entry}) for regions in snapshot.lists}
    return {**write(_FIRST, snapshot), **lists, **write(_tail(entry), snapshot)}


def from_json(data: Mapping[str, Any]) -> Snapshot:
    """Return the snapshot of a JSON object."""
    entry = _entry(LmbStorage(blocks=each(_BLOCK).read(data["blocks"])))
    columns = {**REGION, "entry": entry}
    fields = (*HEAD, *_FIRST, *_tail(entry))
    common, own = read(fields, data), read(fields, data, stored=True)
    own["blocks"] = _sized(own["blocks"], common["page_size"], own["block_size"])
    given = common["handover"]
    return Snapshot(
        **common,
        memory=read_list("memory", data["memory"], columns),
        reserved=read_list("reserved", data["reserved"], columns),
        storage=LmbStorage(**own, handover_nr=0 if given is None else len(given)),
    )


def _sized(found: Sequence[Block], page_size: int, block_size: int) -> tuple[Block, ...]:
    """Return blocks with their sizes in bytes, which JSON leaves out: a klimit page, then grown blocks."""
    return tuple(
        replace(block, size=0 if block.static else block_size if number else page_size)
        for number, block in enumerate(found)
    )
