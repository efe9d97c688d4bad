# SPDX-License-Identifier: GPL-2.0-or-later
"""What a memblock has to show: its arrays, and its JSON both ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gdb_lmb.allocators.json_fields import (
    COMMON,
    FIRMWARE,
    FLAGS,
    HEAD,
    HEX,
    NO_NODE,
    NUMBER,
    STOP,
    TEXT,
    TRUTH,
    Codec,
    Field,
    Json,
    each,
    optional,
    read,
    read_list,
    record,
    torn,
    write,
    write_list,
)  # fmt: skip
from gdb_lmb.allocators.memblock.storage import MemblockStorage, RegionArray, storage_of
from gdb_lmb.allocators.section import NUMBER as COUNT
from gdb_lmb.allocators.section import POINTER, SIZE, Column, Section
from gdb_lmb.allocators.section import TEXT as WORDS
from gdb_lmb.core.snapshot import Snapshot

_ARRAYS = (
    Column("list", WORDS), Column("storage", WORDS, cut=True), Column("base", POINTER), Column("size", SIZE),
    Column("room", COUNT), Column("address", POINTER, spare=True),
)  # fmt: skip


def arrays(snapshot: Snapshot) -> Section:
    """Return the arrays that the lists lie in."""

    def kind(array: RegionArray) -> str:
        if array.static:
            return "static array"
        return "doubled, freed" if array.name in snapshot.refused else "doubled"

    stored = storage_of(snapshot).arrays
    return Section("arrays:", _ARRAYS, [(a.name, kind(a), a.base, a.size, a.max, a.va) for a in stored])


# -- JSON -------------------------------------------------------------------------------------------

_ARRAY = {
    "list": ("name", TEXT), "max": ("max", NUMBER), "size": ("size", HEX), "static": ("static", TRUTH),
    "base": ("base", optional(HEX)),
}  # fmt: skip
_FIRST = (Field("phase", optional(TEXT)), torn("a memblock function"), Field("stop", STOP))
_TAIL = (
    Field("refused", Codec(dict, lambda data: {str(name): str(why) for name, why in data.items()}), default={}),
    Field("arrays", each(record(RegionArray, _ARRAY, va=None)), stored=True),
    *COMMON,
    Field("flag_names", FLAGS),
    Field("no_node", NO_NODE),
    FIRMWARE,
)


def to_json(snapshot: Snapshot) -> Json:
    """Return the members of a snapshot's JSON object."""
    lists = {regions.name: write_list(regions) for regions in snapshot.lists}
    return {**write(_FIRST, snapshot), **lists, **write(_TAIL, snapshot)}


def from_json(data: Mapping[str, Any]) -> Snapshot:
    """Return the snapshot of a JSON object; flag names and nodes came to the schema later than the rest."""
    known = {"flag_names": None, "no_node": None, **data}
    fields = (*HEAD, *_FIRST, *_TAIL)
    common, own = read(fields, known), read(fields, known, stored=True)
    names = [name for name in ("memory", "reserved", "physmem") if name in data or name != "physmem"]
    for name in (*common["refused"], *(array.name for array in own["arrays"])):
        if name not in names:
            raise ValueError(f"there is no list {name!r}")
    nodes = common["no_node"] is not None
    memory, reserved, *others = (read_list(name, data[name], nodes=nodes) for name in names)
    return Snapshot(
        **common, layout="memblock", memory=memory, reserved=reserved, others=tuple(others),
        storage=MemblockStorage(**own),
    )  # fmt: skip
