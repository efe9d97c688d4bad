# SPDX-License-Identifier: GPL-2.0-or-later
"""A live guest, through QEMU's gdbstub; QEMU's monitor is asked through it too."""

from __future__ import annotations

import re

from gdb_lmb.core.memory import Memory, Meter
from gdb_lmb.core.ranges import Range
from gdb_lmb.machine.base import GdbMachine
from gdb_lmb.machine.reader import GdbMemory
from gdb_lmb.machine.stub import StubMemory, monitor

MAX_PHYSICAL_BYTES = 64 << 30
"""How far the search for a moved kernel goes up."""

_RAM = re.compile(r"^ *([0-9a-f]{16})-([0-9a-f]{16}) \(prio -?\d+, ram\)", re.MULTILINE)
_SYSTEM = 'AS "memory"'


class LiveMachine(GdbMachine):
    """A guest that can be let run."""

    can_run = True
    lacking = None

    def physical(self, meter: Meter | None = None) -> StubMemory:
        """Return what reads physical addresses inside its `with` block."""
        return StubMemory(meter)

    def virtual(self) -> Memory:
        """Return what reads virtual addresses as the selected CPU translates them."""
        return GdbMemory()

    def translate(self, va: int) -> int | None:
        """Return the physical address of `va` by the page tables in force, None where it is not mapped."""
        # The monitor's answer is of the first CPU; all have the kernel mapped alike.
        mark, _, found = monitor(f"gva2gpa {va:#x}").strip().rpartition("gpa: ")
        try:
            return None if mark else int(found, 16)
        except ValueError:
            return None

    def ram(self) -> list[Range]:
        """Return the ranges of RAM; where QEMU does not tell, everything up to the limit counts as RAM."""
        for view in monitor("info mtree -f").split("FlatView #"):
            found = [(int(low, 16), int(high, 16) + 1) for low, high in _RAM.findall(view)]
            if _SYSTEM in view and found:
                return found
        return [(0, self.ram_end())]

    def ram_end(self) -> int:
        """Return the physical address at which RAM ends at the latest."""
        sizes = [int(word) for word in monitor("info memory_size_summary").replace(":", " ").split() if word.isdigit()]
        # The hole below 4 GiB moves what does not fit below it up: by 1.25 GiB at most.
        return min(MAX_PHYSICAL_BYTES, sum(sizes) + (5 << 28)) if sizes else MAX_PHYSICAL_BYTES
