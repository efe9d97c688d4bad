# SPDX-License-Identifier: GPL-2.0-or-later
"""Letting the guest run: for a moment, or to an address, whichever comes first."""

from __future__ import annotations

import os
import signal
import threading
import time

import gdb

from gdb_lmb.errors import GuestError, LayoutError


def run_for(seconds: float) -> bool:
    """Let the guest run for a moment; tell whether the moment is over, or it has stopped before by itself.

    Raises: `GuestError` where it cannot be run.
    """
    global _bell
    bell = _bell = _Bell(seconds)
    failed = None
    try:
        gdb.execute("continue", to_string=True)
    except gdb.error as error:
        failed = error
    except KeyboardInterrupt:
        pass
    # It may ring for a guest that has just stopped: then it must not interrupt what comes next. No function of
    # gdb's is called here, for they fail in odd ways where an interrupt is pending.
    while True:
        try:
            bell.silence()
            time.sleep(0)
            break
        except KeyboardInterrupt:
            pass
    _bell = None
    if failed is not None:
        raise GuestError(f"the guest cannot be run: {failed}")
    return bell.rung


def _guest_runs(_event: object) -> None:
    if _bell is not None:
        _bell.wind()


class _Bell:
    """Presses Ctrl-C when the guest has run for `seconds`.

    Counted from gdb's word that it runs, for QEMU does not hear one that comes before; and once, for gdb takes
    a second one for the wish to give the connection up.
    """

    def __init__(self, seconds: float) -> None:
        """Hold what it needs; nothing runs yet."""
        self.rung = False
        self._seconds = seconds
        self._silenced = threading.Event()
        self._thread = threading.Thread(target=self._wait, daemon=True)

    def wind(self) -> None:
        """Begin to count, where it has not begun."""
        if not self._thread.ident:
            self._thread.start()

    def silence(self) -> None:
        """Have it rung or not for good."""
        self._silenced.set()
        if self._thread.ident:
            self._thread.join()

    def _wait(self) -> None:
        if not self._silenced.wait(self._seconds):
            self.rung = True
            os.kill(os.getpid(), signal.SIGINT)


_bell: _Bell | None = None
gdb.events.cont.connect(_guest_runs)


def run_by(addresses: tuple[int, ...], seconds: float) -> bool:
    """Let the guest run for a moment, or to one of these addresses, as its CPU has them; tell whether it got there.

    Raises: `GuestError` where it stops elsewhere before.
    """
    stops = []
    try:
        for address in addresses:
            stops.append(gdb.Breakpoint(f"*{address:#x}", type=gdb.BP_HARDWARE_BREAKPOINT, internal=True))
        over = run_for(seconds)
        pc = gdb.newest_frame().pc()
    except gdb.error as error:
        raise LayoutError(f"cannot stop where the kernel comes to: {error}") from None
    finally:
        for stop in stops:
            if stop.is_valid():
                stop.delete()
    if not over and pc not in addresses:
        raise GuestError(f"the guest stopped at {pc:#x} on its way to the kernel: it was interrupted, or see why")
    return pc in addresses
