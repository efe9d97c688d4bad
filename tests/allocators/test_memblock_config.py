# SPDX-License-Identifier: GPL-2.0-or-later
"""What a memblock's state says of the kernel, and of what is memblock's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gdb_lmb.allocators.base import CTest, allocator
from gdb_lmb.allocators.memblock.behavior import MemblockConfig
from gdb_lmb.allocators.memblock.model import MemblockModel
from gdb_lmb.allocators.memblock.storage import MemblockStorage, RegionArray
from gdb_lmb.core.errors import InputError, LmbError, StateError
from gdb_lmb.core.operation import Record, TraceHeader
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.report.terminal import Terminal
from gdb_lmb.report.text import dump_text
from tests.helpers.linux_behaviors import LINUX_6_12
from tests.helpers.operations import op

MEMBLOCK = allocator("memblock")
MEMORY = RegionArray("memory", 0xFFFF_0000, 128, True, 128 * 24, 0x10_0000, 128)
DOUBLED = RegionArray("reserved", 0xFFFF_8000, 300, False, 300 * 24, 0x80_0000, 128)


def state(*arrays: RegionArray, **changes: Any) -> Snapshot:
    model = MemblockModel(MemblockConfig(LINUX_6_12))
    model.add_range("memory", 0, 1 << 24)
    return replace(model.snapshot(), storage=MemblockStorage(arrays=arrays), **changes)


def test_the_configuration_of_a_state() -> None:
    def of(snapshot: Snapshot) -> MemblockConfig:
        return MemblockConfig.of(snapshot, LINUX_6_12)

    wide = replace(DOUBLED, size=300 * 32)
    found = of(state(replace(MEMORY, size=128 * 32), wide))
    assert (found.region_size, found.memory_max, found.reserved_max, found.physmem_max) == (32, 128, 300, None)
    assert (found.cache_bytes, found.keep, found.max_low_pfn) == (64, False, None)
    # Without an array, with an empty one, and where two do not agree: the usual size.
    assert [of(state(*arrays)).region_size for arrays in ((), (replace(MEMORY, max=0),), (MEMORY, wide))] == [24] * 3
    assert of(state(replace(MEMORY, max=0, size=7), wide)).region_size == 32
    for name in ("memory", "reserved"):
        snapshot = state()
        with pytest.raises(StateError, match=r"^this state does not tell how many regions memblock's arrays have room"):
            of(replace(snapshot, **{name: replace(getattr(snapshot, name), max=None)}))
    assert [replace(found, no_node=node).max_numnodes for node in (None, 64)] == [1, 64]


def test_a_model_that_nothing_is_told_of() -> None:
    # As most kernels are built: lines of 64 bytes, arrays of 128 regions, all of it given back after the boot.
    model = MemblockModel(MemblockConfig(LINUX_6_12))
    assert (model.add_range("memory", 0x100000, 0x100000), model.alloc_range_nid(1, 0, 0, 0)) == (0, 0x1FFFC0)
    facts, snapshot = MEMBLOCK.facts_of(model), model.snapshot()
    assert {name: facts[name] for name in ("cache_bytes", "keep", "max_low_pfn")} == {
        "cache_bytes": 64, "keep": False, "max_low_pfn": None,
    }  # fmt: skip
    assert (snapshot.memory.max, snapshot.reserved.max) == (128, 128)
    # What a state does not show must be told to go on from it.
    found = MEMBLOCK.predict(snapshot, facts, "reserve", base=0x100000, size=0x1000)
    assert (found.result, found.after.reserved.base[0]) == (0, 0x100000)
    with pytest.raises(InputError, match=r"^.generation. does not say "):
        MEMBLOCK.resume(snapshot, {})
    assert MEMBLOCK.needs_facts


def in_c(**of_header: Any) -> CTest:
    begun = MemblockModel(MemblockConfig(LINUX_6_12)).snapshot()
    return MEMBLOCK.simulator_test(TraceHeader.of(begun, initial=begun, **of_header))


@pytest.mark.parametrize(("behavior", "align"), [({}, "0x40"), ({"cache_bytes": 128}, "0x80")])
def test_an_allocation_without_an_alignment_in_c(behavior: dict[str, int], align: str) -> None:
    lines = in_c(behavior=behavior).lines("boot", [Record(1, op("alloc_range_nid", size=8), 0)])
    assert f"memblock_alloc_range_nid(0x8, {align}, 0x0, 0x0, NUMA_NO_NODE, false);" in "\n".join(lines)


@pytest.mark.parametrize(("count", "parts"), [(100, 1), (101, 2), (200, 2), (201, 3)])
def test_long_traces_are_several_functions_in_c(count: int, parts: int) -> None:
    records = [Record(at, op("set_current_limit", 0x1000 * at)) for at in range(1, count + 1)]
    text = "\n".join(in_c().lines("boot", records))
    assert text.count("static void part_") == text.count("\tpart_") == parts


@pytest.mark.parametrize(("base", "told"), [(0x7FFF_6000, False), (0x7FFF_7000, True)])
def test_arrays_where_a_sanitizer_has_its_own(base: int, told: bool) -> None:
    # Its shadow begins at 0x7fff7000; an array of 100 bytes takes a page.
    final, written = state(RegionArray("reserved", 0xFFFF_0000, 256, False, 100, base)), in_c()
    written.finish(final, None, str)
    assert ("AddressSanitizer" in "\n".join(written.lines("boot", []))) == told


def test_what_is_memblocks_own() -> None:
    snapshot = state(MEMORY, DOUBLED, RegionArray("physmem", 0xFFFF_9000, 4, False, 96))
    # 7,200 bytes; of a doubled one whole pages are reserved, and the kernel has the static one.
    places = [(place.base, place.end, place.what) for place in MEMBLOCK.own_ranges(snapshot)]
    assert places == [(0x10_0000, 0x10_0C00, "the array of memory"), (0x80_0000, 0x80_1C20, "the array of reserved")]
    places = [(place.base, place.end, place.what) for place in MEMBLOCK.own_ranges(snapshot, reserved=True)]
    assert places == [(0x80_0000, 0x80_2000, "the array of reserved")]


def test_arrays_and_what_there_is_not() -> None:
    snapshot = state(MEMORY, DOUBLED)
    assert [row[1] for section in MEMBLOCK.storage_sections(snapshot, "blocks") for row in section.rows] == [
        "static array", "doubled",
    ]  # fmt: skip
    freed = replace(snapshot, refused={"reserved": "freed"})
    assert [row[1] for section in MEMBLOCK.storage_sections(freed, "all") for row in section.rows] == [
        "static array", "doubled, freed",
    ]  # fmt: skip
    with pytest.raises(LmbError, match=r"^memblock has no freelist: its regions lie in arrays"):
        list(MEMBLOCK.storage_sections(snapshot, "free"))
    assert list(MEMBLOCK.storage_sections(snapshot, "memory")) == []


def test_arrays_on_a_narrow_terminal() -> None:
    assert dump_text(state(MEMORY, DOUBLED), "blocks", terminal=Terminal(40)).splitlines()[2:] == [
        "arrays:",
        "  list      base         size    room",
        "  --------  --------  -------  ------",
        "  memory    0x100000    3 KiB     128",
        "    storage: static array",
        "  reserved  0x800000  7.0 KiB     300",
        "    storage: doubled",
    ]


def test_the_memory_that_an_allocation_lacked() -> None:
    def missing(size: int, most: int) -> str:
        return MEMBLOCK.missing(state(), op("alloc_range_nid", size=size, align=1, min=0x1000, max=most))

    whole = "no memory in [0x1000, 0xffffffffffffffff)"
    other = " that this allocation may have (node, mirror, hotplug)"
    # 0 and 1 are no bounds.
    assert [missing(16, most) for most in (0, 1)] == [whole + other] * 2
    assert missing(16, 0x2000) == f"no memory in [0x1000, 0x2000){other}"
    assert (
        missing(0x1001, 0x2000)
        == "no memory in [0x1000, 0x2000): the largest allocation possible there is 0x1000 bytes"
    )
    assert missing(1, 2) == "no memory in [0x1000, 0x1000): nothing is free there"


@pytest.mark.parametrize(
    ("phase", "told"),
    [
        ("compressed", "mapped"),
        ("unmapped", "mapped"),
        ("identity-mapped", "mapped"),
        ("mapped", "mapped"),
        (None, None),
    ],
)
def test_no_call_is_made_before_the_kernel_is_mapped(phase: str | None, told: str | None) -> None:
    assert MEMBLOCK.phase_of(state(phase=phase)) == told
    assert MEMBLOCK.phase_of(state(phase="handed over")) == "handed over"
