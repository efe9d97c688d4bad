# SPDX-License-Identifier: GPL-2.0-or-later
"""The values and the small grammar of gdb's machine interface, beside what pygdbmi parses."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import re
import time
from dataclasses import dataclass
from typing import IO, Any

from pygdbmi import gdbmiparser

from gdb_lmb.runner.text import printable

Record = dict[str, Any]

_PIPE_BYTES = 1 << 20
# gdb writes a line character by character: let some gather.
_FILL_S = 0.0005


@dataclass(frozen=True)
class Stop:
    """Why and where the guest stopped: `reason` and `signal` as MI has them, `address` a virtual address."""

    reason: str
    signal: str
    breakpoint: str
    address: int | None
    function: str

    def place(self) -> str:
        """Say where, as `function at 0x…`."""
        where = "an unknown place" if self.address is None else f"{self.address:#x}"
        return where if self.function in ("", "??") else f"{printable(self.function, 80)} at {where}"


@dataclass(frozen=True)
class Reply:
    """The result of one command: its `kind` (done, running, connected, error), payload and streams."""

    kind: str
    payload: Record
    console: str
    log: str
    asked_for_more: bool = False

    @property
    def error(self) -> str:
        """Return gdb's message of a failed command, in one line."""
        return printable(str(self.payload.get("msg", "")))


class WholeLines(io.RawIOBase):
    """gdb's output for pygdbmi, which joins and searches all it has of a line again with every piece.

    A snapshot of 100,000 regions is one line of megabytes in pieces of kilobytes.
    """

    def __init__(self, pipe: IO[bytes]) -> None:
        """Read from `pipe`."""
        super().__init__()
        self._pipe = pipe
        self._begun: list[bytes] = []
        with contextlib.suppress(OSError):  # more than the user is allowed
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def fileno(self) -> int:
        """Return the pipe's."""
        return self._pipe.fileno()

    def read(self, _size: int = -1) -> bytes:
        """Return what has come up to the last end of a line, or nothing if there was none."""
        try:
            piece = os.read(self._pipe.fileno(), _PIPE_BYTES)
        except BlockingIOError:
            return b""
        end = piece.rfind(b"\n") + 1
        if not end:
            self._begun.append(piece)
            time.sleep(_FILL_S)
            return b""
        whole = b"".join([*self._begun, piece[:end]])
        self._begun = [piece[end:]]
        return whole


def read_stop(payload: Record) -> Stop:
    """Read a `*stopped` record."""
    frame = payload.get("frame")
    frame = frame if isinstance(frame, dict) else {}
    try:
        address = int(str(frame.get("addr", "")), 16)
    except ValueError:
        address = None
    names = [str(payload.get(key, "")) for key in ("reason", "signal-name", "bkptno")]
    return Stop(names[0], names[1], names[2], address, str(frame.get("func", "")))


def unglue(record: Record, token: int) -> list[Record]:
    """Split our result off the end of a line that a program started by `shell` left unfinished."""
    if record["type"] == "output":
        text = str(record["payload"])
        match = re.search(rf"{token}\^(done|error|running).*$", text)
        if match is not None:
            before = {"type": "console", "message": None, "payload": text[: match.start()]}
            return [before, dict(gdbmiparser.parse_response(match[0]))]
    return [record]
