# SPDX-License-Identifier: GPL-2.0-or-later
"""Two small programs of a run, for a bare interpreter: one cleans up after its parent, one becomes QEMU or gdb."""

from __future__ import annotations

import os
import select
import signal
import sys
import time

TOKEN_VARIABLE = "GDB_LMB_RUN"
CANNOT_START = 127
_PR_SET_PDEATHSIG = 1
_KILL_S = 5.0
_LEAVE_S = 5.0


def ready(number: int, within_s: float, event: int = select.POLLIN) -> bool:
    """Wait at most `within_s` seconds until file `number` can be read, or is at its end; tell whether it is so.

    `event` may be `select.POLLOUT`: until it takes bytes. Its number may be any: select(2) ends at 1,023.
    """
    poll = select.poll()
    poll.register(number, event)
    return bool(poll.poll(1000 * within_s))


def become() -> None:
    """Become another program that the kernel kills when its parent dies (`PR_SET_PDEATHSIG`).

    A program of its own, in place of a `preexec_fn`, which may deadlock in a parent with threads. The
    setting survives execve(2), and the process keeps its id. Arguments: parent's id, program, arguments.
    """
    import ctypes  # the other program, and process.py, do without

    parent, program = int(sys.argv[1]), sys.argv[2:]
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    try:
        if os.getppid() == parent:  # else it died before the setting took effect: no signal will come
            os.execv(program[0], program)
    except OSError as error:
        sys.stderr.write(f"{program[0]}: {error.strerror}\n")
        sys.stderr.flush()
    os._exit(CANNOT_START)


def reap() -> None:
    """Clean up after a run that was killed.

    Every process that carries the run's token in its environment is killed, the guest of a QEMU that was attached to is
    resumed or left stopped, and the folder is removed. A token, unlike a process's number, is not used again.

    Arguments: the token, the folder, which may not be there yet or any more, and a JSON list of an `Endpoint`'s fields
    and whether its machine is to run, or nothing.
    """
    token, folder, request = sys.argv[1:4]
    try:
        kill_all(token)
        if request:
            import json

            from gdb_lmb.runner import rsp

            *endpoint, running = json.loads(request)
            rsp.leave(rsp.Endpoint(*endpoint), running, _LEAVE_S)
    except OSError:  # it cannot be reached
        pass
    finally:
        if os.access(folder, os.F_OK):
            import shutil

            shutil.rmtree(folder, ignore_errors=True)


def kill_all(token: str) -> None:
    """Kill every process with the run's token in its environment, until none is left or five seconds have passed."""
    wanted = f"{TOKEN_VARIABLE}={token}".encode()
    deadline = time.monotonic() + _KILL_S
    while time.monotonic() < deadline:
        numbers = [int(name) for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208
        if not [pid for pid in numbers if _kill(pid, wanted, deadline)]:
            return


# Kill `pid` if `wanted` is in its environment; tell whether it was, and wait for its end.
def _kill(pid: int, wanted: bytes, deadline: float) -> bool:
    if pid == os.getpid() or not _carries(pid, wanted):
        return False
    try:
        with os.fdopen(os.pidfd_open(pid), "rb", 0) as handle:
            # Looked at again: only now is it certain that the handle is of the process that was looked at.
            if _carries(pid, wanted):
                signal.pidfd_send_signal(handle.fileno(), signal.SIGKILL)
                ready(handle.fileno(), max(0.0, deadline - time.monotonic()))
    except ProcessLookupError:
        pass
    return True


# Others' and dead processes do not.
def _carries(pid: int, wanted: bytes) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as environment:  # noqa: PTH123
            return wanted in environment.read().split(b"\0")
    except OSError:
        return False
