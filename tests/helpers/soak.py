# SPDX-License-Identifier: GPL-2.0-or-later
"""How often the random tests repeat themselves, and with which seeds: `scripts/test --soak` sets both."""

from __future__ import annotations

import os

ROUNDS = int(os.environ.get("GDB_LMB_SOAK", "1"))
"""Each random test does this many times what it does in the plain lane."""

SEED = int(os.environ.get("GDB_LMB_SEED", "0"))
"""Added to every seed; 0 in CI, so that a commit is judged by the same tests as the one before."""


def seeds(count: int) -> range:
    """Return the seeds of a test that tries `count` of them in the plain lane."""
    return range(SEED, SEED + count * ROUNDS)
