# SPDX-License-Identifier: GPL-2.0-or-later
"""What may be asked of a trace, on the command line and in gdb."""

from __future__ import annotations

from dataclasses import dataclass

from gdb_lmb.core.errors import UsageError
from gdb_lmb.core.words import safe


@dataclass(frozen=True)
class TraceOptions:
    """What is traced: `until` which place (None: the hand-over), `only` which operations (empty: all).

    With `lockstep` the reference model runs beside the kernel; states are compared after every `every`-th operation
    (None: after each).
    """

    lockstep: bool = False
    every: int | None = None
    until: str | None = None
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what does not go together. Raises: `UsageError`."""
        if self.until is not None and not self.until.strip():
            raise UsageError("--until is empty: name a symbol, FILE:LINE or *ADDRESS")
        if self.every is not None and not self.lockstep:
            raise UsageError("--every says how often to compare: it needs --lockstep")
        if self.lockstep and self.only:
            raise UsageError("--lockstep needs every operation: leave --only out")
        if not self.only:
            return
        # Every `gdb-lmb` command imports this file, and only `trace --only` needs the allocators: 20 ms.
        from gdb_lmb.allocators.base import allocator, names

        known = {op for name in names() for table in (allocator(name).init, allocator(name).operations) for op in table}
        for op in self.only:
            if op not in known:
                raise UsageError(f"unknown operation {safe(op, 40)!r}: there are {', '.join(sorted(known))}")
