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


class RecordCount:
    """The number of records so far, for who has started this gdb and shows it: in a file that is named to us."""

    def __init__(self) -> None:
        """Open the file, where one is named."""
        name = os.environ.get(COUNT_VARIABLE)
        self._file: IO[bytes] | None = None
        if name:
            with contextlib.suppress(OSError):
                self._file = Path(name).open("wb", buffering=0)  # noqa: SIM115

    def tell(self, number: int) -> None:
        """Write it."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # nobody is the worse for it
                os.pwrite(self._file.fileno(), b"%d" % number, 0)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def close_trace(stream: IO[bytes]) -> None:
    """Close it. Raises: `OutputError` where its last bytes cannot be written."""
    try:
        stream.close()
    except OSError as error:
        raise cannot_write(str(stream.name), error) from None
