# SPDX-License-Identifier: GPL-2.0-or-later
"""The memblock layout on hand-laid images: every ABI, each kind of damage, and what sound kernels do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gdb_lmb.allocators.base import check
from gdb_lmb.allocators.memblock.decode import decode
from gdb_lmb.core.address import Phase, left_after_boot
from gdb_lmb.core.errors import LmbError, NotReadyError
from gdb_lmb.core.memory import BytesMemory
from gdb_lmb.core.snapshot import Defect, FirmwareMap, FirmwareReserved, Required, Snapshot, column
from gdb_lmb.core.words import FINDING, NOTE
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
        # Reserved, but mapped.
        ([FirmwareReserved(0x1000000, 0x1001000, "a", nomap=True)],
         [("firmware-unreserved", "[0x1000000, 0x1001000) of a is memory that is mapped, but must not be")]),
        ([FirmwareReserved(0x1FFFF000, 0x20001000, "a", nomap=False)], []),
        ([FirmwareReserved(0x1000000, 0x1003000, "a"), FirmwareReserved(0x1001000, 0x1003000, "b"),
          FirmwareReserved(0x1002000, 0x1004000, "c")],
         [("firmware-overlap", "b and a share [0x1001000, 0x1003000)"),
          ("firmware-overlap", "c and a share [0x1002000, 0x1003000)")]),
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


Told = list[tuple[str, str, tuple[int, ...]]]


def told(snapshot: Snapshot, severity: str = FINDING) -> Told:
    return [(f.code, f.message, f.addresses) for f in check(snapshot) if f.severity == severity]


DAMAGE: list[tuple[str, Callable[[Case], Case], Told]] = [
    ("swapped", lambda c: replace(c, memory=[MEMORY[1], MEMORY[0], MEMORY[2]]),
     [("unsorted", "memory[1] starts below memory[0]", (0x100000, 0x1000))]),
    ("overlap", lambda c: replace(c, memory=[(0x1000, 0x100000, 0, 0), *MEMORY[1:]]),
     [("overlap", "memory[1] overlaps memory[0]", (0x100000, 0x101000))]),
    ("empty", lambda c: replace(c, memory=[MEMORY[0], (0xA0000, 0, 0, 0), *MEMORY[1:], (0x30000000, 0, 0, 0)]),
     [("empty-region", "memory[1] is empty", (0xA0000,)), ("empty-region", "memory[4] is empty", (0x30000000,))]),
    ("wraps", lambda c: replace(c, memory=[*MEMORY, ((1 << 64) - 4096, 8192, 0, 0)]),
     [("region-wraps", "memory[3] goes past the end of the 64-bit address space",
       ((1 << 64) - 4096, (1 << 64) + 4096))]),
    ("cnt over max", lambda c: replace(c, cnt=129),
     [("count-over-max", "memory.cnt is 129, but its array has room for 128", ())]),
    ("cnt absurd", lambda c: replace(c, cnt=1 << 60),
     [("count-over-max", f"memory.cnt is {1 << 60}, but its array has room for 128", ())]),
    ("array unreadable", lambda c: replace(c, doubled=0x4141414141414000),
     [("array-unreserved", "the array of reserved is neither in the kernel nor in its memory", (0x4141414141414000,))]),
    ("array in the middle of a page", lambda c: replace(c, doubled=0x4141414141414140),
     [("array-pointer", "the array of reserved is at 0x4141414141414140, which is not the beginning of a page, "
       "as that of a doubled array is", (0x4141414141414140,))]),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "expected"), [row[1:] for row in DAMAGE], ids=[row[0] for row in DAMAGE])
def test_damage(damage: Callable[[Case], Case], expected: Told) -> None:
    assert told(snapshot_of(damage(Case(MEMORY, RESERVED)))) == expected


def changed(which: str, **columns: dict[int, int]) -> Callable[[Snapshot], Snapshot]:
    """Give some regions of a list, by position, other values."""

    def change(snapshot: Snapshot) -> Snapshot:
        regions = getattr(snapshot, which)
        rows = {name: [new.get(at, old) for at, old in enumerate(getattr(regions, name))]
                for name, new in columns.items()}  # fmt: skip
        return replace(snapshot, **{which: replace(regions, **rows)})

    return change


def counted(which: str, **values: int | None) -> Callable[[Snapshot], Snapshot]:
    """Give a list other counters."""
    return lambda s: replace(s, **{which: replace(getattr(s, which), **values)})


def arrays(**changes: Any) -> Callable[[Snapshot], Snapshot]:
    """Change the array of the reserved list."""
    return lambda s: stored(s, arrays=(memblock(s).arrays[0], replace(memblock(s).arrays[1], **changes)))


def known(**facts: Any) -> Callable[[Snapshot], Snapshot]:
    """Know something besides."""
    return lambda s: stored(s, **facts)


def other(**members: Any) -> Callable[[Snapshot], Snapshot]:
    return lambda s: replace(s, **members)


EMPTY_MEMORY = other(memory=snapshot_of(Case([], RESERVED)).memory)
DUMMY = other(reserved=snapshot_of(Case(MEMORY, [(0, 0, 0, 1024)])).reserved)
NODES = frozenset({0})
COMPLETE, HANDED_OVER = other(phase="allocator complete"), other(phase="handed over")
MEMORY_TOTAL, RESERVED_TOTAL = 0x1FF7F000, 0x2911800

# What has been done to a sound state, and all that is found then.
STATES: list[tuple[list[Callable[[Snapshot], Snapshot]], Told]] = [
    ([], []),
    ([COMPLETE], []),
    # max: of the static array its own room; of another one that room doubled.
    ([arrays(max=127)], [("bad-max", "reserved.max is 127, but its array has room for 128", ())]),
    ([arrays(static=False, base=0x1000000, max=128)], []),
    ([arrays(static=False, base=0x1000000, max=256)], []),
    ([arrays(static=False, base=0x1000000, max=1024)], []),
    ([arrays(static=False, base=0x1000000, max=384)],
     [("bad-max", "reserved.max is 384, which is not 128 doubled", ())]),
    ([arrays(static=False, base=0x1000000, max=257)],
     [("bad-max", "reserved.max is 257, which is not 128 doubled", ())]),
    ([arrays(static=False, base=0x1000000, max=0), counted("reserved", max=0)],
     [("count-over-max", "reserved.cnt is 3, but its array has room for 0", ()),
      ("bad-max", "reserved.max is 0, which is not 128 doubled", ())]),
    ([arrays(static=False, base=0x1000000, max=7, room=None)], []),
    ([arrays(max=2, room=None)], [("count-over-max", "reserved.cnt is 3, but its array has room for 2", ())]),
    ([arrays(max=3, room=None)], []),
    ([known(arrays=()), counted("reserved", max=None)], []),
    # Lists without a region, or with a dummy.
    ([EMPTY_MEMORY], []),
    ([EMPTY_MEMORY, COMPLETE], [("list-empty", "memory has no regions, though the phase is allocator complete", ())]),
    ([EMPTY_MEMORY, COMPLETE, other(refused={"memory": "gone"})], []),
    ([EMPTY_MEMORY, HANDED_OVER], [("list-empty", "memory has no regions, though the phase is handed over", ())]),
    ([DUMMY], []),
    ([DUMMY, COMPLETE], [("list-empty", "reserved has no regions, though the phase is allocator complete", ())]),
    # The sum, modulo 2^64.
    ([counted("memory", total_size=MEMORY_TOTAL - 1)],
     [("total-size", "memory.total_size is 0x1ff7efff, but its regions sum to 0x1ff7f000", ())]),
    ([counted("reserved", total_size=RESERVED_TOTAL + 1)],
     [("total-size", "reserved.total_size is 0x2911801, but its regions sum to 0x2911800", ())]),
    ([known(trimmed=0xC00), counted("memory", total_size=MEMORY_TOTAL + 1)], []),
    ([known(trimmed=0xC00), counted("memory", total_size=MEMORY_TOTAL + 0xC00)], []),
    ([known(trimmed=0xC00), counted("memory", total_size=MEMORY_TOTAL + 0xC01)],
     [("total-size", "memory.total_size is 0x1ff7fc01, but its regions sum to 0x1ff7f000", ())]),
    ([counted("memory", total_size=MEMORY_TOTAL + (1 << 40))], []),
    ([counted("memory", total_size=1, cnt=4)], []),
    # Flags of the other list, and of none.
    ([changed("memory", flags={0: 16})],
     [("bad-flags", "memory[0] has the flags RSRV_NOINIT, which none of memory has", ())]),
    ([changed("memory", flags={0: 15})], []),
    ([changed("reserved", flags={0: 16, 1: 17, 2: 1 << 30})],
     [("bad-flags", "reserved[1] has the flags HOTPLUG, which none of reserved has", ()),
      ("bad-flags", "reserved[2] has the flags 0x40000000, which none of reserved has", ())]),
    ([changed("reserved", flags={1: 1 << 30}), other(flag_names={})], []),
    # Nodes: -1 and MAX_NUMNODES (1024) mean none; without the machine's nodes any other number below may be one.
    ([changed("memory", nid={0: 1023}), changed("reserved", nid={0: -1})], []),
    ([changed("memory", nid={0: 1025}), changed("reserved", nid={1: -2})],
     [("bad-nid", "memory[0] is of node 1025, which there is not", ()),
      ("bad-nid", "reserved[1] is of node -2, which there is not", ())]),
    ([known(nodes=NODES), changed("memory", nid={0: 1})],
     [("bad-nid", "memory[0] is of node 1, which there is not", ())]),
    ([known(nodes=NODES)], []),
    ([changed("memory", nid={0: 5000}), other(no_node=None)], []),
    # The limit: what the kernel sets, or anything above some memory.
    ([other(current_limit=0x1000)], [("bad-limit", "current_limit is 0x1000: all of memory is above it", ())]),
    ([other(current_limit=0x1001)], []),
    ([other(current_limit=0), EMPTY_MEMORY], []),
    ([other(current_limit=0x100000), other(memory=snapshot_of(Case(MEMORY[1:2], RESERVED)).memory)],
     [("bad-limit", "current_limit is 0x100000: all of memory is above it", ())]),
    ([other(current_limit=0), HANDED_OVER], []),
    ([known(limits=frozenset({0x200000, 0x100000})), other(current_limit=0x100001)],
     [("bad-limit", "current_limit is 0x100001, but 0x100000 or 0x200000 is expected at this stop", ())]),
    ([known(limits=frozenset({0x200000, 0x100000})), other(current_limit=0x200000)], []),
    # A doubled array of 256 regions of 24 bytes.
    ([arrays(static=False, va=0xFFFF88801FFDF000, base=0x1FFDF000, max=256, size=0x1800)],
     [("array-unreserved", "the array of reserved at 0x1ffdf000 (size 0x1800) is not reserved: "
       "an allocation may overwrite it", (0x1FFDF000,))]),
    ([arrays(static=False, base=0x3810000, max=256, size=0x1001)],
     [("array-unreserved", "the array of reserved at 0x3810000 (size 0x1001) is not reserved: "
       "an allocation may overwrite it", (0x3810000,))]),
    ([arrays(static=False, base=0x3810000, max=256, size=0x1000)], []),
    ([arrays(static=False, base=None, va=None, max=256)],
     [("array-unreserved", "the array of reserved is neither in the kernel nor in its memory", ())]),
    ([arrays(static=False, base=None, max=256), HANDED_OVER], []),
    # What has been told of a pointer already is not told of its array.
    ([arrays(static=False, base=None, va=0x5000, max=256), other(defects=(Defect("odd", (0x5000,)),))],
     [("storage-corrupt", "odd", (0x5000,)),
      ("array-unreserved", "the array of reserved is neither in the kernel nor in its memory", (0x5000,))]),
    ([arrays(static=False, base=None, va=0x5000, max=256),
      other(defects=(Defect("odd", (0x5000,), "array-pointer"),))], [("array-pointer", "odd", (0x5000,))]),
    # Memory within a page, once all of it is there; [0x1fff0000, 0x20001000) is one range with two flags.
    ([changed("memory", base={0: 0x1001}), counted("memory", total_size=MEMORY_TOTAL)], []),
    ([changed("memory", base={0: 0x1001}), COMPLETE],
     [("memory-unaligned", "memory [0x1001, 0x9f001) does not begin and end at a page's bounds", (0x1001, 0x9F001))]),
    ([changed("memory", size={1: 0x1FEFFFFF}), counted("memory", total_size=0x1FF9EFFF), COMPLETE],
     [("memory-unaligned", "memory [0x100000, 0x1fffffff) does not begin and end at a page's bounds",
       (0x100000, 0x1FFFFFFF))]),
    ([changed("memory", size={1: 0x1FEFF800}, base={2: 0x1FFFF800}), counted("memory", total_size=0x1FF9E800),
      COMPLETE],
     [("memory-unaligned", "memory [0x100000, 0x20000800) does not begin and end at a page's bounds",
       (0x100000, 0x20000800))]),
    # The firmware's RAM.
    ([other(firmware=FirmwareMap([0, 0x100000], [0x9FC00, 0x1FEDF000], [1, 1]))],
     [("outside-firmware", "memory [0x1ffdf000, 0x1ffe0000) is not RAM in the firmware map", (0x1FFDF000, 0x1FFE0000)),
      ("outside-firmware", "memory [0x20000000, 0x20001000) is not RAM in the firmware map",
       (0x20000000, 0x20001000))]),
    ([other(firmware=FirmwareMap([0], [1 << 32], [1]), firmware_edited=FirmwareMap([0], [0x20000000], [1]))],
     [("outside-firmware", "memory [0x20000000, 0x20001000) is not RAM in the firmware map as the kernel edited it",
       (0x20000000, 0x20001000))]),
    # RAM is what the map says is RAM, whatever else it says of it.
    ([other(firmware=FirmwareMap([0, 0x1000000], [1 << 32, 0x1000], [1, 2]))], []),
    # Neither in the firmware's map nor in the edited one: told once.
    ([other(firmware=FirmwareMap([0], [0x20000000], [1]), firmware_edited=FirmwareMap([0], [0x1FFE0000], [1]))],
     [("outside-firmware", "memory [0x20000000, 0x20001000) is not RAM in the firmware map",
       (0x20000000, 0x20001000))]),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "expected"), STATES, ids=range(len(STATES)))
def test_what_is_told_of_a_state(changes: list[Callable[[Snapshot], Snapshot]], expected: Told) -> None:
    snapshot = snapshot_of(Case(MEMORY, RESERVED))
    for change in changes:
        snapshot = change(snapshot)
    assert told(snapshot) == expected


def required(*places: tuple[int, int, str], memory: bool = True, alone: bool = False) -> tuple[Required, ...]:
    return tuple(Required(*place, memory=memory, alone=alone) for place in places)


# Reserved: [0, 1 MiB), [0x1000000, 0x3811000), [0x1ffff000, 0x1ffff800); [0x20000000, 0x20001000) is NOMAP.
REQUIRED: list[tuple[tuple[Required, ...], Told]] = [
    (required((0x1000000, 0x3811000, "image")), []),
    (required((0x1000000, 0x3811001, "image")),
     [("required-unreserved", "[0x3811000, 0x3811001) must be reserved, but is not: image", (0x3811000, 0x3811001))]),
    (required((0xFFF000, 0x1001000, "stack"), (0x3810000, 0x3812000, "tables")),
     [("required-unreserved", "[0x3811000, 0x3812000) must be reserved, but is not: tables", (0x3811000, 0x3812000)),
      ("required-unreserved", "[0xfff000, 0x1000000) must be reserved, but is not: stack", (0xFFF000, 0x1000000))]),
    # Each byte once, with the name of the smallest place around it.
    (required((0x4000000, 0x4004000, "image"), (0x4001000, 0x4002000, "stack")),
     [("required-unreserved", "[0x4000000, 0x4004000) must be reserved, but is not: image", (0x4000000, 0x4004000))]),
    (required((0x3810000, 0x3813000, "image"), (0x3811000, 0x3813000, "bss")),
     [("required-unreserved", "[0x3811000, 0x3813000) must be reserved, but is not: bss", (0x3811000, 0x3813000))]),
    (required((0x9E000, 0xA0000, "first MiB")),
     [("required-not-memory", "[0x9f000, 0xa0000) must be memory for use, but is not: first MiB", (0x9F000, 0xA0000))]),
    (required((0x9E000, 0xA0000, "first MiB"), memory=False), []),
    (required((0x20000000, 0x20000800, "initrd")),
     [("required-unreserved", "[0x20000000, 0x20000800) must be reserved, but is not: initrd",
       (0x20000000, 0x20000800)),
      ("required-not-memory", "[0x20000000, 0x20000800) must be memory for use, but is not: initrd",
       (0x20000000, 0x20000800))]),
    (required((0x1000000, 0x1002000, "image"), (0x1001000, 0x1003000, "initrd"), (0x1003000, 0x1004000, "tree"),
              alone=True),
     [("required-overlap", "[0x1001000, 0x1002000) is used twice: image, initrd", (0x1001000, 0x1002000))]),
    (required((0x1000000, 0x1005000, "image"), (0x1001000, 0x1002000, "initrd"), (0x1004000, 0x1006000, "tree"),
              alone=True),
     [("required-overlap", "[0x1001000, 0x1002000) is used twice: image, initrd", (0x1001000, 0x1002000)),
      ("required-overlap", "[0x1004000, 0x1005000) is used twice: image, tree", (0x1004000, 0x1005000))]),
    (required((0x1000000, 0x1002000, "image"), (0x1001000, 0x1003000, "initrd")), []),
]  # fmt: skip


@pytest.mark.parametrize(("places", "expected"), REQUIRED, ids=range(len(REQUIRED)))
def test_what_must_be_reserved(places: tuple[Required, ...], expected: Told) -> None:
    state = snapshot_of(Case(MEMORY, RESERVED))
    assert told(replace(state, required=places)) == expected
    # A list of which not all is known is damaged already; one that is known to be empty has nothing of it.
    unread = replace(state.reserved, base=column([]), size=column([]), flags=column([]), nid=column([]))
    lost = replace(state, required=places, reserved=replace(unread, total_size=0))
    assert [row for row in told(lost) if row[0] == "required-unreserved"] == []
    # Memory of the flags HOTPLUG and MIRROR is used, that of DRIVER_MANAGED is not.
    asked = required((0x1000000, 0x1001000, "image"))
    assert told(changed("memory", flags={1: 3})(replace(state, required=asked))) == []
    assert told(changed("memory", flags={1: 8})(replace(state, required=asked))) == [
        ("required-not-memory", "[0x1000000, 0x1001000) must be memory for use, but is not: image",
         (0x1000000, 0x1001000)),
    ]  # fmt: skip
    empty = replace(lost, reserved=replace(lost.reserved, cnt=0))
    count = sum(message.startswith("[") for code, message, _ in told(empty) if code == "required-unreserved")
    assert count >= 1


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


@pytest.mark.parametrize("name", ["memory", "reserved"])
def test_how_many_regions_fit_in_the_reservation_of_an_array(name: str) -> None:
    # The first array has room for 128 regions of 24 bytes, so that a doubled one takes 0x1800 bytes or more.
    direct, at = 0xFFFF888000000000, 0x8000000

    def held(base: int, size: int) -> int | None:
        program, segments = image(Case(MEMORY, [*RESERVED[:2], (base, size, 0, 1024), RESERVED[2]]), ABIS["x86_64"])
        raw = bytearray(segments[program.memblock_va])
        for member, value in (("max", 256), ("regions", direct + at)):
            place = program.memblock.fields[f"{name}.{member}"]
            raw[place.offset : place.offset + 8] = value.to_bytes(8, "little")
        array = segments[program.init_arrays[name]].ljust(0x3000, b"\0")
        memory = BytesMemory({**segments, program.memblock_va: bytes(raw), direct + at: array})
        found = decode(program, memory, physical=lambda va: va - direct if va >= direct else None)
        (one,) = (one for one in memblock(found).arrays if one.name == name)
        assert one.base == at and not one.static
        return one.held

    assert [held(at, size) for size in (0x1800, 0x17FF, 0x1817, 0x1818)] == [256, None, 256, 257]
    # It may begin below, and must not end there.
    assert held(at - 0x1000, 0x2800) == 256
    assert held(at - 0x1000, 0x1000) is held(at + 1, 0x2000) is None


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
    for base, expected in ((0x1FFD0000, ["array-unreserved"]), (0x1000000, [])):
        snapshot = snapshot_of(Case(MEMORY, RESERVED, doubled=direct + base))
        placed = stored(
            snapshot, arrays=tuple(replace(a, base=(a.va or 0) - direct) for a in memblock(snapshot).arrays)
        )
        assert [row[0] for row in told(placed)] == expected
        assert [array.static for array in memblock(placed).arrays] == [True, False]


def test_what_sound_kernels_do_is_a_note_with_its_reason() -> None:
    # [0] and [1] are alike; another node, other flags, or a gap keep those behind them apart.
    touching: list[Row] = [(0x11000, 0x1000, 0, 0), (0x12000, 0x1000, 0, 0), (0x13000, 0x1000, 0, 1),
                           (0x14000, 0x1000, 4, 1), (0x16000, 0x1000, 4, 1)]  # fmt: skip
    outside: list[Row] = [(0x10000, 0x2000, 0, 0), (0x14800, 0x2000, 0, 0)]
    snapshot = snapshot_of(Case(touching, outside, max=7, total=0x5C00))
    stale = ("size-stale", "memory.total_size is 0x5c00, but its regions sum to 0x5000: "
             "memblock_trim_memory() does not correct it", ())  # fmt: skip
    merge = ("unmerged", "memory[0] and memory[1] touch and could be one region: "
             "since 6.12 only neighbours of what was added are merged", (0x11000, 0x12000))  # fmt: skip
    room = ("headroom", "the array of memory has room for 2 more: the next addition may double it", ())
    beside = [("reserved-outside-memory", f"reserved [{low:#x}, {high:#x}) is outside memory", (low, high))
              for low, high in ((0x10000, 0x11000), (0x15000, 0x16000))]  # fmt: skip
    assert told(snapshot, NOTE) == [stale, merge, room, *beside]
    # Three more have room; no room at all; what is a finding; no memory yet.
    assert told(replace(snapshot, memory=replace(snapshot.memory, max=8), storage=replace(
        snapshot.storage, arrays=(replace(memblock(snapshot).arrays[0], max=8, room=8),))), NOTE) == [
        stale, merge, *beside]  # fmt: skip
    full = ("headroom", "the array of memory has room for 0 more: the next addition may double it", ())
    assert told(counted("memory", max=5)(snapshot), NOTE) == [stale, merge, full, *beside]
    assert told(counted("memory", max=4)(snapshot), NOTE) == [stale, merge, *beside]
    assert told(counted("memory", total_size=0x4FFF)(snapshot), NOTE) == [merge, room, *beside]
    assert told(snapshot_of(Case([], outside)), NOTE) == []


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
