# SPDX-License-Identifier: GPL-2.0-or-later
"""The values and the small grammar of gdb's machine interface, beside what pygdbmi parses."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from pygdbmi import gdbmiparser

from gdb_lmb.core.words import printable

Sink = Callable[[str], None]
Record = dict[str, Any]

PROMPTS = re.compile(rb">+")
_TRACEBACK = "Traceback (most recent call last):"
_PYTHON_EXCEPTION = re.compile(r"Python Exception <class '([\w.]+)'>: ?(.*)")
# How gdb's message begins where a command failed because of Python.
_IN_PYTHON = ("Error occurred in Python", "Error while executing Python code")


class Stop(NamedTuple):
    """Why and where the guest stopped: `reason` and `signal` as MI has them, `address` a virtual address.

    What MI does not tell is None.
    """

    reason: str | None
    signal: str | None
    breakpoint: str | None
    address: int | None
    function: str | None

    def place(self) -> str:
        """Say where, as `function at 0x…`."""
        where = "an unknown place" if self.address is None else f"{self.address:#x}"
        return where if self.function in (None, "??") else f"{printable(self.function, 80)} at {where}"


class Reply(NamedTuple):
    """The result of one command: its `kind` (done, running, connected, error), payload and streams."""

    kind: str
    payload: Record
    console: str
    log: str
    asked_for_more: bool = False

    @property
    def failed(self) -> bool:
        """Tell whether the command failed: until gdb 14 `source` of a failing script is "done", with a traceback."""
        return self.kind == "error" or _TRACEBACK in self.log

    @property
    def error(self) -> str:
        """Return why a command failed, in one line: gdb's message, or the exception that gdb leaves unnamed in it."""
        told, raised = self.payload.get("msg"), python_errors(self.log)
        if raised and (not told or told.startswith(_IN_PYTHON)):
            return raised[-1]
        return printable(told) if told else "gdb does not say why"


def python_errors(log: str) -> list[str]:
    """Return the exceptions that gdb's Python told of in `log`, each as "ValueError: why", in one line.

    gdb 15 and later name them there, and no more in the message of the failed command; older ones write a traceback.
    """
    found = []
    traced = False
    for line in log.splitlines():
        named = _PYTHON_EXCEPTION.match(line)
        if named is not None:
            found.append(printable(f"{named[1]}: {named[2]}" if named[2] else named[1]))
        elif traced and line[:1] not in ("", " "):
            found.append(printable(line))
        traced = line == _TRACEBACK or (traced and line[:1] in ("", " "))
    return found


def parse(line: str) -> Record | None:
    """Return one line of gdb's as a record, None for what says nothing to anybody: its prompt, a breakpoint.

    Raises: ValueError for what is not MI.
    """
    # pygdbmi cannot read a breakpoint's script={"silent"}, and breakpoints are not needed here.
    if gdbmiparser.response_is_finished(line) or line.startswith("=breakpoint-"):
        return None
    return dict(gdbmiparser.parse_response(line))


def read_stop(payload: Record) -> Stop:
    """Read a `*stopped` record."""
    frame = payload.get("frame", {})
    at = frame.get("addr")
    address = int(at, 16) if at is not None and at.startswith("0x") else None
    reason, name, number = map(payload.get, ("reason", "signal-name", "bkptno"))
    return Stop(reason, name, number, address, frame.get("func"))


def unglue(record: Record, token: int) -> list[Record]:
    """Split our result off the end of a line that a program started by `shell`, or a prompt, left unfinished."""
    match = re.search(rf"{token}\^(done|error|running).*$", record["payload"]) if record["type"] == "output" else None
    if match is None:
        return [record]
    before, result = record["payload"][: match.start()], dict(gdbmiparser.parse_response(match[0]))
    if PROMPTS.fullmatch(before.encode()):
        return [result]
    return [{"type": "console", "message": None, "payload": before}, result]
