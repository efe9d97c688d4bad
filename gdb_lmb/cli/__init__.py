# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line `gdb-lmb`: arguments in, exit status out.

stdout carries only what gdb's commands print; whatever this program says itself goes to stderr. This file
holds what must be in place before the rest is even imported: signals, and an exit status that cannot lie.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType, TracebackType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_INFRASTRUCTURE = 4


class Signalled(KeyboardInterrupt):
    """Unwind, as Ctrl-C does, because of signal `number`."""

    def __init__(self, number: int) -> None:
        """Hold the number."""
        self.number = number
        super().__init__()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (without the program's name) and return the exit status."""
    if argv is None:
        sys.excepthook = _crash
    restore = _catch_signals()
    try:
        # Only here: importing takes a tenth of a second, in which a Ctrl-C would show a traceback.
        from gdb_lmb.cli.dispatch import dispatch

        return dispatch(sys.argv[1:] if argv is None else argv)
    except Signalled as end:
        if argv is None:
            restore = _leave_ignored  # the process ends now: an impatient second Ctrl-C must not change how
        return 128 + end.number
    finally:
        restore()


def _crash(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
    """Report a bug of ours loudly, but not as Python does with status 1: that one means findings."""
    if isinstance(value, KeyboardInterrupt):  # in the moments around `main`
        os._exit(128 + (value.number if isinstance(value, Signalled) else signal.SIGINT))
    sys.__excepthook__(kind, value, trace)
    os._exit(_INFRASTRUCTURE)


def _leave_ignored() -> None:
    """Undo nothing."""


def _catch_signals() -> Callable[[], None]:
    """Turn the signals that end a program into an exception; return how to undo that."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None

    def unwind(number: int, _frame: FrameType | None) -> None:
        # Cleaning up takes moments and has deadlines: a second signal must not cut it short.
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        raise Signalled(number)

    # One that is ignored (nohup) stays so.
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, unwind)

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    return restore
