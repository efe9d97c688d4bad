# SPDX-License-Identifier: GPL-2.0-or-later
"""JSON of a snapshot, both ways out of one description: a table of fields, each a member, its codec and attribute.

Addresses and sizes are "0x…" strings, so that no reader loses bits to floating point; counts and flags are
numbers. Readers raise `ValueError`, `KeyError`, `TypeError` and their like for what does not fit.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from gdb_lmb.core.json_values import Json
from gdb_lmb.core.snapshot import FLAG_NAMES, FirmwareMap, RegionList, Stop, column
from gdb_lmb.core.words import safe

# The default of a member that must be there.
REQUIRED = object()

# More nodes than any kernel is built for.
MAX_NODES = 1 << 16


@dataclass(frozen=True)
class Codec:
    """How one kind of value is written as JSON and read back."""

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


@dataclass(frozen=True)
class Field:
    """One member of a JSON object; `stored` tells that its value is the storage's, `default` stands for a missing one.

    The attribute has the member's name.
    """

    name: str
    codec: Codec
    stored: bool = False
    default: Any = REQUIRED


def write(fields: Iterable[Field], snapshot: Any) -> Json:
    """Return the members that `fields` describe."""
    return {
        field.name: field.codec.write(getattr(snapshot.storage if field.stored else snapshot, field.name))
        for field in fields
    }


def read(fields: Iterable[Field], data: Mapping[str, Any], *, stored: bool = False) -> Json:
    """Return the values of those `fields` that are the snapshot's, or its storage's, by attribute."""
    return {
        field.name: field.codec.read(
            data[field.name] if field.default is REQUIRED else data.get(field.name, field.default)
        )
        for field in fields
        if field.stored == stored
    }


def _read_hex(text: Any) -> int:
    if not isinstance(text, str) or not text.startswith("0x"):
        raise ValueError(f'{text!r} is no "0x…" string')
    return int(text, 16)


def optional(codec: Codec) -> Codec:
    """Return the codec of a value or null."""
    return Codec(
        lambda value: None if value is None else codec.write(value),
        lambda data: None if data is None else codec.read(data),
    )


def each(codec: Codec, make: Callable[[Iterable[Any]], Any] = tuple) -> Codec:
    """Return the codec of a list; `make` turns what is read into the attribute's type."""
    return Codec(lambda values: [*map(codec.write, values)], lambda data: make(map(codec.read, data)))


def record(make: Callable[..., Any], members: Mapping[str, tuple[str, Codec]], **fixed: Any) -> Codec:
    """Return the codec of an object whose `members` are attributes: {member: (attribute, codec)}."""
    return Codec(
        lambda value: {name: codec.write(getattr(value, own)) for name, (own, codec) in members.items()},
        lambda data: make(**{own: codec.read(data[name]) for name, (own, codec) in members.items()}, **fixed),
    )


def write_rows(columns: Mapping[str, Codec], values: Iterable[Iterable[Any]]) -> list[Json]:
    """Return columns as a list of objects, one for each row."""
    written = [map(codec.write, column) for codec, column in zip(columns.values(), values, strict=True)]
    return [dict(zip(columns, row, strict=True)) for row in zip(*written, strict=True)]


def read_columns(columns: Mapping[str, Codec], rows: Sequence[Any]) -> list[array[int]]:
    """Return a list of objects as columns."""
    return [column(codec.read(row[name]) for row in rows) for name, codec in columns.items()]


NUMBER = Codec(int, int)
TRUTH = Codec(bool, bool)
TEXT = Codec(str, str)
HEX = Codec(hex, _read_hex)
# An address or size that JSON calls "0x0" where it is not known.
KNOWN_HEX = Codec(lambda value: hex(value or 0), lambda text: _read_hex(text) or None)

REGION = {"base": HEX, "size": HEX, "flags": NUMBER}
_FIRMWARE = {"base": HEX, "size": HEX, "type": NUMBER}


def _read_no_node(number: Any) -> int:
    if not 0 < int(number) <= MAX_NODES:
        raise ValueError(f"{number!r} nodes are more than any kernel has")
    return int(number)


RANGES = optional(
    each(
        Codec(
            lambda own: {"base": hex(own[0]), "size": hex(own[1] - own[0])},
            lambda row: (_read_hex(row["base"]), _read_hex(row["base"]) + _read_hex(row["size"])),
        )
    )
)
# A writer without a firmware map (a model) writes an empty one.
_FIRMWARE_MAP = Codec(
    lambda own: write_rows(_FIRMWARE, (own.base, own.size, own.type)) if own else [],
    lambda rows: FirmwareMap(*read_columns(_FIRMWARE, rows)) if rows else None,
)
STOP = optional(
    Codec(
        lambda stop: {"pc": hex(stop.pc), "symbol": None if stop.symbol is None else safe(stop.symbol)},
        lambda data: Stop(_read_hex(data["pc"]), data["symbol"]),
    )
)
FLAGS = Codec(
    lambda names: {hex(flag): safe(name) for flag, name in names.items()},
    lambda data: FLAG_NAMES if data is None else {_read_hex(flag): str(name) for flag, name in data.items()},
)
NO_NODE = optional(Codec(int, _read_no_node))

# What every snapshot begins with, after "schema" and "layout".
HEAD = (Field("arch", TEXT), Field("byte_order", TEXT), Field("bits", NUMBER), Field("page_size", HEX))

COMMON = (Field("current_limit", HEX), Field("bottom_up", TRUTH))
FIRMWARE = Field("firmware", _FIRMWARE_MAP)
FIRMWARE_EDITED = Field("firmware_edited", _FIRMWARE_MAP, default=[])


def torn(function: str) -> Field:
    """Return the field `torn`, of which JSON has the truth only; `function` is what a reader then says."""
    return Field("torn", Codec(lambda value: value is not None, lambda data: function if data else None))


STATE = (Field("phase", optional(TEXT)), torn("an allocator function"), Field("stop", STOP))


class Description(NamedTuple):
    """JSON of one allocator: fields before and behind the lists, columns of a region."""

    first: tuple[Field, ...]
    last: tuple[Field, ...]
    columns: Mapping[str, Codec] = REGION


def write_list(regions: RegionList, columns: Mapping[str, Codec]) -> Json:
    """Return a list of regions; `columns` are base, size, flags, and where each is stored, where JSON has that."""
    rows = write_rows(columns, (regions.base, regions.size, regions.flags, regions.entry)[: len(columns)])
    for row, nid in zip(rows, regions.nid, strict=False):
        row["nid"] = nid
    most = {} if regions.max is None else {"max": regions.max}
    return {"cnt": regions.cnt, **most, "total_size": hex(regions.total_size), "regions": rows}


def read_list(name: str, data: Any, columns: Mapping[str, Codec], *, nodes: bool) -> RegionList:
    """Return the list called `name`; `nodes` tells that each region must have a node."""
    rows = data["regions"]
    base, size, flags, *entry = read_columns(columns, rows)
    return RegionList(
        name=name,
        cnt=int(data["cnt"]),
        total_size=_read_hex(data["total_size"]),
        base=base,
        size=size,
        flags=flags,
        entry=entry[0] if entry else column(range(len(rows))),
        max=int(data["max"]) if not entry else None,
        nid=array("q", (int(row["nid"]) for row in rows)) if nodes or any("nid" in row for row in rows) else (),
    )
