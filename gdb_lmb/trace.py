# SPDX-License-Identifier: GPL-2.0-or-later
"""Operations: read from JSON lines or a guest's log, replayed on the reference model.

What a whole log leads to on the model is what the guest's lists must be, entry for entry. Where they
differ, `check_log` says so in one `log-divergence` finding, naming the first operation that cannot be
explained where the log can tell. A log that cannot be replayed is *not verified*, never verified.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields

from gdb_lmb.errors import InputError
from gdb_lmb.model.lmb import LmbConfig, LmbModel
from gdb_lmb.region import FINDING, Finding, OperationLog, RegionList, Snapshot

MAX_LINE_BYTES = 1 << 16

_NO_SYMBOL: Callable[[int], str] = hex


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


# -- JSON lines -------------------------------------------------------------------------------------


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


# -- the guest's log --------------------------------------------------------------------------------


@dataclass(frozen=True)
class LogVerdict:
    """What replaying a guest's log showed.

    `replayed` counts the operations run on the model. `not_verified` says in one sentence why the lists
    were not compared, None where they were. `divergence` is what did not agree.
    """

    replayed: int
    not_verified: str | None = None
    reason: str | None = None
    divergence: Finding | None = None


def check_log(snapshot: Snapshot, symbol: Callable[[int], str] = _NO_SYMBOL) -> LogVerdict:
    """Replay the snapshot's log on the model and compare the outcome with the guest's lists.

    `symbol` turns a caller's address into a name for the message.
    """
    log = snapshot.log
    if log is None or log.capacity == 0:
        return LogVerdict(0, reason="no-log", not_verified="this kernel keeps no operation log (CONFIG_LMB_LOG)")
    if snapshot.torn:
        return LogVerdict(0, reason="torn", not_verified=f"the stop is inside {snapshot.torn}")
    if log.wrapped:
        lost = log.nr - log.capacity
        return LogVerdict(
            0,
            reason="log-wrapped",
            not_verified=f"the operation log has wrapped: its first {lost} of {log.nr} records are lost",
        )
    start = _start(snapshot, log)
    if isinstance(start, str):
        return LogVerdict(0, divergence=_diverged(start))
    return _replay(snapshot, log, start, symbol)


def _diverged(message: str, *addresses: int) -> Finding:
    return Finding("log-divergence", FINDING, message, addresses)


class _NotGainedError(Exception):
    """Tells of a block that the guest does not have."""


class _GuestSizedModel(LmbModel):
    """The model, which gains no other blocks than the guest did: a damaged log must not fill our own memory."""

    def __init__(self, config: LmbConfig, sizes: Sequence[int]) -> None:
        self._sizes = sizes
        super().__init__(config)

    def _queue_block(self, base: int, size: int, nr: int) -> None:
        number = len(self.blocks)
        if number >= len(self._sizes):
            raise _NotGainedError(f"needs block {number}, which the guest never gained")
        if nr != self._sizes[number]:
            raise _NotGainedError(f"needs block {number} with {nr} entries, but the guest's has {self._sizes[number]}")
        super()._queue_block(base, size, nr)


def _start(snapshot: Snapshot, log: OperationLog) -> LmbModel | str:
    """Return the model as the log's first record sets it up, or why that cannot be."""
    if not log.op:
        return "the operation log is empty, but LMB is initialised"
    if log.op[0] != "init":
        return f"the operation log begins with {log.op[0]!r}, not with init"
    if not snapshot.blocks:
        return "the operation log tells of an initial storage, but there is none"
    klimit, nr = log.base[0], log.max[0]
    # These bound what the model will build, so they are held against the guest before anything is built.
    if log.size[0] != snapshot.block_size or nr != snapshot.blocks[0].nr or klimit != snapshot.blocks[0].base:
        return (
            f"lmb_init() was logged with block size {log.size[0]:#x} and {nr} entries at {klimit:#x}, but the "
            f"guest has {snapshot.block_size:#x} and {snapshot.blocks[0].nr} entries at {snapshot.blocks[0].base:#x}"
        )
    config = LmbConfig(
        static=nr,
        klimit=klimit or None,
        block_size=log.size[0],
        header_size=log.align[0],
        entry_size=log.min[0],
        bits=log.flags[0],
        page_size=snapshot.page_size,
    )
    known = {"bits": snapshot.bits, "entry_size": _entry_size(snapshot), "header_size": _header_size(snapshot)}
    contradicts = any(value is not None and getattr(config, name) != value for name, value in known.items())
    if contradicts or not config.entry_size or config.refusal() or config.first_entries != nr:
        return "the log's init record contradicts itself or the program's debug information"
    return _GuestSizedModel(config, [block.nr for block in snapshot.blocks])


def _entry_size(snapshot: Snapshot) -> int | None:
    """Return `sizeof(struct lmb_region)` as the decoder knows it, None where it walked no memory."""
    links = snapshot.links
    return links.va[1] - links.va[0] if links and snapshot.blocks[0].nr > 1 else None


def _header_size(snapshot: Snapshot) -> int | None:
    """Return the bytes before a block's first entry, None where all there is is static."""
    block = snapshot.blocks[-1]
    return None if block.static or not block.header_va else block.entries_va - block.header_va


def log_operations(log: OperationLog) -> Iterator[Operation | None]:
    """Yield the log's operations, oldest first; None for a record that is none."""
    rows = zip(log.op, log.base, log.size, log.flags, log.align, log.min, log.max, strict=True)
    for op, *arguments in rows:
        yield Operation(op, *arguments) if op in _APPLY else None


@dataclass(frozen=True)
class _Done:
    """One operation of a log: its number, itself, who called it, what it returned."""

    number: int
    operation: Operation
    caller: int
    result: int


def _replay(snapshot: Snapshot, log: OperationLog, model: LmbModel, symbol: Callable[[int], str]) -> LogVerdict:
    operations = log_operations(log)
    next(operations)  # the init record
    touched: list[_Done] = []
    for number, operation in enumerate(operations, 1):
        if operation is None:
            message = f"record {number} of the operation log is damaged: {log.op[number]!r} is no operation"
            return LogVerdict(number - 1, divergence=_diverged(message))
        got = log.error[number] or log.result[number]
        try:
            expected = apply(model, operation)
            why = f"returned {_result(got)}, but the model returns {_result(expected)}" if got != expected else ""
        except _NotGainedError as error:
            why = str(error)
        if why:
            caller = log.caller[number]
            message = f"operation {number}, {operation}, called from {symbol(caller)}, {why}"
            return LogVerdict(number, divergence=_diverged(message, caller))
        touched.append(_Done(number, operation, log.caller[number], got))
    difference = compare(model.snapshot(), snapshot)
    if difference is None:
        return LogVerdict(len(touched))
    message = f"after replaying all {len(touched)} operations {difference.message}"
    last = _last_touching(touched, difference)
    if last is not None:
        message += f"; the last operation there was {last.number}, {last.operation}, called from {symbol(last.caller)}"
    addresses = () if difference.address is None else (difference.address,)
    return LogVerdict(len(touched), divergence=_diverged(message, *addresses))


def _result(value: int) -> str:
    return str(value) if value < 4096 else hex(value)


_CHANGES = {"memory": ("add", "remove"), "reserved": ("reserve", "free", "alloc")}


def _last_touching(operations: Sequence[_Done], difference: Difference) -> _Done | None:
    """Return the last operation on the differing list whose range holds or touches the place."""
    if difference.address is None:
        return None
    for done in reversed(operations):
        operation = done.operation
        # What failed changed nothing.
        if done.result >= 0 and operation.op in _CHANGES.get(difference.where, ()):
            base = done.result if operation.op == "alloc" else operation.base
            if base <= difference.address <= base + operation.size:
                return done
    return None


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
