# SPDX-License-Identifier: GPL-2.0-or-later
"""Connect to a QEMU that already runs, look, and leave it as it was, running or stopped.

The reaper does the last, should this process be killed in the middle. Whether the machine was running before we
connected to its gdbstub, which stops it:

QEMU up to 8.0 sends a stop packet without a request when a client connects, ahead of any answer, exactly when
the machine had been running. Later versions send none, and their monitor then says "paused" of both. What tells
there are the threads of the virtual CPUs: to stop a running machine QEMU wakes each of them, also one that is
idle, and to stop one that is stopped already it wakes none. So what the scheduler has counted for them is compared,
from before connecting to after it. Mirrors `pause_all_vcpus()` of QEMU's system/cpus.c and
Documentation/scheduler/sched-stats.rst.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from gdb_lmb.core.errors import InfrastructureError
from gdb_lmb.core.numbers import DEFAULT_TIMEOUT_S
from gdb_lmb.report.terminal import PLAIN, Terminal
from gdb_lmb.runner import rsp
from gdb_lmb.runner.base import STEP_S, Session
from gdb_lmb.runner.elf import ElfFile, read_elf
from gdb_lmb.runner.endpoints import find_listener
from gdb_lmb.runner.machines import find_gdb, machine_of
from gdb_lmb.runner.matching import require_machine_of_stub
from gdb_lmb.runner.rsp import Endpoint

_SILENT_SINCE = (8, 1)
"""From this version on the stub sends no stop packet that was not asked for."""
_THREAD_ID = re.compile(r"\bthread_id=(\d+)")

_Counts = dict[tuple[int, int], str]
"""By process and thread, as this machine numbers them: what the scheduler has counted for the thread."""
Leave = Literal["running", "paused"]
_PROBE_S = 10.0
_ABANDON_S = 2.0
_LEAVING_S = 0.5
_LOOK_AGAIN_S = 0.05


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
    """Decide from unsolicited stop packets, the monitor's answers, and whether the virtual CPUs were woken."""
    if any(stops):
        return Before(True, True)
    if "(" in status:  # paused (prelaunch), (debug), (shutdown), …: not the plain pause of connecting
        return Before(False, True)
    number = re.match(r"(\d+)\.(\d+)", version)
    if number and (int(number[1]), int(number[2])) < _SILENT_SINCE:
        return Before(False, True)
    # Where nothing tells it is left stopped: resuming would destroy the state it may have been stopped for.
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


class AttachedSession(Session):
    """gdb on a QEMU that was started elsewhere."""

    def __init__(
        self,
        endpoint: Endpoint,
        program: Path,
        *,
        gdb: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        leave: Leave | None = None,
        notice: Callable[[str], None] | None = None,
        terminal: Terminal = PLAIN,
    ) -> None:
        """Attach; `leave` overrides what was found out about the machine, `timeout_s` is for each step.

        Raises: UsageError for an unsuitable program; InfrastructureError if the stub cannot be reached.
        """
        elf = read_elf(program)
        gdb_path = find_gdb(machine_of(elf), gdb)
        super().__init__(timeout_s, notice, terminal)
        self._endpoint = endpoint
        self._must_restore = False
        self.leave_running = leave == "running"
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            # gdb must get a plain, short name: it takes one with a colon for a host.
            self._link = self.folder / "stub"
            if endpoint.path is not None:
                self._link.symlink_to(endpoint.path)
                self._near = Endpoint(str(self._link))
            else:
                self._near = endpoint
            self._open(program, gdb_path)
            self._find_out(leave)
            self._require_same_machine(elf)
            self._connect()
            undo.pop_all()

    def close(self) -> None:
        """Leave the machine as it was and end gdb; a second call does nothing."""
        try:
            if self._must_restore:
                self._restore_guest()
                self._must_restore = False
                self._folder.cancel_restore()
        finally:
            super().close()

    def _find_out(self, leave: Leave | None) -> None:
        """Find out whether the machine runs, which stops it, and have the reaper restore that if need be."""
        listener = find_listener(self._endpoint)
        deadline = time.monotonic() + _LEAVING_S
        while (
            listener.taken and time.monotonic() < deadline
        ):  # QEMU may not have seen yet that the last client disconnected
            time.sleep(_LOOK_AGAIN_S)
            listener = find_listener(self._endpoint)
        if listener.taken:
            raise InfrastructureError(f"another debugger is connected to {self._endpoint}")
        try:
            before, self._near = probe(self._near, min(self.timeout_s, _PROBE_S), listener.owners)
        except TimeoutError as error:
            waiting = "" if listener.taken is False else ", and QEMU will stop the guest once more when that one leaves"
            raise InfrastructureError(
                f"no answer from {self._endpoint}: not a gdbstub, or another debugger is connected to it{waiting}"
            ) from error
        except OSError as error:
            raise InfrastructureError(f"cannot connect to {self._endpoint}: {error.strerror or error}") from error
        if leave is None:
            self.leave_running = before.running
        self._must_restore = True
        self._folder.restore_on_death(self._near, self.leave_running)
        if not before.certain and leave is None:
            self._notice(
                "it cannot be told whether the guest was running: it is left paused (--leave running lets it run on)"
            )

    def _require_same_machine(self, elf: ElfFile) -> None:
        """Check that the guest can be of the program's architecture, for which gdb has no clear message."""
        with contextlib.suppress(OSError):  # connecting gdb reports it
            require_machine_of_stub(self._near, self._endpoint, elf, min(self.timeout_s, _PROBE_S))

    def _connect(self) -> None:
        """Connect gdb."""
        name = self._near.path or str(self._near)
        reply = self.mi.execute(f"-target-select remote {name}", min(self.timeout_s, STEP_S))
        if reply.kind != "connected":
            raise InfrastructureError(f"gdb cannot connect to {self._endpoint}: {reply.error}")

    def _restore_guest(self) -> None:
        """Resume the guest or leave it stopped: through gdb, which removes its breakpoints, or else without it."""
        gracefully = False
        try:
            # Signals may have cut any command short, and gdb may wait for a program it started.
            free = self.mi.gdb.alive() and self.mi.abandon(_ABANDON_S) and self.mi.interrupt()
            if free and self.mi.connected:
                reply = self.mi.console("detach" if self.leave_running else "disconnect", STEP_S)
                gracefully = reply.kind == "done"
        except InfrastructureError as error:
            self._notice(str(error))
        if gracefully:
            return
        self.mi.gdb.end()  # so that the stub is free for us
        try:
            rsp.leave(self._near, self.leave_running, _PROBE_S)
        except OSError as error:
            state = "running" if self.leave_running else "paused"
            self._notice(f"{self._endpoint} may not be {state} as it was: {error.strerror or error}")
