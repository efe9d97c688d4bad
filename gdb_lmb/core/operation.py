# SPDX-License-Identifier: GPL-2.0-or-later
"""Operations: what they take, how a model runs them, and how they are read from JSON.

The names of layout "lmb-list" are those of the list-based LMB's interface without `lmb_`; those of layout
"memblock" are the functions of `mm/memblock.c` through which every change goes, without `memblock_`; besides,
`slab_available` tells that `slab_is_available()` has become true, from when on arrays come from the slab.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from gdb_lmb.allocators.lmb.model import LmbModel
from gdb_lmb.core.errors import InputError
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.core.written import written

MAX_LINE_BYTES = 1 << 16

NO_NID = -1
"""`NUMA_NO_NODE`: any node will do, or none is meant."""

LISTS = ("memory", "reserved", "physmem")


class Model(Protocol):
    """What every reference model can show; how it is driven is the business of the tables below."""

    def snapshot(self) -> Snapshot:
        """Return the whole state."""


@dataclass(frozen=True)
class Operation:
    """One call of the allocator: `op` and the arguments it takes; sizes and addresses in bytes.

    A limit is in `base`, the truth value of `set_bottom_up` in `flags`. Of memblock only: `list` names the
    list ("memory", "reserved" or "physmem"), `nid` is the node, `exact` forbids other nodes, and `set` tells
    whether `setclr_flag` sets or clears. `alloc_range_nid` has its `start` and `end` in `min` and `max`.
    """

    op: str
    base: int = 0
    size: int = 0
    flags: int = 0
    align: int = 0
    min: int = 0
    max: int = 0
    list: str = ""
    nid: int = NO_NID
    exact: bool = False
    set: bool = False

    def __str__(self) -> str:
        """Write the call as C would, with the arguments that this operation takes."""
        values = ", ".join(f"{name}={written(name, getattr(self, name))}" for name in ARGUMENTS[self.op])
        return f"{self.op}({values})"


# -- tables -----------------------------------------------------------------------------------------

ERROR, BASE, PAGES, NOTHING = "error", "base", "pages", "nothing"
"""What an operation returns: 0 or a negative errno, an address, a number of pages, or nothing at all."""


@dataclass(frozen=True)
class Kind:
    """One row of a layout's table: the arguments in the order of the call, what comes back, how it runs.

    `lists` are the lists whose coverage it may change; an empty name stands for the operation's own.
    """

    arguments: tuple[str, ...]
    returns: str
    run: Callable[[Any, Operation], int | None]
    lists: tuple[str, ...] = ()


_LMB = {
    "add": Kind(("base", "size", "flags"), ERROR, lambda m, o: m.add(o.base, o.size, o.flags), ("memory",)),
    "remove": Kind(("base", "size"), ERROR, lambda m, o: m.remove(o.base, o.size), ("memory",)),
    "reserve": Kind(("base", "size", "flags"), ERROR, lambda m, o: m.reserve(o.base, o.size, o.flags), ("reserved",)),
    "free": Kind(("base", "size"), ERROR, lambda m, o: m.free(o.base, o.size), ("reserved",)),
    "alloc": Kind(
        ("size", "align", "min", "max", "flags"),
        BASE,
        lambda m, o: m.alloc(o.size, o.align, o.min, o.max, o.flags),
        ("reserved",),
    ),
    "allow_growth": Kind((), ERROR, lambda m, o: m.allow_growth()),
    "set_limit": Kind(("base",), ERROR, lambda m, o: m.set_current_limit(o.base)),
    "set_bottom_up": Kind(("flags",), ERROR, lambda m, o: m.set_bottom_up(bool(o.flags))),
    "free_all": Kind((), PAGES, lambda m, o: m.free_all()),
}

_MEMBLOCK = {
    "add_range": Kind(
        ("list", "base", "size", "nid", "flags"),
        ERROR,
        lambda m, o: m.add_range(o.list, o.base, o.size, o.nid, o.flags),
        ("",),
    ),
    "remove_range": Kind(
        ("list", "base", "size"), ERROR, lambda m, o: m.remove_range(o.list, o.base, o.size), ("",)
    ),
    "setclr_flag": Kind(
        ("list", "base", "size", "set", "flags"),
        ERROR,
        lambda m, o: m.setclr_flag(o.list, o.base, o.size, o.set, o.flags),
    ),
    "set_node": Kind(
        ("list", "base", "size", "nid"), ERROR, lambda m, o: m.set_node(o.list, o.base, o.size, o.nid)
    ),
    "trim_memory": Kind(("align",), NOTHING, lambda m, o: m.trim_memory(o.align), ("memory",)),
    "cap_memory_range": Kind(
        ("base", "size"), NOTHING, lambda m, o: m.cap_memory_range(o.base, o.size), ("memory", "reserved")
    ),
    "alloc_range_nid": Kind(
        ("size", "align", "min", "max", "nid", "exact"),
        BASE,
        lambda m, o: m.alloc_range_nid(o.size, o.align, o.min, o.max, o.nid, o.exact),
        ("reserved",),
    ),
    "set_current_limit": Kind(("base",), NOTHING, lambda m, o: m.set_current_limit(o.base)),
    "set_bottom_up": Kind(("flags",), NOTHING, lambda m, o: m.set_bottom_up(bool(o.flags))),
    "allow_resize": Kind((), NOTHING, lambda m, o: m.allow_resize()),
    "slab_available": Kind((), NOTHING, lambda m, o: setattr(m, "slab_up", True)),
    "free_all": Kind((), PAGES, lambda m, o: m.free_all()),
    "discard": Kind((), NOTHING, lambda m, o: m.discard()),
}  # fmt: skip

INIT: Mapping[str, Kind] = {
    "init": Kind(("base", "size", "flags", "align", "min", "max"), ERROR, lambda m, o: 0),
}
"""`lmb_init()`, as a log's first record tells of it: what makes a model, and does nothing more to it.

In this order: klimit (0: a static array), the block size, the bits of `phys_addr_t`, the sizes of a block's
header and of an entry, the number of entries."""

OPERATIONS: Mapping[str, Mapping[str, Kind]] = {"lmb-list": _LMB, "memblock": _MEMBLOCK}
"""The operations of each layout."""

ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    op: kind.arguments for table in (INIT, *OPERATIONS.values()) for op, kind in table.items()
}
"""What each operation takes, whatever the layout: one name means the same in all of them."""


def apply(model: Model, operation: Operation) -> int | None:
    """Run one operation on the model of its layout.

    Return 0 or a negative errno, the base of an allocation, the pages that were given away, or None from
    what returns nothing in the kernel.
    """
    table = _LMB if isinstance(model, LmbModel) else _MEMBLOCK
    return table[operation.op].run(model, operation)


# -- JSON -------------------------------------------------------------------------------------------


def parse_operations(lines: Iterable[bytes], bits: int, layout: str = "lmb-list") -> Iterator[Operation]:
    """Yield the operation of each line of JSON; empty lines are passed over.

    `bits` is the width of `phys_addr_t`, which bounds every number but `flags` and `nid` (32 bits).
    Raises: `InputError` naming the line.
    """
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE_BYTES:
            raise InputError(f"line {number} is longer than {MAX_LINE_BYTES} bytes: that is no operation")
        if line.strip():
            try:
                yield _parse_operation(line, bits, layout)
            except InputError as error:
                raise InputError(f"line {number}: {error}") from None


def _parse_operation(line: bytes, bits: int, layout: str) -> Operation:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise InputError('this is not JSON; expected {"op": "reserve", "base": …, "size": …}') from None
    if not isinstance(row, dict):
        raise InputError('expected a JSON object with an "op"')
    return operation_from(row, bits, OPERATIONS[layout])


def operation_from(row: dict[str, Any], bits: int, table: Mapping[str, Kind], *, exactly: bool = False) -> Operation:
    """Return the operation of a JSON object, in a `table` of `OPERATIONS`.

    Missing members have their defaults, unless every argument must be there, and no other, `exactly`.
    Raises: `InputError`.
    """
    op = row.pop("op", None)
    kind = table.get(op) if isinstance(op, str) else None
    if not isinstance(op, str) or kind is None:
        raise InputError(f'"op" is {short(op)}; expected one of {", ".join(table)}')
    if exactly:
        for name in kind.arguments:
            if name not in row:
                raise InputError(f'{op} takes "{name}", which is missing')
    known = kind.arguments if exactly else {name for row_of in table.values() for name in row_of.arguments}
    for name in sorted(row.keys() - known):
        raise InputError(f"unknown member {short(name)}; expected {', '.join(sorted(known)) or 'none'}")
    values = {name: _READERS[name](name, value, bits) for name, value in row.items()}
    if op == "set_bottom_up" and values.get("flags", 0) > 1:
        raise InputError('set_bottom_up takes "flags" 0 or 1')
    if "list" in kind.arguments and "list" not in values:
        raise InputError(f'{op} takes "list", one of {", ".join(LISTS)}')
    return Operation(op, **values)


def operation_json(operation: Operation) -> dict[str, Any]:
    """Return `op` and the arguments it takes as JSON values: addresses and sizes as "0x…" strings."""
    row: dict[str, Any] = {"op": operation.op}
    for name in ARGUMENTS[operation.op]:
        value = getattr(operation, name)
        row[name] = hex(value) if name in _ADDRESSES else value
    return row


def read_number(name: str, value: object, bits: int) -> int:
    """Return a number, or a "0x…" string's, of at most `bits` bits. Raises: `InputError` naming `name`."""
    if isinstance(value, str):
        try:
            number = int(value, 0) if len(value) < 40 else -1
        except ValueError:
            number = -1
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        number = -1
    if not 0 <= number < 1 << bits:
        raise InputError(f'"{name}" is {short(value)}; expected a number or a "0x…" string of at most {bits} bits')
    return number


def _flags(name: str, value: object, bits: int) -> int:
    return read_number(name, value, 32)


def _nid(name: str, value: object, bits: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not -(1 << 31) <= value < 1 << 31:
        raise InputError(f'"{name}" is {short(value)}; expected the number of a node, or {NO_NID}')
    return value


def _truth(name: str, value: object, bits: int) -> bool:
    if not isinstance(value, bool):
        raise InputError(f'"{name}" is {short(value)}; expected true or false')
    return value


def _list(name: str, value: object, bits: int) -> str:
    if not isinstance(value, str) or value not in LISTS:
        raise InputError(f'"{name}" is {short(value)}; expected one of {", ".join(LISTS)}')
    return value


_ADDRESSES = ("base", "size", "align", "min", "max")
_READERS: Mapping[str, Callable[[str, object, int], Any]] = {
    **dict.fromkeys(_ADDRESSES, read_number),
    "flags": _flags,
    "nid": _nid,
    "exact": _truth,
    "set": _truth,
    "list": _list,
}


def short(value: object) -> str:
    """Return `value` from outside as JSON, short enough for a message."""
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
