# SPDX-License-Identifier: GPL-2.0-or-later
"""Decoding and checking hand-laid images: every ABI, and one image for each kind of damage."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable

import pytest

from gdb_lmb.allocators.base import check
from gdb_lmb.allocators.lmb.checks import CHECKS
from gdb_lmb.allocators.lmb.decode import decode
from gdb_lmb.allocators.lmb.model import LmbConfig, LmbModel
from gdb_lmb.analysis.compare import compare, diff
from gdb_lmb.core.errors import NotReadyError
from gdb_lmb.core.words import FINDING
from gdb_lmb.report.jsonio import dumps, snapshot_from, snapshot_json
from tests.helpers.image import ABIS, HIGH, LINKS_LAST, STATIC_ENTRIES, Abi, Image, build
from tests.helpers.small_lmb import lmb_model
from tests.helpers.states import lmb

RAM = [(0x1000, 0x9E000, 1), (0x9F000, 0x1000, 2), (0x100000, 0x3F00000, 1)]


def boot_model(abi: Abi, *, klimit: int | None = None, static: int = 8, steps: int = 120) -> LmbModel:
    """A small boot: RAM, an image, growth, and some allocations and frees that leave holes."""
    _, region, block = abi.structs()
    model = LmbModel(
        LmbConfig(
            static=static,
            klimit=klimit,
            block_size=1024,
            entry_size=region.size,
            header_size=-(-block.size // region.align) * region.align,
            bits=abi.bits,
        )
    )
    rng = random.Random(7)
    assert model.reserve(0x100000, 0x80000) == 0
    for base, size, kind in RAM:
        assert kind != 1 or model.add(base, size) == 0
    assert model.allow_growth() == 0
    for _ in range(steps):
        base = model.alloc(rng.choice((192, 4096, 10000)), 64)
        assert base > 0
        assert model.free(base + 64, 64) == 0
    return model


@pytest.mark.parametrize("abi", [*ABIS.values(), LINKS_LAST], ids=[*ABIS, "links last"])
@pytest.mark.parametrize("klimit", [None, 0x180000], ids=["static", "klimit"])
def test_decode_gives_the_state_that_was_written(abi: Abi, klimit: int | None) -> None:
    model = boot_model(abi, klimit=klimit, steps=400)
    image = build(model, abi, RAM)
    image.reads = 0
    snapshot = decode(image.program, image)
    assert compare(model.snapshot(), snapshot) is None
    assert [f for f in check(snapshot) if f.severity == FINDING] == []
    assert snapshot.bits == abi.bits and snapshot.byte_order == abi.order
    assert len(lmb(snapshot).blocks) > 3 and len(snapshot.reserved) > 20
    # One request for each grown block; the rest is struct lmb, block 0 and the tables.
    assert image.reads <= len(lmb(snapshot).blocks) + 8


def test_a_block_size_is_told_by_headers_wherever_their_links_are() -> None:
    image = build(boot_model(LINKS_LAST), LINKS_LAST, RAM)
    image.lmb("block_size", 512)
    assert [defect.what for defect in decode(image.program, image).defects] == [
        "block_size is 0x200, but the blocks were made with 0x400"
    ]


def test_a_number_of_static_entries_that_nothing_tells_is_not_0() -> None:
    image = build(boot_model(ABIS["x86_64"]), ABIS["x86_64"], RAM)
    header = lmb(decode(image.program, image)).blocks[0].header_va
    assert header is not None
    image.put(image.program.block, header, "nr", 1 << 20)
    program = dataclasses.replace(image.program, static_entries=None, log=None)
    said = [defect.what for defect in decode(program, image).defects if "block 0" in defect.what]
    assert said == [f"block 0 says it has {1 << 20} entries, and nothing tells how many there are"]


def test_where_blocks_are_that_differ() -> None:
    # A static block has no place of its own to be told.
    static = LmbModel(LmbConfig(static=8)).snapshot()
    grown = LmbModel(LmbConfig(klimit=0x180000)).snapshot()
    rows = [row for row in diff(static, grown).values if row.name == "block 0"]
    assert [(row.expected, row.found) for row in rows] == [
        ("8 entries at no physical address", "101 entries at 0x180000")
    ]


def test_handover_is_decoded_and_agrees() -> None:
    abi = ABIS["x86_64"]
    model = boot_model(abi)
    assert model.free_all() > 0
    image = build(model, abi, RAM)
    snapshot = decode(image.program, image)
    assert snapshot.handover == model.handover
    assert [f.code for f in check(snapshot) if f.severity == FINDING] == []


def test_json_round_trip() -> None:
    abi = ABIS["ppc64"]
    model = boot_model(abi)
    model.free_all()
    snapshot = decode(build(model, abi, RAM).program, build(model, abi, RAM))
    text = dumps(snapshot_json(snapshot, check(snapshot)))
    assert dumps(snapshot_json(snapshot_from(json.loads(text)), check(snapshot))) == text


def test_before_init_is_said() -> None:
    image = build(boot_model(Abi()), Abi(), RAM)
    image.segments[image.program.lmb_va] = bytearray(image.program.lmb.size)
    image.segments[HIGH[8] + STATIC_ENTRIES] = bytearray(len(image.segments[HIGH[8] + STATIC_ENTRIES]))
    with pytest.raises(NotReadyError, match="not initialised"):
        decode(image.program, image)


@pytest.mark.parametrize("told_by", ["log", "entries"])
@pytest.mark.parametrize("wiped", ["all", "all but heads", "blocks"])
def test_what_was_initialised_and_is_wiped_is_damaged(wiped: str, told_by: str) -> None:
    """`lmb_init()` has been there, so that nothing of `struct lmb` is zero by right."""
    image = lmb_model()[1]
    if told_by == "entries":
        image.program = dataclasses.replace(image.program, log=None, ops=None)
    if wiped != "blocks":
        image.segments[image.program.lmb_va] = bytearray(image.program.lmb.size)
    if wiped != "all":
        for head in ("blocks",) if wiped == "blocks" else ("blocks", "memory.regions", "reserved.regions", "freelist"):
            image.lmb(f"{head}.next", image.head(head))
            image.lmb(f"{head}.prev", image.head(head))
        image.lmb("nr_blocks", 0)
        image.lmb("nr_free", 0)
    if (wiped, told_by) == ("all but heads", "entries"):
        # So far lmb_init() itself gets before it counts the first block.
        with pytest.raises(NotReadyError, match="not initialised"):
            decode(image.program, image)
        return
    found = [(f.code, f.message) for f in check(decode(image.program, image)) if f.severity == FINDING]
    told = {"log": "the operation log is", "entries": "the static array's entries are"}[told_by]
    row = ("storage-corrupt", f"struct lmb is as before lmb_init(), but {told} not")
    assert (row in found) == (wiped != "blocks") and found


# -- damage: what is written, and the codes that must appear, and no others ---------------------------


def _link_broken(i: Image) -> None:
    m = i.members("reserved.regions")
    i.entry(m[3], "link.prev", m[1])


def _link_skips(i: Image) -> None:
    m = i.members("reserved.regions")
    i.entry(m[3], "link.next", m[6])


def _link_wild(i: Image) -> None:
    i.entry(i.members("memory.regions")[0], "link.next", 0xDEADBEEF0)


def _link_misaligned(i: Image) -> None:
    m = i.members("reserved.regions")
    i.entry(m[2], "link.next", m[3] + 4)


def _head_wild(i: Image) -> None:
    i.lmb("reserved.regions.next", 0x1234)


def _list_cycle(i: Image) -> None:
    m = i.members("reserved.regions")
    i.entry(m[8], "link.next", m[2])


def _self_cycle(i: Image) -> None:
    m = i.members("freelist")
    i.entry(m[1], "link.next", m[1])


def _entry_shared(i: Image) -> None:
    # list_add(&entry->link, &freelist) of an entry that is still on the reserved list
    entry, first, head = i.members("reserved.regions")[4], i.lmb("freelist.next"), i.head("freelist")
    i.entry(entry, "link.next", first)
    i.entry(entry, "link.prev", head)
    i.entry(first, "link.prev", entry)
    i.lmb("freelist.next", entry)
    i.lmb("nr_free", i.lmb("nr_free") + 1)


def _entry_lost(i: Image) -> None:
    # popped from the freelist and forgotten
    first = i.lmb("freelist.next")
    second = i.entry(first, "link.next")
    i.lmb("freelist.next", second)
    i.entry(second, "link.prev", i.head("freelist"))
    i.lmb("nr_free", i.lmb("nr_free") - 1)


def _count(i: Image) -> None:
    i.lmb("memory.cnt", i.lmb("memory.cnt") + 1)


def _total(i: Image) -> None:
    i.lmb("reserved.total_size", i.lmb("reserved.total_size") - 4096)


def _free_count(i: Image) -> None:
    i.lmb("nr_free", i.lmb("nr_free") + 3)


def _swap_regions(i: Image) -> None:
    m = i.members("reserved.regions")
    for name in ("base", "size", "flags"):
        a, b = i.entry(m[2], name), i.entry(m[5], name)
        i.entry(m[2], name, b)
        i.entry(m[5], name, a)


def _overlap(i: Image) -> None:
    m = i.members("reserved.regions")
    grow = i.entry(m[3], "base") - i.entry(m[2], "base") + 1 - i.entry(m[2], "size")
    i.entry(m[2], "size", i.entry(m[2], "size") + grow)
    i.lmb("reserved.total_size", i.lmb("reserved.total_size") + grow)


def _unmerged(i: Image) -> None:
    m = i.members("reserved.regions")
    grow = i.entry(m[3], "base") - i.entry(m[2], "base") - i.entry(m[2], "size")
    i.entry(m[2], "size", i.entry(m[2], "size") + grow)
    i.lmb("reserved.total_size", i.lmb("reserved.total_size") + grow)


def _empty(i: Image) -> None:
    entry = i.members("memory.regions")[0]
    i.lmb("memory.total_size", i.lmb("memory.total_size") - i.entry(entry, "size"))
    i.entry(entry, "size", 0)


def _wraps(i: Image) -> None:
    entry = i.members("reserved.regions")[-1]
    size = (1 << 64) - i.entry(entry, "base")
    i.lmb("reserved.total_size", (i.lmb("reserved.total_size") - i.entry(entry, "size") + size) % (1 << 64))
    i.entry(entry, "size", size)


def _block_free(i: Image) -> None:
    # the region that holds block 1 shrinks to nothing of it: moved far away, same size
    base = lmb(decode(i.program, i)).blocks[1].base
    for entry in i.members("reserved.regions"):
        if i.entry(entry, "base") <= base < i.entry(entry, "base") + i.entry(entry, "size"):
            i.entry(entry, "base", 0x3FFF0000)
    # The list is out of order now as well; see the expected codes.


def _block_nr(i: Image) -> None:
    header = lmb(decode(i.program, i)).blocks[2].header_va
    i.put(i.program.block, header, "nr", 1 << 60)


def _block_entries(i: Image) -> None:
    header = lmb(decode(i.program, i)).blocks[2].header_va
    i.put(i.program.block, header, "entries", 0x4141414141414141)


def _block_chain_wild(i: Image) -> None:
    header = lmb(decode(i.program, i)).blocks[1].header_va
    i.put(i.program.block, header, "link.next", 0x4141414141414140)


def _block_chain_cycle(i: Image) -> None:
    blocks = lmb(decode(i.program, i)).blocks
    i.put(i.program.block, blocks[3].header_va, "link.next", blocks[1].header_va)


def _nr_blocks(i: Image) -> None:
    i.lmb("nr_blocks", 1 << 40)


def _block_size(i: Image) -> None:
    i.lmb("block_size", 1000)


def _exhausted(i: Image) -> None:
    i.lmb("freelist.next", i.head("freelist"))
    i.lmb("freelist.prev", i.head("freelist"))
    i.lmb("nr_free", 0)


def _outside_firmware(i: Image) -> None:
    entry = i.members("memory.regions")[-1]
    i.entry(entry, "size", i.entry(entry, "size") + 4096)
    i.lmb("memory.total_size", i.lmb("memory.total_size") + 4096)


DAMAGE: list[tuple[Callable[[Image], None], list[str]]] = [
    (_link_broken, ["link-broken"]),
    (_link_skips, ["link-broken"]),
    (_link_wild, ["link-wild"]),
    (_link_misaligned, ["link-wild"]),
    (_head_wild, ["link-wild"]),
    (_list_cycle, ["list-cycle"]),
    (_self_cycle, ["list-cycle"]),
    (_entry_shared, ["entry-shared"]),
    (_entry_lost, ["entry-lost"]),
    (_count, ["count-mismatch"]),
    (_total, ["size-mismatch"]),
    (_free_count, ["free-count-mismatch"]),
    (_swap_regions, ["unsorted", "unsorted"]),
    (_overlap, ["overlap"]),
    (_unmerged, ["unmerged"]),
    (_empty, ["empty-region"]),
    (_wraps, ["region-wraps"]),
    (_block_free, ["unsorted", "block-unreserved", "no-block"]),
    (_block_nr, ["storage-corrupt"]),
    (_block_entries, ["storage-corrupt"]),
    (_block_chain_wild, ["storage-corrupt"]),
    (_block_chain_cycle, ["storage-corrupt"]),
    (_nr_blocks, ["storage-corrupt"]),
    (_block_size, ["storage-corrupt"]),
    (_exhausted, ["entry-lost"] * 18 + ["freelist-exhausted"]),
    (_outside_firmware, ["outside-firmware"]),
]


@pytest.mark.parametrize(("damage", "codes"), DAMAGE, ids=[damage.__name__[1:] for damage, _ in DAMAGE])
@pytest.mark.parametrize("name", ["x86_64", "ppc64"])
def test_damage_gives_its_code_and_no_other(name: str, damage: Callable[[Image], None], codes: list[str]) -> None:
    abi = ABIS[name]
    image = build(boot_model(abi), abi, RAM)
    damage(image)
    findings = [f for f in check(decode(image.program, image)) if f.severity == FINDING]
    assert [f.code for f in findings] == codes, findings


def test_two_faults_are_both_found() -> None:
    image = build(boot_model(Abi()), Abi(), RAM)
    for damage in (_list_cycle, _count, _link_wild, _free_count, _nr_blocks, _unmerged):
        damage(image)
    codes = {f.code for f in check(decode(image.program, image))}
    assert {"list-cycle", "count-mismatch", "link-wild", "free-count-mismatch", "storage-corrupt", "unmerged"} <= codes


def test_findings_come_in_the_tables_order() -> None:
    image = build(boot_model(Abi()), Abi(), RAM)
    for damage in (_count, _list_cycle, _unmerged, _link_wild):
        damage(image)
    order = [row.code for row in CHECKS]
    places = [order.index(f.code) for f in check(decode(image.program, image))]
    assert places == sorted(places)


def test_reserved_outside_memory_is_a_note() -> None:
    model = boot_model(Abi())
    assert model.reserve(0xFED00000, 0x1000) == 0
    image = build(model, Abi(), RAM)
    noted = [f for f in check(decode(image.program, image)) if f.code == "reserved-outside-memory"]
    assert [f.severity for f in noted] == ["note"]
    assert "[0xfed00000, 0xfed01000)" in noted[0].message


def test_handover_table_that_lacks_a_page() -> None:
    model = boot_model(Abi())
    model.free_all()
    assert model.handover is not None
    snapshot = dataclasses.replace(decode(build(model, Abi(), RAM).program, build(model, Abi(), RAM)))
    base, end = model.handover[-1]
    short = dataclasses.replace(snapshot, handover=(*model.handover[:-1], (base, end - 4096)))
    found = [f for f in check(short) if f.severity == FINDING]
    assert [f.code for f in found] == ["handover-mismatch"]
    assert f"[{end - 4096:#x}, {end:#x}) is free memory" in found[0].message
