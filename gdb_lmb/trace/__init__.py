# SPDX-License-Identifier: GPL-2.0-or-later
"""Operations of an early allocator, replayed on its reference model; what differs is told, never raised.

`operation` is one call; `compare` holds two states against each other; `log` replays a guest's own log.
"""

from gdb_lmb.trace.compare import Difference, compare
from gdb_lmb.trace.log import LogVerdict, check_log, log_operations
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

__all__ = [
    "ARGUMENTS",
    "MAX_LINE_BYTES",
    "NO_NID",
    "OPERATIONS",
    "Difference",
    "Kind",
    "LogVerdict",
    "Model",
    "Operation",
    "apply",
    "check_log",
    "compare",
    "log_operations",
    "operation_from",
    "operation_json",
    "parse_operations",
]
