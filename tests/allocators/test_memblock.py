# SPDX-License-Identifier: GPL-2.0-or-later
"""The memblock layout on hand-laid images: every ABI, each kind of damage, and what sound kernels do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from gdb_lmb.allocators.base import check
from gdb_lmb.allocators.memblock.decode import decode
from gdb_lmb.core.address import Phase, left_after_boot
from gdb_lmb.core.errors import LmbError, NotReadyError
from gdb_lmb.core.memory import BytesMemory
from gdb_lmb.core.snapshot import FirmwareMap, FirmwareReserved, Snapshot
from gdb_lmb.core.words import FINDING
from gdb_lmb.report.jsonio import not_verified, snapshot_json
from gdb_lmb.report.text import check_text, dump_text, kernel_text
from tests.helpers.image import ABIS, Abi
from tests.helpers.memblock_image import MEMORY, RESERVED, Case, Row, image
from tests.helpers.states import memblock, stored


def snapshot_of(case: Case, abi: Abi = ABIS["x86_64"], numa: bool = True) -> Snapshot:
    program, segments = image(case, abi, numa)
    return decode(program, BytesMemory(segments))


def codes(snapshot: Snapshot, severity: str = FINDING) -> set[str]:
    return {f.code for f in check(snapshot) if f.severity == severity}


@pytest.mark.parametrize("name", list(ABIS))
@pytest.mark.parametrize("numa", [True, False])
def test_decode_gives_what_was_written(name: str, numa: bool) -> None:
    snapshot = snapshot_of(Case(MEMORY, RESERVED), ABIS[name], numa)
    assert [(r.base, r.size, r.flags) for r in snapshot.memory.regions()] == [row[:3] for row in MEMORY]
    assert [(r.base, r.size, r.flags) for r in snapshot.reserved.regions()] == [row[:3] for row in RESERVED]
    assert list(snapshot.memory.nid) == ([row[3] for row in MEMORY] if numa else [])
    assert (snapshot.memory.cnt, snapshot.memory.max, snapshot.layout) == (3, 128, "memblock")
    assert [array.static for array in memblock(snapshot).arrays] == [True, True]
    assert codes(snapshot) == set()


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        # Reserved; not memory at all; NOMAP; removed.
        ([FirmwareReserved(0x1000000, 0x1001000, "a")], []),
        ([FirmwareReserved(0x30000000, 0x30001000, "a"), FirmwareReserved(0x30000000, 0x30001000, "a")], []),
        ([FirmwareReserved(0x20000000, 0x20001000, "a"), FirmwareReserved(0x20000000, 0x20001000, "a", True)], []),
        ([FirmwareReserved(0xA0000, 0xB0000, "a", nomap=True)], []),
        ([FirmwareReserved(0xFF000, 0x101000, "a")],
         [("firmware-unreserved", "[0x100000, 0x101000) of a is memory that is not reserved")]),
        ([FirmwareReserved(0xFF000, 0x101000, "a", nomap=True)],
         [("firmware-unreserved", "[0x100000, 0x101000) of a is memory that is mapped, but must not be")]),
        ([FirmwareReserved(0x1FFFF000, 0x20001000, "a", nomap=False)], []),
        ([FirmwareReserved(0x1000000, 0x1003000, "a"), FirmwareReserved(0x1001000, 0x1002000, "b"),
          FirmwareReserved(0x1002000, 0x1004000, "c"), FirmwareReserved(0x1004000, 0x1005000, "d")],
         [("firmware-overlap", "b and a share [0x1001000, 0x1002000)"),
          ("firmware-overlap", "c and a share [0x1002000, 0x1003000)")]),
        ([FirmwareReserved(0x1000000, 0x1003000, "a"), FirmwareReserved(0x1000000, 0x1003000, "b", False, True)], []),
    ],
)  # fmt: skip
def test_what_the_firmware_asks_for(asked: list[FirmwareReserved], found: list[tuple[str, str]]) -> None:
    reserved = [*RESERVED[:2], (0x1FFE0000, 0x800, 0, 1024)]
    snapshot = replace(snapshot_of(Case(MEMORY, reserved)), firmware_reserved=tuple(asked))
    assert [(f.code, f.message) for f in check(snapshot) if f.severity == FINDING] == found


def test_kernel_text_by_hand() -> None:
    # Written from __memblock_dump_all() by hand: inclusive ends, a node only where it is one.
    assert kernel_text(snapshot_of(Case(MEMORY, RESERVED[:1]))) == (
        "MEMBLOCK configuration:\n"
        " memory size = 0x000000001ff7f000 reserved size = 0x0000000000100000\n"
        " memory.cnt  = 0x3\n"
        " memory[0x0]\t[0x0000000000001000-0x000000000009efff], 0x000000000009e000 bytes flags: 0x0\n"
        " memory[0x1]\t[0x0000000000100000-0x000000001ffdffff], 0x000000001fee0000 bytes on node 0 flags: 0x0\n"
        " memory[0x2]\t[0x0000000020000000-0x0000000020000fff], 0x0000000000001000 bytes on node 0 flags: 0x4\n"
        " reserved.cnt  = 0x1\n"
        " reserved[0x0]\t[0x0000000000000000-0x00000000000fffff], 0x0000000000100000 bytes flags: 0x0\n"
    )


@pytest.mark.parametrize("rows", [[], [(0, 0, 0, 1024)]], ids=["cnt-0", "dummy"])
def test_empty_lists_of_both_generations_are_sound(rows: list[Row]) -> None:
    snapshot = snapshot_of(Case(rows, rows))
    assert codes(snapshot) == set() and codes(snapshot, "note") == set()
    assert "memory: " in dump_text(snapshot)


DAMAGE: list[tuple[str, Callable[[Case], Case], set[str]]] = [
    ("swapped", lambda c: replace(c, memory=[MEMORY[1], MEMORY[0], MEMORY[2]]), {"unsorted"}),
    ("overlap", lambda c: replace(c, memory=[(0x1000, 0x100000, 0, 0), *MEMORY[1:]]), {"overlap"}),
    ("empty", lambda c: replace(c, memory=[MEMORY[0], (0xA0000, 0, 0, 0), *MEMORY[1:]]), {"empty-region"}),
    ("wraps", lambda c: replace(c, memory=[*MEMORY, ((1 << 64) - 4096, 8192, 0, 0)]), {"region-wraps"}),
    ("cnt over max", lambda c: replace(c, cnt=129), {"count-over-max"}),
    ("cnt absurd", lambda c: replace(c, cnt=1 << 60), {"count-over-max"}),
    ("array unreadable", lambda c: replace(c, doubled=0x4141414141414000), {"array-unreserved"}),
    ("array in the middle of a page", lambda c: replace(c, doubled=0x4141414141414140), {"array-pointer"}),
]


@pytest.mark.parametrize(("damage", "expected"), [row[1:] for row in DAMAGE], ids=[row[0] for row in DAMAGE])
def test_damage(damage: Callable[[Case], Case], expected: set[str]) -> None:
    assert codes(snapshot_of(damage(Case(MEMORY, RESERVED)))) == expected


def test_absurd_max_is_not_read() -> None:
    program, segments = image(Case(MEMORY, RESERVED), ABIS["x86_64"])
    raw = bytearray(segments[program.memblock_va])
    for name in ("memory.cnt", "memory.max"):
        place = program.memblock.fields[name]
        raw[place.offset : place.offset + 8] = (1 << 62).to_bytes(8, "little")
    damaged = decode(program, BytesMemory({**segments, program.memblock_va: bytes(raw)}))
    # The static array is as large as the linker made it.
    assert codes(damaged) == {"bad-max", "count-over-max"} and len(damaged.memory) == 3
    doubled, rows = image(Case(MEMORY, RESERVED, doubled=0x4141414141414000), ABIS["x86_64"])
    raw = bytearray(rows[doubled.memblock_va])
    for name in ("reserved.cnt", "reserved.max"):
        place = doubled.memblock.fields[name]
        raw[place.offset : place.offset + 8] = (1 << 20).to_bytes(8, "little")
    assert "storage-corrupt" in codes(decode(doubled, BytesMemory({**rows, doubled.memblock_va: bytes(raw)})))


@pytest.mark.parametrize("name", ["memory", "reserved"])
def test_a_doubled_array_ends_with_its_reservation(name: str) -> None:
    # Two pages at 0x8000000 are reserved for 256 regions of 24 bytes: 341 fit there, and somebody else's data follow.
    direct, at, pages = 0xFFFF888000000000, 0x8000000, 0x2000
    program, segments = image(Case(MEMORY, [*RESERVED[:2], (at, pages, 0, 1024), RESERVED[2]]), ABIS["x86_64"])
    array = segments[program.init_arrays[name]].ljust(pages, b"\0") + b"\xa5" * (1 << 20) * program.region.size
    raw = bytearray(segments[program.memblock_va])
    for member, value in (("cnt", 1 << 20), ("max", 1 << 20), ("regions", direct + at)):
        place = program.memblock.fields[f"{name}.{member}"]
        raw[place.offset : place.offset + 8] = value.to_bytes(8, "little")
    memory = BytesMemory({**segments, program.memblock_va: bytes(raw), direct + at: array})
    found = decode(program, memory, physical=lambda va: va - direct if va >= direct else None)
    assert [len(found.memory), len(found.reserved)] == [3, 4]
    findings = [(one.code, one.message) for one in check(found) if one.severity == FINDING]
    size = (1 << 20) * 24
    assert findings == [
        ("count-over-max", f"{name}.cnt is 1048576, but its array has room for 341"),
        ("array-unreserved", f"the array of {name} at {at:#x} (size {size:#x}) is not reserved: an allocation may "
         "overwrite it"),
    ]  # fmt: skip
    # After the hand-over the page allocator may have given it, and nothing tells how long it is.
    late = decode(program, memory, physical=lambda va: va - direct, phase=Phase.HANDED_OVER.value)
    assert "storage-corrupt" in codes(late)


def test_unreadable_array_is_a_finding() -> None:
    program, segments = image(Case(MEMORY, RESERVED), ABIS["x86_64"])
    del segments[program.init_arrays["reserved"]]
    assert codes(decode(program, BytesMemory(segments))) == {"storage-corrupt"}


def test_refused_list_is_not_shown() -> None:
    program, segments = image(Case(MEMORY, RESERVED), ABIS["x86_64"])
    snapshot = decode(program, BytesMemory(segments), refused={"reserved": "it was freed"})
    assert len(snapshot.reserved) == 0 and len(snapshot.memory) == 3
    assert check(snapshot) == [] and not_verified(snapshot, None) == ["freed"]
    assert "reserved: not shown: it was freed" in dump_text(snapshot)
    assert check_text(snapshot, [], None).startswith("not verified: reserved: it was freed\nlmb-check: NOT verified")
    assert snapshot_json(snapshot)["refused"] == {"reserved": "it was freed"}
    with pytest.raises(LmbError, match="reserved: it was freed"):
        kernel_text(snapshot)


AFTER_BOOT = [
    # (keeps, memblock_memory, in freed init memory, which arrays are static) -> phase, refused; None: nothing is left
    pytest.param(True, 0, True, (False, False), (Phase.HANDED_OVER, set()), id="kept"),
    pytest.param(False, 1, True, (False, False), (Phase.HANDED_OVER, set()), id="not discarded yet"),
    pytest.param(False, 0, False, (True, True), (Phase.DISCARDED, set()), id="static"),
    pytest.param(False, 0, False, (True, False), (Phase.DISCARDED, {"reserved"}), id="reserved was doubled"),
    pytest.param(False, 0, False, (False, False), (Phase.DISCARDED, {"memory", "reserved"}), id="both doubled"),
    pytest.param(False, 0, True, (True, True), None, id="freed with init memory"),
]


@pytest.mark.parametrize(("keeps", "pointer", "freed", "static", "expected"), AFTER_BOOT)
def test_what_is_left_after_boot(
    keeps: bool, pointer: int, freed: bool, static: tuple[bool, bool], expected: tuple[Phase, set[str]] | None
) -> None:
    def left() -> tuple[Phase, dict[str, str]]:
        arrays = dict(zip(("memory", "reserved"), static, strict=True))
        return left_after_boot(keeps=keeps, memblock_memory=pointer, in_freed_memory=freed, static=arrays)

    if expected is None:
        with pytest.raises(NotReadyError, match="init memory, which this kernel has freed"):
            left()
    else:
        phase, refused = left()
        assert (phase, set(refused)) == expected
        assert all("memblock_discard()" in why for why in refused.values())


def test_doubled_array_must_be_reserved() -> None:
    # 256 x 24 bytes at physical 0x1ffe0000, which nobody reserved; then at 0x1000000, where RESERVED is.
    direct = 0xFFFF888000000000
    for base, expected in ((0x1FFD0000, {"array-unreserved"}), (0x1000000, set())):
        snapshot = snapshot_of(Case(MEMORY, RESERVED, doubled=direct + base))
        placed = stored(
            snapshot, arrays=tuple(replace(a, base=(a.va or 0) - direct) for a in memblock(snapshot).arrays)
        )
        assert codes(placed) == expected
        assert [array.static for array in memblock(placed).arrays] == [True, False]


def test_outside_firmware() -> None:
    snapshot = snapshot_of(Case(MEMORY[:2], RESERVED))
    ram = FirmwareMap([0, 0x100000], [0x9FC00, 0x1FEDF000], [1, 1])
    found = check(replace(snapshot, firmware=ram))
    assert [f.code for f in found if f.severity == FINDING] == ["outside-firmware"]
    assert "[0x1ffdf000, 0x1ffe0000)" in next(f.message for f in found if f.severity == FINDING)


def test_what_sound_kernels_do_is_a_note_with_its_reason() -> None:
    touching: list[Row] = [(0x1000, 0x1000, 0, 0), (0x2000, 0x1000, 0, 0), (0x3000, 0x1000, 0, 1)]
    snapshot = snapshot_of(Case(touching, [], max=4, total=0x3C00))
    notes = {f.code: f.message for f in check(snapshot)}
    assert set(notes) == {"size-stale", "unmerged", "headroom"}
    assert "memblock_trim_memory() does not correct it" in notes["size-stale"]
    assert "memory[0] and memory[1]" in notes["unmerged"]  # not [1] and [2]: other nodes keep them apart
    assert "has room for 1 more" in notes["headroom"]


@pytest.mark.parametrize("name", list(ABIS))
def test_physmem_is_a_list_of_its_own(name: str) -> None:
    # As s390 has it: a struct memblock_type beside memblock, with an array of four.
    abi = ABIS[name]
    program, segments = image(Case(MEMORY, RESERVED), abi)
    va, array = program.memblock_va + 0x6000, program.memblock_va + 0x7000
    raw, rows = bytearray(program.type.size), bytearray(4 * program.region.size)
    for member, value in (("cnt", 1), ("max", 4), ("total_size", 0x40000000), ("regions", array)):
        field = program.type.fields[member]
        raw[field.offset : field.offset + field.size] = value.to_bytes(field.size, abi.order)
    size = program.region.fields["size"]
    rows[size.offset : size.offset + size.size] = (0x40000000).to_bytes(size.size, abi.order)
    whole = replace(program, physmem_va=va, physmem_array_va=array)
    snapshot = decode(whole, BytesMemory({**segments, va: bytes(raw), array: bytes(rows)}))
    assert len(snapshot.others) == 1 and [regions.name for regions in snapshot.lists][2] == "physmem"
    assert [(r.base, r.size, r.flags) for r in snapshot.others[0].regions()] == [(0, 0x40000000, 0)]
    assert (snapshot.others[0].cnt, snapshot.others[0].max, memblock(snapshot).arrays[2].static) == (1, 4, True)
    assert codes(snapshot) == set()
    assert "physmem: 1 region (room for 4), 1 GiB (1,073,741,824 bytes)" in dump_text(snapshot)
    assert snapshot_json(snapshot)["physmem"]["regions"][0]["size"] == "0x40000000"
    # memblock_dump_all() prints it last.
    assert kernel_text(snapshot).splitlines()[-2] == " physmem.cnt  = 0x1"


def test_json_says_arrays() -> None:
    data = snapshot_json(snapshot_of(Case(MEMORY, RESERVED)))
    assert data["layout"] == "memblock" and data["memory"]["max"] == 128
    assert data["memory"]["regions"][1] == {"base": "0x100000", "size": "0x1fee0000", "flags": 0, "nid": 0}
    assert data["arrays"][0] == {"list": "memory", "max": 128, "size": "0xc00", "static": True, "base": None}
