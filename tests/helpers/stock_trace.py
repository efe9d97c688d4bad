# SPDX-License-Identifier: GPL-2.0-or-later
"""Traces of whole boots of unmodified kernels, and the kernel's own printout beside them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from gdb_lmb.core.operation import Record
from gdb_lmb.report.trace_file import TraceReader
from gdb_lmb.runner.session import GuestSession

TWO_NODES = ("-object", "memory-backend-ram,id=m0,size=256M", "-object", "memory-backend-ram,id=m1,size=256M",
             "-numa", "node,memdev=m0,cpus=0", "-numa", "node,memdev=m1,cpus=1")  # fmt: skip


def status_of(guest: GuestSession) -> dict[str, Any]:
    output = guest.command("lmb-trace status --json")
    status: dict[str, Any] = json.loads(output[output.index('{"schema"') :])
    return status


def read(path: Path) -> tuple[TraceReader, list[Record]]:
    with path.open("rb") as file:
        reader = TraceReader(file)
        return reader, list(reader)


PRINTED = re.compile(
    r"(?:__)?memblock_(add|remove|reserve|phys_free): \[0x([0-9a-f]+)-0x([0-9a-f]+)\]"
    r"(?: nid=\S+ flags=\S+)? (\S+)\+(0x[0-9a-f]+)/"
)
CALLS = {
    "add": ("add_range", "memory"),
    "remove": ("remove_range", "memory"),
    "reserve": ("add_range", "reserved"),
    "phys_free": ("remove_range", "reserved"),
}


def assert_printed(console: str, reader: TraceReader, records: list[Record]) -> None:
    """Find every call that the kernel printed among the records, in its order: range and caller to the byte."""
    calls = iter(records)
    found = 0
    for call, first, last, function, offset in PRINTED.findall(console):
        base, end = int(first, 16), int(last, 16) + 1
        if not base <= end or "alloc_range_nid" in function:
            continue  # sizes of 0 and of all there is; an allocation is recorded as one
        for record in calls:
            operation = record.operation
            if (operation.op, operation.list, operation.base) != (*CALLS[call], base):
                continue
            if operation.base + operation.size != end:
                continue
            # The allocator's own functions come first, and what jumps into them instead of calling.
            places = [reader.symbols.get(pc) for pc in record.callers[:5]]
            if any(p and (p.function, p.offset) == (function, int(offset, 16)) for p in places):
                break
        else:
            raise AssertionError(f"{call} of [{first}-{last}] by {function}+{offset} was not recorded")
        found += 1
    assert found > 3
