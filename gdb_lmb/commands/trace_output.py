# SPDX-License-Identifier: GPL-2.0-or-later
"""The files of `lmb-trace`: one that grows with the trace, and one that is written at once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

from gdb_lmb.core.record import Record, Symbol, TraceHeader
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.report.output import cannot_write, whole_file
from gdb_lmb.report.trace_file import TraceWriter

COUNT_VARIABLE = "GDB_LMB_COUNT"
"""The environment's name for the file that gets the number of records."""


class TraceOutput:
    """Where the records of a running trace go: the file of `-o` if there is one, and their number to a file that the
    program that started this gdb has named, if it has.
    """

    def __init__(self, path: Path | None) -> None:
        """Write to `path`, which is opened when the trace begins."""
        self.path = path
        self._stream: IO[bytes] | None = None
        self._writer: TraceWriter | None = None
        self._count: IO[bytes] | None = None

    def begin(self, header: TraceHeader) -> None:
        """Open the files, and write what the trace is of. Raises: `OutputError`."""
        if COUNT_VARIABLE in os.environ:
            with contextlib.suppress(OSError):
                self._count = Path(os.environ[COUNT_VARIABLE]).open("wb", buffering=0)  # noqa: SIM115
        if self.path is not None:
            try:
                self._stream = self.path.open("wb")
            except OSError as error:
                raise cannot_write(self.path, error) from None
            self._writer = TraceWriter(self._stream, header)

    def record(self, record: Record) -> None:
        """Write one operation, at once. Raises: `OutputError`."""
        if self._count is not None:
            with contextlib.suppress(OSError):  # the trace is right without it
                os.pwrite(self._count.fileno(), b"%d" % record.seq, 0)
        if self._writer is not None:
            self._writer.record(record)

    def end(self, symbols: Mapping[int, Symbol], final: Snapshot | None) -> None:
        """Write what comes after the last operation. Raises: `OutputError`."""
        if self._writer is not None:
            _complete(self._writer, symbols, final)

    def close(self) -> None:
        """Close the files. Raises: `OutputError` where the last bytes cannot be written."""
        if self._count is not None:
            self._count.close()
        try:
            if self._stream is not None:
                self._stream.close()
        except OSError as error:
            raise cannot_write(str(self.path), error) from None


def save(
    path: Path, header: TraceHeader, records: Iterable[Record], symbols: Mapping[int, Symbol], final: Snapshot | None
) -> None:
    """Write a whole trace. Raises: `OutputError` where the file cannot be written."""
    with whole_file(path) as stream:
        writer = TraceWriter(stream, header)
        for record in records:
            writer.record(record)
        _complete(writer, symbols, final)


def _complete(writer: TraceWriter, symbols: Mapping[int, Symbol], final: Snapshot | None) -> None:
    writer.symbols(symbols)
    writer.end(final)
