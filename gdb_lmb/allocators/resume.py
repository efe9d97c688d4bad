# SPDX-License-Identifier: GPL-2.0-or-later
"""May a model go on from this state? What must hold of any walked state; the rest is each allocator's own."""

from __future__ import annotations

from gdb_lmb.core.errors import StateError
from gdb_lmb.core.snapshot import Snapshot


def unfit(why: str) -> StateError:
    """Return the error for a state that is damaged: what is wrong with it, in words."""
    return StateError(f"no model goes on from here: {why} (lmb-check lists all)")


def require_whole(snapshot: Snapshot, layout: str, owner: str) -> None:
    """Check that a state is one of `layout`, not torn, and that it was read without a defect.

    `owner` names the expected allocator ("a memblock's"). Raises: `StateError`.
    """
    if snapshot.layout != layout:
        raise StateError(f"this state is of layout {snapshot.layout}, not {owner}")
    if snapshot.torn:
        raise StateError(
            f"the stop is inside {snapshot.torn}, so the lists may be between two states: `finish` it first"
        )
    for defect in snapshot.defects:
        raise unfit(defect.what)
