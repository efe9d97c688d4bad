# SPDX-License-Identifier: GPL-2.0-or-later
"""Sourced by the runner before gdb reads a program: imports the commands meanwhile, in a thread.

gdb reads debug information for seconds without needing Python. `load.py` comes afterwards, waits for what is
still under way, and tells what went wrong here.
"""


def _load_ahead() -> None:
    import contextlib
    import importlib
    import os
    import signal
    import sys
    import threading

    own = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
    for folder in [own, *os.environ.get("GDB_LMB_PATH", "").split(os.pathsep)]:
        if folder and folder not in sys.path:
            sys.path.append(folder)

    def work() -> None:
        with contextlib.suppress(ImportError):
            from gdb_lmb.commands import MODULES

            names = [f"gdb_lmb.commands.{module}" for module, *_ in MODULES.values()]
            # What the commands import only where it is needed, the runner names.
            for name in (*names, *os.environ["GDB_LMB_AHEAD"].split()):
                with contextlib.suppress(ImportError):
                    importlib.import_module(name)

    # gdb's signals are for its own threads.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        threading.Thread(target=work, daemon=True).start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_load_ahead()
del _load_ahead
