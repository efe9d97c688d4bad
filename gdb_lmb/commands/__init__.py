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
    "prefix": ("LmbPrefix",),
    "dump": ("LmbDump",),
    "check": ("LmbCheck",),
    "map": ("LmbMap",),
    "free": ("LmbFree",),
    "who": ("LmbWho", "LmbRegion", "LmbOwner"),
    "whatif": ("LmbWhatif",),
    "attach": ("LmbAttach",),
    "trace": ("LmbTrace",),
    "verdict": ("LmbVerdict",),
}
"""The classes of commands and convenience functions, by module."""


def register() -> None:
    """Make gdb know every command."""
    import gdb

    for name, classes in MODULES.items():
        try:
            module = importlib.import_module(f"gdb_lmb.commands.{name}")
        except ImportError as error:
            what = "lmb" if name == "prefix" else f"lmb-{name}"
            gdb.write(f"gdb-lmb: {what} is not available: {error}\n", gdb.STDERR)
        else:
            for kind in classes:
                getattr(module, kind).register()
