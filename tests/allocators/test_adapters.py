# SPDX-License-Identifier: GPL-2.0-or-later
"""What traced calls mean, on hand-laid images: operations, results, switches, and states between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from gdb_lmb.allocators.base import Role, allocator
from gdb_lmb.allocators.lmb.model import LmbConfig, LmbModel
from gdb_lmb.core.errors import LayoutError, ReadError
from gdb_lmb.core.machine import Machine
from gdb_lmb.core.memory import BytesMemory, Memory
from gdb_lmb.core.operation import Operation
from tests.helpers.image import ABIS, build
from tests.helpers.machine import BytesMachine
from tests.helpers.memblock_image import MEMORY, RESERVED, Case, image
from tests.helpers.operations import op
from tests.helpers.small_lmb import lmb_model
from tests.helpers.states import lmb, memblock

MAX = (1 << 64) - 1
DIRECT = 0xFFFF888000000000


@dataclass
class Program:
    """A program that runs; the direct map begins at `DIRECT`."""

    program: Any
    memory: Memory
    offset: int = 0
    machine: Machine = field(default_factory=BytesMachine)

    def physical(self, va: int) -> int:
        if va < DIRECT:
            raise ReadError(va, 1, "no such memory")
        return va - DIRECT


@dataclass
class Called:
    """A call, by the operation of its function's role or the role itself."""

    role: Role
    arguments: Mapping[str, int]


def called(role: str | Role, **arguments: int) -> Called:
    return Called(role if isinstance(role, Role) else Role(role), arguments)


# -- the list-based LMB ---------------------------------------------------------------------------------


def test_calls_of_the_lmb() -> None:
    model, laid = lmb_model()
    adapter = allocator("lmb-list").adapter(Program(laid.program, laid))
    assert (adapter.bits, adapter.page_size, adapter.switches()) == (64, 4096, {})
    state = adapter.decode(laid)
    assert [*state.memory.base] == model.memory.base and state.firmware is None and lmb(state).log is None
    for call, operation in (
        (called("reserve", base=1, size=2, flags=4), op("reserve", 1, 2, flags=4)),
        (called("set_limit", anything=0x1000), op("set_limit", 0x1000)),
        (called("set_bottom_up", enable=1), op("set_bottom_up", flags=1)),
        (called("allow_growth"), op("allow_growth")),
        (called("mark", base=1, size=2, flag=4), op("mark", 1, 2, flags=4)),
        (called("alloc", base=0x5000, size=1, align=2, min=3, max=4, flags=0),
         op("alloc", size=1, align=2, min=3, max=4)),
    ):  # fmt: skip
        assert adapter.operation(call) == operation
    assert adapter.facts() == {"revision": 1}


@pytest.mark.parametrize("name", ["x86_64", "ppc64", "i386-pae"])
def test_results_of_the_lmb(name: str) -> None:
    # lmb_alloc() stores the base where its first argument points to.
    abi, (model, _) = ABIS[name], lmb_model()
    laid = build(model, abi)
    laid.segments[0x5000] = bytearray((0x1FFB000).to_bytes(8, abi.order) + bytes(8))
    adapter = allocator("lmb-list").adapter(Program(laid.program, laid))
    call, operation = called("alloc", base=0x5000), op("alloc", size=0x1000)
    assert adapter.settled(call, operation, 0) == (operation, 0x1FFB000)
    assert adapter.settled(call, operation, -12) == (operation, -12)
    other = op("reserve", 1, 2)
    assert adapter.settled(called("reserve"), other, 0) == (other, 0)
    _, region, block = abi.structs()
    header = -(-block.size // region.align) * region.align
    init = adapter.operation(called("init", block_size=256, nr_static=7))
    asked = called("init", block_size=256, nr_static=7)
    assert adapter.settled(asked, init, -22) == (init, -22)
    assert adapter.settled(asked, init, 0) == (
        replace(init, base=0, size=256, flags=64, align=header, min=region.size, max=7), 0
    )  # fmt: skip


def test_an_init_on_a_klimit_page() -> None:
    laid = build(LmbModel(LmbConfig(klimit=0x180000, revision=1)), ABIS["x86_64"])
    adapter = allocator("lmb-list").adapter(Program(laid.program, laid))
    asked = called("init", block_size=4096, nr_static=7)
    settled, _ = adapter.settled(asked, adapter.operation(asked), 0)
    # (4096 - 40) // 40 entries.
    assert settled == Operation("init", 0x180000, 4096, flags=64, align=40, min=40, max=101)


def test_the_revision_of_a_program_that_has_not_begun() -> None:
    laid = build(LmbModel(LmbConfig(static=8)), ABIS["x86_64"])
    adapter = allocator("lmb-list").adapter(Program(laid.program, laid))
    for revision, told in ((3, 3), (0, 2)):
        laid.lmb("revision", revision)
        assert adapter.facts() == {"revision": told}
    del laid.segments[laid.program.lmb_va]
    assert adapter.facts() == {"revision": 2}
    first = lmb_model()[1].program
    assert allocator("lmb-list").adapter(Program(first, BytesMemory({}))).facts() == {"revision": 1}


# -- memblock -------------------------------------------------------------------------------------------


def kernel(offset: int = 0x1000000) -> Program:
    """A kernel that has moved, with the array of reserved in the direct map; `physmem` is at 0x6000."""
    program, segments = image(Case(MEMORY, RESERVED, doubled=DIRECT + 0x8000000), ABIS["x86_64"])
    memory = {va if va >= DIRECT and va < 0xFFFFFFFF80000000 else va + offset: raw for va, raw in segments.items()}
    raw = bytearray(memory[program.memblock_va + offset])
    for name, value in (("memory.regions", program.init_arrays["memory"] + offset), ("current_limit", 0x123000),
                        ("bottom_up", 1)):  # fmt: skip
        place = program.memblock.fields[name]
        raw[place.offset : place.offset + place.size] = value.to_bytes(place.size, "little")
    memory[program.memblock_va + offset] = bytes(raw)
    return Program(program, BytesMemory(memory), offset)


def test_calls_of_memblock() -> None:
    where = kernel()
    adapter = allocator("memblock").adapter(where)
    roles = {**allocator("memblock").roles, **allocator("memblock").containers}
    at = where.program.memblock_va + where.offset
    lists = {name: at + where.program.memblock.fields[f"{name}.cnt"].offset for name in ("memory", "reserved")}

    def operation(function: str, **arguments: int) -> Operation:
        return adapter.operation(called(roles[function], **arguments))

    for name, va in lists.items():
        assert operation("memblock_add_range", type=va, base=1, size=2, nid=3, flags=4) == op(
            "add_range", 1, 2, list=name, nid=3, flags=4
        )
    with pytest.raises(LayoutError, match="a list at 0x6000, which is none of memblock's"):
        operation("memblock_add_range", type=0x6000, base=1, size=2, nid=3, flags=4)
    assert operation("memblock_add", base=1, size=2) == op("add_range", 1, 2, list="memory", nid=1024, flags=0)
    assert operation("memblock_free", ptr=DIRECT + 0x5000, size=2) == op("remove_range", 0x5000, 2, list="reserved")
    assert operation("memblock_mark_nomap", base=1, size=2) == op("setclr_flag", 1, 2, list="memory", set=True, flags=4)
    assert operation("memblock_clear_nomap", base=1, size=2) == op(
        "setclr_flag", 1, 2, list="memory", set=False, flags=4
    )
    assert operation("memblock_reserved_mark_noinit", base=1, size=2) == op(
        "setclr_flag", 1, 2, list="reserved", set=True, flags=16
    )
    assert operation("memblock_setclr_flag", type=lists["reserved"], base=1, size=2, set=2, flag=16) == op(
        "setclr_flag", 1, 2, list="reserved", set=True, flags=16
    )
    assert operation("memblock_alloc_range_nid", size=1, align=2, start=3, end=4, nid=0, exact_nid=0) == op(
        "alloc_range_nid", size=1, align=2, min=3, max=4, nid=0, exact=False
    )
    limited = operation("memblock_set_current_limit", limit=0x1000)
    assert limited == op("set_current_limit", 0x1000)
    # Nothing is to be added once a call has returned, nor of a kernel that has not begun.
    assert (adapter.settled(called("set_current_limit"), limited, None), adapter.facts()) == ((limited, None), {})
    # Without nodes MAX_NUMNODES is 1; s390 has a third list.
    where.program = replace(where.program, no_node=None, physmem_va=0x6000 - where.offset)
    adapter = allocator("memblock").adapter(where)
    assert operation("memblock_add", base=1, size=2) == op("add_range", 1, 2, list="memory", nid=1, flags=0)
    assert operation("memblock_physmem_add", base=1, size=2) == op("add_range", 1, 2, list="physmem", nid=1, flags=0)
    assert operation("memblock_add_range", type=0x6000, base=1, size=2, nid=3, flags=0) == op(
        "add_range", 1, 2, list="physmem", nid=3, flags=0
    )


def test_states_of_memblock_between_calls() -> None:
    where = kernel()
    adapter = allocator("memblock").adapter(where)
    assert adapter.switches() == {"set_bottom_up": 1, "set_current_limit": 0x123000}
    arrays = memblock(adapter.decode(where.memory)).arrays
    assert [(one.name, one.static, one.base) for one in arrays] == [
        ("memory", True, None), ("reserved", False, 0x8000000),
    ]  # fmt: skip
    where.physical = lambda va: Program.physical(where, 0)  # type: ignore[method-assign]
    assert memblock(adapter.decode(where.memory)).arrays[1].base is None
