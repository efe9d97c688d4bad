# SPDX-License-Identifier: GPL-2.0-or-later
"""One operation of a traced boot: what was called, what it returned, who called, and when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gdb_lmb.core.operation import Operation
from gdb_lmb.core.snapshot import Snapshot


@dataclass(frozen=True)
class Record:
    """One operation: `seq` counts from 1, `result` is None where the function returns nothing or it is unknown.

    `callers` are program counters, innermost first: the return address of the traced function, then that of
    its caller, and so on. `phase` is the place in the boot.
    """

    seq: int
    operation: Operation
    result: int | None = None
    callers: tuple[int, ...] = ()
    phase: str | None = None

    def __str__(self) -> str:
        """Write number and call: "17 reserve(base=0x0, size=0x1000, flags=0x0)"."""
        return f"{self.seq} {self.operation}"


@dataclass(frozen=True)
class Symbol:
    """What a program counter means: the function it lies in, how far (bytes), and the source line."""

    function: str
    offset: int = 0
    file: str | None = None
    line: int | None = None


@dataclass(frozen=True)
class TraceHeader:
    """What a trace is of, and the state it begins with.

    `source` is "breakpoints" or "log"; `lost` counts the operations before the first record that are not recorded
    (a log that wrapped). `initial` is None where the first operation is the allocator's own `init`.
    `only` names the operations that were recorded, where not all were: such a trace cannot be replayed.
    `behavior` says how this kernel's memblock differs from others, as plain values.
    """

    layout: str
    arch: str
    byte_order: str
    bits: int
    page_size: int
    source: str = "breakpoints"
    initial: Snapshot | None = None
    behavior: Mapping[str, Any] = field(default_factory=dict)
    lost: int = 0
    only: tuple[str, ...] = ()

    @classmethod
    def of(cls, snapshot: Snapshot, **more: Any) -> TraceHeader:
        """Return the header of a trace of the allocator that `snapshot` was taken of; `more` are other members."""
        return cls(snapshot.layout, snapshot.arch, snapshot.byte_order, snapshot.bits, snapshot.page_size, **more)
