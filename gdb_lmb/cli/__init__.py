# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line `gdb-lmb`: arguments in, exit status out.

stdout carries only what gdb's commands print; whatever this program says itself goes to stderr. This file
holds what must be in place before the rest is even imported: signals, and an exit status that cannot lie.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from types import TracebackType

from gdb_lmb.cli.startup import Signalled, Signals, open_all

_INFRASTRUCTURE = 4


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (without the program's name) and return the exit status.

    With None it takes the process's own arguments, and takes the process to end with it.
    """
    signals = Signals()
    if argv is None:
        sys.excepthook = _crash_hook(signals)
        if not open_all():
            sys.stderr.write("gdb-lmb: cannot write to stdout: it is closed\n")
            return _INFRASTRUCTURE
    try:
        # Only here: importing takes a tenth of a second, in which a Ctrl-C would show a traceback. And not
        # yet armed: what Python calls while it makes a class may turn an exception into another.
        from gdb_lmb.cli.dispatch import dispatch

        signals.arm()
        return dispatch(sys.argv[1:] if argv is None else argv)
    except Signalled as end:
        return 128 + end.number
    finally:
        # A process of our own has nothing left to do but to end, and a late Ctrl-C must not change how.
        if argv is not None:
            signals.restore()


def _crash_hook(signals: Signals) -> Callable[[type[BaseException], BaseException, TracebackType | None], None]:
    """Return what ends this process on an uncaught exception.

    Python would end with status 1, which here means findings.
    """

    def crash(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        if signals.received is not None:  # whatever it has been turned into on its way
            os._exit(128 + signals.received)
        sys.__excepthook__(kind, value, trace)
        os._exit(_INFRASTRUCTURE)

    return crash
