# SPDX-License-Identifier: GPL-2.0-or-later
"""Which kind of machine gdb's selected inferior is: the only place that asks."""

from __future__ import annotations

import gdb

from gdb_lmb.machine.dump import DumpMachine, opened_dump
from gdb_lmb.machine.live import LiveMachine

AnyMachine = LiveMachine | DumpMachine
_LIVE = LiveMachine()


def current() -> AnyMachine:
    """Return the machine of the selected inferior. Raises: `LmbError` for a dump that cannot be read."""
    inferior = gdb.selected_inferior()
    is_dump = inferior.connection is not None and inferior.connection.type == "core"
    return opened_dump(inferior) if is_dump else _LIVE
