# SPDX-License-Identifier: GPL-2.0-or-later
"""Records of a trace for people and as JSON: one line each, and which of them are asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gdb_lmb.allocators.base import allocator
from gdb_lmb.analysis.owners import function_of, owner_pc
from gdb_lmb.core.errors import UsageError
from gdb_lmb.core.ranges import Range
from gdb_lmb.core.record import Record, Symbol
from gdb_lmb.core.words import safe
from gdb_lmb.core.written import result_text
from gdb_lmb.report.divergence import place, symbols_json
from gdb_lmb.report.table import table
from gdb_lmb.report.terminal import PLAIN, Terminal
from gdb_lmb.report.trace_file import record_json

SHOW_SCHEMA = "gdb-lmb/trace-show/1"


@dataclass(frozen=True)
class Wanted:
    """Which records to show: the last `last` of those with a caller like `caller` and a range that meets `within`."""

    last: int | None = None
    caller: re.Pattern[str] | None = None
    within: Range | None = None

    def of(self, records: Sequence[Record], symbols: Mapping[int, Symbol], layout: str) -> list[Record]:
        """Return the records that are wanted, in their order."""
        found = [record for record in records if self._fits(record, symbols, layout)]
        return found if self.last is None else found[len(found) - min(self.last, len(found)) :]

    def _fits(self, record: Record, symbols: Mapping[int, Symbol], layout: str) -> bool:
        if self.caller is not None and not any(self.caller.search(place(pc, symbols)) for pc in record.callers):
            return False
        if self.within is None:
            return True
        touched = allocator(layout).touched(record)
        return touched is not None and touched[0] < self.within[1] and self.within[0] < touched[1]


def parse_caller(text: str) -> re.Pattern[str]:
    """Read a regular expression for callers. Raises: `UsageError`."""
    try:
        return re.compile(text)
    except re.error as error:
        raise UsageError(f"{safe(text, 80)!r} is no regular expression: {error}") from None


def trace_table(
    records: Sequence[Record], symbols: Mapping[int, Symbol], layout: str, terminal: Terminal = PLAIN
) -> str:
    """Return one row for each record: number, call, result, the first caller outside the allocator, the phase."""
    if not records:
        return "no operation"
    rows = [
        [str(record.seq), str(record.operation), result_text(record.result), _owner(record, symbols, layout),
         record.phase or "-"]
        for record in records
    ]  # fmt: skip
    headers = ["#", "operation", "result", "caller", "in the boot"]
    return "\n".join(table(rows, headers, ("#", "result"), terminal, cut=("operation", "caller", "in the boot")))


def _owner(record: Record, symbols: Mapping[int, Symbol], layout: str) -> str:
    pc = owner_pc(record, function_of(symbols), layout)
    return "-" if pc is None else place(pc, symbols)


def trace_json(records: Sequence[Record], symbols: Mapping[int, Symbol], layout: str, total: int) -> dict[str, Any]:
    """Return the records as JSON values of schema `gdb-lmb/trace-show/1`; `total` is how many there are in all."""
    return {
        "schema": SHOW_SCHEMA,
        "layout": layout,
        "total": total,
        "records": [record_json(record) for record in records],
        "symbols": symbols_json({pc: None for record in records for pc in record.callers}, symbols),
    }
