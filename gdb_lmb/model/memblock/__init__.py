# SPDX-License-Identifier: GPL-2.0-or-later
"""The reference model of Linux's memblock, the array-backed heir of LMB.

`generation` says what differs between kernels, `table` is one list, `search` looks for free memory, `core`
is what all operations are made of, `model` the allocator.
"""

from __future__ import annotations

from gdb_lmb.model.memblock.core import MemblockEndError
from gdb_lmb.model.memblock.generation import (
    LINUX_6_1,
    LINUX_6_12,
    LINUX_7_3,
    Generation,
    MemblockConfig,
    generation_of,
)
from gdb_lmb.model.memblock.model import MemblockModel

__all__ = [
    "LINUX_6_1",
    "LINUX_6_12",
    "LINUX_7_3",
    "Generation",
    "MemblockConfig",
    "MemblockEndError",
    "MemblockModel",
    "generation_of",
]
