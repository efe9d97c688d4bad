# SPDX-License-Identifier: GPL-2.0-or-later
"""A state of the list-based LMB and its history, made by hand."""

from __future__ import annotations

from dataclasses import replace

from gdb_lmb.allocators.lmb.model import LmbConfig, LmbModel
from gdb_lmb.analysis.owners import History, Owners
from gdb_lmb.core.operation import Record, Symbol, TraceHeader
from gdb_lmb.core.snapshot import FirmwareMap, Snapshot
from tests.helpers.operations import op

K, M = 1 << 10, 1 << 20

# Two callers outside the allocator, and one inside it that both went through.
LMB, INITRD, IMAGE = 0x1010, 0x2020, 0x3030
SYMBOLS = {
    LMB: Symbol("lmb_reserve", 0x10, "lmb.c", 1),
    INITRD: Symbol("reserve_initrd", 0x20, "main.c", 77),
    IMAGE: Symbol("reserve_image", 0x30),
}
RECORDS = [
    Record(1, op("add", base=0, size=16 * M), 0, (IMAGE,)),
    Record(2, op("reserve", base=M, size=M), 0, (LMB, IMAGE, 0x4040), "early"),
    Record(3, op("reserve", base=2 * M, size=64 * K), 0, (INITRD,)),
    Record(4, op("alloc", size=4 * K, align=4 * K), 16 * M - 4 * K, (0x5050,)),
]


def owned_state() -> Snapshot:
    """RAM [0, 16M), of it [8M, 9M) NOMAP in the end; reserved [1M, 2M + 64K) by two callers, and the top page."""
    model = LmbModel(LmbConfig(static=16))
    assert model.add(0, 8 * M) == model.add(8 * M, M, 4) == model.add(9 * M, 7 * M) == 0
    assert model.reserve(M, M) == model.reserve(2 * M, 64 * K) == 0
    assert model.alloc(4 * K, 4 * K) == 16 * M - 4 * K
    return replace(model.snapshot(), firmware=FirmwareMap([0, 16 * M], [16 * M, M], [1, 2]))


def past() -> History:
    header = TraceHeader("lmb-list", "x86_64", "little", 64, 4096)
    return History(Owners(header, RECORDS), SYMBOLS.get, "the trace of this test")
