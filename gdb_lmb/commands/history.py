# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the commands have a history from: a saved trace, the trace that lmb-trace keeps, the guest's own log."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path

from gdb_lmb.allocators.base import allocator
from gdb_lmb.analysis.owners import History, Owners
from gdb_lmb.commands.session import SESSION
from gdb_lmb.core.errors import InputError, UsageError
from gdb_lmb.core.operation import Symbol, TraceHeader
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.core.words import safe
from gdb_lmb.machine.symbols import code_symbol
from gdb_lmb.report.trace_file import MAX_LINE_BYTES, TraceReader


def history(snapshot: Snapshot, trace_file: str | None = None) -> History | None:
    """Return who reserved what up to this stop: by `trace_file`, else the session's trace, else the guest's log.

    `snapshot` has the log where the guest keeps one. Raises: `LmbError` for a file that is no trace of this
    allocator.
    """
    if trace_file is not None:
        return _of_file(Path(trace_file).expanduser(), snapshot)
    kept = SESSION.trace
    if kept is not None and kept.header.layout == snapshot.layout:
        return History(Owners(kept.header, kept.records), _look(kept.symbols), "the trace of this session")
    log = allocator(snapshot.layout).log(snapshot)
    if log is None:
        return None
    note = f"it has wrapped: its first {log.lost} records are lost" if log.lost else ""
    owners = Owners(TraceHeader.of(snapshot, source="log"), log.records(False))
    return History(owners, _look({}), "the guest's operation log", note)


def _look(known: Mapping[int, Symbol]) -> Callable[[int], Symbol | None]:
    """Return what looks up a program counter: in `known`, else once in gdb's symbols."""
    find = functools.cache(code_symbol)
    return lambda pc: known[pc] if pc in known else find(pc)


def _of_file(path: Path, snapshot: Snapshot) -> History:
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
    return History(owners, reader.symbols.get, f"the trace in {safe(str(path))}", reader.cut_off or "")
