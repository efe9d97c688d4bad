# SPDX-License-Identifier: GPL-2.0-or-later
"""Clean up after a run that could not: a small process that outlives its parent by moments.

It makes the folder of the run and says its path on stdout, then reads stdin, whose other end only the
parent holds. At end of file the parent is gone, however it died: every process that carries the run's
token in its environment is killed, a visited QEMU is left as it was, and the folder is removed. A token
cannot be mistaken for another process's as a number that was used again could.

Arguments: the token. Lines on stdin, JSON: an `Endpoint`'s fields and `running`, or null to forget it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from gdb_lmb.runner import rsp

TOKEN_VARIABLE = "GDB_LMB_RUN"
SOCKET_PATH_BYTES = 107
# gdb takes a name with a colon for host and port, QEMU a comma for the next option.
_PLAIN = re.compile(r"[A-Za-z0-9._/+@=-]+")
_KILL_S = 5.0
_LEAVE_S = 5.0


def main() -> None:
    """Serve one run."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    try:
        folder = tempfile.mkdtemp(prefix="gdb-lmb-", dir=folder_base(tempfile.gettempdir()))
    except OSError as error:
        sys.exit(f"cannot make a temporary folder: {error}")
    promise: dict[str, object] | None = None
    try:
        with contextlib.suppress(BrokenPipeError):
            os.write(1, folder.encode() + b"\n")
        # Not `for line in sys.stdin`, whose last line may be cut short by the parent's death.
        for line in sys.stdin.buffer:
            if line.endswith(b"\n"):
                promise = json.loads(line)
        kill_all(sys.argv[1])
        if promise is not None:
            with contextlib.suppress(OSError):
                running = bool(promise.pop("running"))
                rsp.leave(rsp.Endpoint(**promise), running, _LEAVE_S)  # type: ignore[arg-type]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def folder_base(preferred: str) -> str:
    """Return `preferred`, or /tmp where a socket in a folder under it would get no usable name."""
    longest = f"{preferred}/gdb-lmb-12345678/{'x' * 12}"
    usable = _PLAIN.fullmatch(preferred) and len(longest) <= SOCKET_PATH_BYTES
    return preferred if usable else "/tmp"


def kill_all(token: str) -> None:
    """Kill every process with the run's token, until none is left or the deadline has passed."""
    wanted = f"{TOKEN_VARIABLE}={token}".encode()
    deadline = time.monotonic() + _KILL_S
    while time.monotonic() < deadline:
        found = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
        if not [pid for pid in found if _kill(pid, wanted, deadline)]:
            return


def _kill(pid: int, wanted: bytes, deadline: float) -> bool:
    """Kill `pid` if `wanted` is in its environment; tell whether it was, and wait for its end."""
    if pid == os.getpid() or not _carries(pid, wanted):
        return False
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        # Looked at again: only now is it certain that the handle is of the process that was looked at.
        if _carries(pid, wanted):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            select.select([handle], [], [], max(0.0, deadline - time.monotonic()))
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)
    return True


def _carries(pid: int, wanted: bytes) -> bool:
    """Tell whether the environment of `pid` holds `wanted`; others' and dead processes do not."""
    try:
        return wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
