# SPDX-License-Identifier: GPL-2.0-or-later
"""The gdbstub's own protocol, as little of it as attaching politely needs.

QEMU stops the machine whenever a client connects, so a client must find out what it was doing before:
QEMU up to 8.0 sends an unsolicited stop packet on connecting exactly when it had been running, ahead of any
answer. Later versions send none; their monitor tells the other kinds of pause apart, not a plain one.

Imports nothing of the project: `reaper` uses it in a bare interpreter. Raises OSError (TimeoutError is one).
"""

from __future__ import annotations

import re
import socket
import time
from typing import NamedTuple

_PACKET = re.compile(rb"\$([^#]*)#[0-9a-fA-F]{2}")
# With the process, as QEMU demands it once a client has asked for the multiprocess extensions: that it
# remembers when the client is gone. The first process is the one attached on connecting.
_DETACH = b"D;1"
_REPLY_BYTES = 1 << 20
# From this version on the stub sends no stop packet that was not asked for.
_SILENT_SINCE = (8, 1)


class Endpoint(NamedTuple):
    """Where a stub listens: a unix socket's `path`, or `host` and `port`."""

    path: str | None = None
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        """Write it as the command line has it."""
        if self.path is not None:
            return f"unix:{self.path}"
        return f"tcp:[{self.host}]:{self.port}" if ":" in self.host else f"tcp:{self.host}:{self.port}"

    def connect(self, timeout_s: float) -> socket.socket:
        """Connect, waiting at most `timeout_s` seconds for this and for each later step."""
        if self.path is None:
            return socket.create_connection((self.host, self.port), timeout_s)
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            link.settimeout(timeout_s)
            link.connect(self.path)
        except OSError:
            link.close()
            raise
        return link


class Before(NamedTuple):
    """What the machine did before we connected; `certain` is False where it had to be assumed."""

    running: bool
    certain: bool
    status: str


def probe(endpoint: Endpoint, timeout_s: float) -> Before:
    """Connect, learn whether the machine was running, and disconnect, which leaves it stopped."""
    deadline = time.monotonic() + timeout_s
    with endpoint.connect(timeout_s) as link:
        seen: list[bytes] = []
        told = False
        try:
            status = _monitor(link, "info status", deadline, seen)
            version = _monitor(link, "info version", deadline, seen)
            told = True
        finally:
            if not told and any(packet[:1] == b"T" for packet in seen):
                link.sendall(_packet(_DETACH))  # interrupted: it was running, so let it run on
    return judge([packet[:1] == b"T" for packet in seen], status, version)


def leave(endpoint: Endpoint, running: bool, timeout_s: float) -> None:
    """Bring the machine to running or stopped without gdb, and its memory reads back to virtual."""
    deadline = time.monotonic() + timeout_s
    with endpoint.connect(timeout_s) as link:
        # Reads stay physical past the end of a gdb that died between switching the mode on and off.
        _ask(link, b"Qqemu.PhyMemMode:0", deadline)
        if running and _ask(link, _DETACH, deadline) != b"OK":
            _ask(link, b"D", deadline)


def judge(stops: list[bool], status: str, version: str) -> Before:
    """Decide from the unsolicited stop packets and what the monitor said."""
    if any(stops):
        return Before(True, True, status)
    if "(" in status:  # paused (prelaunch), (debug), (shutdown), …: not the plain pause of connecting
        return Before(False, True, status)
    number = re.match(r"(\d+)\.(\d+)", version)
    if number and (int(number[1]), int(number[2])) < _SILENT_SINCE:
        return Before(False, True, status)
    return Before(True, False, status)


def _packet(payload: bytes) -> bytes:
    """Frame one packet; the leading `+` acknowledges whatever came before."""
    return b"+$" + payload + b"#%02x" % (sum(payload) & 0xFF)


def _ask(link: socket.socket, request: bytes, deadline: float) -> bytes:
    """Send a request and return its reply."""
    link.sendall(_packet(request))
    while True:
        for packet in _receive(link, deadline):
            if packet[:1] != b"T":
                return packet


def _monitor(link: socket.socket, command: str, deadline: float, seen: list[bytes]) -> str:
    """Run a monitor command through the stub; every packet received is added to `seen`."""
    link.sendall(_packet(b"qRcmd," + command.encode().hex().encode()))
    output = b""
    while True:
        for packet in _receive(link, deadline):
            seen.append(packet)
            if packet[:1] == b"O" and packet != b"OK":
                output += bytes.fromhex(packet[1:].decode("ascii"))
            elif packet[:1] != b"T":  # OK, an error, or empty: a stub without a monitor
                return output.decode("utf-8", "replace").strip()


def _receive(link: socket.socket, deadline: float) -> list[bytes]:
    """Receive at least one whole packet."""
    data = b""
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or len(data) > _REPLY_BYTES:
            raise TimeoutError("the gdbstub does not answer")
        link.settimeout(left)
        chunk = link.recv(4096)
        if not chunk:
            raise ConnectionResetError("the gdbstub closed the connection")
        data += chunk
        packets = _PACKET.findall(data)
        if packets and not _PACKET.sub(b"", data).lstrip(b"+-"):
            link.sendall(b"+")
            return packets
