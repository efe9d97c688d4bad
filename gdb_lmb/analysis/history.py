# SPDX-License-Identifier: GPL-2.0-or-later
"""A history that can be asked who reserved what: owners, what their program counters mean, where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gdb_lmb.analysis.owners import Owners, owner_pc
from gdb_lmb.core.record import Record, Symbol, TraceHeader

Look = Callable[[int], "Symbol | None"]
"""Turns a program counter into what it means, None where it is not known."""


@dataclass(frozen=True)
class History:
    """Who reserved what up to now: `source` says by which trace or log, `note` what it lacks, empty for nothing."""

    owners: Owners
    look: Look
    source: str
    note: str = ""

    def owner(self, record: Record) -> int | None:
        """Return the program counter in the first caller outside the allocator, None where none is known."""
        return owner_pc(record, self._function, self.owners.layout)

    def callers(self, record: Record) -> tuple[int, ...]:
        """Return the program counters from the owner on outwards."""
        pc = self.owner(record)
        return record.callers[record.callers.index(pc) :] if pc is not None else ()

    def _function(self, pc: int) -> str | None:
        symbol = self.look(pc)
        return None if symbol is None else symbol.function


def history_of(header: TraceHeader, records: Iterable[Record], look: Look, source: str, note: str = "") -> History:
    """Return the history that the records of a trace make."""
    return History(Owners.of(header, records), look, source, note)
