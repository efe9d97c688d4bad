# SPDX-License-Identifier: GPL-2.0-or-later
"""`lmb-free`: the holes, the largest allocation possible, and fragmentation."""

from __future__ import annotations

from collections.abc import Sequence

from gdb_lmb.commands.arguments import JSON, Argument, Options
from gdb_lmb.commands.base import LmbCommand, take_snapshot
from gdb_lmb.commands.names import Names
from gdb_lmb.core.errors import UsageError
from gdb_lmb.core.holes import ALIGNS, LIMITS, FreeSpace, free_space
from gdb_lmb.core.numbers import alignment, number
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.report.free import free_json, free_text


class LmbFree(LmbCommand):
    """Show what memory an allocation may still get.

    Usage: lmb-free [--align N] [--min A] [--max B] [--json]

      --align N  only this alignment, in bytes (default 4K, 64K, 2M and 1G)
      --min A    nothing below A
      --max B    nothing at or above B
      --json     as JSON, schema gdb-lmb/free/1

    The holes are memory less what is reserved, without page 0 and memory marked
    NOMAP, up to the current limit; each lies in one region of memory, as an
    allocation must. Then the largest allocation whose base has an alignment,
    anywhere, and below 1 MiB, 16 MiB and 4 GiB where holes lie on either side.
    Fragmentation is 1 - largest hole / all free bytes: 0 % is one hole. What an
    allocation that first needs more entries gets, tells lmb-whatif. A and B are
    physical: 0x..., 16M, a $variable, sizeof(type), or a symbol.

    Example: lmb-free --max 4G --align 2M
    """

    name = "lmb-free"
    arguments = (Argument("--align"), Argument("--min"), Argument("--max"), JSON)
    writers = (free_json, free_text)

    def ask(self, options: Options) -> tuple[Snapshot, FreeSpace]:
        """Return a snapshot and what is free in it."""
        snapshot, names = take_snapshot(), Names()
        values = {
            name: number(getattr(options, name), f"--{name}", snapshot.bits, names.physical)
            for name in ("min", "max")
            if getattr(options, name) is not None
        }
        aligns: Sequence[int] = ALIGNS
        if options.align is not None:
            aligns = (alignment(options.align, "--align", snapshot.bits, names.value),)
        if "max" in values and values.get("min", 0) >= values["max"]:
            low, high = values.get("min", 0), values["max"]
            raise UsageError(f"--min {low:#x} is not below --max {high:#x}: nothing lies between")
        space = free_space(snapshot, aligns=aligns, limits=() if "max" in values else LIMITS, **values)
        return snapshot, space
