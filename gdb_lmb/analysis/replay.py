# SPDX-License-Identifier: GPL-2.0-or-later
"""A saved trace on the model: each result is compared, and the final state."""

from __future__ import annotations

from gdb_lmb.allocators.base import allocator
from gdb_lmb.analysis.lockstep import Divergence, Lockstep
from gdb_lmb.analysis.owners import Owners
from gdb_lmb.core.errors import InputError
from gdb_lmb.core.record import Record, TraceHeader
from gdb_lmb.core.snapshot import Snapshot


class Replay:
    """One trace from its beginning; nothing of it is kept but the state and who owns what."""

    def __init__(self, header: TraceHeader) -> None:
        """Set the model up as the trace's header says. Raises: `InputError`."""
        self._header, self._allocator = header, allocator(header.layout)
        self.replayed = 0
        self.owners = Owners.of(header)
        self.lockstep: Lockstep | None = None
        self._partial = bool(header.lost or header.only)
        if not self._partial:
            model = self._allocator.initial_model(header)
            self.lockstep = None if model is None else Lockstep(model)

    @property
    def divergence(self) -> Divergence | None:
        """Return the first thing in which kernel and model differ."""
        return self.lockstep.divergence if self.lockstep is not None else None

    def follow(self, record: Record) -> None:
        """Take the next operation. After a divergence, and in a trace without its beginning, owners alone go on."""
        self.owners.follow(record)
        if self._partial or self.divergence is not None:
            return
        if self.lockstep is None:
            if record.operation.op not in self._allocator.init:
                first = " or ".join(self._allocator.init)
                raise InputError(
                    f"a trace without an initial state begins with {first}, not with {record.operation.op}"
                )
            self.lockstep = Lockstep(self._allocator.created_model(record.operation, self._header.page_size))
            self.lockstep.seq, self.lockstep.last = record.seq, record
        elif self.lockstep.after(record) is not None:
            return
        self.replayed += 1

    def finish(self, final: Snapshot | None, cut_off: str | None = None) -> str | None:
        """Compare the final state and return why the trace is not verified, None where it is.

        `final` is the state after the last operation, None where it was not recorded; `cut_off` tells in a sentence
        how the trace breaks off. A divergence is no reason of this kind: `divergence` has it.
        """
        if self._header.lost:
            return f"the first {self._header.lost} operations are lost"
        if self._header.only:
            return f"only {', '.join(self._header.only)} were recorded"
        if self.divergence is not None:
            return None
        if cut_off is not None:
            return f"the trace is {cut_off}"
        if final is None or self.lockstep is None:
            return "the trace does not hold the final state"
        self.lockstep.look(final)
        if final.refused and self.divergence is None:
            return f"of the final state, {' and '.join(final.refused)} was not true any more"
        return None
