# SPDX-License-Identifier: GPL-2.0-or-later
"""The selected CPU's registers, as far as gdb or a dump's notes have them."""

from __future__ import annotations

import gdb

from gdb_lmb.target.core import current_dump

_WORD = (1 << 64) - 1


def register(name: str) -> int | None:
    """Return a register of the selected CPU as an unsigned number, None where gdb has none of that name."""
    try:
        return int(gdb.newest_frame().read_register(name)) & _WORD
    except (ValueError, gdb.error):
        return None


def current_pc() -> int:
    """Return the selected CPU's program counter, from a dump's own notes where gdb does not understand them."""
    dump = current_dump()
    noted = dump.cpu() if dump is not None else None
    return noted.pc if noted is not None else gdb.newest_frame().pc()
