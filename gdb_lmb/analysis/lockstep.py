# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel and model side by side: after which operation do they differ for the first time?

`Lockstep` takes each operation and the walked state before and after it. It compares the result
of each, the state after every `every`-th, and whether anything changed between two operations. With `every`
above 1 a divergence lies somewhere after the last state that agreed; `Lockstep` keeps a copy of the model at that point
and the records since, so that `narrow` finds the first that differs, given states from a second run.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

from gdb_lmb.allocators.base import allocator
from gdb_lmb.analysis.compare import StateDiff, compare, diff
from gdb_lmb.core.errors import GuestPanicError
from gdb_lmb.core.operation import Model, Record
from gdb_lmb.core.snapshot import Snapshot

RESULT, STATE, OUTSIDE, PANIC = "result", "state", "outside", "panic"
"""What differed: the value returned, the state afterwards, the state with no operation to blame, or the kernel
went on where the model says that it stops."""


@dataclass(frozen=True)
class Divergence:
    """The first thing in which kernel and model differ.

    `record` is the operation after which it was seen; for kind `OUTSIDE` the last one before the change, None
    where none had run. `good` is the number of the last operation after which both were seen to agree (0: the
    beginning): where it is not the one before `record`, the fault lies in between. `message` is one sentence
    without names of callers; `diff` is all that differs, None where only the results do. `expected` and `found`
    are the results.
    """

    kind: str
    record: Record | None
    good: int
    message: str
    expected: int | None = None
    found: int | None = None
    diff: StateDiff | None = None
    address: int | None = None

    @property
    def exact(self) -> bool:
        """Tell whether the operation named is known to be the first that differs."""
        # A wrong result may follow from a state that went wrong before, while states were not compared.
        return self.kind == OUTSIDE or self.record is None or self.good == self.record.seq - 1


class Lockstep:
    """The model of one boot, one step behind the kernel and then level with it.

    `model` is in the state in which the trace begins. States are compared after every `every`-th operation, and
    only after those past number `trusted` (what a first run has already seen to be right).
    """

    def __init__(self, model: Model, *, every: int = 1, trusted: int = 0) -> None:
        """Take the model over: no other code may change it. Raises: `ValueError` for `every` below 1."""
        if every < 1:
            raise ValueError(f"every {every} operations: it must be 1 or more")
        self.model, self._allocator = model, allocator(model.layout)
        self.every = every
        self.trusted = trusted
        self.seq = self.good = 0
        self.last: Record | None = None
        self.divergence: Divergence | None = None
        self._expected: Snapshot | None = None
        self._since: list[Record] = []
        self._checkpoint = copy.deepcopy(model) if every > 1 else None

    @property
    def expected(self) -> Snapshot:
        """Return the state that the kernel must have now."""
        if self._expected is None:
            self._expected = self.model.snapshot()
        return self._expected

    def due(self, seq: int) -> bool:
        """Tell whether `after` wants the state that operation number `seq` leaves."""
        return seq > self.trusted and seq % self.every == 0

    def between(self, snapshot: Snapshot, when: str = "") -> Divergence | None:
        """Compare the state between two operations with the state that the last one left.

        A difference was made outside of any operation, and `when` is put before the message; but where states have
        not been compared since `good`, one of the operations since then may have made it.
        """
        outside = self.good == self.seq
        return self.look(snapshot, OUTSIDE if outside else STATE, when if outside else "")

    def after(self, record: Record, snapshot: Snapshot | None = None) -> Divergence | None:
        """Run one operation on the model, compare what it returned and, where given, the state it left."""
        self.seq, self.last, self._expected = record.seq, record, None
        if self._checkpoint is not None:
            self._since.append(record)
        try:
            returned = self._allocator.apply(self.model, record.operation)
        except GuestPanicError as error:
            message = f"it returned, but the kernel should have stopped: {error}"
            return self._diverged(Divergence(PANIC, record, self.good, message))
        if returned is not None and record.result is not None and returned != record.result:
            text = self._allocator.kind(record.operation.op).result_text
            return self._diverged(
                Divergence(
                    RESULT,
                    record,
                    self.good,
                    f"it returned {text(record.result)}, but {text(returned)} is expected",
                    returned,
                    record.result,
                    None if snapshot is None else diff(self.expected, snapshot),
                )
            )
        return None if snapshot is None else self.look(snapshot, returned=returned)

    def narrow(self, state_after: Callable[[int], Snapshot | None]) -> Divergence | None:
        """Find the first operation after the last good state whose own state differs.

        `state_after` gives the kernel's state after the operation of a number, from what was kept or from a
        second run, or None where it is not known. Returns the divergence, narrowed as far as the states go.
        """
        found = self.divergence
        if found is None or found.exact or self._checkpoint is None:
            return found
        lockstep = Lockstep(copy.deepcopy(self._checkpoint))
        lockstep.good = lockstep.seq = self.good
        for record in self._since:
            earlier = lockstep.after(record, state_after(record.seq))
            if earlier is not None:
                break
        else:
            # Nothing differed where the states were known: what remains unknown is still narrower, and nothing remains
            # but the time after the last operation if even the state that this one left is known.
            good = max(found.good, lockstep.good)
            kind = OUTSIDE if found.record is not None and good == found.record.seq else found.kind
            earlier = replace(found, kind=kind, good=good)
        self.divergence = earlier
        return earlier

    def look(
        self, snapshot: Snapshot, kind: str = STATE, prefix: str = "", returned: int | None = None
    ) -> Divergence | None:
        """Compare the state now: after an operation that `returned` something, or at the end of a trace.

        `prefix` is put before the message of a divergence of this `kind`.
        """
        difference = compare(self.expected, snapshot, whole=True)
        if difference is None:
            if not snapshot.refused:  # else there is nothing that could agree
                self.good = self.seq
                if self._checkpoint is not None:
                    self._checkpoint = copy.deepcopy(self.model)
                    self._since.clear()
            return None
        return self._diverged(
            Divergence(
                kind,
                self.last,
                self.good,
                prefix + difference.message,
                returned,
                self.last.result if self.last else None,
                diff(self.expected, snapshot),
                difference.address,
            )
        )

    def _diverged(self, divergence: Divergence) -> Divergence:
        # The first one is kept: whatever follows may be its consequence.
        self.divergence = self.divergence or divergence
        return divergence
