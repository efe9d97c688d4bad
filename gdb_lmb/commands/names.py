# SPDX-License-Identifier: GPL-2.0-or-later
"""What the words of a command stand for: `$var`, `sizeof(type)`, symbols; and where there is a history from.

A name stands for a plain number or a physical address. Nothing that could touch the guest is evaluated:
`core.numbers` lets single names through only, and a symbol's name is quoted, so that no macro stands for something
else.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from pathlib import Path

import gdb

from gdb_lmb.allocators.base import allocator
from gdb_lmb.analysis.owners import History, Look, Owners
from gdb_lmb.commands.base import SESSION
from gdb_lmb.core.errors import InputError, ReadError, UsageError
from gdb_lmb.core.numbers import address_range
from gdb_lmb.core.operation import Symbol, TraceHeader
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.core.words import safe
from gdb_lmb.machine.current import current
from gdb_lmb.machine.symbols import code_symbol
from gdb_lmb.programs.base import AddressMap, address_map

_NUMBERS = (gdb.TYPE_CODE_INT, gdb.TYPE_CODE_ENUM, gdb.TYPE_CODE_BOOL, gdb.TYPE_CODE_CHAR)


class Names:
    """Looks names up at one stop; where addresses are translated is found out at the first need."""

    @functools.cached_property
    def map(self) -> AddressMap:
        """Return how addresses are translated at this stop. Raises: `LmbError`."""
        return address_map(current())

    def value(self, name: str) -> int:
        """Return `$var` or `sizeof(type)` as a number. Raises: `UsageError`, also for a symbol."""
        if not name.startswith(("$", "sizeof")):
            raise UsageError(
                f"{safe(name, 40)!r} is a name, and a symbol has an address but no size: "
                "give a number, $variable or sizeof(type)"
            )
        return _unsigned(_evaluate(name))

    def physical(self, name: str) -> int:
        """Return a symbol's or a pointer's physical address; a number in `$var` as it is. Raises: `LmbError`."""
        if name.startswith(("$", "sizeof")):
            return self.of_value(_evaluate(name))
        value = _evaluate(f"&'{name.removeprefix('&')}'")
        return self._translated(name, _unsigned(value), symbol=True)

    def range(self, text: str, bits: int) -> tuple[int, int]:
        """Return the half-open physical range that ADDRESS, A-B or A+SIZE means. Raises: `LmbError`."""
        return address_range(text, bits, self.physical, self.of_number, self.value)

    def of_value(self, value: gdb.Value) -> int:
        """Return the physical address that a value of gdb's means: a pointer is virtual. Raises: `LmbError`."""
        kind = value.type.strip_typedefs()
        if kind.code == gdb.TYPE_CODE_PTR:
            return self._translated("the pointer", _unsigned(value), symbol=False)
        if kind.code not in _NUMBERS:
            raise UsageError(f"a value of type {safe(str(value.type), 60)} is no address")
        return self.of_number(_unsigned(value))

    def of_number(self, value: int) -> int:
        """Return a number as a physical address: one of the kernel's virtual half is translated if it is mapped."""
        arch = current().architecture
        if arch is not None and arch.is_kernel_address(value):
            with contextlib.suppress(ReadError):
                return self.map.of_virtual(value)
        return value

    def _translated(self, name: str, va: int, *, symbol: bool) -> int:
        try:
            return self.map.of_symbol(va) if symbol else self.map.of_virtual(va)
        except ReadError:
            raise UsageError(
                f"{safe(name, 40)} is at the virtual address {va:#x}, whose physical address is not known at this stop"
            ) from None


def _unsigned(value: gdb.Value) -> int:
    # As C converts it to `unsigned long`; a wider one, a `phys_addr_t`, stays as it is.
    number = int(value)
    return number if number >= 0 else number & ((1 << current().bits) - 1)


def _evaluate(text: str) -> gdb.Value:
    try:
        value = gdb.parse_and_eval(text)
        value.fetch_lazy()
        if value.type.code == gdb.TYPE_CODE_VOID:
            raise UsageError(f"{safe(text, 40)} is not set in gdb")
        if value.type.strip_typedefs().code not in (*_NUMBERS, gdb.TYPE_CODE_PTR):
            raise UsageError(f"{safe(text, 40)} is of type {safe(str(value.type), 60)}, which is not a number")
    except gdb.error as error:
        raise UsageError(f"{safe(text.removeprefix('&'), 40)}: {safe(' '.join(str(error).split()), 200)}") from None
    return value


# -- history ---------------------------------------------------------------------------------------------------


def history(snapshot: Snapshot, trace_file: str | None = None) -> History | None:
    """Return who reserved what up to this stop: by `trace_file`, else the session's trace, else the guest's log.

    `snapshot` has the log where the guest keeps one. Raises: `LmbError` for a file that is no trace of this
    allocator.
    """
    logged, kept = _of_log(snapshot), SESSION.trace
    if trace_file is not None:
        traced = _of_file(Path(trace_file).expanduser(), snapshot)
    elif kept is not None and kept.header.layout == snapshot.layout:
        traced = History(Owners(kept.header, kept.records), _look(kept.symbols), "the trace of this session")
    else:
        return logged
    if logged is None or not any(piece.initial for piece in traced.owners.pieces()):
        return traced
    # What the guest reserved before a trace that begins in mid-boot its own log may tell.
    traced.owners.learn(logged.owners, whole=not logged.note)
    notes = "; ".join(filter(None, (traced.note, logged.note))) or None
    return History(traced.owners, _either(traced.look, logged.look), f"{traced.source} and {logged.source}", notes)


def _of_log(snapshot: Snapshot) -> History | None:
    log = allocator(snapshot.layout).log(snapshot)
    if log is None:
        return None
    note = f"it has wrapped: its first {log.lost} records are lost" if log.lost else None
    owners = Owners(TraceHeader.of(snapshot, source="log"), log.records(False))
    return History(owners, _look({}), "the guest's operation log", note)


def _either(first: Look, second: Look) -> Look:
    return lambda pc: first(pc) or second(pc)


def _look(known: Mapping[int, Symbol]) -> Look:
    # A program counter is looked up in `known`, else once in gdb's symbols.
    find = functools.cache(code_symbol)
    return lambda pc: known[pc] if pc in known else find(pc)


def _of_file(path: Path, snapshot: Snapshot) -> History:
    from gdb_lmb.report.trace_file import MAX_LINE_BYTES, TraceReader

    try:
        with path.open("rb") as file:
            reader = TraceReader(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""))
            if (reader.header.layout, reader.header.bits) != (snapshot.layout, snapshot.bits):
                raise InputError(
                    f"this is a trace of a {reader.header.bits}-bit {reader.header.layout}, but the guest has a "
                    f"{snapshot.bits}-bit {snapshot.layout}"
                )
            # What the program counters mean comes after the records: it is asked for only once all is read.
            owners = Owners(reader.header, reader)
    except OSError as error:
        raise UsageError(f"cannot read {safe(str(path))}: {error.strerror}") from None
    except InputError as error:
        raise InputError(f"{safe(str(path))}: {error}") from None
    return History(owners, reader.symbols.get, f"the trace in {safe(str(path))}", reader.cut_off)
