# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's gdbstub, asked directly: its own packets, the commands of QEMU's monitor, physical memory.

The stub has a mode in which every read is physical. It is switched on for one `with` block, put back whatever
happens, and so never left on while the guest runs.
"""

from __future__ import annotations

from types import TracebackType

import gdb

from gdb_lmb.core.errors import LayoutError
from gdb_lmb.core.memory import Meter
from gdb_lmb.machine.gdb_text import ask
from gdb_lmb.machine.reader import GdbMemory

MAX_TRIES = 8
"""How often putting the mode back is tried: each Ctrl-C can spoil one."""


def packet(text: str) -> str:
    """Send one packet of the remote protocol and return its reply; "" where the target has no such packet.

    Raises: `gdb.error` where the stub is gone.
    """
    connection = gdb.selected_inferior().connection
    if not isinstance(connection, gdb.RemoteTargetConnection):
        return ""
    reply = connection.send_packet(text)
    return "" if reply is None else bytes(reply).decode("ascii", errors="replace")


def monitor(command: str) -> str:
    """Return what QEMU's monitor answers; "" where there is none.

    `qRcmd` has as many replies as its answer has lines, and `packet()` takes the first only.
    """
    try:
        return ask(f"monitor {command}")
    except gdb.error:
        return ""


class StubMemory(GdbMemory):
    """Reads physical addresses through QEMU's stub inside its `with` block."""

    _left_on = False

    def __init__(self, meter: Meter | None = None) -> None:
        """Add the packets that switching takes to `meter`."""
        self._before = ""
        self._meter = meter or Meter()

    def _switch(self, text: str) -> str:
        self._meter.requests += 1
        return packet(text)

    def __enter__(self) -> StubMemory:
        """Switch the mode on. Raises: `LayoutError` where the stub has none."""
        try:
            self._before = self._switch("qqemu.PhyMemMode")
        except gdb.error:
            self._before = ""
        if self._before not in ("0", "1"):
            raise LayoutError("this target cannot read physical memory: connect to QEMU's gdbstub")
        if self._before == "0":
            StubMemory._left_on = True
            try:
                self._switch("Qqemu.PhyMemMode:1")
            except BaseException:
                # A Ctrl-C may come when the packet is out already.
                put_back()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the mode back."""
        if self._before == "0":
            self._meter.requests += 1
            put_back()


def put_back() -> None:
    """Switch physical reads off if a `with` block left them on; a Ctrl-C meanwhile is put off until it is done.

    Called at the end of the block, and again by each command: a Ctrl-C can interrupt the end of the block.
    Nothing is left to do where the guest is gone.
    """
    interrupt: KeyboardInterrupt | None = None
    for _ in range(MAX_TRIES):
        if not StubMemory._left_on:
            break
        try:
            if packet("Qqemu.PhyMemMode:0") == "OK":
                StubMemory._left_on = False
            # gdb may have kept stack or code that it read meanwhile.
            gdb.execute("maintenance flush dcache", to_string=True)
        except gdb.error:
            StubMemory._left_on = False
        except KeyboardInterrupt as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt
