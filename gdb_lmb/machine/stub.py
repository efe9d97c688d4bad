# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's gdbstub, asked directly: its own packets, and the commands of QEMU's monitor."""

from __future__ import annotations

import gdb

from gdb_lmb.machine.gdb_text import ask


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
