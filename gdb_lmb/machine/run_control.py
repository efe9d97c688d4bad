# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the guest and look at it at intervals, as one run for the user and for clients of gdb (MI, DAP).

An interrupt is caught by a catchpoint whose condition looks at the guest, a breakpoint by its `stop()`: neither is
reported as a stop unless it is the last. The guest is interrupted by the byte 0x03, which Ctrl-C makes gdb send. It is
sent to the gdbstub directly, which ignores it while the guest is stopped. A SIGINT to gdb would be lost before gdb
waits, would end the command after it has waited, and would disconnect if it came twice.

gdb (14 and later) reports to a DAP client every breakpoint that Python creates, changes and deletes, internal ones too;
and output while the guest runs goes to its log only. Both are corrected if gdb's own modules have the functions that
we know. Source: gdb/python/lib/gdb/dap/breakpoint.py and server.py.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import gdb

from gdb_lmb.core.errors import GuestError, LayoutError, LmbError
from gdb_lmb.machine.gdb_text import captures_records
from gdb_lmb.machine.memory import link_to_stub

_INTERRUPT = b"\x03"
_AGAIN_S = 0.05


@dataclass(frozen=True)
class Slice:
    """How far the guest runs: to one of `addresses`, virtual as its CPU has them, and for `seconds` at most."""

    addresses: tuple[int, ...]
    seconds: float


# Look at the stopped guest and return the next slice, None for the end; the argument tells whether the guest is at an
# address of its slice. The selected thread and frame stay as they were.
Look = Callable[[bool], Slice | None]


def run_watched(first: Slice, look: Look) -> None:
    """Run the guest and call `look` at the end of each slice, until it returns None.

    Raises: `GuestError` where it cannot be run, stops elsewhere or is interrupted by the user; what `look` raises.
    """
    run = _Run(look)
    before = gdb.convenience_variable("bpnum")
    hide_internal()
    _Ours.making = True
    try:
        gdb.execute("catch signal SIGINT", to_string=True)
        number = int(gdb.convenience_variable("bpnum"))
        _Ours.numbers.add(number)
    finally:
        _Ours.making = False
    try:
        # While the condition is false, the guest goes on and nothing is printed.
        gdb.execute(f"condition {number} $_lmb_interrupted()", to_string=True)
        gdb.execute(f"commands {number}\nsilent\nend", to_string=True)
        run.go(first)
    finally:
        gdb.execute(f"delete {number}", to_string=True)
        _Ours.numbers.discard(number)
        gdb.set_convenience_variable("bpnum", before)


class _Run(gdb.Function):
    """$_lmb_interrupted(): whether an interrupt is to stop the guest, asked by lmb-attach's own catchpoint."""

    # It is one whole run of the guest; the function of a later run takes the place of this one's.
    def __init__(self, look: Look) -> None:
        super().__init__("_lmb_interrupted")
        self._look = look
        self._timer = _InterruptTimer()
        self._stops: dict[int, _Stop] = {}
        self._over = False
        self._error: LmbError | gdb.error | None = None

    def go(self, first: Slice) -> None:
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

    def invoke(self) -> bool:
        # An interrupt that is not the timer's is the user's.
        return not self._timer.fired or self.step(False)

    def step(self, reached: bool) -> bool:
        """Handle the end of a slice, at a breakpoint of its where `reached`; return True to stop the guest."""
        self._timer.arm(None)
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
        try:
            for address in {*following.addresses} - self._stops.keys():
                self._stops[address] = _Stop(self, address)
            for address, stop in self._stops.items():
                if stop.enabled != (address in following.addresses):
                    stop.enabled = not stop.enabled
        except gdb.error as error:
            raise LayoutError(f"cannot stop where the kernel comes to: {error}") from None
        self._timer.arm(following.seconds)


class _Stop(gdb.Breakpoint):
    def __init__(self, run: _Run, address: int) -> None:
        super().__init__(f"*{address:#x}", type=gdb.BP_HARDWARE_BREAKPOINT, internal=True)
        self.silent = True
        self._run = run

    def stop(self) -> bool:
        return self._run.step(True)


class _InterruptTimer:
    """Sends the interrupt byte to the gdbstub after a time, and repeats it until the next `arm()`."""

    def __init__(self) -> None:
        self.fired = False
        self._due: float | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._link = link_to_stub()
        self._thread = threading.Thread(target=self._wait, daemon=True)
        self._thread.start()

    def arm(self, seconds: float | None) -> None:
        """Interrupt the guest after `seconds`; None: the guest has stopped, nothing is sent."""
        with self._changed:
            self.fired = False
            self._due = None if seconds is None else time.monotonic() + seconds
            self._changed.notify()

    def close(self) -> None:
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
                else:
                    self.fired = True
                    self._due = time.monotonic() + _AGAIN_S if self._send() else None

    def _send(self) -> bool:
        # Tells whether the interrupt has to be repeated until the guest stops.
        if self._link is None:
            os.kill(os.getpid(), signal.SIGINT)
            return False
        import socket  # as link_to_stub() has done

        try:
            self._link.send(_INTERRUPT, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            return False  # the stub is gone, and gdb is told so too
        return True


# -- DAP clients -----------------------------------------------------------------------------------------------


class _Ours:
    # Breakpoints that are numbered like the user's: those there are, and whether one is being created.
    numbers: set[int] = set()
    making = False


@functools.cache
def hide_internal() -> None:
    """Report only the user's breakpoints to a DAP client from now on."""
    module = sys.modules.get("gdb.dap.breakpoint")
    for event in ("created", "modified", "deleted"):
        handler = getattr(module, f"_bp_{event}", None)
        registry = getattr(gdb.events, f"breakpoint_{event}")
        if handler is not None:
            with contextlib.suppress(ValueError, RuntimeError):  # it is not connected: there is nothing to filter
                registry.disconnect(handler)
                registry.connect(functools.partial(_pass_on, handler))


def _pass_on(handler: Callable[[gdb.Breakpoint], None], breakpoint: gdb.Breakpoint) -> None:
    if breakpoint.number > 0 and breakpoint.number not in _Ours.numbers and not _Ours.making:
        handler(breakpoint)


def tell_client(text: str) -> None:
    """Show `text` to a DAP client, if there is one: it sees only what its own commands print."""
    send = getattr(sys.modules.get("gdb.dap.server"), "send_event", None)
    if send is not None:
        send("output", {"category": "console", "output": text if text.endswith("\n") else f"{text}\n"})
