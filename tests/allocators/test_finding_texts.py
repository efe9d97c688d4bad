# SPDX-License-Identifier: GPL-2.0-or-later
"""Each finding of the list-based LMB whole: how many there are, in their words, with their addresses.

The state is that of tests/helpers/small_lmb.py, whose places were worked out by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from gdb_lmb.allocators.base import check
from gdb_lmb.allocators.lmb import blocks as of_blocks_module
from gdb_lmb.allocators.lmb.decode import decode
from gdb_lmb.allocators.lmb.model import LmbConfig, LmbModel
from gdb_lmb.allocators.lmb.storage import Block
from gdb_lmb.core.snapshot import FirmwareMap, Required, Snapshot, Walk, column
from gdb_lmb.core.words import FINDING, NOTE
from tests.helpers.image import ABIS, Image, build
from tests.helpers.small_lmb import FIRMWARE, lmb_model
from tests.helpers.states import lmb, stored

# The heads in struct lmb, the static entries 0:0 to 0:4, and block 1 with its entries 1:0 to 1:4.
LMB = 0xFFFFFFFF80001000
MEMORY, RESERVED, FREE = 0xFFFFFFFF80001000, 0xFFFFFFFF80001028, 0xFFFFFFFF80001050
STATIC = [0xFFFFFFFF80004000 + 40 * slot for slot in range(5)]
BLOCK = 0xFFFF888001FFFF00
GROWN = [BLOCK + 40 + 40 * slot for slot in range(5)]

# memory: 0:0, 0:1, 0:2; reserved: 0:3, 1:1, 1:0, 0:4; free: 1:2, 1:3, 1:4.

Told = list[tuple[str, str, tuple[int, ...]]]


def told(snapshot: Snapshot, severity: str = FINDING) -> Told:
    return [(f.code, f.message, f.addresses) for f in check(snapshot) if f.severity == severity]


def seen(*damage: Callable[[Image], object]) -> Told:
    image = lmb_model()[1]
    for one in damage:
        one(image)
    return told(decode(image.program, image))


def both_links_lost(image: Image) -> None:
    # 1:2 and 1:4 were popped and forgotten: 1:3 is left.
    image.lmb("freelist.next", GROWN[3])
    image.lmb("freelist.prev", GROWN[3])
    image.entry(GROWN[3], "link.next", FREE)
    image.entry(GROWN[3], "link.prev", FREE)
    image.lmb("nr_free", 1)


def on_two_lists(image: Image) -> None:
    # list_add_tail() of 1:0, which is reserved, to the freelist.
    image.entry(GROWN[0], "link.next", FREE)
    image.entry(GROWN[0], "link.prev", GROWN[4])
    image.entry(GROWN[4], "link.next", GROWN[0])
    image.lmb("freelist.prev", GROWN[0])
    image.lmb("nr_free", 4)


def swapped(image: Image) -> None:
    for name in ("base", "size"):
        one, other = image.entry(STATIC[3], name), image.entry(GROWN[1], name)
        image.entry(STATIC[3], name, other)
        image.entry(GROWN[1], name, one)


def sized(entry: int, which: str, size: int) -> Callable[[Image], None]:
    """Give a region another size, and its list the right total."""

    def change(image: Image) -> None:
        total = image.lmb(f"{which}.total_size") - image.entry(entry, "size") + size
        image.lmb(f"{which}.total_size", total % (1 << 64))
        image.entry(entry, "size", size)

    return change


CASES: list[tuple[str, list[Callable[[Image], object]], Told]] = [
    ("next of the head", [lambda i: i.lmb("reserved.regions.next", 0x1234)], [
        ("link-wild", "reserved list: next of the head leads to 0x1234, which is no entry of any block",
         (RESERVED, 0x1234)),
    ]),
    ("prev of the head", [lambda i: i.lmb("reserved.regions.prev", STATIC[3])], [
        ("link-broken", f"reserved list: prev of the head leads to {STATIC[3]:#x}, which does not lead back",
         (RESERVED, STATIC[3])),
    ]),
    ("two links of two lists", [
        lambda i: i.entry(STATIC[1], "link.prev", STATIC[2]), lambda i: i.entry(GROWN[0], "link.prev", STATIC[3]),
    ], [
        ("link-broken", f"memory list: prev of member 1 leads to {STATIC[2]:#x}, which does not lead back",
         (STATIC[1], STATIC[2])),
        ("link-broken", f"reserved list: prev of member 2 leads to {STATIC[3]:#x}, which does not lead back",
         (GROWN[0], STATIC[3])),
    ]),
    ("next of a member", [lambda i: i.entry(STATIC[0], "link.next", 0x1234)], [
        ("link-wild", "memory list: next of member 0 leads to 0x1234, which is no entry of any block",
         (STATIC[0], 0x1234)),
    ]),
    ("next of a member to the head", [lambda i: i.entry(STATIC[0], "link.next", MEMORY)], [
        ("link-broken", f"memory list: next of member 0 leads to {MEMORY:#x}, which does not lead back",
         (STATIC[0], MEMORY)),
    ]),
    ("next of the last member", [lambda i: i.entry(STATIC[2], "link.next", 0x1234)], [
        ("link-wild", "memory list: next of member 2 leads to 0x1234, which is no entry of any block",
         (STATIC[2], 0x1234)),
    ]),
    ("next of the last member to an entry", [lambda i: i.entry(STATIC[2], "link.next", STATIC[3])], [
        ("link-broken", f"memory list: next of member 2 leads to {STATIC[3]:#x}, which does not lead back",
         (STATIC[2], STATIC[3])),
    ]),
    ("a circle", [lambda i: i.entry(GROWN[0], "link.next", GROWN[1])], [
        ("list-cycle", "reserved list: next of member 2 leads back to member 1", (GROWN[0], GROWN[1])),
    ]),
    ("a circle of one", [lambda i: i.entry(GROWN[3], "link.next", GROWN[3])], [
        ("list-cycle", "free list: next of member 1 leads back to member 1", (GROWN[3], GROWN[3])),
    ]),
    ("two entries lost", [both_links_lost], [
        ("entry-lost", "entry 1:2 is on no list", (GROWN[2],)),
        ("entry-lost", "entry 1:4 is on no list", (GROWN[4],)),
    ]),
    ("on two lists", [on_two_lists], [
        ("entry-shared", "entry 1:0 is on 2 lists: reserved, free", (GROWN[0],)),
    ]),
    ("counters", [
        lambda i: i.lmb("memory.cnt", 2), lambda i: i.lmb("reserved.cnt", 5), lambda i: i.lmb("nr_free", 4),
        lambda i: i.lmb("memory.total_size", 1), lambda i: i.lmb("reserved.total_size", 0x86501),
    ], [
        ("count-mismatch", "memory.cnt is 2, but the list has 3 regions", ()),
        ("count-mismatch", "reserved.cnt is 5, but the list has 4 regions", ()),
        ("size-mismatch", "memory.total_size is 0x1, but its regions sum to 0x1f9f000", ()),
        ("size-mismatch", "reserved.total_size is 0x86501, but its regions sum to 0x86500", ()),
        ("free-count-mismatch", "nr_free is 4, but the freelist has 3 entries", ()),
    ]),
    ("unsorted", [swapped], [("unsorted", "reserved[1] starts below reserved[0]", (0x300000, 0x100000))]),
    ("one byte too long", [sized(STATIC[3], "reserved", 0x200001)], [
        ("overlap", "reserved[1] overlaps reserved[0]", (0x300000, 0x300001)),
    ]),
    ("touching", [sized(STATIC[3], "reserved", 0x200000)], [
        ("unmerged", "reserved[0] and reserved[1] touch, have equal flags, and are not one region",
         (0x100000, 0x300000)),
    ]),
    ("touching at the end", [sized(GROWN[0], "reserved", 0x4F00)], [
        ("unmerged", "reserved[2] and reserved[3] touch, have equal flags, and are not one region",
         (0x1FFB000, 0x1FFFF00)),
    ]),
    ("two are empty", [sized(STATIC[0], "memory", 0), sized(GROWN[1], "reserved", 0)], [
        ("empty-region", "memory[0] is empty", (0x1000,)),
        ("empty-region", "reserved[1] is empty", (0x300000,)),
    ]),
    ("to the end of the address space", [sized(STATIC[4], "reserved", (1 << 64) - 1 - 0x1FFFF00)], []),
    ("past the end of the address space", [sized(STATIC[4], "reserved", (1 << 64) - 0x1FFFF00)], [
        ("region-wraps", "reserved[3] goes past the end of the 64-bit address space", (0x1FFFF00, 1 << 64)),
    ]),
    ("the block is not reserved", [sized(STATIC[4], "reserved", 255)], [
        ("block-unreserved",
         "block 1 at 0x1ffff00 (size 0x100) is not reserved: an allocation may overwrite the entries in it",
         (0x1FFFF00,)),
    ]),
    ("more memory than there is", [sized(STATIC[2], "memory", 0x1001)], [
        ("outside-firmware", "memory [0x2001000, 0x2001001) is not RAM in the firmware map", (0x2001000, 0x2001001)),
    ]),
    ("nr_blocks", [lambda i: i.lmb("nr_blocks", 3)], [
        ("storage-corrupt", "nr_blocks is 3, but the chain has 2 blocks", ()),
    ]),
    ("entries of a block", [lambda i: i.put(i.program.block, BLOCK, "nr", 6)], [
        ("storage-corrupt", "block 1 says it has 6 entries, but it has 5", (BLOCK,)),
    ]),
    ("where a block's entries are", [lambda i: i.put(i.program.block, BLOCK, "entries", GROWN[1])], [
        ("storage-corrupt", f"block 1 says its entries are at {GROWN[1]:#x}, but they are at {GROWN[0]:#x}", (BLOCK,)),
    ]),
    ("a block's base", [lambda i: i.put(i.program.block, BLOCK, "base", 0)], [
        ("storage-corrupt", "block 1 has no physical address", (BLOCK,)),
    ]),
    ("a static array with a base", [lambda i: i.put(i.program.block, STATIC[0] - 0x2000, "base", 0x1000)], [
        ("storage-corrupt", "block 0 says that it lies at 0x1000, but it is the static array", (STATIC[0] - 0x2000,)),
    ]),
    ("switches", [lambda i: i.lmb("bottom_up", 2), lambda i: i.lmb("may_grow", 0)], [
        ("storage-corrupt", "bottom_up is 0x2, which is no truth value", (LMB,)),
        ("storage-corrupt", "may_grow is 0, but 1 blocks were gained", (LMB,)),
    ]),
    ("a limit below all memory", [lambda i: i.lmb("current_limit", 0x1000)], [
        ("bad-limit", "current_limit is 0x1000: all of memory is above it", ()),
    ]),
    ("a limit above the first byte", [lambda i: i.lmb("current_limit", 0x1001)], []),
    ("a firmware map that is full", [lambda i: i.put(i.program.firmware.struct, i.program.firmware.va, "nr", 32)], []),
    ("a firmware map that says more",
     [lambda i: i.put(i.program.firmware.struct, i.program.firmware.va, "nr", 33)], [
        ("storage-corrupt", "the firmware map says it has 33 ranges, but holds at most 32", ()),
    ]),
    ("a firmware map that is gone", [lambda i: i.segments.pop(i.program.firmware.va)], [
        ("storage-corrupt", "the firmware map cannot be read", (0xFFFFFFFF80100300,)),
    ]),
    ("block_size", [lambda i: i.lmb("block_size", 255)], [
        ("storage-corrupt", "block_size is 0xff, which is no power of two that holds two entries", ()),
    ]),
    ("another block_size", [lambda i: i.lmb("block_size", 512)], [
        ("storage-corrupt", "block_size is 0x200, but the blocks were made with 0x100", ()),
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "expected"), [row[1:] for row in CASES], ids=[row[0] for row in CASES])
def test_what_is_told_of_damage(damage: list[Callable[[Image], object]], expected: Told) -> None:
    assert seen(*damage) == expected


def test_the_state_itself_is_sound() -> None:
    assert seen() == []


def test_what_a_program_has_not_or_nobody_asks_for() -> None:
    image = lmb_model()[1]
    state = decode(image.program, image)
    assert lmb(state).log is None and state.firmware is not None
    image.program = replace(image.program, firmware=None)
    assert decode(image.program, image).firmware is None
    # A ring without room has no records, whatever its counter says.
    log = image.program.log
    assert log is not None
    ring = replace(log.struct.fields["ring"], size=0)
    empty = replace(log, struct=replace(log.struct, fields={**log.struct.fields, "ring": ring}))
    image.program = replace(image.program, log=empty)
    found = lmb(decode(image.program, image, with_log=True)).log
    assert found is not None and (found.nr, found.capacity, list(found.op)) == (8, 0, [])


def test_the_names_of_the_lists() -> None:
    # In the last page of the program; one name is cut off by its end.
    image, end = lmb_model()[1], 0xFFFFFFFF80003000
    image.program = replace(image.program, image=(range(LMB, end),))
    image.segments[end - 32] = bytearray(b"memory\0reserved\0".ljust(26, b"\0") + b"memory")
    image.segments[0x5000] = bytearray(b"reserved\0")
    image.lmb("memory.name", end - 32)
    image.lmb("reserved.name", end - 25)
    assert told(decode(image.program, image)) == []
    for list_, va in (("memory", end - 6), ("memory", end - 25), ("reserved", 0x5000)):
        name, was = f"{list_}.name", image.lmb(f"{list_}.name")
        image.lmb(name, va)
        assert told(decode(image.program, image)) == [
            ("bad-name", f"{name} is {va:#x}, which is not where the program has this name", (va,)),
        ]  # fmt: skip
        image.lmb(name, was)
    image.program = replace(image.program, image=())
    image.lmb("memory.name", 0)
    assert told(decode(image.program, image)) == []


def test_a_limit_counts_what_can_be_handed_out() -> None:
    # The first page never is.
    state = lmb_model()[0].snapshot()
    low = replace(state.memory, base=column([0, 0x100000, 0x2000000]), size=column([0x1000, 0x1F00000, 0x1000]))
    for limit, is_told in ((0x100000, True), (0x100001, False)):
        found = told(replace(state, memory=replace(low, total_size=0x1F02000), current_limit=limit))
        assert ("bad-limit" in [row[0] for row in found]) == is_told


def test_an_empty_freelist() -> None:
    image = lmb_model()[1]
    image.lmb("freelist.next", FREE)
    image.lmb("freelist.prev", FREE)
    image.lmb("nr_free", 0)
    assert told(decode(image.program, image)) == [
        ("entry-lost", "entry 1:2 is on no list", (GROWN[2],)),
        ("entry-lost", "entry 1:3 is on no list", (GROWN[3],)),
        ("entry-lost", "entry 1:4 is on no list", (GROWN[4],)),
        ("freelist-exhausted", "the freelist is empty: the last entry must be kept to gain the next block", ()),
    ]


# -- the chain of blocks ---------------------------------------------------------------------------------


def chain() -> Image:
    """Four blocks: the static one of 5 entries, and three of 256 bytes with 5 each, downwards from 32 MiB."""
    model, _ = lmb_model()
    for at in range(9):  # entry after entry, until two more blocks have been needed
        assert model.reserve(0x400000 + 0x2000 * at, 0x1000) == 0
    assert [block[0] for block in model.blocks[1:]] == [0x1FFFF00, 0x1FFFE00, 0x1FFFD00]
    return build(model, ABIS["x86_64"], FIRMWARE)


HEADERS = [STATIC[0] - 0x2000, BLOCK, BLOCK - 0x100, BLOCK - 0x200]
CHAIN = 0xFFFFFFFF80001068  # the head of the chain in struct lmb


def of_block(number: int, name: str, value: int) -> Callable[[Image], object]:
    return lambda i: i.put(i.program.block, HEADERS[number], name, value)


CHAINS: list[tuple[str, list[Callable[[Image], object]], Told]] = [
    ("sound", [], []),
    ("next of a block to nowhere", [of_block(1, "link.next", 0x4141414141414140)], [
        ("storage-corrupt", "the block list's next link leads to no block header", (0x4141414141414140,)),
    ]),
    ("next of the last block to the second", [of_block(3, "link.next", BLOCK)], [
        ("storage-corrupt", "the block list's next links run in a circle", (BLOCK,)),
    ]),
    ("next of a block to itself", [of_block(2, "link.next", HEADERS[2])], [
        ("storage-corrupt", "the block list's next links run in a circle", (HEADERS[2],)),
    ]),
    ("next of a block to the head", [of_block(1, "link.next", CHAIN)], [
        ("storage-corrupt", "the block list's next links miss 2 of its blocks", (BLOCK,)),
    ]),
    *((f"{name} past {which}", damage, [
        ("storage-corrupt", f"the block list's next links miss {number} of its blocks", (before,)),
    ]) for name, damage, which, number, before in (
        ("the head", [lambda i: i.lmb("blocks.next", HEADERS[1])], "block 0", 1, CHAIN),
        ("the head", [lambda i: i.lmb("blocks.next", HEADERS[2])], "blocks 0 and 1", 2, CHAIN),
        ("block 0", [of_block(0, "link.next", HEADERS[2])], "block 1", 1, HEADERS[0]),
        ("block 0", [of_block(0, "link.next", HEADERS[3])], "blocks 1 and 2", 2, HEADERS[0]),
        ("block 1", [of_block(1, "link.next", HEADERS[3])], "block 2", 1, HEADERS[1]),
        ("block 2", [of_block(2, "link.next", CHAIN)], "block 3", 1, HEADERS[2]),
    )),
    ("past two blocks apart", [of_block(0, "link.next", HEADERS[2]), of_block(2, "link.next", CHAIN)], [
        ("storage-corrupt", "the block list's next links miss 1 of its blocks", (HEADERS[0],)),
        ("storage-corrupt", "the block list's next links miss 1 of its blocks", (HEADERS[2],)),
    ]),
    ("past a block that says so", [of_block(0, "link.next", HEADERS[2]), of_block(1, "link.prev", 0x10)], [
        ("storage-corrupt", "the block list's next links miss 1 of its blocks", (HEADERS[0],)),
        ("storage-corrupt", "block 1's prev link does not lead to its predecessor", (HEADERS[1],)),
    ]),
    ("past a block, then to nowhere", [of_block(0, "link.next", HEADERS[2]), of_block(2, "link.next", 0x20)], [
        ("storage-corrupt", "the block list's next links miss 1 of its blocks", (HEADERS[0],)),
        ("storage-corrupt", "the block list's next link leads to no block header", (0x20,)),
    ]),
    ("prev of a block to an entry", [of_block(2, "link.prev", GROWN[1])], [
        ("storage-corrupt", "block 2's prev link does not lead to its predecessor", (HEADERS[2],)),
    ]),
    ("prev of a block", [of_block(2, "link.prev", HEADERS[0])], [
        ("storage-corrupt", "block 2's prev link does not lead to its predecessor", (HEADERS[2],)),
    ]),
    ("prev of the last block", [of_block(3, "link.prev", 0x10)], [
        ("storage-corrupt", "block 3's prev link does not lead to its predecessor", (HEADERS[3],)),
    ]),
    ("prev of the head to a block", [lambda i: i.lmb("blocks.prev", HEADERS[2])], [
        ("storage-corrupt", "the block list's head does not lead back to the last block", (CHAIN,)),
    ]),
    ("prev of the head to nowhere", [lambda i: i.lmb("blocks.prev", 0x10)], [
        ("storage-corrupt", "the block list's head does not lead back to the last block", (CHAIN,)),
    ]),
    ("next of the head to nowhere", [lambda i: i.lmb("blocks.next", 0x20)], [
        ("storage-corrupt", "the block list's next link leads to no block header", (0x20,)),
    ]),
    ("both ways", [of_block(1, "link.next", 0x20), of_block(2, "link.prev", HEADERS[3])], [
        ("storage-corrupt", "the block list's next link leads to no block header", (0x20,)),
        ("storage-corrupt", "the block list's prev links run in a circle", (HEADERS[3],)),
    ]),
    ("6 entries of block 2", [of_block(2, "nr", 6)], [
        ("storage-corrupt", "block 2 says it has 6 entries, but it has 5", (HEADERS[2],)),
    ]),
    ("0 entries of block 3", [of_block(3, "nr", 0)], [
        ("storage-corrupt", "block 3 says it has 0 entries, but it has 5", (HEADERS[3],)),
    ]),
    ("4 entries of block 0", [of_block(0, "nr", 4)], [
        ("storage-corrupt", "block 0 says it has 4 entries, but it has 5", (HEADERS[0],)),
    ]),
    ("1 entries of block 0", [of_block(0, "nr", 1)], [
        ("storage-corrupt", "block 0 says it has 1 entries, but it has 5", (HEADERS[0],)),
    ]),
    ("1099511627776 entries of block 0", [of_block(0, "nr", 1099511627776)], [
        ("storage-corrupt", "block 0 says it has 1099511627776 entries, but it has 5", (HEADERS[0],)),
    ]),
    ("blocks of 0x200", [lambda i: i.lmb("block_size", 0x200)], [
        ("storage-corrupt", "block_size is 0x200, but the blocks were made with 0x100", ()),
    ]),
    ("blocks of 0x80", [lambda i: i.lmb("block_size", 0x80)], [
        ("storage-corrupt", "block_size is 0x80, but the blocks were made with 0x100", ()),
    ]),
    ("blocks of 0x4000000000000000", [lambda i: i.lmb("block_size", 0x4000000000000000)], [
        ("storage-corrupt", "block_size is 0x4000000000000000, but the blocks were made with 0x100", ()),
    ]),
    ("a block that only its place shows", [of_block(2, "entries", 0x4141414141414140), of_block(2, "nr", 6)], [
        ("storage-corrupt", "block 2 says it has 6 entries, but it has 5", (HEADERS[2],)),
        ("storage-corrupt", f"block 2 says its entries are at 0x4141414141414140, but they are at {HEADERS[2] + 40:#x}",
         (HEADERS[2],)),
    ]),
    ("a block that only its number shows", [of_block(2, "entries", 0x4141414141414140), of_block(2, "link.prev", 16)], [
        ("storage-corrupt", "block 2's prev link does not lead to its predecessor", (HEADERS[2],)),
        ("storage-corrupt", f"block 2 says its entries are at 0x4141414141414140, but they are at {HEADERS[2] + 40:#x}",
         (HEADERS[2],)),
    ]),
    ("headers that tell no size", [of_block(number, "nr", 6) for number in (1, 2, 3)], [
        ("storage-corrupt", f"block {number} says it has 6 entries, but it has 5", (HEADERS[number],))
        for number in (1, 2, 3)
    ]),
    ("no blocks of 0x0", [lambda i: i.lmb("block_size", 0x0)], [
        ("storage-corrupt", "block_size is 0x0, which is no power of two that holds two entries", ()),
    ]),
    ("no blocks of 0x40", [lambda i: i.lmb("block_size", 0x40)], [
        ("storage-corrupt", "block_size is 0x40, which is no power of two that holds two entries", ()),
    ]),
    ("no blocks of 0x78", [lambda i: i.lmb("block_size", 0x78)], [
        ("storage-corrupt", "block_size is 0x78, which is no power of two that holds two entries", ()),
    ]),
    ("no blocks of 0x8000000000000000", [lambda i: i.lmb("block_size", 0x8000000000000000)], [
        ("storage-corrupt", "block_size is 0x8000000000000000, which is no power of two that holds two entries", ()),
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "expected"), [row[1:] for row in CHAINS], ids=[row[0] for row in CHAINS])
def test_what_is_told_of_the_chain(damage: list[Callable[[Image], object]], expected: Told) -> None:
    image = chain()
    for one in damage:
        one(image)
    assert told(decode(image.program, image)) == expected


def defects(image: Image) -> list[str]:
    return [defect.what for defect in decode(image.program, image).defects]


def test_what_nothing_shows_to_be_a_block_is_none() -> None:
    for number, damage in (
        (0, [("link.prev", 16), ("entries", 0x4141414141414140)]),
        (2, [("link.prev", 16), ("entries", 0x4141414141414140), ("nr", 6)]),
    ):
        image = chain()
        for name, value in damage:
            of_block(number, name, value)(image)
        assert defects(image)[0] == "the block list's next link leads to no block header"
        assert decode(image.program, image).defects[0].addresses == (HEADERS[number],)


def test_a_block_is_not_taken_for_missed_where_neither_neighbour_agrees() -> None:
    image = chain()
    for number, name, value in ((0, "link.next", HEADERS[2]), (1, "link.next", 16), (1, "link.prev", 32)):
        of_block(number, name, value)(image)
    assert defects(image) == [
        "block 1's prev link does not lead to its predecessor", "nr_blocks is 4, but the chain has 3 blocks",
    ]  # fmt: skip


def test_what_is_read_of_blocks_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    # The header of block 0, three blocks of 256 bytes, then 5 entries of 40 bytes: to count them, and to take them.
    whole, chained = 40 + 3 * 256 + 2 * 200, 40 + 3 * 256
    of_entries = ["the entries of block 0 (0xc8 bytes) are more than is ever read"]
    for bound, told_of in (
        (whole, []),
        (whole - 1, of_entries),
        (chained, of_entries),
        # Both ways.
        (chained - 1, [*[f"the block list holds more than {chained - 1} bytes"] * 2, *of_entries]),
    ):
        monkeypatch.setattr(of_blocks_module, "MAX_STORAGE_BYTES", bound)
        assert [one for one in defects(chain()) if "ever read" in one or "holds" in one] == told_of
    monkeypatch.undo()
    monkeypatch.setattr(of_blocks_module, "MAX_BLOCKS", 4)
    assert defects(chain()) == []
    monkeypatch.setattr(of_blocks_module, "MAX_BLOCKS", 3)
    assert defects(chain())[0] == "the block list is longer than 3 blocks"
    monkeypatch.undo()
    image = chain()
    for number in (1, 2, 3):
        of_block(number, "nr", 6)(image)
    monkeypatch.setattr(of_blocks_module, "MAX_DEFECTS", 2)
    assert len(defects(image)) == 2


def test_entries_that_become_columns_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_blocks_module, "CHUNK_BYTES", 300)
    assert told(decode(chain().program, chain())) == []


def test_blocks_of_a_size_that_nothing_tells() -> None:
    # Four entries fill no block of a power of two: the header alone tells how many are read.
    image = chain()
    image.lmb("block_size", 1000)
    for number in (1, 2, 3):
        of_block(number, "nr", 4)(image)
    assert defects(image) == ["block_size is 0x3e8, which is no power of two that holds two entries"]
    assert [(b.nr, b.size) for b in lmb(decode(image.program, image)).blocks] == [(5, None), *[(4, 200)] * 3]
    of_block(1, "nr", 1 << 40)(image)
    most = (64 << 20) // 40
    assert defects(image)[1:3] == [
        f"block 1 says it has {1 << 40} entries, but it has {most}",
        f"the entries of block 1 ({most * 40:#x} bytes) are more than is ever read",
    ]


def test_a_header_that_is_not_aligned_tells_no_size() -> None:
    # Whose 11 entries would fill blocks of 512 bytes.
    image = chain()
    decoy = 0xFFFF888003000004
    image.segments[decoy - 4] = bytearray(4096)
    for name, value in (("nr", 11), ("entries", decoy + 40), ("link.prev", decoy)):
        image.put(image.program.block, decoy, name, value)
    image.lmb("block_size", 512)
    image.lmb("blocks.prev", decoy)
    assert defects(image) == [
        "block_size is 0x200, but the blocks were made with 0x100",
        "the block list's head does not lead back to the last block",
    ]


def static(nr: int = 5, *, logged: int | None = None, **config: int) -> Image:
    """The static array alone, with a log of `lmb_init()`, or of another first operation of this size."""
    model = LmbModel(LmbConfig(**{"static": nr, "block_size": 256, "entry_size": 40, "header_size": 40, **config}))
    image = build(model, ABIS["x86_64"], FIRMWARE, [])
    if logged is not None:
        assert image.program.log is not None
        ring = image.program.log.va + image.program.log.struct.fields["ring"].offset
        image.put(image.program.log.record, ring, "op", 1)
        image.put(image.program.log.record, ring, "size", logged)
    return image


def test_a_log_tells_the_block_size_before_there_are_blocks() -> None:
    image = static()
    assert defects(image) == defects(static(logged=512)) == []
    image.lmb("block_size", 512)
    assert defects(image) == ["block_size is 0x200, but the blocks were made with 0x100"]


def test_how_many_static_entries_there_are() -> None:
    # Two are enough.
    image = static(2)
    assert defects(image) == []
    image.program = replace(image.program, static_entries=None, log=None)
    assert defects(image) == [] and lmb(decode(image.program, image)).nr_entries == 2
    # Header and log agree: an entry without links is not left out.
    image = static()
    for link in ("link.next", "link.prev"):
        image.entry(STATIC[4], link, 0)
    assert defects(image) == [] and lmb(decode(image.program, image)).nr_entries == 5
    # No entry has links, and header and log do not agree: the header counts.
    image = static()
    image.segments[STATIC[0]] = bytearray(6 * 40)
    image.program = replace(image.program, static_entries=(STATIC[0], 6))
    of_block(0, "nr", 4)(image)
    assert defects(image) == [] and lmb(decode(image.program, image)).nr_entries == 4
    # They cannot be read.
    image = static()
    del image.segments[STATIC[0]]
    assert defects(image) == ["the entries of block 0 cannot be read"]


def test_a_block_holds_two_entries() -> None:
    image = static(block_size=128, header_size=48)
    image.program = replace(image.program, block=replace(image.program.block, size=48))
    image.segments[HEADERS[0]] += bytes(8)
    assert image.program.header_size + 2 * 40 == 128 and defects(image) == []
    image.lmb("block_size", 64)
    assert defects(image)[0].startswith("block_size is 0x40")


# -- where blocks lie ------------------------------------------------------------------------------------


def three_blocks() -> Snapshot:
    """Three grown blocks at [3K, 4K), [2K, 3K) and [1K, 2K), whose headers tell one linear map."""
    model = lmb_model()[0]
    state = model.snapshot()
    blocks = tuple(Block(base, 25, False, 1024, 0xFFFF888000000000 + base) for base in (0xC00, 0x800, 0x400))
    state = stored(state, blocks=(lmb(state).blocks[0], *blocks), nr_blocks=4)
    one = replace(state.reserved, base=column([0x400]), size=column([0xC00]), flags=column([0]), entry=column([3]),
                  cnt=1, total_size=0xC00)  # fmt: skip
    return replace(state, reserved=one)


def moved(number: int, base: int) -> Snapshot:
    state = three_blocks()
    blocks = list(lmb(state).blocks)
    blocks[number] = replace(blocks[number], base=base)
    return stored(state, blocks=tuple(blocks))


def of_blocks(snapshot: Snapshot) -> Told:
    return [row for row in told(snapshot) if row[0] in ("storage-corrupt", "block-unreserved")]


def test_the_others_outvote_a_block() -> None:
    assert of_blocks(three_blocks()) == []
    for number, lies in ((1, 0xC00), (2, 0x800), (3, 0x400)):
        assert of_blocks(moved(number, 0x5000)) == [
            ("storage-corrupt", f"block {number} says that it lies at 0x5000, but its entries are used at {lies:#x}",
             (0x5000, lies)),
        ]  # fmt: skip


def test_the_page_after_the_kernel_has_no_vote() -> None:
    # It is mapped with the kernel, not where all of memory is.
    state = moved(1, 0x5000)
    page = Block(0x10000, 25, False, 4096, 0xFFFFFFFF80010000)
    state = stored(state, blocks=(page, *lmb(state).blocks[1:]))
    assert ("storage-corrupt", "block 1 says that it lies at 0x5000, but its entries are used at 0xc00",
            (0x5000, 0xC00)) in of_blocks(state)  # fmt: skip


def test_page_tables_tell_where_block_0_is() -> None:
    page = Block(0x10000, 25, False, 4096, 0xFFFFFFFF80010000)
    state = three_blocks()
    state = stored(state, blocks=(page, *lmb(state).blocks[1:]), mapped={0: 0x20000})
    assert of_blocks(state) == [
        ("block-unreserved",
         "block 0 at 0x20000 (size 0x1000) is not reserved: an allocation may overwrite the entries in it", (0x20000,)),
        ("storage-corrupt", "block 0 says that it lies at 0x10000, but its entries are used at 0x20000",
         (0x10000, 0x20000)),
    ]  # fmt: skip


def test_page_tables_outvote_the_headers_of_blocks() -> None:
    # All headers say the same linear map, which is not the one in use.
    state = three_blocks()
    first, *grown = lmb(state).blocks
    askew = stored(state, blocks=(first, *(replace(b, base=(b.base or 0) + 0x4000) for b in grown)))
    assert "storage-corrupt" not in [row[0] for row in of_blocks(askew)]
    assert of_blocks(stored(askew, mapped={1: 0xC00})) == [
        ("storage-corrupt",
         f"block {at} says that it lies at {0x4000 + base:#x}, but its entries are used at {base:#x}",
         (0x4000 + base, base))
        for at, base in ((1, 0xC00), (2, 0x800), (3, 0x400))
    ]  # fmt: skip


def flagged(*rows: tuple[int, int, int]) -> Snapshot:
    """Two blocks of revision 2 at [0x800, 0xc00) and [0xc00, 0x1000), and what is reserved: base, size, flags."""
    state = three_blocks()
    first, high, low, _ = lmb(state).blocks
    base, size, flags = (column(values) for values in zip(*rows, strict=True))
    reserved = replace(state.reserved, base=base, size=size, flags=flags, entry=column(range(3, 3 + len(rows))),
                       cnt=len(rows), total_size=sum(size))  # fmt: skip
    return replace(stored(state, blocks=(first, low, high), nr_blocks=3, revision=2), reserved=reserved)


def of_flags(snapshot: Snapshot) -> Told:
    return [row for row in told(snapshot) if row[0] in ("block-unflagged", "no-block")]


def test_the_block_without_its_flag_is_named() -> None:
    block = 1 << 31
    assert of_flags(flagged((0x800, 0x800, block))) == []
    assert of_flags(flagged((0x800, 0x400, block), (0xC00, 0x400, 0))) == [
        ("block-unflagged", "block 2 lies in [0xc00, 0x1000), which is reserved without the flag BLOCK",
         (0xC00, 0x1000)),
    ]  # fmt: skip
    odd = flagged((0x800, 0x800, block), (0x4000, 0x400, block))
    assert of_flags(odd) == [
        ("no-block", "[0x4000, 0x4400) is reserved with the flag BLOCK, but no block lies there", (0x4000, 0x4400)),
    ]
    # There may be a block that is not known.
    assert of_flags(stored(odd, nr_blocks=4)) == []


def test_only_the_block_that_is_not_reserved_is_named() -> None:
    # Block 2, which is reserved, ends where block 1 begins.
    state = three_blocks()
    reserved = replace(state.reserved, size=column([0x800]), total_size=0x800)
    assert of_blocks(replace(state, reserved=reserved)) == [
        ("block-unreserved",
         "block 1 at 0xc00 (size 0x400) is not reserved: an allocation may overwrite the entries in it", (0xC00,)),
    ]  # fmt: skip


def test_one_against_one_is_no_majority() -> None:
    # Neither is believed more: the block counts where it says that it lies, which is not reserved there.
    state = moved(1, 0x5000)
    state = stored(state, blocks=lmb(state).blocks[:3], nr_blocks=3)
    assert of_blocks(state) == [
        ("block-unreserved",
         "block 1 at 0x5000 (size 0x400) is not reserved: an allocation may overwrite the entries in it", (0x5000,)),
    ]  # fmt: skip


def test_blocks_that_are_no_blocks() -> None:
    # All headers moved by as much: no vote shows it, but their places do.
    state = three_blocks()
    first, *others = lmb(state).blocks
    askew = stored(state, blocks=(first, *(replace(b, base=(b.base or 0) + 0x100) for b in others[:1])), nr_blocks=2)
    assert ("storage-corrupt", "block 1 is not aligned to its size 0x400", (0xD00,)) in of_blocks(askew)
    same = stored(state, blocks=(first, others[0], replace(others[1], base=others[0].base)), nr_blocks=3)
    assert of_blocks(same) == [
        ("storage-corrupt", "blocks 1 and 2 lie in the same memory", (0xC00, 0xC00)),
    ]  # fmt: skip


# -- what was handed over, and notes ---------------------------------------------------------------------


def test_what_was_handed_over() -> None:
    model, _ = lmb_model()
    assert model.free_all() == (0x9E000 + 0x180000 + (0x1FFB000 - 0x303000)) // 4096
    state = model.snapshot()
    given = ((0x1000, 0x9F000), (0x180000, 0x300000), (0x303000, 0x1FFB000))
    assert state.handover == given and told(state) == []
    less = replace(state, handover=(given[0], (0x181000, 0x300000), given[2]))
    assert told(less) == [
        ("handover-mismatch", "[0x180000, 0x181000) is free memory, but was not handed over", (0x180000, 0x181000)),
    ]  # fmt: skip
    more = replace(state, handover=(given[0], (0x17F000, 0x300000), given[2]))
    assert told(more) == [
        ("handover-mismatch", "[0x17f000, 0x180000) was handed over, but is reserved or no memory",
         (0x17F000, 0x180000)),
    ]  # fmt: skip
    assert told(stored(replace(state, handover=given[:2]), handover_nr=2)) == [
        ("handover-mismatch", "2 ranges were handed over, not 3", ()),
        ("handover-mismatch", "[0x303000, 0x1ffb000) is free memory, but was not handed over", (0x303000, 0x1FFB000)),
    ]  # fmt: skip
    # A table that has no room for all holds the lowest ones.
    assert told(replace(state, handover=given[:2])) == []
    assert told(stored(state, closed=False)) == [
        ("handover-mismatch", "3 ranges were handed over, but the allocator is not closed", ()),
    ]  # fmt: skip


def reserved_pages(count: int) -> Snapshot:
    """Pages reserved outside of memory, every other one."""
    model, _ = lmb_model()
    for at in range(count):
        assert model.reserve(0x80000000 + 0x2000 * at, 0x1000) == 0
    return model.snapshot()


def test_the_first_ones_are_listed_and_the_rest_is_counted() -> None:
    def note(at: int) -> tuple[str, str, tuple[int, ...]]:
        low, high = 0x80000000 + 0x2000 * at, 0x80001000 + 0x2000 * at
        return "reserved-outside-memory", f"reserved [{low:#x}, {high:#x}) is outside memory", (low, high)

    assert told(reserved_pages(8), NOTE) == [note(at) for at in range(8)]
    more = ("reserved-outside-memory", "3 more of this kind, not listed", ())
    assert told(reserved_pages(11), NOTE) == [*(note(at) for at in range(8)), more]


def test_the_first_hundred_findings_are_listed() -> None:
    state = replace(reserved_pages(103), firmware=FirmwareMap([0], [0x100], [1]))
    flat = replace(state.reserved, size=column([0] * len(state.reserved)))
    # Blocks have filled [0x1fff000, 0x1ffff00): what is reserved below and above is one region by then.
    assert len(flat) == 106
    lines = [row for row in told(replace(state, reserved=flat)) if row[0] == "empty-region"]
    assert len(lines) == 101 and lines[0][1] == "reserved[0] is empty" and lines[99][1] == "reserved[99] is empty"
    assert lines[100] == ("empty-region", "6 more of this kind, not listed", ())


# -- at the edges ----------------------------------------------------------------------------------------


def reserved_rows(*rows: tuple[int, int]) -> Snapshot:
    """Other reserved regions, (base, size), of a model's state."""
    state = lmb_model()[0].snapshot()
    base, size = (column(values) for values in zip(*rows, strict=True))
    changed = replace(state.reserved, base=base, size=size, flags=column([0] * len(rows)), cnt=len(rows),
                      entry=column(range(3, 3 + len(rows))), total_size=sum(size))  # fmt: skip
    return replace(state, reserved=changed)


def of_regions(snapshot: Snapshot) -> Told:
    return [row for row in told(snapshot) if row[0] in ("unsorted", "overlap", "unmerged", "empty-region")]


def test_the_first_entry_is_lost() -> None:
    image = lmb_model()[1]
    image.lmb("memory.regions.next", STATIC[1])
    image.entry(STATIC[1], "link.prev", MEMORY)
    image.lmb("memory.cnt", 2)
    image.lmb("memory.total_size", 0x1F9F000 - 0x9E000)
    assert told(decode(image.program, image)) == [("entry-lost", "entry 0:0 is on no list", (STATIC[0],))]


def test_where_entries_lie_is_not_known() -> None:
    # Of a model's state there are no links and no virtual addresses.
    state = lmb_model()[0].snapshot()
    lost = stored(state, free=lmb(state).free[1:], nr_free=2)
    assert told(lost) == [("entry-lost", "entry 1:2 is on no list", ())]
    walk = Walk(0, 0, 0, complete=True, mutual=False)
    assert told(replace(state, memory=replace(state.memory, walk=walk))) == []
    assert told(stored(replace(state, memory=replace(state.memory, cnt=9)), nr_free=9)) == [
        ("count-mismatch", "memory.cnt is 9, but the list has 3 regions", ()),
        ("free-count-mismatch", "nr_free is 9, but the freelist has 3 entries", ()),
    ]
    assert told(stored(state, free=column([]), nr_free=0)) == [
        *(("entry-lost", f"entry 1:{slot} is on no list", ()) for slot in (2, 3, 4)),
        ("freelist-exhausted", "the freelist is empty: the last entry must be kept to gain the next block", ()),
    ]


def test_what_is_required_of_a_list_that_is_cut_off() -> None:
    place = (Required(0x180000, 0x181000, "image", memory=True, alone=False),)
    state = replace(lmb_model()[0].snapshot(), required=place)
    assert told(state) == [
        ("required-unreserved", "[0x180000, 0x181000) must be reserved, but is not: image", (0x180000, 0x181000)),
    ]  # fmt: skip
    walk = Walk(0, 0, 0, complete=False, mutual=False)
    assert told(replace(state, reserved=replace(state.reserved, walk=walk))) == []


def test_regions_that_overlap() -> None:
    # Of the same base: not below one another.
    assert of_regions(reserved_rows((0x1000, 0x100), (0x1000, 0x200))) == [
        ("overlap", "reserved[1] overlaps reserved[0]", (0x1000, 0x1100)),
    ]  # fmt: skip
    # What ends with the address space; an empty one within another shares no byte with it.
    last = (1 << 64) - 2
    assert of_regions(reserved_rows((1 << 63, (1 << 63) - 1), (last, 1))) == [
        ("overlap", "reserved[1] overlaps reserved[0]", (last, last + 1)),
    ]  # fmt: skip
    assert of_regions(reserved_rows((0x1000, 0x1000), (0x1800, 0), (0x1900, 0))) == [
        ("empty-region", "reserved[1] is empty", (0x1800,)), ("empty-region", "reserved[2] is empty", (0x1900,)),
    ]  # fmt: skip
    # What reaches over several, from address 0 on, overlaps each; the one behind it only touches.
    assert of_regions(reserved_rows((0, 0x3000), (0x1000, 0x100), (0x2000, 0x100), (0x3000, 0x100))) == [
        ("overlap", "reserved[1] overlaps reserved[0]", (0x1000, 0x3000)),
        ("overlap", "reserved[2] overlaps reserved[0]", (0x2000, 0x3000)),
    ]  # fmt: skip


def test_an_empty_region_covers_nothing() -> None:
    state = reserved_rows((0x80001000, 0x1000))
    memory = replace(state.memory, base=column([0x1000, 0x100000, 0x80001800]), size=column([0x9E000, 0x1F00000, 0]))
    state = replace(state, memory=memory)
    assert of_regions(state) == [("empty-region", "memory[2] is empty", (0x80001800,))]
    assert told(state, NOTE) == [
        ("reserved-outside-memory", "reserved [0x80001000, 0x80002000) is outside memory", (0x80001000, 0x80002000)),
    ]  # fmt: skip


def test_what_touches_is_told_as_one_range() -> None:
    flagged = reserved_rows((0x80001000, 0x1000), (0x80002000, 0x1000))
    reserved = replace(flagged.reserved, flags=column([0, 1]))
    assert told(replace(flagged, reserved=reserved), NOTE) == [
        ("reserved-outside-memory", "reserved [0x80001000, 0x80003000) is outside memory", (0x80001000, 0x80003000)),
    ]  # fmt: skip
    memory = replace(flagged.memory, base=column([0x1000, 0x3000]), size=column([0x2000, 0x2000]), flags=column([0, 2]))
    firmware = FirmwareMap(column([0x1000]), column([0x1000]), column([1]))
    state = replace(flagged, memory=memory, firmware=firmware)
    assert [row for row in told(state) if row[0] == "outside-firmware"] == [
        ("outside-firmware", "memory [0x2000, 0x5000) is not RAM in the firmware map", (0x2000, 0x5000)),
    ]


def test_only_what_wraps_is_told() -> None:
    # The first one ends with the address space, the second one goes a byte further.
    rows = reserved_rows((1 << 63, (1 << 63) - 1), ((1 << 63) + 0x1000, (1 << 63) - 0x1000))
    assert of_regions(rows) == [] and [row for row in told(rows) if row[0] == "region-wraps"] == [
        ("region-wraps", "reserved[1] goes past the end of the 64-bit address space", ((1 << 63) + 0x1000, 1 << 64)),
    ]  # fmt: skip
