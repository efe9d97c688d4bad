# SPDX-License-Identifier: GPL-2.0-or-later
"""Which records are shown, how they are written, and traces of some kinds of operations only."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest

from gdb_lmb.allocators.base import allocator
from gdb_lmb.allocators.difference import RegionRow
from gdb_lmb.allocators.lmb.model import LmbConfig, LmbModel
from gdb_lmb.analysis.compare import StateDiff
from gdb_lmb.analysis.lockstep import Divergence
from gdb_lmb.analysis.replay import Replay
from gdb_lmb.core.errors import InputError, UsageError
from gdb_lmb.core.operation import Record, Symbol, TraceHeader
from gdb_lmb.report.terminal import Terminal
from gdb_lmb.report.trace_file import TraceReader, TraceWriter
from gdb_lmb.report.trace_text import Wanted, divergence_findings, parse_caller, replay_text, trace_json, trace_table
from tests.helpers.operations import op

RESERVE = Record(1, op("reserve", base=0x1000, size=0x1000), 0, (0x100, 0x200), "growing")
ALLOC = Record(2, op("alloc", size=0x800, align=8), 0x5000, (0x300,), "growing")
FAILED = Record(3, op("alloc", size=0x800), -12, (0x300,), "growing")
LIMIT = Record(4, op("set_limit", base=0x9000), 0, (0x200,), "growing")
UNKNOWN = Record(5, op("alloc", size=0x800), None, (0x300,), "growing")
RECORDS = [RESERVE, ALLOC, FAILED, LIMIT]
SYMBOLS = {
    0x100: Symbol("lmb_wrapper", 4, "lmb.c", 7),
    0x200: Symbol("setup", 8, "main.c", 12),
    0x300: Symbol("per_cpu", 0, inlined=("pcpu_alloc",)),
}


@pytest.mark.parametrize(
    ("record", "touched"),
    [(RESERVE, (0x1000, 0x2000)), (ALLOC, (0x5000, 0x5800)), (FAILED, None), (LIMIT, None), (UNKNOWN, None)],
)
def test_the_range_of_a_record_is_what_it_was_about(record: Record, touched: tuple[int, int] | None) -> None:
    assert allocator("lmb-list").touched(record) == touched


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (Wanted(), [1, 2, 3, 4]),
        (Wanted(last=2), [3, 4]),
        (Wanted(last=9), [1, 2, 3, 4]),
        (Wanted(last=0), []),
        (Wanted(caller=parse_caller("^setup")), [1, 4]),
        (Wanted(caller=parse_caller(r"main\.c:12")), [1, 4]),
        (Wanted(last=1, caller=parse_caller("per_cpu")), [3]),
        (Wanted(within=(0x1FFF, 0x5001)), [1, 2]),
        (Wanted(within=(0x2000, 0x5000)), []),
        # A call that failed is about no range, not about [0, size).
        (Wanted(within=(0, 0x800)), []),
        (Wanted(failed=True), [3]),
        (Wanted(failed=True, caller=parse_caller("setup")), []),
        # What the compiler has inlined has called too.
        (Wanted(caller=parse_caller("^pcpu_alloc$")), [2, 3]),
    ],
)
def test_records_are_chosen(wanted: Wanted, numbers: list[int]) -> None:
    assert [record.seq for record in wanted.of(RECORDS, SYMBOLS, "lmb-list")] == numbers


KINDS: list[tuple[str, str, int | None, str, bool]] = [
    ("memblock", "add_range", 0, "0", False),
    ("memblock", "add_range", -12, "-12 (ENOMEM)", True),
    ("memblock", "alloc_range_nid", 0, "0 (failed)", True),
    ("memblock", "alloc_range_nid", 0x1000, "0x1000", False),
    ("memblock", "alloc_range_nid", None, "nothing", False),
    ("memblock", "free_all", 63960, "63,960", False),
    ("memblock", "free_all", 0, "0", False),
    ("memblock", "trim_memory", None, "nothing", False),
    ("lmb-list", "alloc", -12, "-12 (ENOMEM)", True),
    ("lmb-list", "alloc", 0x40, "0x40", False),
    ("lmb-list", "free_all", -16, "-16 (EBUSY)", True),
    ("lmb-list", "init", 0, "0", False),
]


@pytest.mark.parametrize(("layout", "name", "result", "text", "failed"), KINDS, ids=range(len(KINDS)))
def test_a_result_is_written_by_its_kind(layout: str, name: str, result: int | None, text: str, failed: bool) -> None:
    kind = allocator(layout).kind(name)
    assert (kind.result_text(result), kind.failed(result)) == (text, failed)


def test_an_allocation_of_memblock_that_failed_is_about_no_range() -> None:
    failed = Record(1, op("alloc_range_nid", size=0x800, align=8), 0, (0x300,))
    assert Wanted(within=(0, 0x800)).of([failed], SYMBOLS, "memblock") == []
    assert Wanted(failed=True).of([failed], SYMBOLS, "memblock") == [failed]


def test_a_row_names_the_first_caller_outside_the_allocator() -> None:
    lines = trace_table(RECORDS, SYMBOLS, "lmb-list").splitlines()
    assert lines[2].split("  ")[-2:] == ["setup+0x8 (main.c:12)", "growing"]
    assert "-12" in lines[4] and "0x5000" in lines[3]
    assert trace_table([], SYMBOLS, "lmb-list") == "no operation"
    last = trace_table(RECORDS, SYMBOLS, "lmb-list", Terminal(rows=1)).splitlines()
    assert last[0] == f"... {len(RECORDS) - 1} earlier operations: --all shows them" and len(last) == 4
    assert last[-1].split() == lines[-1].split()


def test_a_row_without_a_symbol_a_caller_or_a_phase() -> None:
    records = [Record(5, op("reserve", base=0x1000, size=1), 0, (0x400,), "growing"), Record(6, op("free_all"), 7)]
    assert trace_table(records, SYMBOLS, "lmb-list").splitlines() == [
        "    #  operation                                    result  caller    in the boot",
        "  ---  -----------------------------------------  --------  --------  -------------",
        "    5  reserve(base=0x1000, size=0x1, flags=0x0)         0  0x400     growing",
        "    6  free_all()                                        7  -         -",
    ]
    assert Wanted(caller=parse_caller("^0x400$")).of(records, SYMBOLS, "lmb-list") == records[:1]


def test_json_explains_its_program_counters() -> None:
    data = json.loads(json.dumps(trace_json(RECORDS[:1], SYMBOLS, "lmb-list", 4)))
    assert (data["schema"], data["total"], len(data["records"])) == ("gdb-lmb/trace-show/1", 4, 1)
    assert data["symbols"] == {"0x100": "lmb_wrapper+0x4 (lmb.c:7)", "0x200": "setup+0x8 (main.c:12)"}


def test_an_expression_that_is_none() -> None:
    with pytest.raises(UsageError) as refusal:
        parse_caller("(" + "x" * 90)
    assert str(refusal.value) == (
        f"'({'x' * 79}...' is no regular expression: missing ), unterminated subpattern at position 0"
    )


def test_a_divergence_is_a_finding_at_its_address() -> None:
    found = Divergence("state", RESERVE, 0, "m", address=0x9000)
    assert [(one.code, one.addresses) for one in divergence_findings(found)] == [("trace-divergence", (0x9000,))]
    assert [one.addresses for one in divergence_findings(replace(found, address=None))] == [()]


def test_a_replay_has_the_names_of_the_traces_own_flags() -> None:
    initial = replace(LmbModel(LmbConfig(static=8)).snapshot(), flag_names={2: "OWN"})
    diff = StateDiff((RegionRow("+", "memory", 0, 0x1000, 0x1000, 6),))
    replay = Replay(TraceHeader("lmb-list", "x86_64", "little", 64, 4096, initial=initial))
    assert replay.lockstep is not None
    replay.lockstep.divergence = Divergence("state", RESERVE, 0, "m", diff=diff)
    for start, names in ((initial, "OWN|0x4"), (None, "MIRROR|NOMAP")):
        stream = io.BytesIO()
        TraceWriter(stream, TraceHeader("lmb-list", "x86_64", "little", 64, 4096, initial=start))
        text = replay_text(TraceReader(stream.getvalue().splitlines(keepends=True)), replay, [], None)
        assert text.splitlines()[0] == "trace of lmb-list on x86_64, from breakpoints"
        assert f"  {names}\n" in text


def written(only: tuple[str, ...]) -> list[bytes]:
    stream = io.BytesIO()
    writer = TraceWriter(stream, TraceHeader("lmb-list", "x86_64", "little", 64, 4096, only=only))
    writer.record(Record(1, op("init", size=4096, flags=64, align=40, min=40, max=8), 0))
    # Not what the model would return: nothing may compare it.
    writer.record(Record(2, op("alloc", size=4096, align=4096), 0x7000, (0x300,)))
    writer.end(None)
    return stream.getvalue().splitlines(keepends=True)


def test_a_trace_of_some_operations_only_is_never_verified() -> None:
    reader = TraceReader(written(("alloc",)))
    replay = Replay(reader.header)
    for record in reader:
        replay.follow(record)
    assert reader.header.only == ("alloc",)
    assert replay.finish(None) == "only alloc were recorded" and replay.divergence is None and replay.replayed == 0


@pytest.mark.parametrize("only", ["alloc", ["dance"], [1], None])
def test_damaged_names_of_operations_are_refused(only: object) -> None:
    lines = written(())
    header = json.loads(lines[0])
    header["only"] = only
    with pytest.raises(InputError, match='line 1: "only" is'):
        TraceReader([json.dumps(header).encode() + b"\n", *lines[1:]])
