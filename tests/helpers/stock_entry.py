# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a stock kernel begins, as a plain gdb reads it."""

from __future__ import annotations

import pytest

from gdb_lmb.runner.session import CommandError, GuestSession
from tests.helpers.stock import (
    KERNEL_MAP_VA,
    dump,
    regions_of,
    words_at,
)


def check_entry(guest: GuestSession, physical: int, virtual: int) -> None:
    """Hold what is shown at the first instruction against physical memory, read by QEMU's monitor."""

    def place_of(name: str) -> int:
        return int(guest.command(f"output/x (unsigned long)&{name}"), 16) - virtual - KERNEL_MAP_VA + physical

    assert int(guest.command("output/x $pc"), 16) == place_of("startup_64")
    with pytest.raises(CommandError, match="Cannot access memory"):
        guest.command("output memblock.memory.cnt")
    snapshot = dump(guest)
    assert snapshot["phase"] == "identity-mapped"
    # bottom_up, current_limit, then {cnt, max, total_size, regions, name} of both lists.
    words = words_at(guest, place_of("memblock"), 12)
    assert [snapshot["bottom_up"], int(snapshot["current_limit"], 16)] == [bool(words[0] & 0xFF), words[1]]
    for name, (cnt, most, total, array, _) in (("memory", words[2:7]), ("reserved", words[7:12])):
        told = snapshot[name]
        assert (told["cnt"], told["max"], int(told["total_size"], 16)) == (cnt, most, total)
        # The pointer is relocated already, but nothing is mapped where it points.
        rows = words_at(guest, array - virtual - KERNEL_MAP_VA + physical, 3 * max(cnt, 1))
        assert [(base, size) for base, size, _, _ in regions_of(snapshot)[name]] == [
            (rows[3 * at], rows[3 * at + 1]) for at in range(cnt)
        ]
