# SPDX-License-Identifier: GPL-2.0-or-later
"""States made by hand: a snapshot with something changed in its storage."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gdb_lmb.allocators.lmb.storage import LmbStorage
from gdb_lmb.allocators.memblock.storage import MemblockStorage
from gdb_lmb.core.snapshot import Snapshot


def stored(snapshot: Snapshot, **changes: Any) -> Snapshot:
    """Return a snapshot whose storage has other values."""
    return replace(snapshot, storage=replace(snapshot.storage, **changes))


def lmb(snapshot: Snapshot) -> LmbStorage:
    """Return the storage of a list-based LMB."""
    assert isinstance(snapshot.storage, LmbStorage)
    return snapshot.storage


def memblock(snapshot: Snapshot) -> MemblockStorage:
    """Return the storage of a memblock."""
    assert isinstance(snapshot.storage, MemblockStorage)
    return snapshot.storage
