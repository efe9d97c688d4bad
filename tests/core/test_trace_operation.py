# SPDX-License-Identifier: GPL-2.0-or-later
"""Operations of both layouts: what they take, how they are written and read, which call each one makes."""

from __future__ import annotations

import json
from dataclasses import astuple
from typing import Any

import pytest

from gdb_lmb.allocators.lmb.operations import OPERATIONS as LMB
from gdb_lmb.allocators.memblock.behavior import NUMA_NO_NODE, MemblockConfig
from gdb_lmb.allocators.memblock.model import MemblockModel
from gdb_lmb.allocators.memblock.operations import OPERATIONS
from gdb_lmb.core.errors import InputError
from gdb_lmb.core.json_values import read_number, short
from gdb_lmb.core.operation import (
    MAX_LINE_BYTES,
    Operation,
    TraceHeader,
    operation_from,
    operation_json,
    parse_operations,
)
from tests.helpers.linux_behaviors import LINUX_6_1
from tests.helpers.operations import apply, op

# One of each, beside how it is said and the call that the model of its layout must get.
MEMBLOCK: list[tuple[Operation, str, tuple[str, tuple[Any, ...]]]] = [
    (
        op("add_range", 0x1000, 0x2000, flags=4, list="memory", nid=1),
        "add_range(list=memory, base=0x1000, size=0x2000, nid=1, flags=0x4)",
        ("add_range", ("memory", 0x1000, 0x2000, 1, 4)),
    ),
    (
        op("remove_range", 0x1000, 0x2000, list="physmem"),
        "remove_range(list=physmem, base=0x1000, size=0x2000)",
        ("remove_range", ("physmem", 0x1000, 0x2000)),
    ),
    (
        op("setclr_flag", 0x1000, 0x2000, flags=1, list="memory", set=True),
        "setclr_flag(list=memory, base=0x1000, size=0x2000, set=true, flags=0x1)",
        ("setclr_flag", ("memory", 0x1000, 0x2000, True, 1)),
    ),
    (
        op("set_node", 0, 1 << 40, list="reserved", nid=0),
        "set_node(list=reserved, base=0x0, size=0x10000000000, nid=0)",
        ("set_node", ("reserved", 0, 1 << 40, 0)),
    ),
    (op("trim_memory", align=4096), "trim_memory(align=0x1000)", ("trim_memory", (4096,))),
    (
        op("cap_memory_range", 0, 0x8000),
        "cap_memory_range(base=0x0, size=0x8000)",
        ("cap_memory_range", (0, 0x8000)),
    ),
    (
        op("alloc_range_nid", size=64, align=8, min=0x1000, max=0x9000),
        "alloc_range_nid(size=0x40, align=0x8, min=0x1000, max=0x9000, nid=-1, exact=false)",
        ("alloc_range_nid", (64, 8, 0x1000, 0x9000, NUMA_NO_NODE, False)),
    ),
    (op("set_current_limit", 0x9000), "set_current_limit(base=0x9000)", ("set_current_limit", (0x9000,))),
    (op("set_bottom_up", flags=1), "set_bottom_up(flags=0x1)", ("set_bottom_up", (True,))),
    (op("allow_resize"), "allow_resize()", ("allow_resize", ())),
    (op("free_all"), "free_all()", ("free_all", ())),
    (op("discard"), "discard()", ("discard", ())),
]


class Recorder:
    """Stands in for a model: remembers the one call it got."""

    layout = "memblock"

    def __init__(self) -> None:
        self.call: tuple[str, tuple[Any, ...]] | None = None

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> int:
            assert self.call is None
            self.call = (name, arguments)
            return 7

        return call


def test_every_memblock_operation_is_looked_at() -> None:
    assert {row[0].op for row in MEMBLOCK} | {"slab_available"} == set(OPERATIONS)


def test_the_slab_is_a_switch_of_the_model() -> None:
    model = MemblockModel(MemblockConfig(LINUX_6_1))
    assert apply(model, op("slab_available")) is None and model.slab_up


@pytest.mark.parametrize(("operation", "text", "call"), MEMBLOCK, ids=[row[0].op for row in MEMBLOCK])
def test_one_operation(operation: Operation, text: str, call: tuple[str, tuple[Any, ...]]) -> None:
    assert str(operation) == text
    model = Recorder()
    assert apply(model, operation) == 7
    assert model.call == call
    row = json.loads(json.dumps(operation_json(operation)))
    assert list(row) == ["op", *OPERATIONS[operation.op].arguments]
    assert operation_from(row, 64, OPERATIONS, exactly=True) == operation


def test_addresses_are_written_as_strings() -> None:
    assert operation_json(op("add_range", 1, 2, flags=3, list="memory", nid=4)) == {
        "op": "add_range", "list": "memory", "base": "0x1", "size": "0x2", "nid": 4, "flags": 3,
    }  # fmt: skip


def test_missing_members_have_their_defaults() -> None:
    lines = [b'{"op": "alloc_range_nid", "size": 64}\n', b"\n", b'{"op": "allow_resize"}']
    assert list(parse_operations(lines, 64, OPERATIONS)) == [
        op("alloc_range_nid", size=64, nid=NUMA_NO_NODE),
        op("allow_resize"),
    ]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"op": "reserve"}, '"op" is "reserve"; expected one of add_range, '),
    ({"op": ["add_range"]}, '"op" is ["add_range"]; expected'),
    ({}, '"op" is null'),
    ({"op": "set_node"}, 'set_node takes "list", one of memory, reserved, physmem'),
    ({"op": "set_node", "list": "free"}, '"list" is "free"; expected one of'),
    ({"op": "set_node", "list": ["memory"]}, '"list" is ["memory"]'),
    ({"op": "set_node", "list": "memory", "nid": "0x1"}, '"nid" is "0x1"; expected the number of a node'),
    ({"op": "set_node", "list": "memory", "nid": True}, '"nid" is true'),
    ({"op": "set_node", "list": "memory", "nid": 1 << 31}, '"nid" is 2147483648'),
    ({"op": "setclr_flag", "list": "memory", "set": 1}, '"set" is 1; expected true or false'),
    ({"op": "alloc_range_nid", "exact": "yes"}, '"exact" is "yes"'),
    ({"op": "trim_memory", "align": "0x10000000000000000"}, "at most 64 bits"),
    ({"op": "set_bottom_up", "flags": 2}, "0 or 1"),
    ({"op": "discard", "length": 1}, 'unknown member "length"'),
]


@pytest.mark.parametrize(("row", "message"), BAD, ids=range(len(BAD)))
def test_refused(row: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as refusal:
        operation_from(dict(row), 64, OPERATIONS)
    assert message in str(refusal.value)


def test_exactly_the_arguments() -> None:
    table = OPERATIONS
    with pytest.raises(InputError, match='remove_range takes "size", which is missing'):
        operation_from({"op": "remove_range", "list": "memory", "base": 0}, 64, table, exactly=True)
    with pytest.raises(InputError, match='unknown member "nid"; expected base, list, size'):
        operation_from(
            {"op": "remove_range", "list": "memory", "base": 0, "size": 1, "nid": 0}, 64, table, exactly=True
        )
    with pytest.raises(InputError, match='unknown member "base"; expected none'):
        operation_from({"op": "discard", "base": 0}, 64, table, exactly=True)


def test_a_list_based_lmb_knows_no_list() -> None:
    with pytest.raises(InputError, match='unknown member "list"; expected align, base, flags, max, min, size'):
        list(parse_operations([b'{"op": "add", "list": "memory"}'], 64, LMB))


LINE = b'{"op": "allow_resize"}'


def test_the_longest_line() -> None:
    assert list(parse_operations([LINE.ljust(MAX_LINE_BYTES)], 64, OPERATIONS)) == [op("allow_resize")]
    with pytest.raises(InputError) as refusal:
        list(parse_operations([LINE, LINE.ljust(MAX_LINE_BYTES + 1)], 64, OPERATIONS))
    assert str(refusal.value) == f"line 2 is longer than {MAX_LINE_BYTES} bytes: that is no operation"


def test_numbers_at_their_ends() -> None:
    def node(number: int) -> int:
        return operation_from({"op": "set_node", "list": "memory", "nid": number}, 64, OPERATIONS).nid

    assert [node(number) for number in (-(1 << 31), (1 << 31) - 1, 1 << 30)] == [-(1 << 31), (1 << 31) - 1, 1 << 30]
    for number in (-(1 << 31) - 1, 1 << 31, 1 << 63):
        with pytest.raises(InputError, match=r"expected the number of a node, or -1$"):
            node(number)
    assert read_number("base", f"0x{5:037x}", 64) == 5
    with pytest.raises(InputError):
        read_number("base", f"0x{5:038x}", 64)
    # A switch that is off is a value like any other.
    assert operation_from({"op": "set_bottom_up", "flags": 0}, 64, OPERATIONS) == op("set_bottom_up")


def test_short() -> None:
    assert short("a" * 38) == f'"{"a" * 38}"' and short("a" * 39) == f'"{"a" * 36}...'


def test_a_header_of_a_state() -> None:
    state = MemblockModel(MemblockConfig(LINUX_6_1)).snapshot()
    found = TraceHeader.of(state, lost=3)
    assert found == TraceHeader(state.layout, state.arch, state.byte_order, state.bits, state.page_size, lost=3)


def test_what_failed() -> None:
    alloc, add = OPERATIONS["alloc_range_nid"], OPERATIONS["add_range"]
    assert [alloc.failed(result) for result in (None, -12, -1, 0, 1)] == [False, True, True, True, False]
    assert [add.failed(result) for result in (None, -12, -1, 0, 1)] == [False, True, True, False, False]


def test_a_call_without_a_table_has_the_arguments_that_were_given() -> None:
    assert str(Operation("cut", size=4096, nid=3)) == "cut(size=0x1000, nid=3)"
    assert astuple(Operation("cut")) == ("cut", 0, 0, 0, 0, 0, 0, "", None, False, False, None)
