# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line `gdb-lmb`: arguments in, exit status out.

stdout carries only what gdb's commands print; whatever this program says itself goes to stderr. This file holds what
must be in place before the rest is even imported: signals, which become exceptions so that every run is cleaned up,
the standard streams, and an exit status that cannot lie. It takes the standard library's lightest modules only.
"""

from __future__ import annotations

import codecs
import gc
import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType, TracebackType

_INFRASTRUCTURE = 4
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# The name under which `codecs` knows how characters are written that an encoding lacks.
_ERRORS = "gdb-lmb"
_PLAIN = {"…": "...", "–": "-", "—": "--", "‘": "'", "’": "'", "“": '"', "”": '"', "→": "->", "×": "x", "µ": "u"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (without the program's name) and return the exit status.

    With None it takes the process's own arguments, and takes the process to end with it.
    """
    signals = Signals()
    if argv is None:
        sys.excepthook = signals.crash
        # What is imported makes no garbage: looking for it, and once more at the end, would take a sixth of a start.
        gc.set_threshold(50_000)
        if not open_all():
            sys.stderr.write("gdb-lmb: cannot write to stdout: it is closed\n")
            return _INFRASTRUCTURE
    try:
        # Only here: importing takes a tenth of a second, in which a Ctrl-C would show a traceback. And not
        # yet armed: what Python calls while it makes a class may turn an exception into another.
        from gdb_lmb.cli.common import dispatch

        signals.arm()
        return dispatch(sys.argv[1:] if argv is None else argv)
    except Signalled as end:
        return 128 + int(end.args[0])
    finally:
        # A process of our own has nothing left to do but to end, and a late Ctrl-C must not change how.
        if argv is not None:
            signals.restore()
        else:
            gc.freeze()


class Signalled(KeyboardInterrupt):
    """Unwind, as Ctrl-C does, because of the signal whose number is the argument."""


class Signals:
    """Our handlers, from `__init__` to `restore`.

    At first a signal is only noted. After `arm` it raises Signalled, once: cleaning up takes time and has
    deadlines, and a second signal must not cut it short.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._armed = False
        # Handlers are set in the main thread only; a signal that is ignored (nohup) stays so.
        handlers = {number: signal.getsignal(number) for number in _SIGNALS}
        ours = threading.current_thread() is threading.main_thread()
        self._before = {n: handler for n, handler in handlers.items() if ours and handler is not signal.SIG_IGN}
        for number in self._before:
            signal.signal(number, self._handle)

    def arm(self) -> None:
        """Raise from now on.

        Raises: Signalled at once for a signal that came before.
        """
        self._armed = True
        if self.received is not None:
            self._raise(self.received)

    def restore(self) -> None:
        """Install what was there before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def crash(self, kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        """End this process on an uncaught exception: Python would with status 1, which here means findings."""
        if self.received is not None:  # whatever it has been turned into on its way
            os._exit(128 + self.received)
        sys.__excepthook__(kind, value, trace)
        os._exit(_INFRASTRUCTURE)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.received is None:
            self.received = number
            if self._armed:
                self._raise(number)

    def _raise(self, received: int) -> None:
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)
        raise Signalled(received)


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
    codecs.register_error(_ERRORS, plain)
    was_open = sys.stdout is not None
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors=_ERRORS)  # type: ignore[union-attr]
    return was_open
