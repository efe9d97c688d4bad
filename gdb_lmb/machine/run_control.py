# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the guest and look at it at intervals, as one run for the user and for clients of gdb (MI, DAP).

An interrupt is caught by a catchpoint whose condition looks at the guest, a breakpoint by its `stop()`: neither is
reported as a stop unless it is the last. The guest is interrupted by the byte 0x03, which Ctrl-C makes gdb send. It is
sent to the gdbstub directly, which ignores it while the guest is stopped. A SIGINT to gdb would be lost before gdb
waits, would end the command after it has waited, and would disconnect if it came twice.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import gdb

from gdb_lmb.core.errors import GuestError, LayoutError, LmbError
from gdb_lmb.machine.clients import hide_internal, making_internal
from gdb_lmb.machine.gdb_text import captures_records

_INTERRUPT = b"\x03"
_AGAIN_S = 0.05


@dataclass(frozen=True)
class Slice:
    """How far the guest runs: to one of `addresses`, virtual as its CPU has them, and for `seconds` at most."""

    addresses: tuple[int, ...]
    seconds: float


Look = Callable[[bool], "Slice | None"]
"""Look at the stopped guest and return the next slice, None for the end; the argument tells whether the guest is at an
address of its slice. The selected thread and frame stay as they were."""


def run_watched(first: Slice, look: Look) -> None:
    """Run the guest and call `look` at the end of each slice, until it returns None.

    Raises: `GuestError` where it cannot be run, stops elsewhere or is interrupted by the user; what `look` raises.
    """
    run = _Run(look)
    asked = _interrupted()
    asked.run = run
    try:
        with _catchpoint(f"${asked.name}()"):
            run.go(first)
    finally:
        asked.run = None


class _Run:
    """One run of the guest."""

    def __init__(self, look: Look) -> None:
        hide_internal()
        self._look = look
        self._timer = _InterruptTimer()
        self._stops: dict[int, _Stop] = {}
        self._over = False
        self._error: LmbError | gdb.error | None = None

    def go(self, first: Slice) -> None:
        """Run from the first slice to the end."""
        try:
            self._begin(first)
            # Where the captured output would be MI's records of the run, a client must see them, or it waits for ever.
            gdb.execute("continue", to_string=not captures_records())
        except gdb.error as error:
            raise GuestError(f"the guest cannot be run: {error}") from None
        except KeyboardInterrupt:
            raise GuestError("interrupted on the way to the kernel") from None
        finally:
            self._timer.close()
            for stop in self._stops.values():
                if stop.is_valid():
                    stop.delete()
        if self._error is not None:
            raise self._error
        if not self._over:
            pc = gdb.newest_frame().pc()
            raise GuestError(f"the guest stopped at {pc:#x} on its way to the kernel: it was interrupted, or see why")

    def interrupted(self) -> bool:
        """Handle an interrupt; return True to stop the guest."""
        if not self._timer.fired:  # it is the user's
            return True
        return self._step(False)

    def reached(self) -> bool:
        """Handle a breakpoint of the slice; return True to stop the guest."""
        return self._step(True)

    def _step(self, reached: bool) -> bool:
        self._timer.disarm()
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            following = self._look(reached)
            if following is None:
                self._over = True
            else:
                self._begin(following)
        except (LmbError, gdb.error) as error:
            following, self._error = None, error
        # The user's Ctrl-C meanwhile: handled here, as gdb may lose one that comes while it resumes the guest.
        if signal.SIGINT in signal.sigpending():
            signal.sigwait({signal.SIGINT})
            following = None
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        return following is None

    def _begin(self, following: Slice) -> None:
        """Set breakpoints at a slice's addresses and the timer to its end."""
        try:
            for address in following.addresses:
                if address not in self._stops:
                    self._stops[address] = _Stop(self, address)
            for address, stop in self._stops.items():
                if stop.enabled != (address in following.addresses):
                    stop.enabled = not stop.enabled
        except gdb.error as error:
            raise LayoutError(f"cannot stop where the kernel comes to: {error}") from None
        self._timer.arm(following.seconds)


class _Stop(gdb.Breakpoint):
    """An internal breakpoint at an address of a slice's."""

    def __init__(self, run: _Run, address: int) -> None:
        super().__init__(f"*{address:#x}", type=gdb.BP_HARDWARE_BREAKPOINT, internal=True)
        self.silent = True
        self._run = run

    def stop(self) -> bool:
        """Look at the guest; True leaves it stopped here."""
        return self._run.reached()


class _Interrupted(gdb.Function):
    """$_lmb_interrupted(): whether an interrupt is to stop the guest, asked by lmb-attach's own catchpoint."""

    name = "_lmb_interrupted"
    run: _Run | None = None

    def invoke(self) -> bool:
        """Return the answer of the run that goes on."""
        return self.run is None or self.run.interrupted()


@functools.cache
def _interrupted() -> _Interrupted:
    return _Interrupted(_Interrupted.name)


@contextlib.contextmanager
def _catchpoint(condition: str) -> Iterator[None]:
    """Catch SIGINT under a condition: while it is false, the guest goes on and nothing is printed."""
    before = gdb.convenience_variable("bpnum")
    with making_internal() as numbers:
        gdb.execute("catch signal SIGINT", to_string=True)
        number = int(gdb.convenience_variable("bpnum"))
        numbers.add(number)
    try:
        gdb.execute(f"condition {number} {condition}", to_string=True)
        gdb.execute(f"commands {number}\nsilent\nend", to_string=True)
        yield
    finally:
        gdb.execute(f"delete {number}", to_string=True)
        numbers.discard(number)
        gdb.set_convenience_variable("bpnum", before)


class _InterruptTimer:
    """Sends the interrupt byte to the gdbstub after a time, and repeats it until `disarm()`."""

    def __init__(self) -> None:
        """Start the thread that waits; nothing is sent before `arm()`."""
        self.fired = False
        self._due: float | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._link = _link_to_stub()
        self._thread = threading.Thread(target=self._wait, daemon=True)
        self._thread.start()

    def arm(self, seconds: float) -> None:
        """Interrupt the guest after `seconds`."""
        with self._changed:
            self.fired, self._due = False, time.monotonic() + seconds
            self._changed.notify()

    def disarm(self) -> None:
        """Cancel the timer: the guest has stopped."""
        with self._changed:
            self.fired, self._due = False, None

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        if self._link is not None:
            self._link.close()

    def _wait(self) -> None:
        with self._changed:
            while not self._closed:
                left = None if self._due is None else self._due - time.monotonic()
                if left is None or left > 0:
                    self._changed.wait(left)
                    continue
                self.fired = True
                self._due = time.monotonic() + _AGAIN_S if self._send() else None

    def _send(self) -> bool:
        """Interrupt the guest; return whether it has to be repeated until the guest stops."""
        if self._link is None:
            os.kill(os.getpid(), signal.SIGINT)
            return False
        try:
            self._link.send(_INTERRUPT, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            return False  # the stub is gone, and gdb is told so too
        return True


def _link_to_stub() -> socket.socket | None:
    """Return a copy of gdb's socket to the stub; None if it is no socket, or cannot be told from others."""
    found: dict[int, socket.socket] = {}
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  numbers, not files
        with contextlib.suppress(OSError):  # it was the one by which they are listed
            status = os.fstat(int(name))
            # A copy of ours may have got a number that was listed.
            if stat.S_ISSOCK(status.st_mode) and status.st_ino not in found:
                link = socket.socket(fileno=os.dup(int(name)))
                if _name(link):
                    found[status.st_ino] = link
                else:
                    link.close()
    links = list(found.values())
    if len(links) > 1:  # a server of debug files may be one; gdb has no word for its own before version 12
        details = str(getattr(getattr(gdb.selected_inferior(), "connection", None), "details", None))
        links = [link for link in links if details.endswith(_name(link))]
    for link in found.values():
        if links != [link]:
            link.close()
    return links[0] if len(links) == 1 else None


def _name(link: socket.socket) -> str:
    """Return the peer as gdb's description of a connection ends: a path or ":PORT"; "" if it is not connected."""
    try:
        peer = link.getpeername()
    except OSError:
        return ""
    return str(peer) if isinstance(peer, str) else f":{peer[1]}"
