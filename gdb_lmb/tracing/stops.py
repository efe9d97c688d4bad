# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a trace stops the guest: calls of the allocator, and places that are only passed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from gdb_lmb.allocators.base import Role


@dataclass(frozen=True)
class Call:
    """A traced call: what the function at `address` does, and its arguments by the names of the C parameters.

    `callers` are program counters, innermost first; `sp` is the stack pointer after the return.
    """

    role: Role
    address: int
    arguments: Mapping[str, int]
    callers: tuple[int, ...]
    sp: int


class Purpose(Enum):
    """What a trace does at a place.

    END: it ends there (`--until`). PANIC: the guest is lost; compare, and end. COMPARE: compare the state with the
    model's. SETTING: inlined code changes a setting of the allocator; remember its callers. INIT_FREED: the kernel
    frees its init code; the breakpoints in it go away.
    """

    END = auto()
    PANIC = auto()
    COMPARE = auto()
    SETTING = auto()
    INIT_FREED = auto()


@dataclass(frozen=True)
class Place:
    """A place that is only passed, with the name of its function or what the user called it."""

    name: str
    address: int
    purpose: Purpose
