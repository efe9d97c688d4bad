# SPDX-License-Identifier: GPL-2.0-or-later
"""The `lmb-*` commands: parse, call, write. Loaded into gdb by `load.py`.

Loading needs no target and no symbols, and may be repeated. A command whose module cannot be imported
is left out with one line; the others work.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping

# In this order: load_ahead.py imports them in another thread meanwhile, and two threads that import the same modules
# in different orders can get half of one. The prefix is first, for the commands are registered under it.
MODULES: Mapping[str, tuple[str, ...]] = {
    "prefix": ("base", "LmbPrefix"),
    "dump": ("state", "LmbDump"),
    "check": ("state", "LmbCheck"),
    "map": ("who", "LmbMap"),
    "free": ("whatif", "LmbFree"),
    "who": ("who", "LmbWho", "LmbRegion", "LmbOwner"),
    "whatif": ("whatif", "LmbWhatif"),
    "attach": ("attach", "LmbAttach"),
    "trace": ("trace", "LmbTrace"),
    "verdict": ("state", "LmbVerdict"),
}
"""The module of each command, and its classes of commands and convenience functions."""


def register() -> None:
    """Make gdb know every command."""
    import gdb

    for name, (module, *classes) in MODULES.items():
        try:
            found = importlib.import_module(f"gdb_lmb.commands.{module}")
        except ImportError as error:
            what = "lmb" if name == "prefix" else f"lmb-{name}"
            gdb.write(f"gdb-lmb: {what} is not available: {error}\n", gdb.STDERR)
        else:
            for kind in classes:
                getattr(found, kind).register()
