# SPDX-License-Identifier: GPL-2.0-or-later
"""Operations of an early allocator, replayed on its reference model; what differs is told, never raised.

`operation` is one call, `record` that call in a traced boot; `compare` and `diff` hold two states against each
other; `lockstep` follows a boot; `owners` tells who reserved what; `log` replays a guest's own log.
"""

from gdb_lmb.trace.compare import Difference, compare
from gdb_lmb.trace.diff import RegionRow, StateDiff, ValueRow, diff
from gdb_lmb.trace.lockstep import Divergence, Lockstep
from gdb_lmb.trace.log import LogVerdict, check_log, log_operations, log_records
from gdb_lmb.trace.models import initial_model, lmb_model, memblock_model, memblock_values
from gdb_lmb.trace.operation import (
    ARGUMENTS,
    MAX_LINE_BYTES,
    NO_NID,
    OPERATIONS,
    Kind,
    Model,
    Operation,
    apply,
    operation_from,
    operation_json,
    parse_operations,
)
from gdb_lmb.trace.owners import Owners, Piece, function_of, overlaid, owner_name, owner_pc
from gdb_lmb.trace.record import Record, Symbol, TraceHeader
from gdb_lmb.trace.replay import Replay

__all__ = [
    "ARGUMENTS",
    "MAX_LINE_BYTES",
    "NO_NID",
    "OPERATIONS",
    "Difference",
    "Divergence",
    "Kind",
    "Lockstep",
    "LogVerdict",
    "Model",
    "Operation",
    "Owners",
    "Piece",
    "Record",
    "RegionRow",
    "Replay",
    "StateDiff",
    "Symbol",
    "TraceHeader",
    "ValueRow",
    "apply",
    "check_log",
    "compare",
    "diff",
    "function_of",
    "initial_model",
    "lmb_model",
    "log_operations",
    "log_records",
    "memblock_model",
    "memblock_values",
    "operation_from",
    "operation_json",
    "overlaid",
    "owner_name",
    "owner_pc",
    "parse_operations",
]
