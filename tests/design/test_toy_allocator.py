# SPDX-License-Identifier: GPL-2.0-or-later
"""An allocator is one package: a toy one that no room knows is dumped, checked, saved, compared, replayed, traced."""

from __future__ import annotations

import io
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gdb_lmb.allocators.base import ALLOCATORS, check
from gdb_lmb.allocators.difference import ValueRow
from gdb_lmb.analysis.compare import compare, diff
from gdb_lmb.analysis.replay import Replay
from gdb_lmb.core.operation import Operation, Record, TraceHeader
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.core.words import FINDING, NOTE
from gdb_lmb.report.jsonio import check_json, dumps, snapshot_from, snapshot_json
from gdb_lmb.report.text import check_text, dump_text
from gdb_lmb.report.trace_file import TraceReader, TraceWriter
from tests.helpers import toy_allocator
from tests.helpers.gdb_words import python_failed
from tests.helpers.plain_gdb import LOAD, gdb
from tests.helpers.toy_allocator import ENOSPC, FREE, MEMORY, RESERVED, TOY, state

ROWS = [(0x0, 0x10000, MEMORY), (0x1000, 0x1000, RESERVED)]


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """Keep the toy out of the tests of others."""
    ALLOCATORS[TOY.name] = TOY
    yield
    del ALLOCATORS[TOY.name]


def test_it_is_dumped() -> None:
    text = dump_text(state(ROWS))
    assert text.splitlines()[0] == "toy of model"
    assert "memory: 1 region (room for 3), 64 KiB (65,536 bytes)" in text
    assert "reserved: 1 region (room for 3), 4 KiB (4,096 bytes)" in text
    assert text.splitlines()[-4:] == ["table:", "    slots    used", "  -------  ------", "        3       2"]
    assert dump_text(state(ROWS), "firmware").endswith("firmware: this program keeps no map")


WRONG: list[tuple[Snapshot, list[tuple[str, str]]]] = [
    (state(ROWS), []),
    (state(ROWS, used=3), [("used-wrong", FINDING)]),
    (state([*ROWS, (0x1800, 0x1000, RESERVED)]), [("overlap", FINDING)]),
    (state([*ROWS, (0x20000, 0x1000, RESERVED)]), [("reserved-outside-memory", NOTE)]),
]


@pytest.mark.parametrize(("snapshot", "found"), WRONG, ids=range(len(WRONG)))
def test_it_is_checked(snapshot: Snapshot, found: list[tuple[str, str]]) -> None:
    findings = check(snapshot)
    assert [(finding.code, finding.severity) for finding in findings] == found
    assert check_text(snapshot, findings, None).endswith("; toy keeps no log of operations")
    assert check_json(snapshot, findings, None)["layout"] == "toy"


def test_its_json_goes_both_ways() -> None:
    snapshot = state([*ROWS, (0, 0, FREE)], used=7)
    text = dumps(snapshot_json(snapshot))
    assert json.loads(text)["used"] == 7
    assert json.loads(text)["reserved"]["regions"] == [{"base": "0x1000", "size": "0x1000", "flags": 0}]
    again = snapshot_from(json.loads(text))
    assert compare(snapshot, again, whole=True) is None and again.storage == snapshot.storage
    assert dumps(snapshot_json(again)) == text


def test_two_of_its_states_are_compared() -> None:
    found = state([ROWS[0], (0x1000, 0x2000, RESERVED)], used=9)
    difference = compare(state(ROWS), found)
    assert difference is not None
    assert difference.message == "reserved[0] is [0x1000, 0x3000) flags 0x0, but [0x1000, 0x2000) flags 0x0 is expected"
    assert diff(state(ROWS), found).values == (
        ValueRow("reserved.total_size", "0x1000", "0x2000"), ValueRow("used", "2", "9")
    )  # fmt: skip
    counted = compare(state(ROWS), state(ROWS, used=9))
    assert counted is not None and counted.message == "used is 9, but 2 is expected"


def take(base: int, size: int) -> Operation:
    return TOY.operations["take"].call("take", base=base, size=size)


def trace(final: Snapshot, results: tuple[int, int]) -> list[bytes]:
    """Return a saved trace: the third slot is taken, and there is no fourth."""
    stream = io.BytesIO()
    writer = TraceWriter(stream, TraceHeader.of(state(ROWS), initial=state(ROWS)))
    writer.record(Record(1, take(0x4000, 0x1000), results[0], (0x100,)))
    writer.record(Record(2, take(0x8000, 0x1000), results[1], (0x200,)))
    writer.end(final)
    return stream.getvalue().splitlines(keepends=True)


AFTER = state([*ROWS, (0x4000, 0x1000, RESERVED)])

REPLAYED: list[tuple[Snapshot, tuple[int, int], str | None]] = [
    (AFTER, (0, ENOSPC), None),
    (AFTER, (0, 0), "it returned 0, but -28 (ENOSPC) is expected"),
    (state(ROWS), (0, ENOSPC), "the reserved list has 1 regions, but 2 are expected"),
]


@pytest.mark.parametrize(("final", "results", "message"), REPLAYED, ids=range(len(REPLAYED)))
def test_a_trace_of_it_is_replayed(final: Snapshot, results: tuple[int, int], message: str | None) -> None:
    reader = TraceReader(trace(final, results))
    replay = Replay(reader.header)
    for record in reader:
        replay.follow(record)
    assert reader.end is not None
    assert replay.finish(reader.end.final) is None
    assert (replay.divergence and replay.divergence.message) == message
    if message is None:
        assert [(piece.base, piece.end) for piece in replay.owners.pieces()] == [(0x1000, 0x2000), (0x4000, 0x5000)]


# -- in gdb -----------------------------------------------------------------------------------------

PROGRAM = """\
struct toy_slot { unsigned long base, size; unsigned int kind; };
struct toy { unsigned int used; struct toy_slot slots[3]; };
struct toy toy = { 2, { { 0x0, 0x10000, 1 }, { 0x1000, 0x1000, 2 } } };

int main(void)
{
	toy.slots[toy.used++] = (struct toy_slot){ 0x4000, 0x1000, 2 };
	toy.used = 7;
	return 0;
}
"""


def answers(folder: Path, program: str, asked: tuple[str, ...]) -> dict[str, str]:
    """Return what gdb prints for commands in a program that is stopped in `main()`, each with its number."""
    path, source = folder / "toy", folder / "toy.c"
    source.write_text(program)
    subprocess.run(["gcc", "-g", "-O0", "-fno-pie", "-no-pie", "-o", path, source], check=True)
    shown = [text for number, command in enumerate(asked) for text in (f"echo ASKED {number}\\n", command)]
    toy = Path(toy_allocator.__file__)
    output = gdb(f"source {LOAD}", f"source {toy}", f"file {path}", "break main", "run", *shown, "echo ASKED end\\n")
    assert not python_failed(output), output
    found = re.findall(r"ASKED \d+\n(.*?)(?=ASKED)", output, re.DOTALL)
    assert len(found) == len(asked), output
    return dict(zip([f"{number} {command}" for number, command in enumerate(asked)], found, strict=True))


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return what commands print of the program, stopped before its table is full, when it is, and miscounted."""
    asked = ("lmb-dump", "lmb-dump --json", "lmb-check", "lmb-who 0x1800", "next", "lmb-check --json", "next",
             "lmb-check", "print $lmb_status")  # fmt: skip
    return answers(tmp_path_factory.mktemp("toy"), PROGRAM, asked)


def test_it_is_found_in_a_program_and_dumped(said: dict[str, str]) -> None:
    text = said["0 lmb-dump"]
    assert re.match(r"toy of \w+ at main(\+0x[0-9a-f]+)? \(0x[0-9a-f]+\): in use, top-down, limit none\n", text)
    assert "\n    0  0x0000000000001000  0x0000000000002000   4 KiB    4,096  -\n" in text
    assert text.endswith("\ntable:\n    slots    used\n  -------  ------\n        3       2\n")
    data = json.loads(said["1 lmb-dump --json"])
    assert (data["layout"], data["used"], data["findings"]) == ("toy", 2, [])
    assert data["memory"]["regions"] == [{"base": "0x0", "size": "0x10000", "flags": 0}]
    assert snapshot_from(json.loads(said["1 lmb-dump --json"])).reserved.cnt == 1


def test_it_is_checked_in_a_program(said: dict[str, str]) -> None:
    assert said["2 lmb-check"] == "lmb-check: clean, verified: 2 regions; toy keeps no log of operations\n"
    data = json.loads(said["5 lmb-check --json"])
    assert (data["layout"], data["checked"]["regions"], data["findings"]) == ("toy", 3, [])
    assert said["7 lmb-check"] == (
        "finding: used-wrong: toy.used is 7, but 3 slots hold a region\n"
        "lmb-check: 1 finding in: 3 regions; toy keeps no log of operations\n"
    )
    assert said["8 print $lmb_status"] == "$1 = 1\n"


def test_whose_an_address_in_it_is(said: dict[str, str]) -> None:
    assert said["3 lmb-who 0x1800"].startswith("0x1800: reserved\n  reserved  [0x1000, 0x2000), region 0\n")


# -- traced -----------------------------------------------------------------------------------------

TRACED_PROGRAM = """\
struct toy_slot { unsigned long base, size; unsigned int kind; };
struct toy { unsigned int used; struct toy_slot slots[3]; };
struct toy toy = { 1, { { 0x0, 0x10000, 1 } } };

int toy_take(unsigned long base, unsigned long size)
{
	if (toy.used == 3)
		return -28;
	toy.slots[toy.used++] = (struct toy_slot){ base, size, 2 };
	return 0;
}

void toy_ready(void) { }
void setup_arch(void) { toy_take(0x4000, 0x1000); }
void full(void) { toy_take(0x8000, 0x1000); }

int main(void)
{
	toy_take(0x1000, 0x1000);
	setup_arch();
	full();
	toy_ready();
	toy.slots[2].size = 0x3000;
	toy_ready();
	return 0;
}
"""


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Path]:
    """Return what commands print while the program is traced, first as it should be and then not, and the file."""
    folder = tmp_path_factory.mktemp("traced")
    saved = folder / "trace.jsonl"
    asked = (f"lmb-trace start --lockstep --until toy_ready -o {saved}", "continue", "lmb-trace status --json",
             "lmb-trace show --json", "print $lmb_status", "lmb-trace start --lockstep --until _exit", "continue",
             "lmb-trace status --json", "print $lmb_status")  # fmt: skip
    return answers(folder, TRACED_PROGRAM, asked), saved


def test_it_is_traced_in_lockstep_with_its_model(traced: tuple[dict[str, str], Path]) -> None:
    told, _ = traced
    status = json.loads(told["2 lmb-trace status --json"])
    assert (status["ended"], status["complete"]) == ("the guest has reached toy_ready", True)
    assert (status["records"], status["stops"], status["compared"], status["divergence"]) == (3, 6, True, None)
    assert "kernel and model agree" in told["1 continue"] and told["4 print $lmb_status"] == "$1 = 0\n"
    rows = json.loads(told["3 lmb-trace show --json"])["records"]
    assert [(row["op"], row["base"], row["size"], row["result"]) for row in rows] == [
        ("take", "0x1000", "0x1000", 0), ("take", "0x4000", "0x1000", 0), ("take", "0x8000", "0x1000", ENOSPC)
    ]  # fmt: skip


def test_a_change_outside_of_its_calls_is_seen(traced: tuple[dict[str, str], Path]) -> None:
    told, _ = traced
    divergence = json.loads(told["7 lmb-trace status --json"])["divergence"]
    assert divergence["kind"] == "outside" and "reserved[1] is [0x4000, 0x7000)" in divergence["message"]
    assert told["8 print $lmb_status"] == "$2 = 1\n"


def test_its_saved_trace_is_replayed(traced: tuple[dict[str, str], Path]) -> None:
    _, saved = traced
    reader = TraceReader(saved.read_bytes().splitlines(keepends=True))
    replay = Replay(reader.header)
    callers = []
    for record in reader:
        replay.follow(record)
        callers.append(record.callers[0])
    assert reader.end is not None and replay.finish(reader.end.final) is None and replay.divergence is None
    assert [reader.symbols[pc].function for pc in callers] == ["main", "setup_arch", "full"]


REFUSED = """python exec('try: gdb.execute("lmb-trace start")\\nexcept gdb.error as error: print(error)')"""


def test_a_trace_begins_in_none_of_its_functions(tmp_path: Path) -> None:
    told = answers(tmp_path, TRACED_PROGRAM, ("break toy_take", "continue", "next", REFUSED))
    why = "the stop is inside toy_take(), whose operation would be recorded in part: `finish` it first"
    assert told[f"3 {REFUSED}"] == f"lmb-trace: {why}\n"
