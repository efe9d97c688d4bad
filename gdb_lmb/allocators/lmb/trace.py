# SPDX-License-Identifier: GPL-2.0-or-later
"""What tracing must know of the list-based LMB: the functions of its interface (lmb.h), and what a call means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gdb_lmb.allocators.base import Call, Role, TracedProgram
from gdb_lmb.allocators.lmb.decode import decode
from gdb_lmb.allocators.lmb.operations import INIT, OPERATIONS
from gdb_lmb.allocators.lmb.program import with_page_size
from gdb_lmb.allocators.lmb.storage import storage_of
from gdb_lmb.core.address import Phase
from gdb_lmb.core.memory import Memory
from gdb_lmb.core.operation import Operation
from gdb_lmb.core.snapshot import Snapshot

ROLES: Mapping[str, Role] = {
    **{f"lmb_{op}": Role(op) for op in (*INIT, *OPERATIONS) if op != "set_limit"},
    "lmb_set_current_limit": Role("set_limit"),
}

CHECKPOINTS = ("lmb_ready", "lmb_scenario_done")
"""Where the fixture kernel's own faults have struck, if any: nothing but a look can tell there."""

BEFORE_GROWTH, GROWING, HANDED_OVER = "before growth", "growing", Phase.HANDED_OVER.value
PHASES = {"init": BEFORE_GROWTH, "allow_growth": GROWING, "free_all": HANDED_OVER}

_NAMES = {"limit": "base", "enable": "flags"}
"""Parameters of the C functions that an operation calls otherwise."""


class LmbAdapter:
    """Turns calls of a program's LMB into operations."""

    def __init__(self, where: TracedProgram) -> None:
        """Take the program; its log and firmware map say nothing that the model has, and are not read at every stop."""
        self._where = where
        program = with_page_size(where.machine, where.program, where.memory)
        self._program = replace(program, log=None, ops=None, firmware=None)
        self.bits, self.page_size = program.bits, program.page_size

    def decode(self, memory: Memory) -> Snapshot:
        """Read the state."""
        return decode(self._program, memory)

    def operation(self, call: Call) -> Operation:
        """Return the call without its output parameter."""
        op = call.role.op
        if op in INIT:
            return INIT[op].call(op)
        values = {_NAMES.get(name, name): value for name, value in call.arguments.items()}
        if op == "alloc":
            del values["base"]
        return OPERATIONS[op].call(op, **values)

    def settled(self, call: Call, operation: Operation, result: int | None) -> tuple[Operation, int | None]:
        """Fetch what `lmb_alloc()` stored, and what `lmb_init()` chose."""
        program = self._program
        if operation.op == "alloc" and result == 0:
            raw = self._where.memory.read(call.arguments["base"], program.bits // 8)
            return operation, int.from_bytes(raw, program.byte_order)
        if operation.op == "init" and result == 0:
            first = storage_of(self.decode(self._where.memory)).blocks[0]
            operation = replace(
                operation,
                base=first.base or 0,
                size=call.arguments["block_size"],
                flags=program.bits,
                align=program.header_size,
                min=program.region.size,
                # A klimit page is one block: then it is the page that tells, and not the argument.
                max=call.arguments["nr_static"] if first.static else first.nr,
            )
        return operation, result

    def switches(self) -> Mapping[str, int]:
        """Return nothing: every setting has a call of its own."""
        return {}
