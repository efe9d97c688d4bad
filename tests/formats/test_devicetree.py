# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory maps out of flattened device trees that are written here byte by byte, sound and damaged."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest

from gdb_lmb.core.memory import BytesMemory
from gdb_lmb.core.snapshot import FIRMWARE_RAM, FIRMWARE_RESERVED
from gdb_lmb.formats.devicetree import MAX_BYTES, MAX_RESERVATIONS, read_tree
from tests.helpers.soak import ROUNDS, SEED

AT = 0x48000000
RAM, RESERVED = FIRMWARE_RAM, FIRMWARE_RESERVED
Tree = dict[str, Any]


def cells(*values: int) -> bytes:
    """Return 32-bit cells."""
    return struct.pack(f">{len(values)}I", *values)


def wide(*values: int) -> bytes:
    """Return numbers of two cells each."""
    return struct.pack(f">{len(values)}Q", *values)


def blob(
    tree: Tree, reserve: tuple[tuple[int, int], ...] = (), version: int = 17, padding: int = 0, rename: bool = True
) -> bytes:
    """Write a device tree: values that are bytes are properties, dictionaries are nodes.

    With `rename`, a name that ends another one points into it, as dtc does to save bytes.
    """
    strings = bytearray()

    def name_at(name: bytes) -> int:
        found = strings.find(name + b"\0")
        if found < 0 or not rename:
            found = len(strings)
            strings.extend(name + b"\0")
        return found

    def node(name: str, content: Tree) -> bytes:
        out = cells(1) + padded(name.encode() + b"\0")
        for key, value in content.items():
            if isinstance(value, dict):
                out += node(key, value)
            else:
                out += cells(3, len(value), name_at(key.encode())) + padded(value) + cells(4)
        return out + cells(2)

    def padded(raw: bytes) -> bytes:
        return raw + bytes(-len(raw) % 4)

    structure = node("", tree) + cells(9)
    rows = b"".join(struct.pack(">QQ", *row) for row in (*reserve, (0, 0)))
    header = 40
    struct_at = header + len(rows)
    strings_at = struct_at + len(structure)
    total = strings_at + len(strings) + padding
    sizes = (len(strings), len(structure) if version >= 17 else 0)
    head = struct.pack(">10I", 0xD00DFEED, total, struct_at, strings_at, header, version, 16, 0, *sizes)
    return head + rows + structure + bytes(strings) + bytes(padding)


def test_what_a_tree_asks_to_be_reserved() -> None:
    nodes = {
        "#address-cells": cells(2),
        "#size-cells": cells(2),
        "ranges": b"",
        "kept@50000000": {"reg": wide(0x50000000, 0x1000, 0x50004000, 0x2000)},
        "unmapped@51000000": {"reg": wide(0x51000000, 0x1000), "no-map": b""},
        "off@52000000": {"reg": wide(0x52000000, 0x1000), "status": b"disabled\0"},
        # The kernel gives it back where the command line says "cma=".
        "linux,cma": {"reg": wide(0x53000000, 0x1000), "reusable": b"", "linux,cma-default": b""},
        "anywhere": {"size": wide(0x1000)},
    }
    raw = blob(SOUND | {"reserved-memory": nodes}, reserve=((0x54000000, 0x1000),))
    tree = read_tree(BytesMemory({AT: raw + bytes(1 << 16)}), AT)
    assert tree is not None and tree.placed == ("/reserved-memory/anywhere",)
    assert [(one.base, one.end, one.what, one.nomap, one.until_hand_over) for one in tree.reserved] == [
        (0x54000000, 0x54001000, "a memory reservation", False, True),
        (0x50000000, 0x50001000, "/reserved-memory/kept@50000000", False, False),
        (0x50004000, 0x50006000, "/reserved-memory/kept@50000000", False, False),
        (0x51000000, 0x51001000, "/reserved-memory/unmapped@51000000", True, False),
    ]
    # UEFI's map tells of RAM, the tree still of what is reserved.
    raw = blob(SOUND | {"reserved-memory": nodes, "chosen": {"linux,uefi-mmap-start": wide(1)}})
    by_uefi = read_tree(BytesMemory({AT: raw + bytes(1 << 16)}), AT)
    assert by_uefi is not None and by_uefi.map is None and by_uefi.reserved == tree.reserved[1:]


def told(raw: bytes, after: int = 1 << 16) -> list[tuple[int, int, int]] | None:
    """Return (base, size, type) rows of the tree in memory that goes on for `after` bytes."""
    tree = read_tree(BytesMemory({AT: raw + bytes(after)}), AT)
    found = None if tree is None else tree.map
    return None if found is None else list(zip(found.base, found.size, found.type, strict=True))


MEMORY = {"device_type": b"memory\0", "reg": wide(0x40000000, 0x20000000)}
SOUND: Tree = {
    "#address-cells": cells(2),
    "#size-cells": cells(2),
    "model": b"linux,dummy-virt\0",
    "memory@40000000": MEMORY,
    "cpus": {"cpu@0": {"device_type": b"cpu\0", "reg": cells(0)}},
    "chosen": {"bootargs": b"quiet\0"},
}
FIRST = (0x40000000, 0x20000000, RAM)


@pytest.mark.parametrize(
    ("change", "rows"),
    [
        pytest.param({}, [FIRST], id="one"),
        pytest.param(
            {"memory@140000000": {"device_type": b"memory\0", "reg": wide(5 << 30, 1 << 30, 8 << 30, 2 << 30)}},
            [FIRST, (5 << 30, 1 << 30, RAM), (8 << 30, 2 << 30, RAM)],
            id="two-nodes-three-ranges",
        ),
        pytest.param(
            {"memory@40000000": {**MEMORY, "linux,usable-memory": wide(0x44000000, 0x1000000)}},
            [(0x44000000, 0x1000000, RAM)],
            id="usable-memory-before-reg",
        ),
        pytest.param({"memory@40000000": {**MEMORY, "status": b"disabled\0"}}, [], id="disabled"),
        pytest.param({"memory@40000000": {**MEMORY, "status": b"okay\0"}}, [FIRST], id="okay"),
        pytest.param({"memory@40000000": {"reg": wide(0x40000000, 0x20000000)}}, [], id="no-device-type"),
        pytest.param({"soc": {"memory@0": {**MEMORY, "reg": wide(0, 4096)}}}, [FIRST], id="not-below-the-root"),
        pytest.param({"memory@40000000": {**MEMORY, "reg": wide(0x40000000, 0)}}, [], id="empty-range"),
        pytest.param({"memory@40000000": {**MEMORY, "reg": MEMORY["reg"] + cells(1, 2, 3)}}, [FIRST], id="torn-pair"),
        pytest.param(
            {
                "reserved-memory": {
                    "#address-cells": cells(2),
                    "cma": {"size": wide(1 << 24), "reusable": b""},
                    "fw@50000000": {"reg": wide(0x50000000, 0x10000), "no-map": b""},
                    "off@51000000": {"reg": wide(0x51000000, 0x10000), "status": b"fail\0"},
                    "ring@4f000000": {"reg": wide(0x4F000000, 0x1000)},
                }
            },
            [FIRST, (0x4F000000, 0x1000, RESERVED), (0x50000000, 0x10000, RESERVED)],
            id="reserved-memory",
        ),
        pytest.param(
            {"#address-cells": cells(2), "#size-cells": cells(1), "memory@40000000": {
                **MEMORY, "reg": cells(1, 0x80000000, 0x1000, 2, 0, 0x2000)}},
            [(0x180000000, 0x1000, RAM), (0x200000000, 0x2000, RAM)],
            id="cells-2-1",
        ),
        pytest.param(
            {"#address-cells": cells(1), "#size-cells": cells(1), "memory@40000000": {
                **MEMORY, "reg": cells(0x80000000, 0x1000)}},
            [(0x80000000, 0x1000, RAM)],
            id="cells-1-1",
        ),
        pytest.param({"#size-cells": cells(0x7FFFFFFF)}, None, id="absurd-cells"),
    ],
)  # fmt: skip
def test_what_counts(change: Tree, rows: list[tuple[int, int, int]] | None) -> None:
    assert told(blob({**SOUND, **change})) == rows


def test_cells_that_the_root_does_not_tell_are_one() -> None:
    # Linux's defaults, not the specification's.
    tree = {"memory@0": {"device_type": b"memory\0", "reg": cells(0x1000, 0x2000)}}
    assert told(blob(tree)) == [(0x1000, 0x2000, RAM)]


def test_memory_reservations() -> None:
    rows = told(blob(SOUND, reserve=((0x48000000, 0x10000), (0x4FFFF000, 0x1000))))
    assert rows == [FIRST, (0x48000000, 0x10000, RESERVED), (0x4FFFF000, 0x1000, RESERVED)]


def test_uefi_has_a_map_of_its_own() -> None:
    assert told(blob({**SOUND, "chosen": {"linux,uefi-mmap-start": wide(0x1000)}})) is None


@pytest.mark.parametrize("rename", [True, False])
def test_forms_of_one_tree(rename: bool) -> None:
    assert told(blob(SOUND, rename=rename)) == [FIRST]
    assert told(blob(SOUND, version=16)) == [FIRST], "an old header does not tell the structure block's size"
    assert told(blob(SOUND, padding=1 << 20), after=0) == [FIRST]
    assert told(blob(SOUND), after=0) == [FIRST], "at the end of RAM less than usual can be read"
    many = {f"node-{number}": {"reg": wide(number)} for number in range(2000)}
    large = blob({**SOUND, **many, "memory@z": {**MEMORY, "reg": wide(1 << 32, 1 << 20)}})
    assert len(large) > 64 << 10 and told(large, after=0) == [FIRST, (1 << 32, 1 << 20, RAM)]


def test_what_is_none() -> None:
    sound = blob(SOUND)
    assert told(bytes(64)) is None
    assert read_tree(BytesMemory({}), AT) is None
    assert told(sound[:-8], after=0) is None, "cut off"
    words = list(struct.unpack_from(">10I", sound))
    for place, value in (
        (1, MAX_BYTES + 1), (1, 8), (2, len(sound)), (3, 1 << 31), (4, 1 << 31), (8, 1 << 31), (9, 1 << 31),
    ):  # fmt: skip
        damaged = struct.pack(">10I", *words[:place], value, *words[place + 1 :]) + sound[40:]
        assert told(damaged) is None, (place, value)


def test_a_walk_that_does_not_end_well() -> None:
    sound = blob(SOUND)
    struct_at = struct.unpack_from(">I", sound, 8)[0]
    for token in (2, 3, 5, 9, 0xFFFFFFFF):
        damaged = sound[:struct_at] + cells(token) + sound[struct_at + 4 :]
        assert told(damaged) is None, token


@pytest.mark.random
def test_any_damage_is_survived() -> None:
    chance = random.Random(1 + SEED)
    sound = blob({**SOUND, "reserved-memory": {"a@1": {"reg": wide(1 << 30, 1 << 12)}}}, reserve=((4096, 4096),))
    seen = set()
    for _ in range(5000 * ROUNDS):
        raw = bytearray(sound)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(raw))
            raw[at : at + 1] = bytes([chance.choice((0, 1, 0x7F, 0xFF, chance.randrange(256)))])
        rows = told(bytes(raw), after=chance.choice((0, 1 << 16)))
        seen.add(rows is None)
        assert rows is None or all(0 <= base < 1 << 64 and 0 < size < 1 << 64 for base, size, _ in rows)
    assert seen == {True, False}, "some damage is seen, some is not"


def with_reservations_last(raw: bytes) -> bytes:
    # The specification has them first; readers go by the header's offsets.
    words = list(struct.unpack_from(">10I", raw))
    rows, rest = raw[40 : words[2]], raw[words[2] :]
    moved = [word - len(rows) if at in (2, 3) else word for at, word in enumerate(words)]
    moved[4] = 40 + len(rest)
    return struct.pack(">10I", *moved) + rest + rows


def test_reservations_may_come_last() -> None:
    rows = ((0x48000000, 0x10000), (0x4A000000, 0x1000))
    raw = with_reservations_last(blob(SOUND, reserve=rows))
    assert told(raw) == [FIRST, *((*row, RESERVED) for row in rows)]
    long = {f"node-{number}": {"reg": wide(number)} for number in range(800)}
    large = with_reservations_last(blob({**SOUND, **long}, reserve=rows))
    assert len(large) > 16 << 10 and told(large) == told(raw)
    assert told(large, after=0) == told(raw)


def test_a_block_past_the_end_and_as_many_reservations_as_there_may_be() -> None:
    sound = blob(SOUND)
    (total,) = struct.unpack_from(">I", sound, 4)
    assert told(sound[:4] + cells(total - 1) + sound[8:]) is None
    rows = tuple((0x1000 * at, 0x1000) for at in range(1, MAX_RESERVATIONS))
    found = told(with_reservations_last(blob(SOUND, reserve=rows)))
    assert found is not None and len(found) == MAX_RESERVATIONS


def test_reservations_at_0_and_of_nothing() -> None:
    # Only what is 0 and 0 ends them.
    raw = blob(SOUND, reserve=((0, 0x1000), (0x48000000, 0), (0x4A000000, 0x1000)))
    assert told(raw) == [(0, 0x1000, RESERVED), FIRST, (0x4A000000, 0x1000, RESERVED)]
    tree = read_tree(BytesMemory({AT: raw + bytes(1 << 16)}), AT)
    assert tree is not None and [(one.base, one.end) for one in tree.reserved] == [
        (0, 0x1000),
        (0x4A000000, 0x4A001000),
    ]


def test_the_largest_tree_and_one_without_its_last_token() -> None:
    sound = blob(SOUND)
    assert told(blob(SOUND, padding=MAX_BYTES - len(sound))) == [FIRST]
    # The size of the structure block, without FDT_END.
    (size,) = struct.unpack_from(">I", sound, 36)
    assert told(sound[:36] + cells(size - 4) + sound[40:]) == [FIRST]
    assert told(sound[:36] + cells(size - 8) + sound[40:]) is None


def structure(*tokens: bytes) -> bytes:
    """Return a tree of such tokens, with the one string "reg"."""
    body = b"".join(tokens)
    sizes = (40, 17, 16, 0, 4, len(body))
    return struct.pack(">10I", 0xD00DFEED, 60 + len(body) + 4, 56, 56 + len(body), *sizes) + bytes(16) + body + b"reg\0"


ROOT, END_NODE, NOP, END = cells(1, 0), cells(2), cells(4), cells(9)


def test_tokens() -> None:
    whole = (ROOT, cells(3, 4, 0, 5), END_NODE, END)
    assert told(structure(*whole)) == []
    assert told(structure(ROOT, NOP, cells(3, 8, 0, 5, 6), NOP, cells(3, 3, 0, 5), END_NODE, END)) == []
    for damaged in (
        (ROOT, END),
        (ROOT, cells(5), END_NODE, END),
        (ROOT, cells(3, 4, 4, 5), END_NODE, END),  # a name past the strings
        (ROOT, END_NODE, cells(3, 4, 0, 5), END),  # outside a node
        (ROOT, cells(3, 100, 0, 5), END_NODE, END),  # past the end
        (ROOT, cells(1, 0x61616161)),  # a name without an end
        (END_NODE, END),
        (END,),
    ):
        assert told(structure(*damaged)) is None, damaged


def test_cells_of_every_width() -> None:
    def root(address_cells: int, size_cells: int, reg: bytes) -> Tree:
        numbers = {"#address-cells": cells(address_cells), "#size-cells": cells(size_cells)}
        return {**numbers, "memory": {"device_type": b"memory\0", "reg": reg}}

    # The kernel keeps 64 bits of it.
    assert told(blob(root(4, 4, wide(7, 0x1000, 9, 0x2000)))) == [(0x1000, 0x2000, RAM)]
    assert told(blob(root(5, 1, bytes(24)))) is None
    assert told(blob(root(0, 0, bytes(8)))) == []
    # A pair that lacks its last byte is none.
    assert told(blob(root(2, 2, wide(0x1000, 0x2000)[:-1]))) == []


def test_the_longest_name() -> None:
    assert told(blob({**SOUND, "n" * 63: {}})) == [FIRST] and told(blob({**SOUND, "n" * 64: {}})) is None
