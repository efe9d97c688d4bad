# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs on a terminal of their own: a pseudo-terminal of so many columns, and what it was sent."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tests.helpers.json_log import own_python_path

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\x1b\][^\x07]*\x07")
SGR = re.compile(r"\x1b\[[0-9;]*m")


class Shown(NamedTuple):
    """How a program ended, what its terminal was sent, and stderr where that was not the terminal."""

    status: int
    text: str
    errors: str

    @property
    def plain(self) -> str:
        """Return the text without control sequences."""
        return ESCAPE.sub("", self.text)

    @property
    def lines(self) -> list[str]:
        return self.plain.split("\n")


def on_terminal(
    words: Sequence[str | os.PathLike[str]],
    columns: int,
    environment: Mapping[str, str | None] | None = None,
    *,
    errors_too: bool = False,
    typed: bytes = b"",
    timeout_s: float = 120.0,
) -> Shown:
    """Run a program with stdin and stdout (and stderr with `errors_too`) on a terminal of so many columns.

    `environment` is added to ours, without the variables that are None there.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    given = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "COLUMNS": None, "NO_COLOR": None}
    given |= environment or {}
    if environment and environment.get("PYTHONPATH"):
        given["PYTHONPATH"] = own_python_path(str(environment["PYTHONPATH"]))
    process = subprocess.Popen(
        list(map(os.fspath, words)),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs if errors_too else subprocess.PIPE,
        env={name: value for name, value in given.items() if value is not None},
        start_new_session=True,
    )
    os.close(theirs)
    if typed:
        os.write(ours, typed)
    out, deadline = b"", time.monotonic() + timeout_s
    try:
        while True:
            ready, _, _ = select.select([ours], [], [], 0.1)
            if ready:
                try:
                    piece = os.read(ours, 1 << 16)
                except OSError:  # nobody has the other end open any more
                    break
                if not piece:
                    break
                out += piece
            elif process.poll() is not None:
                break
            assert time.monotonic() < deadline, f"{words[0]} did not end: {out[-2000:]!r}"
        errors = process.stderr.read().decode() if process.stderr is not None else ""
        return Shown(process.wait(timeout_s), out.decode().replace("\r\n", "\n"), errors)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        if process.stderr is not None:
            process.stderr.close()
