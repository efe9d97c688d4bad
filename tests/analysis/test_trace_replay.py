# SPDX-License-Identifier: GPL-2.0-or-later
"""`gdb-lmb replay TRACE`: traces written by hand, whose states and results follow from the rules alone."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gdb_lmb.allocators.lmb.log import log_records
from gdb_lmb.allocators.lmb.model import LmbConfig, LmbModel
from gdb_lmb.allocators.lmb.storage import OperationLog
from gdb_lmb.allocators.memblock.behavior import MemblockConfig
from gdb_lmb.allocators.memblock.model import MemblockModel
from gdb_lmb.allocators.memblock.resume import facts_of, resume
from gdb_lmb.analysis.lockstep import Lockstep
from gdb_lmb.analysis.replay import Replay
from gdb_lmb.cli import main
from gdb_lmb.core.errors import InputError
from gdb_lmb.core.operation import Record, TraceHeader
from gdb_lmb.core.snapshot import column
from gdb_lmb.report.trace_file import TraceReader
from tests.helpers.linux_behaviors import LINUX_6_1, LINUX_6_12
from tests.helpers.operations import op
from tests.helpers.traces import (
    BEHAVIOR_6_12,
    LOG,
    SOUND,
    Json,
    changed,
    header,
    lmb_state,
    memblock_state,
    record,
    rows,
    text_of,
)


def replay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], trace: list[Json] | str, *options: str
) -> tuple[int, str, str]:
    file = tmp_path / "boot.trace"
    file.write_text(trace if isinstance(trace, str) else text_of(trace))
    status = main(["replay", str(file), *options])
    out, err = capsys.readouterr()
    return status, out, err


@pytest.mark.parametrize(("trace", "first"), [
    (SOUND, "trace of memblock on x86_64, from breakpoints"),
    (LOG, "trace of lmb-list on x86_64, from the kernel's own log"),
], ids=["memblock", "lmb-list"])  # fmt: skip
def test_a_sound_boot(tmp_path: Path, capsys: pytest.CaptureFixture[str], trace: list[Json], first: str) -> None:
    status, out, err = replay(tmp_path, capsys, trace)
    assert out.splitlines() == [first, "gdb-lmb replay: verified: 4 operations replayed on the model"]
    assert (status, err) == (0, "")


def test_from_stdin(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text_of(SOUND).encode())))
    assert main(["replay", "-", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == {
        "schema": "gdb-lmb/replay/1", "layout": "memblock", "arch": "x86_64", "records": 4, "replayed": 4,
        "not_verified": None, "findings": [], "divergence": None, "symbols": {},
    }  # fmt: skip


def test_a_wrong_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = changed(SOUND, 3, result="0x10fe000")
    status, out, _ = replay(tmp_path, capsys, trace)
    assert status == 1
    assert out.splitlines() == [
        "trace of memblock on x86_64, from breakpoints",
        "kernel and model differ after operation 3 alloc_range_nid(size=0x1000, align=0x1000, min=0x0, max=0x0, "
        "nid=-1, exact=false): it returned 0x10fe000, but 0x10ff000 is expected",
        "  (states were not compared: any operation from 1 to 3 may have done it)",
        "in the boot: early",
        "called from:",
        "  #0 0x1 memblock_reserve+0x10 (mm/memblock.c:865)",
        "  #1 0x3 early_pgtable_alloc",
        "gdb-lmb replay: 1 finding: 2 operations replayed on the model",
    ]
    status, out, _ = replay(tmp_path, capsys, trace, "--json")
    report = json.loads(out)
    assert status == 1 and report["replayed"] == 2 and report["records"] == 4
    assert report["divergence"]["expected"] == 0x10FF000 and report["divergence"]["kind"] == "result"
    assert [finding["code"] for finding in report["findings"]] == ["trace-divergence"]
    assert report["symbols"] == {"0x1": "memblock_reserve+0x10 (mm/memblock.c:865)", "0x3": "early_pgtable_alloc"}


def test_a_wrong_final_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    final = memblock_state(
        rows((0x100000, 0x1000000, 0, 0)), rows((0x100000, 0x200000, 0, 1024), (0x10FF000, 0x800, 0, 1024))
    )
    status, out, _ = replay(tmp_path, capsys, changed(SOUND, 6, end={"records": 4, "final": final}))
    assert status == 1
    assert "kernel and model differ after operation 4 set_node(" in out
    assert "reserved[1] is [0x10ff000, 0x10ff800) flags 0x0 node 1024, but [0x10ff000, 0x1100000)" in out
    assert [line.split()[:2] for line in out.splitlines() if line.startswith(("  - ", "  + "))] == [
        ["+", "reserved"], ["-", "reserved"],
    ]  # fmt: skip
    assert out.splitlines()[-1] == "gdb-lmb replay: 1 finding: 4 operations replayed on the model"


def test_a_wrong_entry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    final = json.loads(json.dumps(LOG[5]["end"]["final"]))
    final["reserved"]["regions"][1]["entry"], final["free"][0] = [0, 3], [0, 2]
    status, out, _ = replay(tmp_path, capsys, changed(LOG, 5, end={"records": 4, "final": final}))
    assert status == 1 and "is stored in another entry than expected (index 3, not 2)" in out
    assert [line.split()[-1] for line in out.splitlines() if line.startswith(("  - ", "  + "))] == ["0:2", "0:3"]
    assert "freelist[0]  entry 0:3   entry 0:2" in out


@pytest.mark.parametrize(
    ("free", "message"),
    [
        # The freelist is [3, 4, 5, 6, 7]: two are swapped behind the first two, the last one is lost, one is gained.
        ([3, 4, 6, 5, 7], "the freelist has entry 0:6 at place 2, but entry 0:5 is expected"),
        ([3, 4, 5, 6], "the freelist has 4 entries, but 5 are expected"),
        ([3, 4, 5, 6, 7, 2], "the freelist has 6 entries, but 5 are expected"),
    ],
)
def test_where_the_freelist_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], free: list[int], message: str
) -> None:
    final = {**LOG[5]["end"]["final"], "free": [[0, slot] for slot in free], "nr_free": 5}
    status, out, _ = replay(tmp_path, capsys, changed(LOG, 5, end={"records": 4, "final": final}))
    assert status == 1 and f"flags=0x0): {message}\n" in out


def test_behind_a_refused_list_the_next_one_is_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reserved = rows((0x100000, 0x200000, 0, 1024), (0x10FF000, 0x800, 0, 1024))
    final = memblock_state([], reserved, refused={"memory": "memblock_discard() has freed it"})
    status, out, _ = replay(tmp_path, capsys, changed(SOUND, 6, end={"records": 4, "final": final}))
    assert status == 1 and "reserved[1] is [0x10ff000, 0x10ff800)" in out and "memory[" not in out


NOT_VERIFIED: list[tuple[str, str]] = [
    (text_of(SOUND[:-1]), "4 operations replayed on the model; the trace is cut off after record 4"),
    (text_of(SOUND)[:-20], "the trace is cut off in the middle of a line after record 4"),
    (text_of(SOUND[:3]) + '{"seq": 3, "op": "al', "2 operations replayed on the model; the trace is cut off in the"),
    (text_of(changed(SOUND, 6, end={"records": 4, "final": None})), "the trace does not hold the final state"),
    (text_of(LOG[:1]), "the trace is cut off after record 0"),
    (
        text_of(
            [
                *SOUND[:6],
                {
                    "end": {
                        "records": 4,
                        "final": memblock_state(
                            rows((0x100000, 0x1000000, 0, 0)),
                            [],
                            refused={"reserved": "memblock_discard() has freed it"},
                        ),
                    }
                },
            ]
        ),
        "of the final state, reserved was not true any more",
    ),
    (
        text_of([header("lmb-list", None, source="log", lost=100), {**LOG[3], "seq": 101}, {"end": {"records": 1}}]),
        "0 operations replayed on the model; the first 100 operations are lost",
    ),
]


@pytest.mark.parametrize(("text", "why"), NOT_VERIFIED, ids=range(len(NOT_VERIFIED)))
def test_not_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, why: str) -> None:
    status, out, _ = replay(tmp_path, capsys, text)
    assert status == 5
    assert out.splitlines()[-1].startswith("gdb-lmb replay: NOT verified: ") and why in out.splitlines()[-1]


def followed(trace: list[Json]) -> Replay:
    reader = TraceReader(text_of(trace).encode().splitlines(keepends=True))
    found = Replay(reader.header)
    for one in reader:
        found.follow(one)
    return found


def test_a_history_begins_with_the_allocators_first_call() -> None:
    found = Replay(TraceHeader("lmb-list", "x86_64", "little", 64, 4096))
    with pytest.raises(InputError, match="without an initial state begins with init, not with add"):
        found.follow(Record(1, op("add", 0, 0x1000), 0))


def test_a_trace_of_some_operations_is_not_followed() -> None:
    # Without the first record nothing can be allocated; nothing may compare what the second one returned.
    trace = [header("memblock", memblock_state([], []), generation=BEHAVIOR_6_12, only=["alloc_range_nid"])]
    trace.append({**SOUND[3], "seq": 1})
    found = followed(trace)
    assert (found.lockstep, found.divergence, found.replayed) == (None, None, 0)
    final = LmbModel(LmbConfig()).snapshot()
    assert found.finish(final) == "only alloc_range_nid were recorded"


def failing(*results: Any) -> list[Json]:
    """A boot of 1 MiB with page 1 reserved, then allocations of 2 MiB, aligned to 4 KiB."""
    calls = [record(4 + at, "alloc", result, 12, size=0x200000, align=4096, min=0, max=0, flags=0)
             for at, result in enumerate(results)]  # fmt: skip
    return [*LOG[:4], *calls]


def test_failed_allocations_are_noted_with_what_lacked() -> None:
    refused = record(5, "reserve", -22, 12, base=0, size=0, flags=0)
    found = followed([*failing(-12), refused])
    assert found.failures.count == 2
    told = "alloc(size=0x200000, align=0x1000, min=0x0, max=0x0, flags=0x0), called from 0xc, failed"
    why = "no memory in [0x1000, 0xffffffffffffffff): the largest allocation possible there is 0xfe000 bytes"
    notes = found.failures.notes({}.get)
    assert [(note.code, note.severity, note.message) for note in notes] == [
        ("allocation-failed", "note", f"operation 4, {told}: {why}"),
    ]  # fmt: skip
    # What lacked is not known any more where the kernel has gone another way than the model.
    astray = followed(failing("0x2000", -12))
    assert astray.divergence is not None
    assert [note.message for note in astray.failures.notes({}.get)] == [f"operation 5, {told}"]
    many = followed(failing(*[-12] * 101)).failures
    assert (many.count, len(many.notes({}.get))) == (101, 100)


def test_a_divergence_counts_more_than_a_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, _ = replay(tmp_path, capsys, changed(SOUND, 3, result=0)[:-1])
    assert status == 1


def test_reserved_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overlaid = record(5, "add_range", 0, 1, 2, list="reserved", base=0x10FE000, size=0x2000, nid=1024, flags=0)
    final = memblock_state(
        rows((0x100000, 0x1000000, 0, 0)), rows((0x100000, 0x200000, 0, 1024), (0x10FE000, 0x2000, 0, 1024))
    )
    status, out, _ = replay(tmp_path, capsys, [*SOUND[:5], overlaid, SOUND[5], {"end": {"records": 5, "final": final}}])
    assert status == 1
    assert out.splitlines()[1:] == [
        "finding: reserved-over-allocation: operation 5, add_range(list=reserved, base=0x10fe000, size=0x2000, "
        "nid=1024, flags=0x0), called from setup_arch, takes memory that is taken: [0x10ff000, 0x1100000) was "
        "allocated to early_pgtable_alloc in operation 3",
        "gdb-lmb replay: 1 finding: 5 operations replayed on the model",
    ]


@pytest.mark.parametrize(("symbols", "status"), [(False, 5), (True, 0)])
def test_a_cut_or_unnamed_trace_accuses_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], symbols: bool, status: int
) -> None:
    # What x86's reserve_real_mode() does: it allocates, and last reserves all around it.
    around = record(5, "add_range", 0, 1, 4, list="reserved", base=0x10FE000, size=0x2000, nid=1024, flags=0)
    names = {"symbols": {**SOUND[5]["symbols"], "0x4": SOUND[5]["symbols"]["0x3"]}}
    final = memblock_state(
        rows((0x100000, 0x1000000, 0, 0)), rows((0x100000, 0x200000, 0, 1024), (0x10FE000, 0x2000, 0, 1024))
    )
    trace = [*SOUND[:5], around, *([names] if symbols else []), {"end": {"records": 5, "final": final}}]
    got, out, _ = replay(tmp_path, capsys, trace)
    assert got == status and "finding" not in out
    assert ("without symbols nothing tells who called operation 5 add_range(" in out) is not symbols
    cut = [trace[0], names, *trace[1:6]] if symbols else trace[:6]
    got, out, _ = replay(tmp_path, capsys, cut)
    assert got == 5 and "finding" not in out and "the trace is cut off after record 5" in out


def test_failed_allocations_are_counted_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # 16 MiB from 1 MiB on, of which 2 MiB and the last page are taken: the hole is [0x300000, 0x10ff000), 13.99 MiB.
    tries = [record(5 + at, "alloc_range_nid", 0, 1, 2, size=size, align=0x1000, min=0, max=limit, nid=-1, exact=False)
             for at, (size, limit) in enumerate([(0x1000000, 0), (0x1000, 0x100000)])]  # fmt: skip
    trace = [*SOUND[:5], *tries, SOUND[5], {"end": {**SOUND[6]["end"], "records": 6}}]
    status, out, _ = replay(tmp_path, capsys, trace)
    assert status == 0
    assert out.splitlines()[1:] == [
        "note: allocation-failed: operation 5, alloc_range_nid(size=0x1000000, align=0x1000, min=0x0, max=0x0, nid=-1, "
        "exact=false), called from setup_arch, failed: no memory in [0x1000, 0xffffffffffffffff): the largest "
        "allocation possible there is 0xdff000 bytes",
        "note: allocation-failed: operation 6, alloc_range_nid(size=0x1000, align=0x1000, min=0x0, max=0x100000, "
        "nid=-1, exact=false), called from setup_arch, failed: no memory in [0x1000, 0x100000): nothing is free there",
        "gdb-lmb replay: verified (2 notes): 6 operations replayed on the model, of which 2 failed",
    ]
    report = json.loads(replay(tmp_path, capsys, trace, "--json")[1])
    assert [finding["code"] for finding in report["findings"]] == ["allocation-failed"] * 2


@pytest.mark.parametrize("base", [0x100000, 0x200000])
def test_no_record_but_an_end(tmp_path: Path, capsys: pytest.CaptureFixture[str], base: int) -> None:
    state = memblock_state(rows((0x100000, 0x1000, 0, 0)), [])
    final = memblock_state(rows((base, 0x1000, 0, 0)), [])
    first = header("memblock", state, generation=BEHAVIOR_6_12)
    status, out, _ = replay(tmp_path, capsys, [first, {"end": {"records": 0, "final": final}}])
    if base == 0x100000:
        assert (status, out.splitlines()[-1]) == (
            0, "gdb-lmb replay: verified: 0 operations replayed on the model",
        )  # fmt: skip
    else:
        assert status == 1 and "kernel and model differ from the beginning: memory[0] is [0x200000, 0x201000)" in out
    # Without a state to begin with there is nothing to compare the last one with.
    created = [LOG[0], {"end": {"records": 0, "final": LOG[5]["end"]["final"]}}]
    status, out, _ = replay(tmp_path, capsys, created)
    assert status == 5 and out.splitlines()[-1].endswith("0 operations replayed on the model; the trace holds no init")


BAD: list[tuple[str, str]] = [
    (text_of(changed(SOUND, 2, seq=5)), 'boot.trace: line 3: "seq" is 5, but operation 2 comes next'),
    (text_of(changed(SOUND, 0, bits=16)), 'boot.trace: line 1: "bits" is 16'),
    (text_of(changed(SOUND, 0, generation={})), 'boot.trace: "generation" does not say empty_dummy'),
    (
        text_of([header("lmb-list", None), {**LOG[2], "seq": 1}]),
        'boot.trace: line 2: "op" is "add"; expected one of init',
    ),
    (
        text_of([LOG[0], {**LOG[1], "max": "0x1"}]),
        "init(base=0x0, size=0x1000, flags=0x40, align=0x28, min=0x28, max=0x1) is no call that succeeds: the initial",
    ),
    (text_of([LOG[0], {**LOG[1], "max": "0x10000000000"}]), "more than can be believed"),
    (text_of([LOG[0], {**LOG[1], "size": "0x1000000000"}]), "more than can be believed"),
    (text_of([LOG[0], {**LOG[1], "min": "0x0"}]), "an entry has no size"),
    (text_of([LOG[0], {**LOG[1], "base": "0xfffffffffffff000"}]), "there is no page at 0xfffffffffffff000"),
    (
        text_of([header("lmb-list", lmb_state([], [], [0, 1]))]),
        "boot.trace: the initial state: ",
    ),
    (
        text_of([header("memblock", memblock_state([], [], refused={"memory": "freed"}), generation=BEHAVIOR_6_12)]),
        "the initial state: memory was not true any more",
    ),
    (
        text_of([header("memblock", memblock_state([], [], refused={"\x1b[2J": "freed"}))]),
        "there is no list '\\\\x1b[2J'",
    ),
    (
        text_of([SOUND[0], {**SOUND[1], "list": "physmem"}]),
        "there is no list 'physmem'",
    ),
]


@pytest.mark.parametrize(("text", "message"), BAD, ids=range(len(BAD)))
def test_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str) -> None:
    status, out, err = replay(tmp_path, capsys, text)
    assert (status, out) == (2, "") and message in err and len(err.splitlines()) == 1


def test_options_of_a_model_are_not_for_traces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = replay(tmp_path, capsys, SOUND, "--block-size", "4096")
    assert status == 2 and "is a trace, which says itself what --block-size is" in err


# -- models from headers ----------------------------------------------------------------------------


def test_a_model_there_and_back() -> None:
    model = MemblockModel(MemblockConfig(LINUX_6_1, cache_bytes=128, keep=True, max_low_pfn=0x1000))
    model.add_range("memory", 0, 1 << 30)
    model.allow_resize()
    model.has_mirror = model.slab_up = True
    model.reserved.in_slab = True
    values = json.loads(json.dumps(facts_of(model)))
    again = resume(model.snapshot(), values)
    assert facts_of(again) == values
    assert again.can_resize and again.slab_up and again.reserved.in_slab and not again.memory.in_slab
    assert again.config.cache_bytes == 128 and again.config.keep and again.behavior == LINUX_6_1
    assert again.snapshot() == model.snapshot()


def test_an_unknown_generation_is_not_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unknown = {**BEHAVIOR_6_12, "unknown": ["the flag RSRV_NEW (0x100)", "the function memblock_new()"]}
    why = "this memblock has the flag RSRV_NEW (0x100), the function memblock_new(), which no known generation has"
    sound = changed(SOUND, 0, generation=unknown)
    status, out, _ = replay(tmp_path, capsys, sound)
    assert status == 5 and out.splitlines()[-1].endswith(f"4 operations replayed on the model; {why}")
    # What differs is shown, but accuses nobody.
    for trace in (
        changed(sound, 3, result="0x10fe000"),
        changed(sound, 6, end={"records": 4, "final": sound[0]["initial"]}),
    ):
        status, out, _ = replay(tmp_path, capsys, trace)
        assert status == 5 and "kernel and model differ after operation" in out and "finding" not in out
        report = json.loads(replay(tmp_path, capsys, trace, "--json")[1])
        assert report["findings"] == [] and report["divergence"] is not None and report["not_verified"] == why
    model = resume(MemblockModel(MemblockConfig(LINUX_6_12)).snapshot(), unknown)
    assert facts_of(model)["unknown"] == unknown["unknown"]


def test_an_unknown_generation_without_a_final_state_or_a_beginning() -> None:
    header = TraceHeader("memblock", "x86_64", "little", 64, 4096, behavior={**BEHAVIOR_6_12, "unknown": ["it"]})
    why = "this memblock has it, which no known generation has"
    assert Replay(header).finish(None) == why
    assert Replay(header).finish(MemblockModel(MemblockConfig(LINUX_6_12)).snapshot()) == why
    begun = Replay(replace(header, initial=MemblockModel(MemblockConfig(LINUX_6_12)).snapshot()))
    assert begun.lockstep is not None and begun.finish(None) == why


BAD_VALUES: list[tuple[str, Any, str]] = [
    ("version", "6.1", 'holds "version", which is not known'),
    ("merges_all", 1, "says that merges_all is 1; expected true or false"),
    ("keep", "no", 'says that keep is "no"'),
    ("can_resize", None, "says that can_resize is null"),
    ("cache_bytes", 48, '"cache_bytes" is 48; expected a power of two'),
    ("cache_bytes", "64", '"cache_bytes" is "64"'),
    ("max_low_pfn", -1, '"max_low_pfn" is -1'),
    ("in_slab", ["free"], '"in_slab" is ["free"]'),
    ("in_slab", "memory", '"in_slab" is "memory"'),
    ("unknown", [1], '"unknown" is [1]'),
]


@pytest.mark.parametrize(("name", "value", "message"), BAD_VALUES, ids=range(len(BAD_VALUES)))
def test_a_generation_that_is_none(name: str, value: Any, message: str) -> None:
    initial = MemblockModel(MemblockConfig(LINUX_6_12)).snapshot()
    with pytest.raises(InputError) as refusal:
        resume(initial, {**BEHAVIOR_6_12, name: value})
    assert message in str(refusal.value)


# -- the rest of the machinery -----------------------------------------------------------------------


def test_a_kernel_that_should_have_stopped() -> None:
    model = MemblockModel(MemblockConfig(LINUX_6_12, reserved_max=2))
    lockstep = Lockstep(model)
    for seq in (1, 2):
        operation = op("add_range", seq * 0x2000, 0x1000, list="reserved")
        assert lockstep.after(Record(seq, operation, 0)) is None
    divergence = lockstep.after(Record(3, op("add_range", 0x8000, 1, list="reserved"), 0))
    assert divergence is not None and divergence.kind == "panic"
    assert divergence.message == (
        "it returned, but the kernel should have stopped: memblock: cannot resize reserved array"
    )


def test_after_a_divergence_only_owners_go_on() -> None:
    replayed = Replay(TraceHeader("lmb-list", "x86_64", "little", 64, 4096))
    replayed.follow(Record(1, op("init", 0, 4096, flags=64, align=40, min=40, max=8), 0))
    replayed.follow(Record(2, op("reserve", 0x1000, 0x1000), -12))
    divergence = replayed.divergence
    assert divergence is not None and replayed.replayed == 1
    replayed.follow(Record(3, op("reserve", 0x8000, 0x1000), 0))
    assert replayed.divergence is divergence and replayed.replayed == 1
    assert [piece.base for piece in replayed.owners.pieces()] == [0x8000]
    assert replayed.finish(None, "cut off") is None


def log(ops: list[str], nr: int, capacity: int) -> OperationLog:
    zeros = column([0] * len(ops))
    return OperationLog(
        nr, capacity, ops, zeros, [0] * (len(ops) - 1) + [-12], column(range(len(ops))), zeros, zeros, zeros, zeros,
        zeros, column(range(100, 100 + len(ops))),
    )  # fmt: skip


def test_records_of_a_log() -> None:
    whole = log(["init", "add", "free_all"], 3, 8)
    assert list(log_records(whole)) == [
        Record(1, op("init", 0), 0, (100,)),
        Record(2, op("add", 1), 0, (101,)),
        Record(3, op("free_all", 2), -12, (102,)),
    ]
    wrapped = log(["add", "add"], 12, 2)
    assert [r.seq for r in log_records(wrapped)] == [11, 12]
    assert [r.seq for r in log_records(log(["init", "add", "?17", "add"], 4, 8))] == [1, 2]
    assert [r.seq for r in log_records(replace(wrapped, op=["init", "add"]))] == []
