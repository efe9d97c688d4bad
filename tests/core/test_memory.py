# SPDX-License-Identifier: GPL-2.0-or-later
"""What is asked of the machine, and how often."""

from __future__ import annotations

import pytest

from gdb_lmb.core.errors import ReadError
from gdb_lmb.core.memory import BoundedMemory, BytesMemory, read_together

DATA = bytes(range(256))


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
