# SPDX-License-Identifier: GPL-2.0-or-later
"""An allocator is one package: a toy one that no room knows is dumped, checked, saved, compared and replayed."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest

from gdb_lmb.allocators.base import ALLOCATORS
from gdb_lmb.allocators.checks import check
from gdb_lmb.allocators.difference import ValueRow
from gdb_lmb.analysis.compare import compare, diff
from gdb_lmb.analysis.replay import Replay
from gdb_lmb.core.operation import Operation
from gdb_lmb.core.record import Record, TraceHeader
from gdb_lmb.core.snapshot import FINDING, NOTE, Snapshot
from gdb_lmb.report.jsonio import check_json, dumps, snapshot_from_json, snapshot_json
from gdb_lmb.report.text import check_text, dump_text
from gdb_lmb.report.trace_file import TraceReader, TraceWriter
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
    again = snapshot_from_json(text)
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


def trace(final: Snapshot, results: tuple[int, int] = (0, ENOSPC)) -> list[bytes]:
    """Return a saved trace: the third slot is taken, and there is no fourth."""
    stream = io.BytesIO()
    writer = TraceWriter(stream, TraceHeader.of(state(ROWS), initial=state(ROWS)))
    writer.record(Record(1, take(0x4000, 0x1000), results[0], (0x100,)))
    writer.record(Record(2, take(0x8000, 0x1000), results[1], (0x200,)))
    writer.end(final)
    return stream.getvalue().splitlines(keepends=True)


AFTER = state([*ROWS, (0x4000, 0x1000, RESERVED)])

REPLAYED: list[tuple[list[bytes], str | None]] = [
    (trace(AFTER), None),
    (trace(AFTER, (0, 0)), "it returned 0, but -28 is expected"),
    (trace(state(ROWS)), "the reserved list has 1 regions, but 2 are expected"),
]


@pytest.mark.parametrize(("lines", "message"), REPLAYED, ids=range(len(REPLAYED)))
def test_a_trace_of_it_is_replayed(lines: list[bytes], message: str | None) -> None:
    reader = TraceReader(lines)
    replay = Replay(reader.header)
    for record in reader:
        replay.follow(record)
    assert reader.end is not None
    assert replay.finish(reader.end.final) is None
    assert (replay.divergence and replay.divergence.message) == message
    if message is None:
        assert [(piece.base, piece.end) for piece in replay.owners.pieces()] == [(0x1000, 0x2000), (0x4000, 0x5000)]
