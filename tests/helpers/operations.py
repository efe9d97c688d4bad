# SPDX-License-Identifier: GPL-2.0-or-later
"""Operations of either allocator that comes with the package, written shortly."""

from __future__ import annotations

from typing import Any

from gdb_lmb.allocators.base import allocator
from gdb_lmb.allocators.lmb.operations import INIT
from gdb_lmb.allocators.lmb.operations import OPERATIONS as LMB
from gdb_lmb.allocators.memblock.operations import OPERATIONS as MEMBLOCK
from gdb_lmb.core.operation import Model, Operation

TABLE = {**MEMBLOCK, **LMB, **INIT}
"""What both have (set_bottom_up, free_all) takes the same in both."""


def op(name: str, base: int = 0, size: int = 0, **more: Any) -> Operation:
    """Return an operation with the arguments that its table says it takes."""
    return TABLE[name].call(name, base=base, size=size, **more)


def apply(model: Model, operation: Operation) -> int | None:
    """Run one operation on a model, by the table of its allocator."""
    return allocator(model.layout).apply(model, operation)
