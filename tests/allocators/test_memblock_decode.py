# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading memblock out of hand-laid images: where the kernel has moved, arrays that are damaged, names."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gdb_lmb.allocators.base import check
from gdb_lmb.allocators.memblock import decode as decoder
from gdb_lmb.allocators.memblock.decode import MemblockProgram, decode
from gdb_lmb.core.errors import LayoutError
from gdb_lmb.core.fields import Struct
from gdb_lmb.core.memory import BytesMemory
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.core.words import FINDING
from tests.helpers.image import ABIS
from tests.helpers.memblock_image import MEMORY, RESERVED, Case, Row, image
from tests.helpers.states import memblock

DIRECT = 0xFFFF888000000000
Segments = dict[int, bytes]


def put(program: MemblockProgram, segments: Segments, **members: int) -> None:
    """Store members of `struct memblock`, "." written as "__"."""
    raw = bytearray(segments[program.memblock_va])
    for name, value in members.items():
        place = program.memblock.fields[name.replace("__", ".")]
        raw[place.offset : place.offset + place.size] = value.to_bytes(place.size, "little")
    segments[program.memblock_va] = bytes(raw)


def told(snapshot: Snapshot) -> list[tuple[str, str]]:
    return [(f.code, f.message) for f in check(snapshot) if f.severity == FINDING]


def in_direct_map(va: int) -> int | None:
    return va - DIRECT if va >= DIRECT else None


def test_members_that_must_be_there() -> None:
    program, _ = image(Case(MEMORY, RESERVED), ABIS["x86_64"])

    def without(struct: Struct, name: str) -> Struct:
        return replace(struct, fields={one: place for one, place in struct.fields.items() if one != name})

    for name in ("memory.cnt", "reserved.name", "bottom_up", "current_limit"):
        with pytest.raises(LayoutError, match=name):
            replace(program, memblock=without(program.memblock, name))
    for name in ("base", "size", "flags"):
        with pytest.raises(LayoutError, match=name):
            replace(program, region=without(program.region, name))


def test_a_kernel_that_has_moved() -> None:
    offset = 0x1000000
    program, segments = image(Case(MEMORY, RESERVED), ABIS["x86_64"])
    high = program.memblock_va
    va, array, text = high + 0x6000, high + 0x7000, high + 0x8000
    of_type, rows = bytearray(program.type.size), bytearray(program.region.size)
    for member, value in (("cnt", 1), ("max", 1), ("total_size", 0x1000), ("regions", array + offset)):
        place = program.type.fields[member]
        of_type[place.offset : place.offset + place.size] = value.to_bytes(place.size, "little")
    rows[8:16] = (0x1000).to_bytes(8, "little")
    segments |= {va: bytes(of_type), array: bytes(rows), text: b"memory\0reserved\0"}
    put(program, segments, memory__regions=program.init_arrays["memory"] + offset, memory__name=text + offset,
        reserved__regions=program.init_arrays["reserved"] + offset, reserved__name=text + 7 + offset)  # fmt: skip
    # The address of one name is known, the other one is looked up in the image.
    program = replace(program, physmem_va=va, physmem_array_va=array, names={"memory": text, "reserved": None},
                      image=(high, text + 16))  # fmt: skip
    memory = {at + offset: data for at, data in segments.items()}
    found = decode(program, BytesMemory(memory), offset=offset)
    assert told(found) == [] and [len(regions) for regions in found.lists] == [3, 3, 1]
    assert all(one.static for one in memblock(found).arrays)
    # Of another list, cut off by the end of what can be read, and beyond the image.
    for name, linked in (("memory", text + 7), ("reserved", text), ("reserved", text + 14), ("reserved", text + 16)):
        own = dict(segments)
        put(program, own, **{f"{name}__name": linked + offset})
        assert told(decode(program, BytesMemory({at + offset: data for at, data in own.items()}), offset=offset)) == [
            ("bad-name", f"{name}.name is {linked + offset:#x}, which is not where the kernel has this name"),
        ]  # fmt: skip
    # An array within the image, and one behind its end.
    for linked, what in (
        (text, "is in the kernel, but is not its first array"),
        (text + 16, "is not its first array, though it has room for 128 regions as that has"),
    ):
        own = dict(segments)
        put(program, own, reserved__regions=linked + offset)
        found = decode(program, BytesMemory({at + offset: data for at, data in own.items()}), offset=offset)
        assert told(found)[0] == ("array-pointer", f"the array of reserved is at {linked + offset:#x}, which {what}")


def test_a_full_array_is_no_damage() -> None:
    # Out of order: all regions are read all the same, which shows it.
    program, segments = image(Case(MEMORY[::-1], RESERVED, max=3), ABIS["x86_64"])
    assert len(decode(program, BytesMemory(segments)).memory) == 3
    program, segments = image(Case(MEMORY, RESERVED, max=3, cnt=4), ABIS["x86_64"])
    found = decode(program, BytesMemory(segments))
    assert len(found.memory) == 3
    assert told(found) == [("count-over-max", "memory.cnt is 4, but its array has room for 3")]


def test_more_regions_than_any_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    program, segments = image(Case(MEMORY, RESERVED), ABIS["x86_64"])
    for most, defects in ((3, []), (2, ["cnt is 3 and max is 128: more than can be believed"] * 2)):
        monkeypatch.setattr(decoder, "MAX_REGIONS", most)
        found = decode(program, BytesMemory(segments))
        assert [defect.what.replace("memory.", "").replace("reserved.", "") for defect in found.defects] == defects


def doubled(rows: list[Row], size: int, *, room: bool = True) -> int | None:
    """Return how many regions are found to fit in the array of reserved at 128 MiB, for whose place `size` is reserved.

    The first array had room for 4.
    """
    at = 0x8000000
    program, segments = image(Case(MEMORY, [*rows, (at, size, 0, 1024)], max=4), ABIS["x86_64"])
    put(program, segments, reserved__regions=DIRECT + at, reserved__max=16)
    if not room:
        program = replace(program, rooms={})
    segments[DIRECT + at] = segments[program.init_arrays["reserved"]].ljust(0x1000, b"\0")
    (one,) = memblock(decode(program, BytesMemory(segments), physical=in_direct_map)).arrays[1:]
    return one.held


@pytest.mark.parametrize(("number", "size", "room", "held"), [
    (0, 0x1000, True, 170), (7, 0x1000, True, 170), (8, 0x1000, True, 170), (11, 0x1000, True, 170),
    # Too small for eight regions of 24 bytes, or for two where the first array's room is not known.
    (0, 8 * 24 - 1, True, None), (0, 8 * 24, True, 8), (0, 2 * 24 - 1, False, None), (0, 2 * 24, False, 2),
])  # fmt: skip
def test_the_reservation_of_an_array_is_found_in_itself(number: int, size: int, room: bool, held: int | None) -> None:
    rows: list[Row] = [(0x100000 + 0x2000 * at, 0x1000, 0, 1024) for at in range(number)]
    assert doubled(rows, size, room=room) == held
