# SPDX-License-Identifier: GPL-2.0-or-later
"""A visit to a QEMU that already runs: look, and leave it as it was, running or stopped.

The reaper holds the same promise, should this process be killed in the middle.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from gdb_lmb.core.errors import InfrastructureError
from gdb_lmb.report.terminal import PLAIN, Terminal
from gdb_lmb.runner import rsp
from gdb_lmb.runner.base import DEFAULT_TIMEOUT_S, STEP_S, Session
from gdb_lmb.runner.elf import ElfFile, read_elf
from gdb_lmb.runner.endpoints import look_at
from gdb_lmb.runner.machines import find_gdb, machine_of
from gdb_lmb.runner.matching import require_machine_of_stub
from gdb_lmb.runner.probe import probe
from gdb_lmb.runner.rsp import Endpoint

Leave = Literal["running", "paused"]

_PROBE_S = 10.0
_ABANDON_S = 2.0
_LEAVING_S = 0.5
_LOOK_AGAIN_S = 0.05


class AttachedSession(Session):
    """gdb on a QEMU of somebody else's."""

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
        self._promised = False
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
            if self._promised:
                self._depart()
                self._promised = False
                self._folder.forget_promise()
        finally:
            super().close()

    def _find_out(self, leave: Leave | None) -> None:
        """Learn what the machine does, which stops it, and promise to restore that."""
        listener = look_at(self._endpoint)
        deadline = time.monotonic() + _LEAVING_S
        while listener.taken and time.monotonic() < deadline:  # QEMU may not have noticed yet that the last one left
            time.sleep(_LOOK_AGAIN_S)
            listener = look_at(self._endpoint)
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
        self._promised = True
        self._folder.promise(self._near, self.leave_running)
        if not before.certain and leave is None:
            self._notice(
                "it cannot be told whether the guest was running: it is left paused (--leave running lets it run on)"
            )

    def _require_same_machine(self, elf: ElfFile) -> None:
        """Check that the guest can be of the program's architecture, which gdb would not say in words."""
        with contextlib.suppress(OSError):  # gdb will have its own word on that
            require_machine_of_stub(self._near, self._endpoint, elf, min(self.timeout_s, _PROBE_S))

    def _connect(self) -> None:
        """Connect gdb."""
        name = self._near.path or str(self._near)
        reply = self.mi.execute(f"-target-select remote {name}", min(self.timeout_s, STEP_S))
        if reply.kind != "connected":
            raise InfrastructureError(f"gdb cannot connect to {self._endpoint}: {reply.error}")

    def _depart(self) -> None:
        """Restore the machine: through gdb, which removes what it inserted, or else without it."""
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
