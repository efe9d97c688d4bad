# SPDX-License-Identifier: GPL-2.0-or-later
"""A small list-based LMB of revision 1, of which every place and number was worked out by hand."""

from __future__ import annotations

from gdb_lmb.allocators.lmb.model import LmbConfig, LmbModel
from tests.helpers.image import ABIS, Image, build
from tests.helpers.operations import apply, op

FIRMWARE = [(0, 0x9F000, 1), (0x9F000, 0x1000, 2), (0x100000, 0x1F01000, 1)]

# An array of five entries, then one block of 256 bytes with five more: a header of 40 bytes, entries of 40 bytes.
# The block is the first to be taken from the top; 0:0 to 0:4 and 1:0, 1:1 are in use, in this order.
BOOT = [
    op("add", 0x1000, 0x9E000),
    op("add", 0x100000, 0x1F00000),
    op("add", 0x2000000, 0x1000, flags=4),
    op("reserve", 0x100000, 0x80000),
    op("allow_growth"),
    op("alloc", size=0x4000, align=0x1000),
    op("reserve", 0x300000, 0x2400),
]


def lmb_model() -> tuple[LmbModel, Image]:
    model = LmbModel(LmbConfig(static=5, block_size=256, entry_size=40, header_size=40, revision=1))
    returned = [apply(model, operation) for operation in BOOT]
    assert returned == [0, 0, 0, 0, 0, 0x1FFB000, 0]
    log = [(operation, result or 0) for operation, result in zip(BOOT, returned, strict=True)]
    return model, build(model, ABIS["x86_64"], FIRMWARE, log)
