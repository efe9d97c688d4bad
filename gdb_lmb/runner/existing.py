# SPDX-License-Identifier: GPL-2.0-or-later
"""gdb on a guest that was there before: in a QEMU that already runs, or in a dump.

A QEMU is left as it was, running or stopped; the reaper does that, should this process be killed in the middle. Whether
the machine was running before we connected to its gdbstub, which stops it:

QEMU up to 8.0 sends a stop packet without a request when a client connects, ahead of any answer, exactly when
the machine had been running. Later versions send none, and their monitor then says "paused" of both. What tells
there are the threads of the virtual CPUs: to stop a running machine QEMU wakes each of them, also one that is
idle, and to stop one that is stopped already it wakes none. So what the scheduler has counted for them is compared,
from before connecting to after it. Mirrors `pause_all_vcpus()` of QEMU's system/cpus.c and
Documentation/scheduler/sched-stats.rst.

A dump is what QEMU's `dump-guest-memory` has written. Mirrors the signatures of QEMU's dump/dump.c, which tell its
other formats, and those of makedumpfile.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

from gdb_lmb.arches.registry import architectures
from gdb_lmb.core.errors import InfrastructureError, InputError, UsageError
from gdb_lmb.core.numbers import DEFAULT_TIMEOUT_S
from gdb_lmb.core.words import printable
from gdb_lmb.formats.core_file import CoreFile, read_core
from gdb_lmb.formats.elf import MAGIC, first_bytes
from gdb_lmb.report.terminal import PLAIN, Terminal
from gdb_lmb.runner import rsp
from gdb_lmb.runner.base import STEP_S, Session
from gdb_lmb.runner.elf import ElfFile, find_gdb, machine_of, read_elf
from gdb_lmb.runner.endpoints import find_listener
from gdb_lmb.runner.gdb_process import plain_name
from gdb_lmb.runner.rsp import Endpoint

# From this version on the stub sends no stop packet that was not asked for.
_SILENT_SINCE = (8, 1)
_THREAD_ID = re.compile(r"\bthread_id=(\d+)")
_DESCRIPTION = b"qXfer:features:read:target.xml:0,ffb"
_ARCHITECTURE = re.compile(rb"<architecture>\s*([^<\s]+)\s*</architecture>")
# By process and thread, as this machine numbers them: what the scheduler has counted for the thread.
_Counts = dict[tuple[int, int], str]
Leave = Literal["running", "paused"]
_PROBE_S = 10.0
_ABANDON_S = 2.0
_LEAVING_S = 0.5
_LOOK_AGAIN_S = 0.05
_COMPRESSED = (b"KDUMP   ", b"DISKDUMP")
# A stream by `makedumpfile -F`: a header, then chunks, each with its place in the dump and its size before it.
_FLATTENED, _FLAT_HEAD_BYTES, _FLAT_CHUNK_BYTES = b"makedumpfile\0", 4096, 16
_WINDOWS = (b"PAGEDU64", b"PAGEDUMP")


def probe(endpoint: Endpoint, timeout_s: float, owners: Iterable[int] = ()) -> tuple[bool | None, Endpoint]:
    """Connect, learn whether the machine was running, and disconnect, which leaves it stopped.

    With that, None where nothing tells, comes the endpoint as it was reached, by one address where a name has several.
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
        try:
            status = rsp.monitor(link, "info status", deadline, seen)
            after = _counts(owners)  # it has been stopped by now
            version = rsp.monitor(link, "info version", deadline, seen)
            cpus = rsp.monitor(link, "info cpus", deadline, seen) if before else ""
        except BaseException:
            if any(packet[:1] == b"T" for packet in seen):
                rsp.detach(link)  # interrupted: it was running, so let it run on
            raise
    woken = _woken(before, after, [int(number) for number in _THREAD_ID.findall(cpus)])
    return judge([packet[:1] == b"T" for packet in seen], status, version, woken), reached


def judge(stops: list[bool], status: str, version: str, woken: bool | None) -> bool | None:
    """Tell from unsolicited stop packets, the monitor's answers, and whether the virtual CPUs were woken if it ran."""
    if any(stops):
        return True
    number = re.match(r"(\d+)\.(\d+)", version)
    # "(": paused (prelaunch), (debug), (shutdown), …: not the plain pause of connecting.
    if "(" in status or (number and (int(number[1]), int(number[2])) < _SILENT_SINCE):
        return False
    return woken


# Tell whether the threads of all virtual CPUs have been scheduled, or none; None where that cannot be told.
def _woken(before: _Counts, after: _Counts, cpus: list[int]) -> bool | None:
    for pid in {pid for pid, _ in before}:
        threads = {_own_number(*key): key for key in before if key[0] == pid}
        keys = [threads[cpu] for cpu in cpus if cpu in threads]
        if keys and len(keys) == len(cpus):  # else it is another process that has the socket
            changed = {before[key] != after.get(key) for key in keys}
            return changed.pop() if len(changed) == 1 else None
    return None


# What the scheduler has counted for each thread of these processes.
def _counts(pids: Iterable[int]) -> _Counts:
    found: _Counts = {}
    for pid in pids:
        with contextlib.suppress(OSError):  # gone
            for name in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208  numbers, not files
                counts = f"/proc/{pid}/task/{name}/schedstat"
                # Gone too, or a kernel that does not count. As little time as can be.
                with contextlib.suppress(OSError), open(counts) as file:  # noqa: PTH123
                    found[pid, int(name)] = file.read()
    return found


# The number of a thread in the innermost namespace, as its own process knows it.
def _own_number(pid: int, thread: int) -> int:
    with contextlib.suppress(OSError):
        numbers = re.search(r"^NSpid:.*?(\d+)$", Path(f"/proc/{pid}/task/{thread}/status").read_text(), re.M)
        return int(numbers[1]) if numbers else thread
    return thread


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
        self._endpoint = self._near = endpoint
        self._must_restore = False
        self.leave_running = leave == "running"
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            if endpoint.path is not None:
                # gdb must get a plain, short name: it takes one with a colon for a host.
                link = self.folder / "stub"
                link.symlink_to(endpoint.path)
                self._near = Endpoint(str(link))
            self._open(program, gdb_path)
            self._load()  # a machine that runs is stopped from here on
            self._find_out(leave)
            with contextlib.suppress(OSError):  # connecting gdb reports it
                require_machine_of_stub(self._near, endpoint, elf, min(timeout_s, _PROBE_S))
            where = self._near.path or self._near
            reply = self.mi.execute(f"-target-select remote {where}", min(timeout_s, STEP_S))
            if reply.kind != "connected":
                raise InfrastructureError(f"gdb cannot connect to {endpoint}: {reply.error}")
            undo.pop_all()

    def close(self) -> None:
        try:
            if self._must_restore:
                self._restore_guest()
                self._must_restore = False
                self._folder.restore_on_death(None)
        finally:
            super().close()

    # Find out whether the machine runs, which stops it, and have the reaper restore that if need be.
    def _find_out(self, leave: Leave | None) -> None:
        listener = find_listener(self._endpoint)
        deadline = time.monotonic() + _LEAVING_S
        while listener.taken and time.monotonic() < deadline:
            time.sleep(_LOOK_AGAIN_S)  # QEMU may not have seen yet that the last client disconnected
            listener = find_listener(self._endpoint)
        if listener.taken:
            raise InfrastructureError(f"another debugger is connected to {self._endpoint}")
        try:
            ran, self._near = probe(self._near, min(self.timeout_s, _PROBE_S), listener.owners)
        except TimeoutError as error:
            waiting = "" if listener.taken is False else ", and QEMU will stop the guest once more when that one leaves"
            raise InfrastructureError(
                f"no answer from {self._endpoint}: not a gdbstub, or another debugger is connected to it{waiting}"
            ) from error
        except OSError as error:
            raise InfrastructureError(f"cannot connect to {self._endpoint}: {error.strerror or error}") from error
        if leave is None:
            # Where nothing tells it is left stopped: resuming would destroy the state it may have been stopped for.
            self.leave_running = bool(ran)
        self._must_restore = True
        self._folder.restore_on_death(self._near, self.leave_running)
        if ran is None and leave is None:
            self._notice(
                "it cannot be told whether the guest was running: it is left paused (--leave running lets it run on)"
            )

    # Resume the guest or leave it stopped: through gdb, which removes its breakpoints, or else without it.
    def _restore_guest(self) -> None:
        try:
            # Signals may have cut any command short, and gdb may wait for a program it started.
            free = self.mi.gdb.alive() and self.mi.abandon(_ABANDON_S) and self.mi.interrupt()
            way = "detach" if self.leave_running else "disconnect"
            if free and self.mi.connected and self.mi.console(way, STEP_S).kind == "done":
                return
        except InfrastructureError as error:
            self._notice(str(error))
        self.mi.gdb.end()  # so that the stub is free for us
        try:
            rsp.leave(self._near, self.leave_running, _PROBE_S)
        except OSError as error:
            state = "running" if self.leave_running else "paused"
            self._notice(f"{self._endpoint} may not be {state} as it was: {error.strerror or error}")


def require_machine_of_stub(stub: Endpoint, said: object, elf: ElfFile, timeout_s: float) -> None:
    """Check that the guest behind `stub`, called `said` in messages, is of the program's architecture.

    gdb itself says of another that a register is truncated. Says nothing of a stub that does not tell.
    Raises: UsageError that names both; OSError.
    """
    with stub.connect(timeout_s) as link:
        found = _ARCHITECTURE.search(rsp.ask(link, _DESCRIPTION, time.monotonic() + timeout_s))
    guest = "" if found is None else found[1].decode(errors="replace")
    program = machine_of(elf)
    if any(guest.startswith(row.gdb) for row in architectures()) and not guest.startswith(program.gdb):
        raise UsageError(
            f"the guest at {said} is of another architecture ({printable(guest, 40)}) than {elf.path} "
            f"({program.name}): give the vmlinux of the kernel that runs there"
        )


class CoreSession(Session):
    """gdb on a dump; nothing in it runs."""

    def __init__(
        self,
        core: Path,
        program: Path,
        *,
        gdb: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        notice: Callable[[str], None] | None = None,
        terminal: Terminal = PLAIN,
    ) -> None:
        """Open the dump `core` of the kernel whose ELF is `program`; `timeout_s` is for each step.

        Raises: UsageError for an unsuitable dump or program; InfrastructureError if gdb cannot be had.
        """
        elf = read_elf(program)
        gdb_path = find_gdb(machine_of(elf), gdb)
        cut = _read_core(core, elf).cut
        super().__init__(timeout_s, notice, terminal)
        if cut is not None:
            self._notice(f"{core} is cut off {cut}: what is missing cannot be shown")
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            self._open(program, gdb_path)
            name = plain_name(core, self.folder / "core")
            reply = self.mi.execute(f"-target-select core {name}", max(STEP_S, timeout_s))
            if reply.kind != "connected":
                raise UsageError(f"gdb cannot open {core} as a core file: {reply.error}")
            undo.pop_all()


# The headers of an ELF core file of the program's machine. Raises: UsageError for another format, or that names both.
def _read_core(path: Path, elf: ElfFile) -> CoreFile:
    try:
        core = read_core(path)
    except InputError:
        _explain_format(path)
        raise
    program = machine_of(elf)
    if core.machine not in (program.e_machine, *program.dump_machines):
        names = [row.name for row in architectures() if row.e_machine == core.machine]
        dump = " or ".join(names) or f"ELF machine {core.machine}"
        raise UsageError(
            f"{path} is a dump of another machine ({dump}) than {elf.path} is for ({program.name}): "
            "give the vmlinux of the kernel that was dumped"
        )
    return core


# What to do about a dump of another format. Raises: UsageError for one that is known.
def _explain_format(path: Path) -> None:
    head = first_bytes(path, _FLAT_HEAD_BYTES + _FLAT_CHUNK_BYTES + 8) if path.is_file() else b""
    if head.startswith(_FLATTENED) and head[_FLAT_HEAD_BYTES + _FLAT_CHUNK_BYTES :].startswith(MAGIC):
        raise UsageError(
            f"{path} is a flattened dump (makedumpfile -F), which gdb cannot open: `makedumpfile -R NEW < {path}` "
            "makes an ELF core file of it"
        )
    if head.startswith((*_COMPRESSED, _FLATTENED)):
        # makedumpfile refuses -E for what is in this format already.
        raise UsageError(
            f"{path} is a compressed dump (kdump format), which gdb cannot open (crash and drgn can): dump as ELF, "
            "of a machine with `makedumpfile -E /proc/vmcore FILE` or a copy of /proc/vmcore, of a QEMU guest with "
            "`dump-guest-memory FILE` without -z, -l or -s"
        )
    if head.startswith(_WINDOWS):
        raise UsageError(f"{path} is a Windows dump: dump again with `dump-guest-memory FILE`, without -w")
