# SPDX-License-Identifier: GPL-2.0-or-later
"""Random operations of the list-based LMB."""

from __future__ import annotations

import random

from gdb_lmb.core.operation import Operation

LMB_BLOCK = 0x80000000


def random_range(rng: random.Random, limit: int) -> tuple[int, int]:
    """Return a base and a size that often touch, overlap or hit the edges of others."""
    grain = rng.choice((1, 16, 256, 4096, 4096, 4096))
    base = rng.randrange(0, 600) * grain
    size = rng.choice((1, 1, 2, 3, 7, 40)) * grain
    style = rng.random()
    if style < 0.02:
        base = limit - rng.randrange(0, 3 * size + 1)
    elif style < 0.03:
        size = 0
    elif style < 0.04:
        base, size = 0, limit
    elif style < 0.05:
        size = rng.choice((limit - rng.randrange(5000), limit // 2 + rng.randrange(5000)))
    elif style < 0.06:
        base = limit // 2 + rng.randrange(-5000, 5000)
    elif style < 0.065:
        base = limit
    elif style < 0.075:
        size = 1 << rng.randrange(20, 24)
    return max(base, 0), min(size, limit)


def random_operation(rng: random.Random, bits: int, weight: dict[str, int]) -> Operation:
    limit = (1 << bits) - 1
    op = rng.choices(list(weight), list(weight.values()))[0]
    flags = rng.choice((*(0,) * 12, 1, 1, 2, 2, 4, 4, 3, 7, 0x80, 0x7FFFFFFF, LMB_BLOCK, 0xFFFFFFFF))
    base, size = random_range(rng, limit)
    if op == "alloc":
        align = rng.choice((0, 1, 2, 64, 4096, 4096, 65536, 3, 1 << rng.randrange(bits)))
        low = rng.choice((0, 0, 0, base))
        high = rng.choice((0, 0, 0, min(base + 64 * size, limit), limit, max(low, 2) // 2))
        return Operation(op, size=size, flags=flags, align=align, min=low, max=high)
    if op in ("add", "reserve"):
        return Operation(op, base, size, flags)
    if op in ("mark", "clear"):
        return Operation(op, base, size, rng.choice((1, 1, 2, 2, 4, 4, 4, flags)))
    if op == "enforce_limit":
        return Operation(op, size=rng.choice((0, size, limit, rng.randrange(600) * 4096 + rng.randrange(2))))
    if op in ("remove", "free"):
        return Operation(op, base, size)
    if op == "set_limit":
        return Operation(
            op, base=rng.choice((limit, limit, 600 * 4096, rng.randrange(0, 600) * 4096, rng.randrange(600 << 12)))
        )
    if op == "set_bottom_up":
        return Operation(op, flags=rng.randrange(2))
    return Operation(op)


WEIGHTS = {
    "add": 6, "remove": 4, "mark": 4, "clear": 4, "enforce_limit": 1, "reserve": 10, "free": 8, "alloc": 10,
    "set_limit": 1, "set_bottom_up": 1,
}  # fmt: skip
