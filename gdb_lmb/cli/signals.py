# SPDX-License-Identifier: GPL-2.0-or-later
"""The signals that end a program, turned into an exception, so that every run is cleaned up.

Imported before everything else of the command line: it takes the standard library's lightest modules only.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signalled(KeyboardInterrupt):
    """Unwind, as Ctrl-C does, because of signal `number`."""

    def __init__(self, number: int) -> None:
        """Hold the number."""
        self.number = number
        super().__init__()


class Signals:
    """Our handlers, from `__init__` to `restore`.

    At first a signal is only noted. After `arm` it raises Signalled, once: cleaning up takes moments and has
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
