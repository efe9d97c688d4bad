# SPDX-License-Identifier: GPL-2.0-or-later
"""Operations: calls of an allocator, what each takes and returns, how they are read from JSON; records of a boot's.

Which operations there are is a table of each allocator's (`Allocator.operations`): {name: Kind}.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

from gdb_lmb.core.errors import InputError
from gdb_lmb.core.json_values import checked, read_number, short
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.core.words import errno_name, written

MAX_LINE_BYTES = 1 << 16


class Model(Protocol):
    """What every reference model has; how it is driven is in its allocator's table."""

    layout: str

    def snapshot(self) -> Snapshot:
        """Return the whole state."""


@dataclass(frozen=True)
class Operation:
    """One call of the allocator: `op` and the arguments it takes; sizes and addresses in bytes.

    A limit is in `base`, the truth value of `set_bottom_up` in `flags`. `list` names a list of regions, `nid` is a
    node, `exact` forbids other nodes, and `set` tells whether flags are set or cleared. `takes` names the arguments
    in the order of the call, as the allocator's table has them.
    """

    op: str
    base: int = 0
    size: int = 0
    flags: int = 0
    align: int = 0
    min: int = 0
    max: int = 0
    list: str = ""
    nid: int | None = None
    exact: bool = False
    set: bool = False
    takes: tuple[str, ...] | None = field(default=None, compare=False, repr=False)

    @property
    def arguments(self) -> dict[str, Any]:
        """Return the arguments by name, in the order of the call; of a call without a table those that were given."""
        takes = self.takes
        if takes is None:
            takes = tuple(f.name for f in fields(self)[1:-1] if getattr(self, f.name) != f.default)
        return {name: getattr(self, name) for name in takes}

    def __str__(self) -> str:
        return f"{self.op}({', '.join(f'{name}={written(name, value)}' for name, value in self.arguments.items())})"


# What an operation returns: 0 or a negative errno, an address, a number of pages, or nothing at all.
ERROR, BASE, PAGES, NOTHING = "error", "base", "pages", "nothing"


@dataclass(frozen=True)
class Kind:
    """One row of an allocator's table: the arguments in the order of the call, what comes back, how a model runs it.

    `changes` is the list to which the range that the operation is about is added (True) or of which it is taken off
    (False); "" stands for the operation's own `list`. `defaults` are values of arguments that JSON may leave out,
    where they are not those of `Operation`. `list_names` are what `list` may be. `switch` tells that `flags` is a
    truth value.
    """

    arguments: tuple[str, ...]
    returns: str
    run: Callable[[Any, Operation], int | None]
    changes: tuple[str, bool] | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    list_names: tuple[str, ...] = ()
    switch: bool = False

    def failed(self, result: int | None) -> bool:
        """Tell whether a result says that the call failed: a negative errno, or no address for an allocation."""
        return result is not None and (result < 0 or (result == 0 and self.returns == BASE))

    def result_text(self, result: int | None) -> str:
        """Return a result as this kind of call means it: 0 is success for one and failure for another."""
        name = errno_name(result)
        if result is None or name is not None:
            return "nothing" if result is None else f"{result} ({name})"
        if self.failed(result):
            return f"{result} (failed)"
        if self.returns == PAGES:
            return f"{result:,}"
        return hex(result) if self.returns == BASE else str(result)

    def call(self, op: str, **arguments: Any) -> Operation:
        """Return the operation `op`, which this is the row of, with these arguments and the default ones."""
        return Operation(op, takes=self.arguments, **{**self.defaults, **arguments})


Table = Mapping[str, Kind]  # the operations of an allocator by name


# -- a traced boot ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Record:
    """One operation: `seq` counts from 1, `result` is None where the function returns nothing or it is unknown.

    `callers` are program counters, innermost first: the return address of the traced function, then that of
    its caller, and so on. `phase` is the place in the boot.
    """

    seq: int
    operation: Operation
    result: int | None = None
    callers: tuple[int, ...] = ()
    phase: str | None = None

    def __str__(self) -> str:
        return f"{self.seq} {self.operation}"


@dataclass(frozen=True)
class Symbol:
    """What a program counter means: the function it lies in, how far (bytes), and the source line.

    `inlined` are the functions that the compiler has inlined there, innermost first.
    """

    function: str
    offset: int
    file: str | None = None
    line: int | None = None
    inlined: tuple[str, ...] = ()


@dataclass(frozen=True)
class TraceHeader:
    """What a trace is of, and the state it begins with.

    `source` is "breakpoints" or "log"; `lost` counts the operations before the first record that are not recorded
    (a log that wrapped). `initial` is None where the first operation is the allocator's own `init`.
    `only` names the operations that were recorded, where not all were: such a trace cannot be replayed.
    `behavior` says how this kernel's memblock differs from others, as plain values.
    """

    layout: str
    arch: str
    byte_order: str
    bits: int
    page_size: int
    source: str = "breakpoints"
    initial: Snapshot | None = None
    behavior: Mapping[str, Any] = field(default_factory=dict)
    lost: int = 0
    only: tuple[str, ...] = ()

    @classmethod
    def of(cls, snapshot: Snapshot, **more: Any) -> TraceHeader:
        """Return the header of a trace of the allocator that `snapshot` was taken of; `more` are other members."""
        return cls(snapshot.layout, snapshot.arch, snapshot.byte_order, snapshot.bits, snapshot.page_size, **more)


# -- JSON -------------------------------------------------------------------------------------------


def parse_operations(lines: Iterable[bytes], bits: int, table: Table) -> Iterator[Operation]:
    """Yield the operation of each line of JSON; empty lines are passed over.

    `bits` is the width of `phys_addr_t`, which bounds every number but `flags` and `nid` (32 bits).
    Raises: `InputError` naming the line.
    """
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE_BYTES:
            raise InputError(f"line {number} is longer than {MAX_LINE_BYTES} bytes: that is no operation")
        if line.strip():
            try:
                yield _parse_operation(line, bits, table)
            except InputError as error:
                raise InputError(f"line {number}: {error}") from None


def _parse_operation(line: bytes, bits: int, table: Table) -> Operation:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise InputError('this is not JSON; expected {"op": "reserve", "base": …, "size": …}') from None
    if not isinstance(row, dict):
        raise InputError('expected a JSON object with an "op"')
    return operation_from(row, bits, table)


def operation_from(row: dict[str, Any], bits: int, table: Table, *, exactly: bool = False) -> Operation:
    """Return the operation of a JSON object, one of `table`.

    Missing members have their defaults, unless every argument must be there, and no other, `exactly`.
    Raises: `InputError`.
    """
    op = row.pop("op", None)
    kind = table.get(op) if isinstance(op, str) else None
    if not isinstance(op, str) or kind is None:
        raise InputError(f'"op" is {short(op)}; expected one of {", ".join(table)}')
    for name in kind.arguments if exactly else ():
        if name not in row:
            raise InputError(f'{op} takes "{name}", which is missing')
    known = kind.arguments if exactly else {name for row_of in table.values() for name in row_of.arguments}
    for name in sorted(row.keys() - known):
        raise InputError(f"unknown member {short(name)}; expected {', '.join(sorted(known)) or 'none'}")
    values = {name: _READERS[name](name, value, bits) for name, value in row.items()}
    if kind.switch and values.get("flags") not in (None, 0, 1):
        raise InputError(f'{op} takes "flags" 0 or 1')
    if kind.list_names and values.get("list") not in kind.list_names:
        if "list" not in values:
            raise InputError(f'{op} takes "list", one of {", ".join(kind.list_names)}')
        checked("list", values["list"], kind.list_names.__contains__, f"one of {', '.join(kind.list_names)}")
    return kind.call(op, **values)


def operation_json(operation: Operation) -> dict[str, Any]:
    """Return `op` and the arguments it takes as JSON values: addresses and sizes as "0x…" strings."""
    return {"op": operation.op} | {
        name: hex(value) if name in _ADDRESSES else value for name, value in operation.arguments.items()
    }


def _is_node(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(1 << 31) <= value < 1 << 31


_ADDRESSES = ("base", "size", "align", "min", "max")
_READERS: Mapping[str, Callable[[str, object, int], Any]] = {
    **dict.fromkeys(_ADDRESSES, read_number),
    "flags": lambda name, value, bits: read_number(name, value, 32),
    "nid": lambda name, value, bits: checked(name, value, _is_node, "the number of a node, or -1"),
    **dict.fromkeys(("exact", "set"), lambda name, value, bits: checked(name, value, bool, "true or false")),
    "list": lambda name, value, bits: value,
}
