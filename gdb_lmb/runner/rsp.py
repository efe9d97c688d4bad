# SPDX-License-Identifier: GPL-2.0-or-later
"""Minimal client of the gdbstub's protocol: run monitor commands, and leave the machine running or stopped.

QEMU stops the machine whenever a client connects; `probe` finds out what it was doing before.

Imports nothing of the project: `reaper` uses it in a bare interpreter. Raises OSError (TimeoutError is one).
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

_PACKET = re.compile(rb"\$([^#]*)#[0-9a-fA-F]{2}")
# With the process, as QEMU demands it once a client has asked for the multiprocess extensions: that it
# remembers when the client is gone. The first process is the one attached on connecting.
_DETACH = b"D;1"
_REPLY_BYTES = 1 << 20


class Endpoint(NamedTuple):
    """Where a stub listens: a unix socket's `path`, or `host` and `port`; `kind` is tcp, tcp4 or tcp6."""

    path: str | None = None
    host: str | None = None
    port: int | None = None
    kind: str = "tcp"

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if self.host is not None and ":" in self.host else self.host
        return f"{self.kind}:{host}:{self.port}"

    def connect(self, timeout_s: float) -> socket.socket:
        """Connect, waiting at most `timeout_s` seconds for this and for each later step."""
        failed = OSError(f"{self.host} has no address")
        for family, where in self._resolved():
            link = socket.socket(family, socket.SOCK_STREAM)
            try:
                link.settimeout(timeout_s)
                link.connect(where)
                return link
            except OSError as error:
                link.close()
                failed = error
        raise failed

    def addresses(self) -> list[str]:
        """Return the addresses of `host`, in the order in which they are tried; none where it has none."""
        try:
            return [str(where[0]) for _, where in self._resolved()]
        except OSError:
            return []

    # The family and the address of each socket to try. Raises: OSError.
    def _resolved(self) -> list[tuple[int, Any]]:
        if self.path is not None:
            return [(socket.AF_UNIX, self.path)]
        family = {"tcp4": socket.AF_INET, "tcp6": socket.AF_INET6}.get(self.kind, socket.AF_UNSPEC)
        # No host is this one, for which no table of names is needed.
        host = None if self.host == "localhost" else self.host
        rows = socket.getaddrinfo(host, self.port, family, socket.SOCK_STREAM)
        return [(int(row[0]), row[4]) for row in rows]


def leave(endpoint: Endpoint, running: bool, timeout_s: float) -> None:
    """Bring the machine to running or stopped without gdb, and its memory reads back to virtual."""
    deadline = time.monotonic() + timeout_s
    with endpoint.connect(timeout_s) as link:
        # Reads stay physical past the end of a gdb that died between switching the mode on and off.
        ask(link, b"Qqemu.PhyMemMode:0", deadline)
        if running and ask(link, _DETACH, deadline) != b"OK":
            ask(link, b"D", deadline)


def detach(link: socket.socket) -> None:
    """Let the machine run on, without waiting for an answer."""
    link.sendall(_packet(_DETACH))


# Frame one packet; the leading `+` acknowledges whatever came before.
def _packet(payload: bytes) -> bytes:
    return b"+$" + payload + b"#%02x" % (sum(payload) & 0xFF)


def ask(link: socket.socket, request: bytes, deadline: float) -> bytes:
    """Send a request and return its reply."""
    link.sendall(_packet(request))
    return next(packet for packet in _packets(link, deadline) if packet[:1] != b"T")


def monitor(link: socket.socket, command: str, deadline: float, seen: list[bytes]) -> str:
    """Run a monitor command through the stub; every packet received is added to `seen`."""
    link.sendall(_packet(b"qRcmd," + command.encode().hex().encode()))
    output = b""
    for packet in _packets(link, deadline):
        seen.append(packet)
        if packet[:1] == b"O" and packet != b"OK":
            output += bytes.fromhex(packet[1:].decode("ascii"))
        elif packet[:1] != b"T":  # OK, an error, or empty: a stub without a monitor
            break
    return output.decode("utf-8", "replace").strip()


# Receive whole packets, without an end. Raises: OSError.
def _packets(link: socket.socket, deadline: float) -> Iterator[bytes]:
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
            data = b""
            yield from packets
