# SPDX-License-Identifier: GPL-2.0-or-later
"""The files of `lmb-trace`: one that grows with the trace, and one that is written at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

from gdb_lmb.region import Snapshot
from gdb_lmb.report.output import cannot_write, whole_file
from gdb_lmb.report.trace_file import TraceWriter
from gdb_lmb.trace import Record, Symbol, TraceHeader


def save(
    path: Path, header: TraceHeader, records: Iterable[Record], symbols: Mapping[int, Symbol], final: Snapshot | None
) -> None:
    """Write a whole trace. Raises: `OutputError` where the file cannot be written."""
    with whole_file(path) as stream:
        writer = TraceWriter(stream, header)
        for record in records:
            writer.record(record)
        writer.symbols(symbols)
        writer.end(final)


def open_trace(path: Path) -> IO[bytes]:
    """Open the file that gets each record as it comes. Raises: `OutputError`."""
    try:
        return path.open("wb")
    except OSError as error:
        raise cannot_write(path, error) from None


def close_trace(stream: IO[bytes]) -> None:
    """Close it. Raises: `OutputError` where its last bytes cannot be written."""
    try:
        stream.close()
    except OSError as error:
        raise cannot_write(str(stream.name), error) from None
