# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a machine was running before we connected to its gdbstub, which stops it.

QEMU up to 8.0 sends a stop packet that nobody asked for when a client connects, ahead of any answer, exactly when
the machine had been running. Later versions send none, and their monitor then says "paused" of both. What tells
there are the threads of the virtual CPUs: to stop a running machine QEMU wakes each of them, also one that is
idle, and to stop one that is stopped already it wakes none. So what the scheduler has counted for them is compared,
from before connecting to after it. Mirrors `pause_all_vcpus()` of QEMU's system/cpus.c and
Documentation/scheduler/sched-stats.rst.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterable
from typing import NamedTuple

from gdb_lmb.runner import rsp
from gdb_lmb.runner.rsp import Endpoint

_SILENT_SINCE = (8, 1)
"""From this version on the stub sends no stop packet that was not asked for."""
_THREAD_ID = re.compile(r"\bthread_id=(\d+)")

_Counts = dict[tuple[int, int], str]
"""By process and thread, as this machine numbers them: what the scheduler has counted for the thread."""


class Before(NamedTuple):
    """What the machine did before we connected; `certain` is False where nothing tells."""

    running: bool
    certain: bool


def probe(endpoint: Endpoint, timeout_s: float, owners: Iterable[int] = ()) -> tuple[Before, Endpoint]:
    """Connect, learn whether the machine was running, and disconnect, which leaves it stopped.

    With what was learnt comes the endpoint as it was reached, by one address where a name has several.
    `owners` are the processes that may be its QEMU; without them a later QEMU than 8.0 cannot be judged.
    Raises: OSError (TimeoutError is one).
    """
    deadline = time.monotonic() + timeout_s
    before = _counts(owners)
    with endpoint.connect(timeout_s) as link:
        reached = endpoint
        if endpoint.path is None:
            flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
            reached = Endpoint(None, socket.getnameinfo(link.getpeername(), flags)[0], endpoint.port)
        seen: list[bytes] = []
        told = False
        try:
            status = rsp.monitor(link, "info status", deadline, seen)
            after = _counts(owners)  # it has been stopped by now
            version = rsp.monitor(link, "info version", deadline, seen)
            cpus = rsp.monitor(link, "info cpus", deadline, seen) if before else ""
            told = True
        finally:
            if not told and any(packet[:1] == b"T" for packet in seen):
                rsp.detach(link)  # interrupted: it was running, so let it run on
    woken = _woken(before, after, [int(number) for number in _THREAD_ID.findall(cpus)])
    return judge([packet[:1] == b"T" for packet in seen], status, version, woken), reached


def judge(stops: list[bool], status: str, version: str, woken: bool | None) -> Before:
    """Decide from the unsolicited stop packets, what the monitor said, and whether the virtual CPUs were woken."""
    if any(stops):
        return Before(True, True)
    if "(" in status:  # paused (prelaunch), (debug), (shutdown), …: not the plain pause of connecting
        return Before(False, True)
    number = re.match(r"(\d+)\.(\d+)", version)
    if number and (int(number[1]), int(number[2])) < _SILENT_SINCE:
        return Before(False, True)
    # Where nothing tells it is left stopped: to run on would destroy what somebody may have stopped it for.
    return Before(bool(woken), woken is not None)


def _woken(before: _Counts, after: _Counts, cpus: list[int]) -> bool | None:
    """Tell whether the threads of all virtual CPUs have been scheduled, or none; None where that cannot be told."""
    for pid in {pid for pid, _ in before}:
        threads = {_own_number(*key): key for key in before if key[0] == pid}
        keys = [threads.get(cpu) for cpu in cpus]
        if not keys or None in keys:
            continue  # another process that has the socket
        changed = {before[key] != after.get(key) for key in keys if key is not None}
        return changed.pop() if len(changed) == 1 else None
    return None


def _counts(pids: Iterable[int]) -> _Counts:
    """Return what the scheduler has counted for each thread of these processes."""
    found: _Counts = {}
    for pid in pids:
        try:
            for name in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208  numbers, not files
                with open(f"/proc/{pid}/task/{name}/schedstat") as file:  # noqa: PTH123  as little time as can be
                    found[pid, int(name)] = file.read()
        except OSError:  # gone, or a kernel that does not count
            continue
    return found


def _own_number(pid: int, thread: int) -> int:
    """Return the number of a thread in the innermost namespace, as its own process knows it."""
    try:
        with open(f"/proc/{pid}/task/{thread}/status") as file:  # noqa: PTH123
            line = next(line for line in file if line.startswith("NSpid:"))
    except (OSError, StopIteration):
        return thread
    return int(line.split()[-1])
