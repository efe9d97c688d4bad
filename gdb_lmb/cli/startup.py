# SPDX-License-Identifier: GPL-2.0-or-later
"""What a process sets up first: the signals that end it, and its three standard streams.

A signal becomes an exception, so that every run is cleaned up. Imported before everything else of the command line: it
takes the standard library's lightest modules only.
"""

from __future__ import annotations

import codecs
import os
import signal
import sys
import threading
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ERRORS = "gdb-lmb"
"""The name under which `codecs` knows how characters are written that an encoding lacks."""
_PLAIN = {"…": "...", "–": "-", "—": "--", "‘": "'", "’": "'", "“": '"', "”": '"', "→": "->", "×": "x", "µ": "u"}


class Signalled(KeyboardInterrupt):
    """Unwind, as Ctrl-C does, because of signal `number`."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__()


class Signals:
    """Our handlers, from `__init__` to `restore`.

    At first a signal is only noted. After `arm` it raises Signalled, once: cleaning up takes time and has
    deadlines, and a second signal must not cut it short.
    """

    def __init__(self) -> None:
        """Install the handlers, in the main thread; a signal that is ignored (nohup) stays so."""
        self.received: int | None = None
        self._armed = False
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            handlers = {number: signal.getsignal(number) for number in _SIGNALS}
            self._before = {n: handler for n, handler in handlers.items() if handler is not signal.SIG_IGN}
            for number in self._before:
                signal.signal(number, self._handle)

    def arm(self) -> None:
        """Raise from now on.

        Raises: Signalled at once for a signal that came before.
        """
        self._armed = True
        if self.received is not None:
            self._disarm()
            raise Signalled(self.received)

    def restore(self) -> None:
        """Install what was there before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        """Take a signal."""
        first = self.received is None
        if first:
            self.received = number
        if self._armed and first:
            self._disarm()
            raise Signalled(number)

    def _disarm(self) -> None:
        """Ignore further signals."""
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)


def plain(error: UnicodeError) -> tuple[str, int]:
    """Return what stands for characters that an encoding lacks: their like in ASCII, or an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(_PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode("ascii") for c in missing), error.end


def open_all() -> bool:
    """Have all three streams open, and able to take any character; return whether stdout was open before.

    What a closed one leaves free would become the number of the next file or socket, into which output then goes.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    was_open = sys.stdout is not None
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    codecs.register_error(ERRORS, plain)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors=ERRORS)  # type: ignore[union-attr]
    return was_open
