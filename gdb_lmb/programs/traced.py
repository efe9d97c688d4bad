# SPDX-License-Identifier: GPL-2.0-or-later
"""An allocator in a program that runs where the debugger has its symbols, as a trace reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gdb_lmb.allocators.base import Allocator
from gdb_lmb.core.errors import ReadError, StateError
from gdb_lmb.core.machine import Machine
from gdb_lmb.core.memory import BoundedMemory, Capture, Memory
from gdb_lmb.core.operation import Model
from gdb_lmb.core.snapshot import Snapshot

Facts = Callable[[], Mapping[str, Any]]


class Traced:
    """The allocator of a program that lies where its ELF says, and is read as the CPU translates its addresses.

    `program` is the allocator's own description of it; `offset` is what run-time addresses are above linked ones;
    `memory` reads virtual addresses. `adapter` knows what a call means.
    """

    offset = 0

    def __init__(
        self, machine: Machine, own: Allocator, program: Any, memory: Memory | None = None, facts: Facts = dict
    ) -> None:
        """Trace `own`; `facts` tells what `Allocator.resume()` must know beside a state. Raises: `LmbError`."""
        self.machine = machine
        self.allocator = own
        self.program = program
        self.memory = memory or machine.virtual()
        self._facts = facts
        self.adapter = own.adapter(self)
        self._capture = Capture(self.memory)

    def physical(self, va: int) -> int:
        """Return the physical address of `va`. Raises: `LmbError`."""
        raise ReadError(va, 1, "its physical address is not known")

    def begin(self) -> Snapshot:
        """Read the state with which a trace begins. Raises: `StateError` for a torn one, `LmbError`."""
        require_whole(self.allocator.torn_in(self.machine))
        return self.read()

    def read(self) -> Snapshot:
        """Read the state; what was read is kept. Raises: `LmbError`."""
        self._capture = Capture(self.memory)
        return self.adapter.decode(BoundedMemory(self._capture))

    def unchanged(self) -> bool:
        """Tell whether the bytes that `read()` asked for last are still the same."""
        return self._capture.unchanged()

    def model(self, state: Snapshot) -> Model:
        """Return the reference model that goes on from `state`. Raises: `StateError`."""
        return self.allocator.resume(state, self._facts())


def require_whole(torn: str | None) -> None:
    """Check that the stop is in no function of the allocator, `torn`. Raises: `StateError`."""
    if torn is not None:
        raise StateError(f"the stop is inside {torn}(), whose operation would be recorded in part: `finish` it first")
