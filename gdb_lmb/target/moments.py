# SPDX-License-Identifier: GPL-2.0-or-later
"""Letting the guest run: for a moment, or to an address, whichever comes first.

What ends a moment is not gdb's Ctrl-C. That is lost where it comes a little too early, ends the command where it
comes a little too late, and gives the connection up where it comes twice. The byte that a Ctrl-C makes gdb send
is none of these: a stub takes it while the guest runs, and passes over it else.
"""

from __future__ import annotations

import os
import signal
import socket
import threading

import gdb

from gdb_lmb.errors import GuestError, LayoutError
from gdb_lmb.target.gdb_text import captures_records
from gdb_lmb.target.registers import select_booting_cpu

_INTERRUPT = b"\x03"
_AGAIN_S = 0.05
_REPEATS = 2


def run_for(seconds: float) -> bool:
    """Let the guest run for a moment; tell whether the moment is over, or it has stopped before by itself.

    Raises: `GuestError` where it cannot be run, or the user interrupts it.
    """
    bell = _Bell(seconds)
    try:
        # Where it would get MI's records of the run, whoever waits for them must see them, or waits for ever.
        gdb.execute("continue", to_string=not captures_records())
    except gdb.error as error:
        raise GuestError(f"the guest cannot be run: {error}") from None
    except KeyboardInterrupt:
        raise GuestError("interrupted on the way to the kernel") from None
    finally:
        bell.silence()
    return bell.rung


def run_by(addresses: tuple[int, ...], seconds: float) -> bool:
    """Let the guest run for a moment, or to one of these addresses, as its CPU has them; tell whether it got there.

    The CPU that boots is the one that is looked at, and is selected afterwards.
    Raises: `GuestError` where it stops elsewhere before.
    """
    stops = []
    try:
        for address in addresses:
            stops.append(gdb.Breakpoint(f"*{address:#x}", type=gdb.BP_HARDWARE_BREAKPOINT, internal=True))
        before = pc = gdb.newest_frame().pc()
        over = False
        # QEMU may tell a second time of the breakpoint that the guest is at.
        for _ in range(_REPEATS):
            over = run_for(seconds)
            if over:  # QEMU may report an interrupt on any CPU
                select_booting_cpu()
            pc = gdb.newest_frame().pc()
            if over or pc != before:
                break
    except gdb.error as error:
        raise LayoutError(f"cannot stop where the kernel comes to: {error}") from None
    finally:
        for stop in stops:
            if stop.is_valid():
                stop.delete()
    if not over and pc not in addresses:
        raise GuestError(f"the guest stopped at {pc:#x} on its way to the kernel: it was interrupted, or see why")
    return pc in addresses


class _Bell:
    """Has the stub stop the guest in `seconds`, and from then on until it is silenced."""

    def __init__(self, seconds: float) -> None:
        """Begin to count."""
        self.rung = False
        self._seconds = seconds
        self._silenced = threading.Event()
        self._link = _link_to_stub()
        self._thread = threading.Thread(target=self._wait, daemon=True)
        self._thread.start()

    def silence(self) -> None:
        """Have it rung or not for good."""
        self._silenced.set()
        self._thread.join()
        if self._link is not None:
            self._link.close()

    def _wait(self) -> None:
        if self._silenced.wait(self._seconds):
            return
        self.rung = True
        if self._link is None:
            os.kill(os.getpid(), signal.SIGINT)
            return
        while not self._silenced.is_set():
            try:
                self._link.send(_INTERRUPT, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except OSError:
                return  # the stub is gone, and gdb is told so too
            self._silenced.wait(_AGAIN_S)


def _link_to_stub() -> socket.socket | None:
    """Return gdb's connection to the stub, a descriptor of our own; None where it is no socket, or cannot be told."""
    found: dict[int, socket.socket] = {}
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  numbers, not files
        link = _connected(int(name))
        if link is not None:
            # A copy of ours may have got a number that was listed.
            found.setdefault(os.fstat(link.fileno()).st_ino, link)
    links = list(found.values())
    if len(links) > 1:  # a server of debug files may be one; gdb has no word for its own before version 12
        details = str(getattr(getattr(gdb.selected_inferior(), "connection", None), "details", None))
        links = [link for link in links if details.endswith(_name(link))]
    for link in found.values():
        if links != [link]:
            link.close()
    return links[0] if len(links) == 1 else None


def _connected(descriptor: int) -> socket.socket | None:
    """Return a copy of a descriptor that is a socket connected to a named one."""
    try:
        copy = os.dup(descriptor)
    except OSError:  # it was the one by which they are listed
        return None
    try:
        link = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return None
    if _name(link):
        return link
    link.close()
    return None


def _name(link: socket.socket) -> str:
    """Return whom it is connected to, as gdb's words for a connection end: a path or ":PORT"; empty for nobody."""
    try:
        peer = link.getpeername()
    except OSError:
        return ""
    return str(peer) if isinstance(peer, str) else f":{peer[1]}"
