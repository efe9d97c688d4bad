# SPDX-License-Identifier: GPL-2.0-or-later
"""The files of `lmb-trace`: one that grows with the trace, and one that is written at once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

from gdb_lmb.core.operation import Record, Symbol, TraceHeader
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.report.output import told_of, whole_file
from gdb_lmb.report.terminal import COUNT_VARIABLE
from gdb_lmb.report.trace_file import TraceWriter


class TraceOutput:
    """Where the records of a running trace go: the file at `path` (None: none), opened when the trace begins.

    Their number goes to a file of its own, where the program that has started this gdb names one.
    """

    def __init__(self, path: Path | None) -> None:
        """Prepare to write to `path`."""
        self.path = path
        self._files = contextlib.ExitStack()
        self._writer: TraceWriter | None = None
        self._count: IO[bytes] | None = None

    def begin(self, header: TraceHeader) -> None:
        """Open the files, and write what the trace is of. Raises: `OutputError`."""
        if COUNT_VARIABLE in os.environ:
            with contextlib.suppress(OSError):
                count = Path(os.environ[COUNT_VARIABLE]).open("wb", buffering=0)  # noqa: SIM115  closed with the others
                self._count = self._files.enter_context(count)
        if self.path is not None:
            with told_of(self.path):
                self._writer = TraceWriter(self._files.enter_context(self.path.open("wb")), header)

    def record(self, record: Record) -> None:
        """Write one operation, at once. Raises: `OutputError`."""
        if self._count is not None:
            with contextlib.suppress(OSError):  # the trace does not need it
                os.pwrite(self._count.fileno(), b"%d" % record.seq, 0)
        if self._writer is not None:
            self._writer.record(record)

    def end(self, symbols: Mapping[int, Symbol], final: Snapshot | None) -> None:
        """Write what comes after the last operation. Raises: `OutputError`."""
        if self._writer is not None:
            self._writer.symbols(symbols)
            self._writer.end(final)

    def close(self) -> None:
        """Close the files. Raises: `OutputError` where the last bytes cannot be written."""
        with told_of(self.path or Path(os.devnull)):
            self._files.close()


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
