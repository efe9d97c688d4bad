# SPDX-License-Identifier: GPL-2.0-or-later
"""A saved trace as a test in C for the kernel's own simulator of its allocator, which the allocator writes.

The trace is read twice: `survey` learns what the head of the file needs, `source` writes as it reads.
"""

from __future__ import annotations

from collections.abc import Iterator

from gdb_lmb.allocators.base import CTest, allocator
from gdb_lmb.analysis.owners import function_of, owner_name
from gdb_lmb.analysis.replay import Replay
from gdb_lmb.core.errors import InputError
from gdb_lmb.report.trace_file import TraceReader


def survey(reader: TraceReader) -> CTest:
    """Read a whole trace. Raises: `InputError` for one that the simulator cannot run."""
    header = reader.header
    test = allocator(header.layout).simulator_test(header)
    replay = Replay(header)
    if replay.lockstep is None:
        raise InputError(f"{replay.finish(None)}, so that nothing can be run again")
    model = replay.lockstep.model
    for record in reader:
        replay.follow(record)
        test.see(record, model)
    recorded = reader.end.final if reader.end is not None else None
    why = replay.finish(recorded, reader.cut_off)
    if recorded is not None and recorded.refused:
        recorded = None
    if replay.divergence is not None:
        why = f"kernel and model differ: {replay.divergence.message}"
        if recorded is None:
            raise InputError(f"the trace does not hold the final state, and {why}")
    function = function_of(reader.symbols.get)
    test.finish(recorded or model.snapshot(), why, lambda record: owner_name(record, function, header.layout))
    return test


def source(test: CTest, reader: TraceReader, name: str) -> Iterator[str]:
    """Yield the C file in pieces for the trace that was surveyed, which `reader` reads once more.

    Raises: `InputError` naming the operation that no public function does.
    """
    return test.lines(name, reader)
