# SPDX-License-Identifier: GPL-2.0-or-later
"""What is asked of the machine, and how often."""

from __future__ import annotations

import pytest

from gdb_lmb.core.errors import ReadError
from gdb_lmb.core.memory import BoundedMemory, BytesMemory, Capture, RamOnly, read_together

DATA = bytes(range(256))
MOST = 256 << 20  # bytes at once


class Asked:
    """Memory of 256 bytes at 0x1000, and the requests that came to it."""

    def __init__(self) -> None:
        self.requests: list[tuple[int, int]] = []
        self._memory = BytesMemory({0x1000: DATA})

    def read(self, address: int, size: int) -> bytes:
        self.requests.append((address, size))
        return self._memory.read(address, size)


def test_nothing_is_asked_for_twice() -> None:
    asked = Asked()
    memory = BoundedMemory(asked)
    assert memory.read(0x1010, 32) == DATA[16:48]
    assert memory.read(0x1010, 32) == DATA[16:48] and memory.read(0x1018, 8) == DATA[24:32]
    assert asked.requests == [(0x1010, 32)]
    # A longer piece from the same address on, one that begins before, and one that ends after.
    assert memory.read(0x1010, 64) == DATA[16:80]
    assert memory.read(0x1010, 8) == DATA[16:24] and memory.read(0x1040, 16) == DATA[64:80]
    assert memory.read(0x100C, 8) == DATA[12:20] and memory.read(0x1040, 32) == DATA[64:96]
    assert asked.requests == [(0x1010, 32), (0x1010, 64), (0x100C, 8), (0x1040, 32)]
    assert (memory.meter.requests, memory.meter.bytes_read) == (4, 136)


def test_a_range_is_fetched_whole_once_a_part_is_wanted() -> None:
    asked = Asked()
    memory = BoundedMemory(asked)
    memory.read_ahead([(0x1000, 0x1040), (0x1080, 0x10C0)])
    assert asked.requests == []
    assert memory.read(0x1048, 8) == DATA[72:80]  # in neither
    assert memory.read(0x1008, 8) == DATA[8:16] and memory.read(0x1038, 8) == DATA[56:64]
    assert memory.read(0x1038, 16) == DATA[56:72]  # not wholly in it
    assert asked.requests == [(0x1048, 8), (0x1000, 0x40), (0x1038, 16)]


def test_a_range_that_is_there_in_part_gives_that_part() -> None:
    asked = Asked()
    memory = BoundedMemory(asked)
    memory.read_ahead([(0x10F0, 0x1110)])
    assert memory.read(0x10F8, 8) == DATA[248:]
    with pytest.raises(ReadError):
        memory.read(0x1100, 8)
    assert asked.requests == [(0x10F0, 0x20), (0x10F8, 8), (0x1100, 8)]


def test_places_near_to_each_other_take_one_request() -> None:
    for most, requests in ((40, [(0x1010, 40)]), (39, [(0x1030, 8), (0x1010, 16)])):
        asked = Asked()
        assert read_together(asked, [(0x1030, 8), (0x1010, 16)], most) == [DATA[48:56], DATA[16:32]]
        assert asked.requests == requests


def test_the_whole_of_a_range_and_ranges_over_each_other() -> None:
    asked = Asked()
    memory = BoundedMemory(asked)
    memory.read_ahead([(0x1000, 0x1040)])
    assert memory.read(0x1000, 0x10) == DATA[:16]
    memory = BoundedMemory(asked)
    memory.read_ahead([(0x1000, 0x1040)])
    assert memory.read(0x1030, 0x10) == DATA[48:64]
    assert asked.requests == [(0x1000, 0x40)] * 2
    # Where the first is not there, what is wanted is fetched alone.
    asked = Asked()
    memory = BoundedMemory(asked)
    memory.read_ahead([(0x10F0, 0x1110), (0x10E0, 0x1120), (0x10D0, 0x1130)])
    assert memory.read(0x10F8, 8) == DATA[248:]
    assert asked.requests == [(0x10F0, 0x20), (0x10F8, 8)]


def test_a_longer_piece_takes_the_place_of_a_shorter_one() -> None:
    asked = Asked()
    memory = BoundedMemory(asked)
    for address, size in ((0x1010, 16), (0x1050, 8), (0x1010, 32), (0x1010, 32)):
        assert memory.read(address, size) == DATA[address - 0x1000 :][:size]
    assert asked.requests == [(0x1010, 16), (0x1050, 8), (0x1010, 32)]


class Anything:
    def read(self, address: int, size: int) -> bytes:
        return bytes(max(size, 0))


class Short:
    def read(self, address: int, size: int) -> bytes:
        return bytes(size - 1)


def test_absurd_requests_and_short_answers_are_refused() -> None:
    memory = BoundedMemory(Anything())
    assert memory.read(0, 0) == b"" and len(memory.read(0, MOST)) == MOST
    for size in (-1, MOST + 1):
        with pytest.raises(ReadError, match=f"more than {MOST} bytes at once is not believable$"):
            memory.read(0x1000, size)
    assert memory.meter.seconds >= 0 and memory.meter.bytes_read == MOST
    with pytest.raises(ReadError, match=r"the reader gave 7 bytes$"):
        BoundedMemory(Short()).read(0x1000, 8)


def test_ram_only() -> None:
    asked, calls = Asked(), 0

    def again() -> list[tuple[int, int]]:
        nonlocal calls
        calls += 1
        return [(0x1000, 0x1100)]

    memory = RamOnly(asked, [(0x1000, 0x1080), (0x1080, 0x1090)], again)
    assert memory.read(0x1000, 0x80) == DATA[:128] and memory.read(0x1080, 0x10) == DATA[128:144] and calls == 0
    # RAM that was plugged in; asked about once.
    assert memory.read(0x1070, 0x20) == DATA[112:144] and memory.read(0x10FF, 1) == b"\xff" and calls == 1
    before = len(asked.requests)
    for address, size in ((0x10FF, 2), (0xFFF, 2), (0x1100, 1)):
        with pytest.raises(ReadError, match=r"this is not RAM$"):
            memory.read(address, size)
    assert calls == 1 and len(asked.requests) == before
    with pytest.raises(ReadError, match=r"this is not RAM$"):
        RamOnly(asked, [(0x1000, 0x1080)]).read(0x1080, 1)


def test_what_was_read_is_the_same_or_not() -> None:
    segments = {0x1000: b"abcd"}

    class Live:
        def read(self, address: int, size: int) -> bytes:
            return BytesMemory(segments).read(address, size)

    captured = Capture(Live())
    assert captured.read(0x1000, 4) == b"abcd" and captured.unchanged()
    with pytest.raises(ReadError, match=r"no such memory$"):
        captured.read(0x2000, 4)
    assert captured.unchanged()
    segments[0x2000] = b"here"
    assert not captured.unchanged()
    segments.pop(0x2000)
    segments[0x1000] = b"abcX"
    assert not captured.unchanged()
