# SPDX-License-Identifier: GPL-2.0-or-later
"""Files of JSON lines on the command line: told apart by their first line, and a trace's way to the verdict."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from gdb_lmb.core.errors import InputError, UsageError
from gdb_lmb.core.words import plural
from gdb_lmb.report.progress import PROGRESS
from gdb_lmb.report.statuses import status_of_outcome
from gdb_lmb.report.terminal import Terminal

if TYPE_CHECKING:
    from gdb_lmb.report.trace_file import TraceReader

_LINES_A_LOOK = 256
"""After so many lines it is asked whether to show how far it is."""

# Of a line that is longer no more is read than shows that it is.
_MAX_LINE_BYTES = (32 << 20) + 1


class Lines(Iterator[bytes]):
    """A file's lines, the first of which has been looked at."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        """Read the first line; `name` is for messages. Raises: `UsageError`."""
        self._file, self._name = file, name
        self._number = self._bytes = 0
        self._size = _size(file)
        first = self._read()
        self.is_trace = b'"schema"' in first[:4096]
        self.is_empty = not first
        self._lines = itertools.chain([first] if first else [], iter(self._read, b""))

    def __next__(self) -> bytes:
        """Return the next line. Raises: `UsageError`."""
        line = next(self._lines, None)
        if line is None:
            PROGRESS.clear()
            raise StopIteration
        self._number += 1
        self._bytes += len(line)
        if not self._number % _LINES_A_LOOK and PROGRESS.wanted():
            share = f", {100 * self._bytes // self._size} %" if self._size else ""
            PROGRESS.show(f"{self._name}: {plural(self._number, 'line')}{share}")
        return line

    def _read(self) -> bytes:
        try:
            return self._file.readline(_MAX_LINE_BYTES)
        except OSError as error:
            raise UsageError(f"cannot read {self._name}: {error.strerror}") from None


def _size(file: IO[bytes]) -> int:
    """Return a file's size in bytes, 0 where it has none, as a pipe."""
    try:
        return os.fstat(file.fileno()).st_size
    except OSError:
        return 0


@contextlib.contextmanager
def open_lines(name: str) -> Iterator[Lines]:
    """Open a file of JSON lines; "-" is stdin. Raises: `UsageError`."""
    with _opened(name) as file:
        yield Lines(file, name)


def _opened(name: str) -> contextlib.AbstractContextManager[IO[bytes]]:
    """Open a file or stdin to read. Raises: `UsageError`."""
    if name == "-":
        if sys.stdin is None:
            raise UsageError("cannot read stdin: it is closed")
        return contextlib.nullcontext(sys.stdin.buffer)
    try:
        return Path(name).open("rb")
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror}") from None


def open_trace(name: str, lines: Iterator[bytes]) -> TraceReader:
    """Return the reader of a trace. Raises: `InputError` naming file and line."""
    from gdb_lmb.report.trace_file import TraceReader

    try:
        return TraceReader(lines)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def replay_trace(name: str, lines: Iterator[bytes], *, as_json: bool, terminal: Terminal) -> int:
    """Replay a saved trace, print what came of it, and return the exit status."""
    from gdb_lmb.analysis.owners import function_of
    from gdb_lmb.analysis.replay import Replay
    from gdb_lmb.report.replay import replay_json, replay_text

    reader = open_trace(name, lines)
    try:
        replay = Replay(reader.header)
        for record in reader:
            replay.follow(record)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    findings = replay.owners.findings(function_of(reader.symbols.get))
    why = replay.finish(None if reader.end is None else reader.end.final, reader.cut_off)
    report = replay_json(reader, replay, findings, why)
    sys.stdout.write(json.dumps(report) if as_json else replay_text(reader, replay, findings, why, terminal))
    sys.stdout.write("\n")
    faults = sum(finding["severity"] == "finding" for finding in report["findings"])
    return int(status_of_outcome(faults, () if why is None else (why,)))
