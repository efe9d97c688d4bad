# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers and chains that ask for too much time or memory, and memory that cannot be read."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import pytest

from gdb_lmb.allocators.base import check
from gdb_lmb.allocators.lmb import blocks
from gdb_lmb.allocators.lmb.decode import decode
from gdb_lmb.core.errors import ReadError
from gdb_lmb.report.jsonio import check_json, dumps
from tests.fuzz.images import (
    MAX_REPORT_CHARS,
    STATES,
    CountingMemory,
    State,
    judge,
    reproduce,
    state,
)
from tests.helpers.image import Image

# -- numbers that ask for too much --------------------------------------------------------------------------------

HUGE = [(1 << 60) + 7, 1 << 63, (1 << 64) - 1, 1 << 40, (1 << 32) - 1, 1 << 31]
COUNTERS = ["memory.cnt", "reserved.cnt", "nr_free", "nr_blocks", "block_size", "memory.total_size", "current_limit"]


def _set_table(name: str) -> Callable[[State, int], None]:
    def put(s: State, value: int) -> None:
        table = getattr(s.image.program, name)
        field = table.struct.fields["nr"]
        s.image.put(table.struct, table.va, "nr", value % (1 << 8 * field.size))

    return put


def _set_lmb(name: str) -> Callable[[State, int], None]:
    def put(s: State, value: int) -> None:
        s.image.lmb(name, value % (1 << 8 * s.image.program.lmb.fields[name].size))

    return put


def _set_nr(block: int) -> Callable[[State, int], None]:
    def put(s: State, value: int) -> None:
        header = s.places["headers"][min(block, len(s.places["headers"]) - 1)][0]
        s.image.put(s.image.program.block, header, "nr", value % (1 << 8 * s.image.abi.pointer))

    return put


def _set_init(*names: str) -> Callable[[State, int], None]:
    def put(s: State, value: int) -> None:
        table = s.image.program.log
        assert table is not None
        for name in names:
            s.image.put(table.record, table.va + 8, name, value % (1 << 8 * table.record.fields[name].size))

    return put


def _both(*parts: Callable[[State, int], None]) -> Callable[[State, int], None]:
    def put(s: State, value: int) -> None:
        for part in parts:
            part(s, value)

    return put


TOO_MUCH: dict[str, Callable[[State, int], None]] = {
    **{name: _set_lmb(name) for name in COUNTERS},
    "log.nr": _set_table("log"),
    "handover.nr": _set_table("handover"),
    "firmware.nr": _set_table("firmware"),
    "block 0 nr": _set_nr(0),
    "block 2 nr": _set_nr(2),
    "init size": _set_init("size"),
    "init max": _set_init("max"),
    "init min": _set_init("min"),
    "init align": _set_init("align"),
    # Several witnesses that tell the same lie.
    "block_size and init size": _both(_set_lmb("block_size"), _set_init("size")),
    "block_size, init, all nr": _both(_set_lmb("block_size"), _set_init("size", "max"), _set_nr(0), _set_nr(1)),
}


@pytest.mark.parametrize("what", list(TOO_MUCH))
@pytest.mark.parametrize("name", ["x86_64-static", "x86_64-klimit", "ppc32-static"])
def test_huge_numbers_allocate_nothing(name: str, what: str) -> None:
    s = state(name)
    for value in HUGE:
        s.restore()
        TOO_MUCH[what](s, value)
        tracemalloc.start()
        try:
            judge(s.image)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 4 << 20, f"{what} = {value:#x} took {peak} bytes"


def test_memory_of_damaged_images_is_bounded() -> None:
    for name in STATES:
        for seed in range(0, 100, 5):
            s = reproduce(name, seed)
            tracemalloc.start()
            try:
                judge(s.image, all_reports=False)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert peak < 4 << 20, f"reproduce({name!r}, {seed}) took {peak} bytes"


@pytest.mark.parametrize("where", range(4))
def test_circular_block_chains(where: int) -> None:
    s = state("x86_64-static")
    headers = [va for va, _ in s.places["headers"]]
    block = s.image.program.block
    for back in range(where + 1):
        s.restore()
        s.image.put(block, headers[where], "link.next", headers[back])
        s.image.put(block, headers[back], "link.prev", headers[where])
        findings = judge(s.image)
        assert findings is not None and "storage-corrupt" in {f.code for f in findings}
    # A circle that both ends lead into and that never meets the head.
    s.restore()
    s.image.lmb("blocks.next", headers[where])
    s.image.lmb("blocks.prev", headers[where])
    s.image.put(block, headers[where], "link.next", headers[where])
    s.image.put(block, headers[where], "link.prev", headers[where])
    findings = judge(s.image)
    assert findings is not None and "storage-corrupt" in {f.code for f in findings}


class EndlessChain:
    """Memory in which any address outside the image holds a believable block that leads to another."""

    def __init__(self, image: Image, block_size: int) -> None:
        self.image = image
        self.block_size = block_size

    def read(self, address: int, size: int) -> bytes:
        """Return the image's bytes, else a block's."""
        try:
            return self.image.read(address, size)
        except ReadError:
            program = self.image.program
            nr = (self.block_size - program.header_size) // program.region.size
            values = (address + self.block_size, address - self.block_size, address & 0xFFFFFFFF, nr,
                      address + program.header_size)  # fmt: skip
            head = b"".join((v % (1 << 64)).to_bytes(8, "little") for v in values)
            return (head + bytes(max(size - len(head), 0)))[:size]


@pytest.mark.parametrize(("block_size", "most"), [(1024, 4 << 20), (1 << 20, 24 << 20)])
def test_endless_block_chain_ends(monkeypatch: pytest.MonkeyPatch, block_size: int, most: int) -> None:
    monkeypatch.setattr(blocks, "MAX_STORAGE_BYTES", most)
    s = state("x86_64-static")
    s.restore()
    program = s.image.program
    s.image.lmb("block_size", block_size)
    s.image.put(program.block, s.places["headers"][0][0], "link.next", 0xFFFF900000000000)
    memory = CountingMemory(EndlessChain(s.image, block_size))
    snapshot = decode(replace(program, log=None, ops=None), memory)
    assert any("the block list holds more than" in defect.what for defect in snapshot.defects)
    assert memory.bytes_read <= most + (1 << 20)
    findings = check(snapshot)
    assert len(findings) < 1000
    assert len(dumps(check_json(snapshot, findings, None))) < MAX_REPORT_CHARS


def test_unreadable_struct_lmb_is_a_read_error() -> None:
    s = state("ppc64-static")
    image = Image(
        s.image.abi, s.image.program, {k: v for k, v in s.image.segments.items() if k != s.image.program.lmb_va}
    )
    with pytest.raises(ReadError, match=r"cannot read \d+ bytes of guest memory at 0x"):
        decode(image.program, image)


@pytest.mark.parametrize("name", STATES)
def test_unreadable_segments(name: str) -> None:
    """Each part of memory that is not there is one more finding, never an error."""
    s = state(name)
    s.restore()
    for base in s.pristine:
        if base == s.image.program.lmb_va:
            continue
        image = Image(s.image.abi, s.image.program, {k: v for k, v in s.image.segments.items() if k != base})
        findings = judge(image)
        assert findings is not None
        assert "storage-corrupt" in {f.code for f in findings}
