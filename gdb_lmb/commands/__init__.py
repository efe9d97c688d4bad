# SPDX-License-Identifier: GPL-2.0-or-later
"""The `lmb-*` commands: parse, call, write. Loaded into gdb by `load.py`.

Loading needs no target and no symbols, and may be repeated. A command whose module cannot be imported
is left out with one line; the others work.
"""

from __future__ import annotations

import importlib

# In this order: load_ahead.py imports them in another thread meanwhile, and two threads that import the same modules
# in different orders can get half of one. The prefix is first, for the commands are registered under it.
MODULES = ("prefix", "dump", "check", "map", "free", "who", "whatif", "attach", "trace", "verdict")


def register() -> None:
    """Make gdb know every command."""
    import gdb

    for name in MODULES:
        try:
            module = importlib.import_module(f"gdb_lmb.commands.{name}")
        except ImportError as error:
            what = "lmb" if name == "prefix" else f"lmb-{name}"
            gdb.write(f"gdb-lmb: {what} is not available: {error}\n", gdb.STDERR)
        else:
            module.register()
