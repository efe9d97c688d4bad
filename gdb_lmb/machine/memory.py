# SPDX-License-Identifier: GPL-2.0-or-later
"""Guest memory: virtual addresses through gdb, physical ones and QEMU's monitor through QEMU's gdbstub.

The stub has a mode in which every read is physical. It is switched on for one `with` block, put back whatever
happens, and so never left on while the guest runs.
"""

from __future__ import annotations

import contextlib
import functools
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import gdb

from gdb_lmb.core.errors import InfrastructureError, LayoutError, ReadError
from gdb_lmb.core.memory import Memory, Meter
from gdb_lmb.machine.gdb_text import ask

if TYPE_CHECKING:
    import socket

# How often putting the mode back is tried: each Ctrl-C can spoil one.
_MAX_TRIES = 8

# gdb 14 and later. Before, read_memory() asks the selected CPU.
_READS_BY_VALUE = hasattr(gdb, "execute_mi")
# gdb 15 and later; a gdb 14 reads characters.
_VALUES_HAVE_BYTES = hasattr(gdb.Value, "bytes")


class GdbMemory:
    """Reads the selected inferior's memory at virtual addresses, by one request for each read."""

    def read(self, address: int, size: int) -> bytes:
        """Return `size` bytes at virtual `address`.

        Raises: `ReadError` where the guest has no such memory; `InfrastructureError` where the guest is
        gone, which must never look like damage in it.
        """
        try:
            return read_bytes(address, size)
        except (gdb.error, OverflowError) as error:
            why = " ".join(str(error).split())
            if not isinstance(error, (gdb.MemoryError, OverflowError)) and gdb.selected_thread() is None:
                lost = f"the connection to the guest was lost while reading: {why.rstrip('.')}"
                raise InfrastructureError(lost) from None
            raise ReadError(address, size, why) from None


def read_bytes(address: int, size: int) -> bytes:
    """Return `size` bytes at `address`, which the selected CPU translates. Raises: `gdb.error`, `OverflowError`."""
    if not size:
        return b""  # gdb 14 and later refuse it
    inferior = gdb.selected_inferior()
    if _READS_BY_VALUE:
        # Since gdb 14 read_memory() asks the first CPU instead, which takes two packets more. And where the connection
        # breaks meanwhile, a thread stays selected that is none, and gdb ends itself as soon as it looks at that.
        arch = inferior.architecture()
        # A pointer may be narrower than a physical address.
        if address >= 0 and address + size <= 1 << (8 * arch.integer_type(8, False).pointer().sizeof):
            limit = gdb.parameter("max-value-size") or size
            pieces = ((at, min(limit, address + size - at)) for at in range(address, address + size, limit))
            return b"".join(
                _bytes_of(gdb.Value(at).cast(_array(arch.name(), length).pointer()).dereference(), length)
                for at, length in pieces
            )
    return bytes(inferior.read_memory(address, size))


def _bytes_of(value: gdb.Value, size: int) -> bytes:
    return bytes(value.bytes) if _VALUES_HAVE_BYTES else value.string("iso-8859-1", length=size).encode("latin-1")


@functools.cache
def _array(_arch: str, size: int) -> gdb.Type:
    # gdb never forgets a type that it has made.
    if _VALUES_HAVE_BYTES:
        return gdb.selected_inferior().architecture().integer_type(8, False).array(size - 1)
    return gdb.Value("").type.target().array(size - 1)


# -- QEMU's gdbstub --------------------------------------------------------------------------------------------


def packet(text: str) -> str:
    """Send one packet of the remote protocol and return its reply; "" where the target has no such packet.

    Raises: `gdb.error` where the stub is gone.
    """
    connection = gdb.selected_inferior().connection
    if not isinstance(connection, gdb.RemoteTargetConnection):
        return ""
    return bytes(connection.send_packet(text) or b"").decode("ascii", errors="replace")


def link_to_stub() -> socket.socket | None:
    """Return a copy of gdb's socket to the stub; None if it is no socket, or cannot be told from others."""
    connection = gdb.selected_inferior().connection
    details = str(connection.details) if isinstance(connection, gdb.RemoteTargetConnection) else "|"
    if details.startswith("|"):  # a command's pipe
        return None
    import socket  # few guests need one

    found: dict[int, socket.socket] = {}
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  numbers, not files
        with contextlib.suppress(OSError):  # it was the one by which they are listed
            status = os.fstat(int(name))
            # A copy of ours may have got a number that was listed.
            if stat.S_ISSOCK(status.st_mode) and status.st_ino not in found:
                found[status.st_ino] = socket.socket(fileno=os.dup(int(name)))
    # A server of debug files may be one.
    links = [link for link in found.values() if _leads_to(link, details)]
    for link in found.values():
        if links != [link]:
            link.close()
    return links[0] if len(links) == 1 else None


def _leads_to(link: socket.socket, details: str) -> bool:
    import socket

    # Whether the peer is what gdb's description of a connection ends with: a path or ":PORT".
    with contextlib.suppress(OSError):  # it is not connected, or one of them is no file
        peer = link.getpeername()
        if link.family == socket.AF_UNIX and isinstance(peer, str) and peer:
            return f"/{details}".endswith(f"/{peer.lstrip('/')}") or Path(details).samefile(peer)
        return link.family in (socket.AF_INET, socket.AF_INET6) and details.endswith(f":{peer[1]}")
    return False


@contextlib.contextmanager
def watched_connection() -> Iterator[None]:
    """Raise `InfrastructureError` for an error of gdb's that comes of the connection to the guest being lost."""
    connected = gdb.selected_inferior().connection is not None
    try:
        yield
    except gdb.error as error:
        if not connected or gdb.selected_inferior().connection is not None:
            raise
        why = " ".join(str(error).split()).rstrip(".")
        raise InfrastructureError(f"the connection to the guest was lost: {why}") from None


def monitor(command: str) -> str | None:
    """Return what QEMU's monitor answers, None where there is none.

    `qRcmd` has as many replies as its answer has lines, and `packet()` takes the first only.
    """
    try:
        return ask(f"monitor {command}")
    except gdb.error:
        return None


class _Physical:
    # Whether a `with` block has switched physical reads on, and they are not known to be off again.
    left_on = False


@contextlib.contextmanager
def physical_memory(meter: Meter | None = None) -> Iterator[Memory]:
    """Return what reads physical addresses; the packets that switching takes are added to `meter`.

    Raises: `LayoutError` where the stub has no such mode.
    """
    meter = meter or Meter()
    meter.requests += 1
    before = ""
    with contextlib.suppress(gdb.error):
        before = packet("qqemu.PhyMemMode")
    if before == "1":
        yield GdbMemory()
    elif before == "0":
        meter.requests += 2
        _Physical.left_on = True
        try:
            # A Ctrl-C may come when the packet is out already.
            packet("Qqemu.PhyMemMode:1")
            yield GdbMemory()
        finally:
            put_back()
    else:
        raise LayoutError("this target cannot read physical memory: connect to QEMU's gdbstub")


def put_back() -> None:
    """Switch physical reads off if a `with` block left them on; a Ctrl-C meanwhile is put off until it is done.

    Called at the end of the block, and again by each command: a Ctrl-C can interrupt the end of the block.
    Nothing is left to do where the guest is gone.
    """
    interrupt: KeyboardInterrupt | None = None
    for _ in range(_MAX_TRIES):
        if not _Physical.left_on:
            break
        try:
            if packet("Qqemu.PhyMemMode:0") == "OK":
                _Physical.left_on = False
            # gdb may have kept stack or code that it read meanwhile.
            gdb.execute("maintenance flush dcache", to_string=True)
        except gdb.error:
            _Physical.left_on = False
        except KeyboardInterrupt as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt
