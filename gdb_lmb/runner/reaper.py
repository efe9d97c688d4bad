# SPDX-License-Identifier: GPL-2.0-or-later
"""Clean up after a run that was killed: a small process that exits after its parent.

It writes an empty line to stdout once it is ready, then reads stdin, whose other end only the parent holds. At end of
file the parent has exited, however that came: every process that carries the run's token in its environment is killed,
the guest of a QEMU that was attached to is resumed or left stopped, and the folder is removed. A token, unlike a
process's number, is not used again.

Arguments: the token, and the folder, which the parent makes once this process has been started. Lines on stdin, JSON:
an `Endpoint`'s fields and `running`, or null to forget it.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

TOKEN_VARIABLE = "GDB_LMB_RUN"
_KILL_S = 5.0
_LEAVE_S = 5.0


def main() -> None:
    """Serve one run."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    token, folder = sys.argv[1:3]
    try:
        _serve(token)
    finally:
        # The parent has done it already, unless it was killed.
        if os.access(folder, os.F_OK):
            import shutil

            shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)  # the parent waits for this, and an interpreter's own shutdown takes some 10 ms


def _serve(token: str) -> None:
    """Wait for the parent's end, kill what is left of the run, and restore the guest as requested last."""
    try:  # noqa: SIM105  contextlib takes as long to import as all the rest here
        os.write(1, b"\n")
    except BrokenPipeError:
        pass
    request = b""
    # Not `for line in sys.stdin`, whose last line may be cut short by the parent's death.
    for line in sys.stdin.buffer:
        if line.endswith(b"\n"):
            request = line
    kill_all(token)
    if request:
        _leave(request)


def _leave(request: bytes) -> None:
    """Resume or stop the guest as the parent requested, if it did."""
    # Only now: most runs attach to none, and this process shares the processors with gdb's and QEMU's start.
    import contextlib
    import json

    from gdb_lmb.runner import rsp

    wanted = json.loads(request)
    if wanted is None:
        return
    running = bool(wanted.pop("running"))
    with contextlib.suppress(OSError):
        rsp.leave(rsp.Endpoint(**wanted), running, _LEAVE_S)


def kill_all(token: str) -> None:
    """Kill every process with the run's token, until none is left or the deadline has passed."""
    wanted = f"{TOKEN_VARIABLE}={token}".encode()
    deadline = time.monotonic() + _KILL_S
    while time.monotonic() < deadline:
        with os.scandir("/proc") as entries:
            found = [int(entry.name) for entry in entries if entry.name.isdecimal()]
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
        with open(f"/proc/{pid}/environ", "rb") as environment:  # noqa: PTH123
            return wanted in environment.read().split(b"\0")
    except OSError:
        return False
