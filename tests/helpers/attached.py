# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU that somebody else has started, with a gdbstub."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gdb_lmb.runner.elf import read_elf
from gdb_lmb.runner.process import RunFolder
from gdb_lmb.runner.qemu import Qemu, QemuOptions
from tests.helpers.tool import Qmp

# How long a guest that should run may take to show it, and one that should not is watched.
_RUNS_S = 10.0


_STANDS_S = 0.1


@dataclass(frozen=True)
class Machine:
    """A QEMU of somebody else's, as far as gdb-lmb is concerned."""

    kernel: Path
    qemu: Qemu
    qmp: Qmp

    @property
    def stub(self) -> str:
        return str(self.qemu.endpoint)

    def bring_to(self, state: str) -> None:
        """Bring a fresh machine, stopped at reset, into one of `STATES`."""
        if state in ("running", "paused"):
            self.qmp.execute("cont")
        if state == "paused":
            self.qmp.execute("stop")
        if state == "debug":
            subprocess.run(
                ["gdb", "-nx", "-q", "-batch", "-ex", f"target remote {self.qemu.endpoint.path}",
                 "-ex", "break spin", "-ex", "continue", "-ex", "delete", "-ex", "disconnect", self.kernel],
                check=True, capture_output=True, timeout=60,
            )  # fmt: skip
        assert self.qmp.settled(state) == state

    def runs(self) -> bool:
        """Tell whether the guest really makes progress: its counter moves."""
        first = self._counter()
        deadline = time.monotonic() + (_RUNS_S if self.qmp.status() == "running" else _STANDS_S)
        while time.monotonic() < deadline:
            if self._counter() != first:
                return True
            time.sleep(0.01)
        return False

    def _counter(self) -> str:
        return str(self.qmp.execute("human-monitor-command", **{"command-line": "xp /1wx 0x101000"}))


@contextlib.contextmanager
def booted(kernel: Path, *arguments: str) -> Iterator[Machine]:
    with contextlib.closing(RunFolder()) as folder:
        words = ("-qmp", f"unix:{folder.path}/qmp,server=on,wait=off", *arguments)
        qemu = Qemu(folder, read_elf(kernel), QemuOptions(arguments=words))
        qmp = Qmp(folder.path / "qmp")
        yield Machine(kernel, qemu, qmp)
        qmp.close()


def free_port(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as free:
        free.bind((host, 0))
        return int(free.getsockname()[1])
