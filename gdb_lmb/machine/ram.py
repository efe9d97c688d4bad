# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the machine has RAM, as QEMU or a dump tells: for the search for a kernel whose place is not known.

`monitor` goes through the gdbstub, so this works without a monitor of one's own.
"""

from __future__ import annotations

import re

from gdb_lmb.core.ranges import Range
from gdb_lmb.machine.core import current_dump
from gdb_lmb.machine.stub import monitor

MAX_PHYSICAL_BYTES = 64 << 30
"""How far the search for a moved kernel goes up."""

_RAM = re.compile(r"^ *([0-9a-f]{16})-([0-9a-f]{16}) \(prio -?\d+, ram\)", re.MULTILINE)
_SYSTEM = 'AS "memory"'


def ram_end() -> int:
    """Return where the machine's RAM ends at the latest, a physical address."""
    dump = current_dump()
    if dump is not None:
        return min(MAX_PHYSICAL_BYTES, dump.physical.end)
    sizes = [int(word) for word in monitor("info memory_size_summary").replace(":", " ").split() if word.isdigit()]
    # The hole below 4 GiB moves what does not fit below it up: by 1.25 GiB at most.
    return min(MAX_PHYSICAL_BYTES, sum(sizes) + (5 << 28)) if sizes else MAX_PHYSICAL_BYTES


def ram() -> list[Range]:
    """Return the half-open physical ranges of RAM.

    Looking elsewhere would read the registers of devices. Where QEMU does not tell, everything up to the
    limit counts as RAM.
    """
    dump = current_dump()
    if dump is not None:
        return dump.physical.ranges()
    for view in monitor("info mtree -f").split("FlatView #"):
        found = [(int(low, 16), int(high, 16) + 1) for low, high in _RAM.findall(view)]
        if _SYSTEM in view and found:
            return found
    return [(0, ram_end())]
