# SPDX-License-Identifier: GPL-2.0-or-later
"""Operations: what they take, how a model runs them, and how they are read from JSON lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields

from gdb_lmb.errors import InputError
from gdb_lmb.model.lmb import LmbModel

MAX_LINE_BYTES = 1 << 16


@dataclass(frozen=True)
class Operation:
    """One call of the allocator: `op` and the arguments it takes; sizes and addresses in bytes.

    `set_limit` takes its limit in `base`, `set_bottom_up` its truth value in `flags`.
    """

    op: str
    base: int = 0
    size: int = 0
    flags: int = 0
    align: int = 0
    min: int = 0
    max: int = 0

    def __str__(self) -> str:
        """Write the call as C would, with the arguments that this operation takes."""
        values = ", ".join(f"{name}={getattr(self, name):#x}" for name in ARGUMENTS[self.op])
        return f"{self.op}({values})"


_APPLY: dict[str, Callable[[LmbModel, Operation], int]] = {
    "add": lambda m, o: m.add(o.base, o.size, o.flags),
    "remove": lambda m, o: m.remove(o.base, o.size),
    "reserve": lambda m, o: m.reserve(o.base, o.size, o.flags),
    "free": lambda m, o: m.free(o.base, o.size),
    "alloc": lambda m, o: m.alloc(o.size, o.align, o.min, o.max, o.flags),
    "allow_growth": lambda m, o: m.allow_growth(),
    "set_limit": lambda m, o: m.set_current_limit(o.base),
    "set_bottom_up": lambda m, o: m.set_bottom_up(bool(o.flags)),
    "free_all": lambda m, o: m.free_all(),
}

ARGUMENTS: dict[str, tuple[str, ...]] = {
    "add": ("base", "size", "flags"),
    "remove": ("base", "size"),
    "reserve": ("base", "size", "flags"),
    "free": ("base", "size"),
    "alloc": ("size", "align", "min", "max", "flags"),
    "allow_growth": (),
    "set_limit": ("base",),
    "set_bottom_up": ("flags",),
    "free_all": (),
}


def apply(model: LmbModel, operation: Operation) -> int:
    """Run one operation on the model; return 0, a negative errno, alloc's base or free_all's pages."""
    return _APPLY[operation.op](model, operation)


def parse_operations(lines: Iterable[bytes], bits: int) -> Iterator[Operation]:
    """Yield the operation of each line of JSON; empty lines are passed over.

    `bits` is the width of `phys_addr_t`, which bounds every number but `flags` (32 bits).
    Raises: `InputError` naming the line.
    """
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE_BYTES:
            raise InputError(f"line {number} is longer than {MAX_LINE_BYTES} bytes: that is no operation")
        if line.strip():
            try:
                yield _parse_operation(line, bits)
            except InputError as error:
                raise InputError(f"line {number}: {error}") from None


def _parse_operation(line: bytes, bits: int) -> Operation:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise InputError('this is not JSON; expected {"op": "reserve", "base": …, "size": …}') from None
    if not isinstance(row, dict):
        raise InputError('expected a JSON object with an "op"')
    op = row.pop("op", None)
    if not isinstance(op, str) or op not in _APPLY:
        raise InputError(f'"op" is {_short(op)}; expected one of {", ".join(_APPLY)}')
    names = {field.name for field in fields(Operation)} - {"op"}
    unknown = sorted(set(row) - names)
    if unknown:
        raise InputError(f"unknown member {_short(unknown[0])}; expected {', '.join(sorted(names))}")
    values = {name: _number(name, value, 32 if name == "flags" else bits) for name, value in row.items()}
    if op == "set_bottom_up" and values.get("flags", 0) > 1:
        raise InputError('set_bottom_up takes "flags" 0 or 1')
    return Operation(op, **values)


def _number(name: str, value: object, bits: int) -> int:
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
        raise InputError(f'"{name}" is {_short(value)}; expected a number or a "0x…" string of at most {bits} bits')
    return number


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
