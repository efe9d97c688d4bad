# SPDX-License-Identifier: GPL-2.0-or-later
"""Saved traces, schema `gdb-lmb/trace/1`: JSON lines, streamed both ways.

The first line is the header with the state at the beginning; then one line for each operation, before it one with
what its program counters mean, as far as none before has it; at last one with the final state. Each line is flushed, so
that whatever happens to the writer, the file holds all but perhaps the end of its last line. The reader never
holds more than one line: a million operations cost no more memory than one.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from gdb_lmb.allocators.base import allocator, names
from gdb_lmb.analysis.owners import Look
from gdb_lmb.core.errors import InputError
from gdb_lmb.core.json_values import Json, checked, read_number, short
from gdb_lmb.core.operation import Record, Symbol, TraceHeader, operation_from, operation_json
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.core.words import plural, safe
from gdb_lmb.report.jsonio import snapshot_from, snapshot_json
from gdb_lmb.report.output import cannot_write, told_of, whole_file
from gdb_lmb.report.terminal import COUNT_VARIABLE

TRACE_SCHEMA = "gdb-lmb/trace/1"

MAX_LINE_BYTES = 32 << 20
"""The longest line that is read: a state of some 400,000 regions."""

MAX_CALLERS = 64
MAX_SYMBOLS = 1 << 20
_CALLERS = f"at most {MAX_CALLERS} addresses"
_SOURCES = ("breakpoints", "log")
_PC_BITS = 64


# -- writing ----------------------------------------------------------------------------------------


class TraceWriter:
    """Writes a trace to `stream`, a binary file, line by line. Raises: `OutputError` where it takes no more.

    A file then keeps the lines before, whole. Messages call it `path`.
    """

    def __init__(self, stream: IO[bytes], header: TraceHeader, path: Path | None = None) -> None:
        """Write the header at once."""
        self.stream = stream
        self.records = 0
        self._path = path
        self._bytes = 0
        self._line(
            {
                "schema": TRACE_SCHEMA,
                "layout": header.layout,
                "arch": header.arch,
                "byte_order": header.byte_order,
                "bits": header.bits,
                "page_size": hex(header.page_size),
                "source": header.source,
                "lost": header.lost,
                "only": list(header.only),
                "generation": dict(header.behavior),
                "initial": None if header.initial is None else snapshot_json(header.initial),
            }
        )

    def record(self, record: Record) -> None:
        """Write one operation."""
        self._line(record_json(record))
        self.records += 1

    def symbols(self, symbols: Mapping[int, Symbol]) -> None:
        """Write what program counters mean."""
        self._line({"symbols": {hex(pc): _symbol_json(symbol) for pc, symbol in symbols.items()}})

    def end(self, final: Snapshot | None, roles: Sequence[Json] | None = None) -> None:
        """Write the last line: how many records there are, and the state after them (None: not known).

        `roles` are what lay where then, as `roles_json()` has it (None: not known).
        """
        end = {"records": self.records, "final": None if final is None else snapshot_json(final)}
        self._line({"end": end if roles is None else {**end, "roles": roles}})

    def _line(self, row: Mapping[str, Any]) -> None:
        line = json.dumps(row).encode("ascii") + b"\n"
        try:
            left = memoryview(line)
            while left:  # a file without a buffer may take a part
                left = left[self.stream.write(left) :]
            self.stream.flush()
        except OSError as error:
            with contextlib.suppress(OSError):  # no regular file
                self.stream.truncate(self._bytes)
            held = f"it holds the first {plural(self.records, 'operation')} only" if self.records else ""
            raise cannot_write(self._path or self.stream.name, error, held) from None
        self._bytes += len(line)


def _symbol_json(symbol: Symbol) -> dict[str, Any]:
    row = asdict(symbol)
    if not symbol.inlined:
        del row["inlined"]
    return row


def record_json(record: Record) -> dict[str, Any]:
    """Return one operation of a trace as JSON values."""
    result = record.result
    return {
        "seq": record.seq,
        **operation_json(record.operation),
        "result": hex(result) if result is not None and result >= 4096 else result,
        "callers": [hex(pc) for pc in record.callers],
        "phase": record.phase,
    }


class TraceOutput:
    """Where the records of a running trace go: the file at `path` (None: none), opened when the trace begins.

    Their number goes to a file of its own, where the program that has started this gdb names one.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._files = contextlib.ExitStack()
        self._writer: TraceWriter | None = None
        self._count: IO[bytes] | None = None
        self._seen: set[int] = set()

    def begin(self, header: TraceHeader, look: Look = lambda pc: None) -> None:
        """Open the files, and write what the trace is of; `look` tells what a program counter means.

        Raises: `OutputError`.
        """
        self._look = look
        if COUNT_VARIABLE in os.environ:
            with contextlib.suppress(OSError):
                count = Path(os.environ[COUNT_VARIABLE]).open("wb", buffering=0)  # noqa: SIM115  closed with the others
                self._count = self._files.enter_context(count)
        if self.path is not None:
            # It takes its place with its header, and is written on there, without a buffer: what the disk did not
            # take is not tried again.
            with whole_file(self.path) as stream:
                writer = TraceWriter(stream, header, self.path)
                writer.stream = self._files.enter_context(os.fdopen(os.dup(stream.fileno()), "wb", buffering=0))
            self._writer = writer

    def record(self, record: Record) -> None:
        """Write one operation, at once. Raises: `OutputError`."""
        if self._count is not None:
            with contextlib.suppress(OSError):  # the trace does not need it
                os.pwrite(self._count.fileno(), b"%d" % record.seq, 0)
        if self._writer is not None:
            new = [pc for pc in record.callers if pc not in self._seen]
            self._seen.update(new)
            symbols = {pc: symbol for pc in new if (symbol := self._look(pc)) is not None}
            if symbols:
                self._writer.symbols(symbols)
            self._writer.record(record)

    def end(self, symbols: Mapping[int, Symbol], final: Snapshot | None, roles: Sequence[Json] | None = None) -> None:
        """Write what comes after the last operation. Raises: `OutputError`."""
        if self._writer is not None:
            # Of what was not known when it was recorded more may be known now.
            self._writer.symbols(symbols)
            self._writer.end(final, roles)

    def close(self) -> None:
        """Close the files. Raises: `OutputError` where the last bytes cannot be written."""
        with told_of(self.path or Path(os.devnull)):
            self._files.close()


def complete(path: Path) -> int:
    """Give a trace whose writer was interrupted its end, without a final state; return how many operations it has.

    What there is of a last line that breaks off is removed. Raises: `LmbError`, `OSError`.
    """
    with path.open("r+b") as file:
        reader = TraceReader(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""))
        for _ in reader:
            pass
        if reader.end is not None:
            return reader.records
        file.seek(0)
        whole = file.read()
        if reader.broken_line:
            file.truncate(whole.rindex(b"\n") + 1)
        size = file.seek(0, os.SEEK_END)
    end = json.dumps({"end": {"records": reader.records, "final": None}}).encode() + b"\n"
    if not reader.broken_line and not whole.endswith(b"\n"):
        end = b"\n" + end
    with path.open("ab", buffering=0) as raw:
        taken = 0
        with contextlib.suppress(OSError):
            taken = raw.write(end)
        if taken < len(end):  # it has no end then, but whole lines
            raw.truncate(size)
    return reader.records


def save(
    path: Path,
    header: TraceHeader,
    records: Iterable[Record],
    symbols: Mapping[int, Symbol],
    final: Snapshot | None,
    roles: Sequence[Json] | None = None,
) -> None:
    """Write a whole trace. Raises: `OutputError` where the file cannot be written."""
    with whole_file(path) as stream:
        writer = TraceWriter(stream, header, path)
        for record in records:
            writer.record(record)
        writer.symbols(symbols)
        writer.end(final, roles)


# -- reading ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TraceEnd:
    """What a trace's last line says: the number of records, and the final state where it was seen.

    `roles` are what lay where then, as `roles_json()` has it; None where the trace does not tell.
    """

    records: int
    final: Snapshot | None
    roles: Sequence[Json] | None = None


class TraceReader:
    """Reads a trace from `lines`: the header at once, the operations as they are asked for.

    After the last record `symbols` and `end` hold what followed it; `end` is None, and `cut_off` says why, where
    the trace was not written to its end, with `broken_line` in the middle of a line.
    Raises: `InputError` naming the line.
    """

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = enumerate(lines, 1)
        self.symbols: dict[int, Symbol] = {}
        self.end: TraceEnd | None = None
        self.records = 0
        self.broken_line = False
        self._pcs: dict[str, int] = {}
        number, line = next(self._lines, (1, b""))
        row = self._row(number, line)
        if row is None:
            raise InputError("line 1: this is no trace: the header is missing or cut off")
        try:
            self.header = _header(row)
        except InputError as error:
            raise InputError(f"line 1: {error}") from None
        self._allocator = allocator(self.header.layout)
        self._operations = {**self._allocator.operations, **self._allocator.init}

    @property
    def cut_off(self) -> str | None:
        """Tell after which record the trace breaks off; None where it has its end."""
        if self.end is not None:
            return None
        what = "cut off in the middle of a line" if self.broken_line else "cut off"
        return f"{what} after record {self.records + self.header.lost}"

    def __iter__(self) -> Iterator[Record]:
        for number, line in self._lines:
            row = self._row(number, line)
            if row is None:
                return
            try:
                record = self._take(row)
            except InputError as error:
                raise InputError(f"line {number}: {error}") from None
            if record is not None:
                yield record

    def _take(self, row: dict[str, Any]) -> Record | None:
        # A line's operation is returned, and kept what else it holds.
        if self.end is not None:
            raise InputError("nothing may follow the line with the end")
        if "seq" in row:
            return self._record(row)
        if "symbols" in row:
            self._symbols(row)
        elif "end" in row:
            self.end = self._end(row["end"])
        else:
            raise InputError('expected a line with "seq", "symbols" or "end"')
        return None

    def _row(self, number: int, line: bytes) -> dict[str, Any] | None:
        # A line's object, or None for the last line where it is cut off.
        if len(line) > MAX_LINE_BYTES:
            raise InputError(f"line {number} is longer than {MAX_LINE_BYTES} bytes")
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            if not line.endswith(b"\n") and next(self._lines, None) is None:
                self.broken_line = bool(line)
                return None
            raise InputError(f"line {number}: this is not JSON") from None
        if not isinstance(row, dict):
            raise InputError(f"line {number}: expected a JSON object")
        return row

    def _record(self, row: dict[str, Any]) -> Record:
        seq, expected = row.pop("seq"), self.records + self.header.lost + 1
        if seq != expected or isinstance(seq, bool):
            raise InputError(f'"seq" is {short(seq)}, but operation {expected} comes next')
        result = _result(row.pop("result", None), self.header.bits)
        callers = checked("callers", row.pop("callers", []), _are_callers, _CALLERS)
        try:  # the same few come again and again
            pcs = tuple([self._pcs[text] for text in callers])
        except (KeyError, TypeError):
            pcs = tuple(map(self._pc, callers))
        phase = checked("phase", row.pop("phase", None), _is_text_or_null, "a string or null")
        # Where there is no state to begin with, the allocator's own first call makes it; a later one is refused.
        creates = seq == 1 and self.header.initial is None
        table = self._allocator.init if creates else self._operations
        operation = operation_from(row, self.header.bits, table, exactly=True)
        self.records += 1
        return Record(seq, operation, result, pcs, phase)

    def _pc(self, text: Any) -> int:
        pc = read_number("callers", text, _PC_BITS)
        if isinstance(text, str) and len(self._pcs) < MAX_SYMBOLS:
            self._pcs[text] = pc
        return pc

    def _symbols(self, row: dict[str, Any]) -> None:
        symbols = row["symbols"]
        if not isinstance(symbols, dict):
            raise InputError('"symbols" is no JSON object')
        if len(self.symbols) + len(symbols) > MAX_SYMBOLS:
            raise InputError(f"more than {MAX_SYMBOLS} symbols")
        for text, symbol in symbols.items():
            pc = read_number("symbols", text, _PC_BITS)
            self.symbols[pc] = _symbol(symbol)

    def _end(self, row: Any) -> TraceEnd:
        if not isinstance(row, dict) or row.get("records") != self.records:
            said = row.get("records") if isinstance(row, dict) else row
            raise InputError(f"the end tells of {short(said)} records, but there are {self.records}")
        final, header = row.get("final"), self.header
        state = None if final is None else _state(final, header.layout, header.bits, header.page_size)
        return TraceEnd(self.records, state, _roles(row.get("roles"), header.bits))


def _header(row: dict[str, Any]) -> TraceHeader:
    if row.get("schema") != TRACE_SCHEMA:
        raise InputError(f"this is {short(row.get('schema'))}, not a trace of schema {TRACE_SCHEMA}")
    layout = checked("layout", row.get("layout"), names().__contains__, f"one of {', '.join(names())}")
    source = checked("source", row.get("source"), _SOURCES.__contains__, f"one of {', '.join(_SOURCES)}")
    bits = checked("bits", row.get("bits"), (32, 64).__contains__, "32 or 64")
    behavior = checked(
        "generation", row.get("generation"), lambda value: isinstance(value, dict | None), "a JSON object"
    )
    page_size = read_number("page_size", row.get("page_size"), 32)
    if not page_size or page_size & (page_size - 1):
        raise InputError(f'"page_size" is {page_size:#x}, which is no power of two')
    initial = row.get("initial")
    own = allocator(layout)

    def known(only: Any) -> bool:
        return isinstance(only, list) and all(
            isinstance(op, str) and (op in own.init or op in own.operations) for op in only
        )

    if initial is None and not own.init:
        raise InputError(f'"initial" is missing: a {own.title} has a state from the first instruction on')
    return TraceHeader(
        layout=layout,
        arch=checked("arch", row.get("arch"), str, "a string"),
        byte_order=checked("byte_order", row.get("byte_order"), str, "a string"),
        bits=bits,
        page_size=page_size,
        source=source,
        initial=None if initial is None else _state(initial, layout, bits, page_size),
        behavior=behavior or {},
        lost=read_number("lost", row.get("lost", 0), 64),
        only=tuple(checked("only", row.get("only", []), known, "names of operations")),
    )


def _are_callers(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= MAX_CALLERS


def _is_text_or_null(value: Any) -> bool:
    return value is None or isinstance(value, str)  # for each record: a union made anew takes longer


def _are_functions(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= MAX_CALLERS and all(isinstance(name, str) for name in value)


def _state(data: Any, layout: str, bits: int, page_size: int) -> Snapshot:
    state = snapshot_from(data)
    if (state.layout, state.bits, state.page_size) != (layout, bits, page_size):
        raise InputError(
            f"a state of layout {safe(state.layout)}, {state.bits} bits and pages of {state.page_size} bytes, in a "
            f"trace of layout {layout}, {bits} bits and pages of {page_size} bytes"
        )
    return state


def _roles(rows: Any, bits: int) -> list[Json] | None:
    if rows is None:
        return None
    for row in checked("roles", rows, list, "a list"):
        checked("roles", row, dict, "rows that are JSON objects")
        checked("role", row.get("role"), str, "a string")
        read_number("base", row.get("base"), bits)
        read_number("size", row.get("size"), bits)
    return list(rows)


def _result(value: Any, bits: int) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and -4096 < value < 0):
        return value
    return read_number("result", value, bits)


def _symbol(row: Any) -> Symbol:
    if not isinstance(row, dict):
        raise InputError(f"{short(row)} is no symbol")
    line = row.get("line")
    return Symbol(
        function=checked("function", row.get("function"), str, "a string"),
        file=checked("file", row.get("file"), _is_text_or_null, "a string or null"),
        line=None if line is None else read_number("line", line, 32),
        inlined=tuple(checked("inlined", row.get("inlined", []), _are_functions, "names of functions")),
        offset=read_number("offset", row.get("offset"), _PC_BITS),
    )
