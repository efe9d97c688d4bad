# SPDX-License-Identifier: GPL-2.0-or-later
"""The calls of a trace that failed, and what was missing for those that asked for memory."""

from __future__ import annotations

from collections.abc import Callable

from gdb_lmb.allocators.base import allocator
from gdb_lmb.analysis.owners import Look, function_of, owner_name
from gdb_lmb.core.operation import Record
from gdb_lmb.core.snapshot import Finding, Snapshot
from gdb_lmb.core.words import NOTE

MAX_NOTES = 100
"""How many failed allocations are told one by one; `count` has all."""


class Failures:
    """The failed calls of one trace: `count` of any kind; a note for each allocation."""

    def __init__(self, layout: str) -> None:
        self.count = 0
        self._layout, self._allocator = layout, allocator(layout)
        self._kept: list[tuple[Record, str | None]] = []

    def see(self, record: Record, state: Callable[[], Snapshot | None]) -> None:
        """Take the next operation; `state` gives the state in which it ran, None where that is not known.

        A call that fails leaves it as it was.
        """
        op = record.operation.op
        if not self._allocator.kind(op).failed(record.result):
            return
        self.count += 1
        if self._allocator.allocates(op) and len(self._kept) < MAX_NOTES:
            at = state()
            self._kept.append((record, None if at is None else self._allocator.missing(at, record.operation)))

    def notes(self, look: Look) -> list[Finding]:
        """Return a note for each allocation that failed; the kernel may try again elsewhere, so it is no fault."""
        out = []
        for record, why in self._kept:
            caller = owner_name(record, function_of(look), self._layout)
            told = f"operation {record.seq}, {record.operation}, called from {caller}, failed"
            out.append(Finding("allocation-failed", NOTE, told + (f": {why}" if why else ""), ()))
        return out
