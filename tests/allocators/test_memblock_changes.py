# SPDX-License-Identifier: GPL-2.0-or-later
"""Every field of memblock changed, on images that are written here."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gdb_lmb.core.fields import Field
from tests.helpers.image import ABIS
from tests.helpers.memblock_changes import CHANGES, SOUND, Change, MemblockImage
from tests.helpers.memblock_image import MEMORY, RESERVED, Case, image

NAMES_AT, TRIMMED = 0x4000, 0xC00


def sound_image(abi: str) -> MemblockImage:
    """Return a memblock whose total was left too large by trimming, in a kernel that covers two pages before it."""
    case = Case(
        MEMORY, [*RESERVED[:2], *((0x1800_0000 + at * 0x2000, 0x1000, 0, 1024) for at in range(6)), RESERVED[2]]
    )
    program, segments = image(case, ABIS[abi])
    region = program.region
    nid = Field(region.fields["nid"].offset, 4, signed=True)
    program = replace(
        program,
        region=replace(region, fields={**region.fields, "nid": nid}),
        names={name: program.memblock_va + NAMES_AT + at for name, at in (("memory", 0), ("reserved", 8))},
        image=(program.memblock_va - 0x2000, program.memblock_va + 0x6000),
    )
    whole = MemblockImage(
        program,
        {va: bytearray(data) for va, data in segments.items()},
        trimmed=TRIMMED,
        nodes=frozenset({0}),
    )
    for name, at in program.names.items():
        whole.set(f"{name}.name", at)
    whole.set("memory.total_size", whole.get("memory.total_size") + TRIMMED)
    return whole


@pytest.mark.parametrize("abi", list(ABIS))
@pytest.mark.parametrize(("change", "code"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES])
def test_changes(abi: str, change: Change, code: str) -> None:
    changed = sound_image(abi)
    change(changed)
    found = changed.codes()
    assert found == set() if code == SOUND else code in found
