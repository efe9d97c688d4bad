# SPDX-License-Identifier: GPL-2.0-or-later
"""States held against each other, and a boot in lockstep: what differs is written here by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdb_lmb.allocators.difference import RegionRow, ValueRow
from gdb_lmb.allocators.lmb.model import LmbConfig, LmbModel
from gdb_lmb.allocators.memblock.behavior import MemblockConfig
from gdb_lmb.allocators.memblock.model import MemblockModel
from gdb_lmb.allocators.memblock.storage import MemblockStorage, RegionArray, storage_of
from gdb_lmb.analysis.compare import compare, diff
from gdb_lmb.analysis.lockstep import Lockstep
from gdb_lmb.core.operation import Operation, Record
from gdb_lmb.core.snapshot import Defect, Entry, RegionList, Snapshot, Walk, column
from tests.helpers.linux_behaviors import LINUX_6_12
from tests.helpers.operations import apply, op
from tests.helpers.soak import ROUNDS
from tests.helpers.states import lmb as lmb_storage
from tests.helpers.states import stored

Row = tuple[int, int, int, int]


def region_list(name: str, rows: list[Row], **changes: Any) -> RegionList:
    regions = RegionList(
        name, len(rows), sum(row[1] for row in rows), column(row[0] for row in rows), column(row[1] for row in rows),
        column(row[2] for row in rows), column(range(len(rows))), max=128, nid=[row[3] for row in rows],
    )  # fmt: skip
    return replace(regions, **changes)


def memblock(memory: list[Row], reserved: list[Row], **changes: Any) -> Snapshot:
    state = Snapshot(
        memory=region_list("memory", memory),
        reserved=region_list("reserved", reserved),
        storage=MemblockStorage(
            arrays=(RegionArray("memory", 0, 128, True, 3072), RegionArray("reserved", 0, 128, False, 3072, 0x9000))
        ),
        bits=64,
        page_size=4096,
        current_limit=0x100000,
        bottom_up=False,
        layout="memblock",
    )
    return replace(state, **changes)


MEMORY: list[Row] = [(0x1000, 0x9F000, 0, 0), (0x100000, 0x100000, 0, 1)]
RESERVED: list[Row] = [(0x1000, 0x1000, 0, 1024)]
STATE = memblock(MEMORY, RESERVED)
ARRAYS = storage_of(STATE).arrays


def reserved(**changes: Any) -> Snapshot:
    return replace(STATE, reserved=replace(STATE.reserved, **changes))


MEMBLOCK_DIFFERS: list[tuple[Snapshot, str, int | None]] = [
    (
        memblock([(0x1000, 0x9E000, 0, 0), MEMORY[1]], RESERVED),
        "memory[0] is [0x1000, 0x9f000) flags 0x0 node 0, but [0x1000, 0xa0000) flags 0x0 node 0 is expected",
        0x9F000,
    ),
    (
        memblock([MEMORY[0], (0x100000, 0x100000, 4, 1)], RESERVED),
        "memory[1] is [0x100000, 0x200000) flags 0x4 node 1, but [0x100000, 0x200000) flags 0x0 node 1 is expected",
        0x200000,
    ),
    (
        memblock(MEMORY, [(0x1000, 0x1000, 0, 0)]),
        "reserved[0] is [0x1000, 0x2000) flags 0x0 node 0, but [0x1000, 0x2000) flags 0x0 node 1024 is expected",
        0x2000,
    ),
    # The lower of both bases, else of both ends.
    (
        memblock([(0x800, 0x9F800, 0, 0), MEMORY[1]], RESERVED),
        "memory[0] is [0x800, 0xa0000) flags 0x0 node 0, but [0x1000, 0xa0000) flags 0x0 node 0 is expected",
        0x800,
    ),
    (
        memblock([(0x2000, 0x9E000, 0, 0), MEMORY[1]], RESERVED),
        "memory[0] is [0x2000, 0xa0000) flags 0x0 node 0, but [0x1000, 0xa0000) flags 0x0 node 0 is expected",
        0x1000,
    ),
    (
        memblock([(0x1000, 0x9F001, 0, 0), MEMORY[1]], RESERVED),
        "memory[0] is [0x1000, 0xa0001) flags 0x0 node 0, but [0x1000, 0xa0000) flags 0x0 node 0 is expected",
        0xA0000,
    ),
    (memblock(MEMORY, []), "the reserved list has 0 regions, but 1 are expected", 0x1000),
    (memblock(MEMORY, [*RESERVED, (0x8000, 1, 0, 0)]), "the reserved list has 2 regions, but 1 are expected", 0x8000),
    (reserved(cnt=2), "reserved.cnt is 2, but 1 is expected", None),
    (reserved(max=256), "reserved.max is 256, but 128 is expected", None),
    (reserved(total_size=0), "reserved.total_size is 0x0, but 0x1000 is expected", None),
    (
        stored(STATE, arrays=(ARRAYS[0], replace(ARRAYS[1], base=0xA000))),
        "the array of reserved is a grown one at 0xa000, but a grown one at 0x9000 is expected",
        0xA000,
    ),
    (
        stored(STATE, arrays=(replace(ARRAYS[0], static=False), ARRAYS[1])),
        "the array of memory is a grown one, but the static one is expected",
        None,
    ),
    (replace(STATE, current_limit=0), "current_limit is 0x0, but 0x100000 is expected", None),
    (replace(STATE, bottom_up=True), "bottom_up is true, but false is expected", None),
    (replace(STATE, defects=(Defect("the array of memory cannot be read", (7,)),)),
     "the array of memory cannot be read", 7),
    (replace(STATE, layout="lmb-list"), "the allocator is lmb-list, but memblock is expected", None),
]  # fmt: skip


@pytest.mark.parametrize(("found", "message", "address"), MEMBLOCK_DIFFERS, ids=range(len(MEMBLOCK_DIFFERS)))
def test_a_memblock_that_differs(found: Snapshot, message: str, address: int | None) -> None:
    difference = compare(STATE, found)
    assert difference is not None and (difference.message, difference.address) == (message, address)


MEMBLOCK_AGREES = [
    STATE,
    # Where an array lies that the page allocator gave cannot be told, and where a static one does says nothing.
    stored(STATE, arrays=(replace(ARRAYS[0], base=0x2000000), replace(ARRAYS[1], base=None))),
    stored(STATE, arrays=()),
    replace(STATE, phase="mapped", torn="x", others=(replace(STATE.memory, name="physmem"),)),
    # A list that was given up is not what it was.
    replace(memblock(MEMORY, []), refused={"reserved": "memblock_discard() has freed it"}),
    # The columns of a decoder and of a model are not of one type.
    reserved(base=[0x1000], size=(0x1000,), flags=[0], nid=column([1024])),
]


@pytest.mark.parametrize("found", MEMBLOCK_AGREES, ids=range(len(MEMBLOCK_AGREES)))
def test_a_memblock_that_agrees(found: Snapshot) -> None:
    assert compare(STATE, found) is None
    assert diff(STATE, found).regions == ()


def test_a_kernel_without_nodes() -> None:
    without = reserved(nid=())
    assert compare(without, without) is None
    assert compare(without, STATE) is None, "a side that knows no nodes says nothing about them"


def test_what_differs_as_a_table() -> None:
    found = memblock([MEMORY[0]], [(0x1000, 0x800, 0, 1024), (0x3000, 8, 1, 0)], bottom_up=True, current_limit=1 << 32)
    table = diff(STATE, found)
    assert table.regions == (
        RegionRow("-", "memory", 1, 0x100000, 0x100000, 0, 1),
        RegionRow("+", "reserved", 0, 0x1000, 0x800, 0, 1024),
        RegionRow("-", "reserved", 0, 0x1000, 0x1000, 0, 1024),
        RegionRow("+", "reserved", 1, 0x3000, 8, 1, 0),
    )
    assert table.values == (
        ValueRow("memory.cnt", "2", "1"),
        ValueRow("memory.total_size", "0x19f000", "0x9f000"),
        ValueRow("reserved.cnt", "1", "2"),
        ValueRow("reserved.total_size", "0x1000", "0x808"),
        ValueRow("current_limit", "0x100000", "0x100000000"),
        ValueRow("bottom_up", "false", "true"),
    )
    assert table.omitted == 0


def test_a_long_table_is_cut() -> None:
    many = memblock([(at << 12, 1, 0, 0) for at in range(1500)], RESERVED)
    table = diff(memblock([], RESERVED), many)
    assert len(table.regions) == 1000 and table.omitted == 500


def test_the_same_regions_in_another_order() -> None:
    table = diff(STATE, memblock([MEMORY[1], MEMORY[0]], RESERVED))
    assert table.regions == ()
    assert table.values == (ValueRow("order of memory", "sorted as expected", "the same regions in another order"),)


def test_a_region_that_is_there_too_often() -> None:
    more = memblock([MEMORY[0], MEMORY[0], MEMORY[0], MEMORY[1]], RESERVED)
    assert diff(STATE, more).regions == tuple(RegionRow("+", "memory", at, 0x1000, 0x9F000, 0, 0) for at in (1, 2))


# -- the list-based LMB -----------------------------------------------------------------------------


def lmb(*operations: Operation, static: int = 8) -> LmbModel:
    model = LmbModel(LmbConfig(static=static))
    for operation in operations:
        apply(model, operation)
    return model


ADD = op("add", 0, 0x100000)
LMB = lmb(ADD, op("reserve", 0x1000, 0x1000)).snapshot()
BLOCKS = lmb_storage(LMB).blocks

WHOLE_DIFFERS: list[tuple[Snapshot, str]] = [
    (replace(LMB, memory=replace(LMB.memory, cnt=5)), "memory.cnt is 5, but 1 is expected"),
    (replace(LMB, reserved=replace(LMB.reserved, total_size=1)), "reserved.total_size is 0x1, but 0x1000 is expected"),
    (stored(LMB, nr_free=7), "nr_free is 7, but 6 is expected"),
    (stored(LMB, nr_blocks=0), "nr_blocks is 0, but 1 is expected"),
    (stored(LMB, block_size=8192), "block_size is 0x2000, but 0x1000 is expected"),
    (stored(LMB, free_walk=Walk(1, 2, 3, True, False)), "the links of the free list do not agree with each other"),
    (
        replace(LMB, memory=replace(LMB.memory, walk=Walk(1, 2, 3, True, False))),
        "the links of the memory list do not agree with each other",
    ),
    (replace(LMB, defects=(Defect("the chain of blocks is a cycle"),)), "the chain of blocks is a cycle"),
]


@pytest.mark.parametrize(("found", "message"), WHOLE_DIFFERS, ids=range(len(WHOLE_DIFFERS)))
def test_a_whole_lmb_that_differs(found: Snapshot, message: str) -> None:
    difference = compare(LMB, found, whole=True)
    assert difference is not None and difference.message == message
    assert compare(LMB, found) is None, "only the whole state differs"


def test_a_hand_over_that_differs() -> None:
    done = lmb(ADD, op("free_all")).snapshot()
    assert done.handover == ((0x1000, 0x100000),)
    for handover, nr, message in [
        (((0x1000, 0xFF000),), 1, "range 0 handed over is [0x1000, 0xff000), but [0x1000, 0x100000) is expected"),
        (((0x1000, 0x100000), (0x200000, 0x300000)), 2, "2 ranges were handed over, but 1 are expected"),
    ]:
        difference = compare(done, stored(replace(done, handover=handover), handover_nr=nr), whole=True)
        assert difference is not None and difference.message == message
    assert compare(done, replace(done, handover=None), whole=True) is None, "a program without a table"


def test_entries_and_the_freelist_in_the_table() -> None:
    # The second operation takes entry 1; a kernel that took entry 2 has it in another place, and its freelist too.
    found = stored(replace(LMB, reserved=replace(LMB.reserved, entry=column([2]))), free=column([1, 3, 4, 5, 6, 7]))
    difference = compare(LMB, found)
    assert difference is not None and difference.address == 0x1000
    assert difference.message == "reserved[0] at 0x1000 is stored in another entry than expected (index 2, not 1)"
    table = diff(LMB, found)
    assert table.regions == (
        RegionRow("-", "reserved", 0, 0x1000, 0x1000, 0, None, Entry(0, 1)),
        RegionRow("+", "reserved", 0, 0x1000, 0x1000, 0, None, Entry(0, 2)),
    )
    assert table.values == (ValueRow("freelist[0]", "entry 0:2", "entry 0:1"),)


def test_blocks_in_the_table() -> None:
    grown = stored(LMB, blocks=(*BLOCKS, replace(BLOCKS[0], base=0xFF000, nr=101, static=False)))
    assert diff(LMB, grown).values == (ValueRow("block 1", "none", "101 entries at 0xff000"),)


# -- lockstep ---------------------------------------------------------------------------------------


class Kernel:
    """A boot: a second model that runs the operations, and goes wrong as told."""

    def __init__(self, operations: list[Operation], fault_at: int | None = None, by: Operation | None = None) -> None:
        self.model = LmbModel(LmbConfig())
        self.states: dict[int, Snapshot] = {0: self.model.snapshot()}
        self.records = []
        for seq, operation in enumerate(operations, 1):
            result = apply(self.model, operation)
            if seq == fault_at and by is not None:
                apply(self.model, by)
            self.records.append(Record(seq, operation, result, (seq,)))
            self.states[seq] = self.model.snapshot()


OPERATIONS = [
    ADD,
    *(op("reserve", at * 0x4000, 0x1000) for at in range(1, 5)),
    op("free", 0x4000, 0x1000),
]


def test_a_sound_boot() -> None:
    kernel = Kernel(OPERATIONS)
    lockstep = Lockstep(LmbModel(LmbConfig()))
    for record in kernel.records:
        assert lockstep.between(kernel.states[record.seq - 1], f"before {record.operation} begins, ") is None
        assert lockstep.due(record.seq)
        assert lockstep.after(record, kernel.states[record.seq]) is None
    assert lockstep.divergence is None and lockstep.good == len(OPERATIONS)


def test_a_state_that_differs() -> None:
    kernel = Kernel(OPERATIONS, 3, op("free", 0x4000, 0x800))
    lockstep = Lockstep(LmbModel(LmbConfig()))
    seen = [lockstep.after(record, kernel.states[record.seq]) for record in kernel.records[:3]]
    assert seen[:2] == [None, None]
    divergence = seen[2]
    assert divergence is not None and divergence is lockstep.divergence
    assert (divergence.kind, divergence.record, divergence.good) == ("state", kernel.records[2], 2)
    assert divergence.exact and divergence.address == 0x4000
    # What the operation returned, by the model and by the trace.
    assert (divergence.expected, divergence.found) == (0, 0)
    assert divergence.message == (
        "reserved[0] is [0x4800, 0x5000) flags 0x0, but [0x4000, 0x5000) flags 0x0 is expected"
    )
    assert divergence.diff is not None and [(r.sign, r.base) for r in divergence.diff.regions] == [
        ("-", 0x4000), ("+", 0x4800),
    ]  # fmt: skip


def test_a_counter_that_differs() -> None:
    lockstep = Lockstep(lmb(ADD, op("reserve", 0x1000, 0x1000)))
    assert lockstep.narrow({}.get) is None
    divergence = lockstep.look(replace(LMB, memory=replace(LMB.memory, cnt=5)))
    assert divergence is not None and divergence.message == "memory.cnt is 5, but 1 is expected"
    assert lockstep.narrow({}.get) is divergence


def test_a_result_that_differs() -> None:
    lockstep = Lockstep(LmbModel(LmbConfig()))
    assert lockstep.after(Record(1, ADD, 0), lmb(ADD, static=64).snapshot()) is None
    divergence = lockstep.after(Record(2, op("alloc", size=0x1000, align=0x1000), 0xFE000))
    assert divergence is not None and divergence.kind == "result" and divergence.exact
    assert divergence.message == "it returned 0xfe000, but 0xff000 is expected"
    assert (divergence.expected, divergence.found) == (0xFF000, 0xFE000)
    assert divergence.diff is None
    # The first is what counts; what follows from it is not.
    lockstep.after(Record(3, op("alloc", size=1), -12))
    assert lockstep.divergence is divergence


def test_a_result_that_differs_with_the_state() -> None:
    lockstep = Lockstep(LmbModel(LmbConfig()))
    divergence = lockstep.after(Record(1, ADD, -12), lmb(static=64).snapshot())
    assert divergence is not None and divergence.message == "it returned -12 (ENOMEM), but 0 is expected"
    assert divergence.diff is not None
    (row,) = divergence.diff.regions
    assert (row.sign, row.list, row.base, row.size) == ("-", "memory", ADD.base, ADD.size)


def test_a_result_nobody_knows_is_not_compared() -> None:
    lockstep = Lockstep(LmbModel(LmbConfig()))
    assert lockstep.after(Record(1, op("alloc", size=1))) is None


def test_a_change_outside_of_any_operation() -> None:
    kernel = Kernel(OPERATIONS)
    lockstep = Lockstep(LmbModel(LmbConfig()))
    assert lockstep.between(kernel.states[0], f"before {ADD} begins, ") is None
    assert lockstep.after(kernel.records[0], kernel.states[1]) is None
    changed = replace(kernel.states[1], bottom_up=True)
    divergence = lockstep.between(changed, f"before {OPERATIONS[1]} begins, ")
    assert divergence is not None and divergence.kind == "outside" and divergence.record == kernel.records[0]
    assert divergence.message == (
        "before reserve(base=0x4000, size=0x1000, flags=0x0) begins, bottom_up is true, but false is expected"
    )
    assert divergence.exact


def test_every_second_is_narrowed_to_the_first() -> None:
    kernel = Kernel(OPERATIONS, 1, op("reserve", 0x80000, 1))
    lockstep = Lockstep(LmbModel(LmbConfig()), every=2)
    assert lockstep.after(kernel.records[0]) is None
    divergence = lockstep.after(kernel.records[1], kernel.states[2])
    assert divergence is not None and (divergence.record, divergence.good) == (kernel.records[1], 0)
    narrowed = lockstep.narrow(kernel.states.get)
    assert narrowed is not None and narrowed.exact and narrowed.record == kernel.records[0]


def test_every_third_is_narrowed_to_the_first() -> None:
    kernel = Kernel(OPERATIONS, 5, op("reserve", 0x80000, 1))
    lockstep = Lockstep(LmbModel(LmbConfig()), every=3)
    wanted = []
    for record in kernel.records:
        due = lockstep.due(record.seq)
        wanted.append(due)
        divergence = lockstep.after(record, kernel.states[record.seq] if due else None)
        if divergence:
            break
    assert wanted == [False, False, True, False, False, True]
    assert divergence is not None and not divergence.exact
    assert divergence.record == kernel.records[5] and divergence.good == 3
    narrowed = lockstep.narrow(kernel.states.get)
    assert narrowed is not None and narrowed.exact and narrowed.record == kernel.records[4] and narrowed.good == 4
    assert lockstep.divergence is narrowed


def test_narrowing_goes_as_far_as_the_states_do() -> None:
    kernel = Kernel(OPERATIONS, 5, op("reserve", 0x80000, 1))
    lockstep = Lockstep(LmbModel(LmbConfig()), every=6)
    for record in kernel.records:
        lockstep.after(record, kernel.states[record.seq] if lockstep.due(record.seq) else None)
    narrowed = lockstep.narrow({2: kernel.states[2]}.get)
    assert narrowed is not None and not narrowed.exact
    assert (narrowed.record, narrowed.good) == (kernel.records[5], 2)


def test_what_no_operation_did_is_narrowed_to_after_the_last() -> None:
    kernel = Kernel(OPERATIONS, 5, op("reserve", 0x80000, 1))
    lockstep = Lockstep(LmbModel(LmbConfig()), every=100)
    for record in kernel.records[:4]:
        lockstep.after(record)
    divergence = lockstep.between(replace(kernel.states[4], bottom_up=True))
    assert divergence is not None and (divergence.kind, divergence.good) == ("state", 0) and not divergence.exact
    narrowed = lockstep.narrow(kernel.states.get)
    assert narrowed is not None and narrowed.exact
    assert (narrowed.kind, narrowed.record, narrowed.good) == ("outside", kernel.records[3], 4)


def test_between_two_looks_an_operation_may_be_to_blame() -> None:
    kernel = Kernel(OPERATIONS, 1, op("set_bottom_up", flags=1))
    lockstep = Lockstep(LmbModel(LmbConfig()), every=100)
    lockstep.after(kernel.records[0])
    divergence = lockstep.between(kernel.states[1], f"before {OPERATIONS[1]} begins, ")
    assert divergence is not None and divergence.kind == "state" and divergence.record == kernel.records[0]
    assert divergence.message == "bottom_up is true, but false is expected"


def test_a_list_that_was_given_up_agrees_with_nothing() -> None:
    model = MemblockModel(MemblockConfig(LINUX_6_12))
    lockstep = Lockstep(model, every=2)
    gone = replace(model.snapshot(), refused={"reserved": "freed", "memory": "freed"})
    record = Record(1, op("add_range", 0, 0x1000, list="memory"), 0)
    assert lockstep.after(record, gone) is None and lockstep.good == 0
    assert lockstep.after(replace(record, seq=2), model.snapshot()) is None and lockstep.good == 2


def test_a_second_run_trusts_what_the_first_has_seen() -> None:
    lockstep = Lockstep(LmbModel(LmbConfig()), trusted=40)
    assert [seq for seq in (1, 40, 41, 42) if lockstep.due(seq)] == [41, 42]


def test_every_nothing() -> None:
    with pytest.raises(ValueError, match="every 0 operations"):
        Lockstep(lmb(), every=0)


@pytest.mark.random
@settings(max_examples=100 * ROUNDS)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12))
def test_narrowing_always_ends_at_the_fault(count: int, fault: int, every: int) -> None:
    operations = [ADD, *(op("reserve", at * 0x4000, 0x1000) for at in range(1, count))]
    kernel = Kernel(operations, fault, op("reserve", 0xF0000, 1))
    lockstep = Lockstep(LmbModel(LmbConfig()), every=every)
    for record in kernel.records:
        if lockstep.after(record, kernel.states[record.seq] if lockstep.due(record.seq) else None):
            break
    caught = (fault <= count // every * every and fault != 1) or (fault == 1 and every <= count)
    assert (lockstep.divergence is not None) == caught
    narrowed = lockstep.narrow(kernel.states.get)
    if narrowed is not None:
        assert narrowed.exact and narrowed.record is not None and narrowed.record.seq == fault
