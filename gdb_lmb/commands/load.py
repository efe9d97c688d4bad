# SPDX-License-Identifier: GPL-2.0-or-later
"""What gdb sources to have the lmb-* commands: `source .../gdb_lmb/commands/load.py`.

gdb's Python is the system's. This package's folder, and those in GDB_LMB_PATH (where tabulate is), are
appended to sys.path: nothing of gdb's or the user's is shadowed. The syntax here is old on purpose, so
that an old Python can say that it is too old.
"""


def _load() -> None:
    import os
    import sys

    if sys.version_info < (3, 10):  # noqa: UP036
        print("gdb-lmb: gdb's Python is %d.%d, but 3.10 or newer is needed" % sys.version_info[:2])  # noqa: UP031
        return
    own = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
    for folder in [own, *os.environ.get("GDB_LMB_PATH", "").split(os.pathsep)]:
        if folder and folder not in sys.path:
            sys.path.append(folder)
    from gdb_lmb import commands

    commands.register()


_load()
del _load
