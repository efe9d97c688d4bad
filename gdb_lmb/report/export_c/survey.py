# SPDX-License-Identifier: GPL-2.0-or-later
"""What must be known of a whole trace before its first line of C can be written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from gdb_lmb.allocators.memblock.model import MemblockModel
from gdb_lmb.allocators.memblock.storage import storage_of
from gdb_lmb.analysis.replay import Replay
from gdb_lmb.core.errors import InputError
from gdb_lmb.core.ranges import Range, union
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.report.trace_file import TraceReader


@dataclass
class Survey:
    """What a trace holds, all of it read: the state in the end, symbols, and where doubled arrays lay.

    `agrees` is None where kernel and model agree, else a sentence that says where they do not.
    """

    reader: TraceReader
    initial: Snapshot
    final: Snapshot
    agrees: str | None
    arrays: list[Range] = field(default_factory=list)
    ops: set[str] = field(default_factory=set)
    mirror: bool = False
    highest_node: int = -1


def survey(reader: TraceReader) -> Survey:
    """Read a whole trace. Raises: `InputError` for one that the simulator cannot run."""
    header = reader.header
    if header.layout != "memblock" or header.initial is None:
        raise InputError(f"the kernel's simulator knows memblock only, not {header.layout}")
    if header.lost:
        raise InputError(f"the first {header.lost} operations are lost, so that nothing can be run again")
    if any(not array.static for array in storage_of(header.initial).arrays):
        raise InputError("the trace begins with an array that was doubled before: the simulator starts with none")
    replay = Replay(header)
    model = replay.lockstep.model if replay.lockstep is not None else None
    assert isinstance(model, MemblockModel)
    seen = Survey(reader, header.initial, header.initial, None)
    doublings = 0
    for record in reader:
        operation = record.operation
        seen.ops.add(operation.op)
        seen.mirror |= operation.op == "setclr_flag" and bool(operation.flags & 0x2)
        if operation.nid is not None and operation.nid != header.initial.no_node:
            seen.highest_node = max(seen.highest_node, operation.nid)
        replay.follow(record)
        if model.doublings != doublings:
            doublings = model.doublings
            seen.arrays += _grown(model.snapshot(), header.page_size)
    recorded = reader.end.final if reader.end is not None else None
    why = replay.finish(recorded, reader.cut_off)
    if replay.divergence is not None:
        why = f"kernel and model differ: {replay.divergence.message}"
    seen.agrees = why
    if recorded is not None and recorded.refused:
        recorded = None
    if recorded is None and replay.divergence is not None:
        raise InputError(f"the trace does not hold the final state, and {why}")
    seen.final = model.snapshot() if recorded is None else recorded
    for regions in seen.final.lists:
        if regions.cnt != len(regions):
            raise InputError(f"the final state is damaged: {regions.name}.cnt is {regions.cnt} of {len(regions)}")
    seen.arrays = union([*seen.arrays, *_grown(seen.final, header.page_size)])
    return seen


def _grown(snapshot: Snapshot, page_size: int) -> Iterator[Range]:
    for array in storage_of(snapshot).arrays:
        if not array.static and array.base is not None:
            yield array.base, array.base + -(-array.size // page_size) * page_size
