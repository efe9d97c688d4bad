# SPDX-License-Identifier: GPL-2.0-or-later
"""Damaged traces: whatever a file holds, it is refused in one line, or replayed to a verdict, within bounds."""

from __future__ import annotations

import copy
import io
import json
import random
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdb_lmb.allocators.base import allocator
from gdb_lmb.allocators.memblock.operations import LISTS
from gdb_lmb.analysis.replay import Replay
from gdb_lmb.core.errors import InputError
from gdb_lmb.core.operation import Operation, Record, TraceHeader
from gdb_lmb.report.trace_file import TraceReader, TraceWriter
from gdb_lmb.report.trace_text import replay_json, replay_text, survey
from tests.helpers.soak import ROUNDS, SEED, seeds
from tests.helpers.traces import LOG, SOUND, text_of

HOSTILE: list[Any] = [None, True, -1, 0, 1, 3, 1 << 31, 1 << 64, 1e300, "", "0x", "0x0", "0x1", "0xffffffffffffffff",
                      "0x10000000000000000", "9" * 5000, "\x1b[2J\n", [], [[]], {}, {"schema": "x"}, ["0x1"] * 100,
                      "memory", "init", "add", "add_range"]  # fmt: skip


def verdict(data: bytes) -> str:
    """Do all that is done with a trace; return the refusal, or what was printed."""
    try:
        reader = TraceReader(io.BytesIO(data))
        replay = Replay(reader.header)
        for record in reader:
            replay.follow(record)
        why = replay.finish(None if reader.end is None else reader.end.final, reader.cut_off)
        findings = replay.owners.findings(reader.symbols.get)[0]
    except InputError as error:
        assert "\n" not in str(error) and "\x1b" not in str(error) and len(str(error)) < 2000
        return str(error)
    text = replay_text(reader, replay, findings, why)
    json.dumps(replay_json(reader, replay, findings, why))
    assert "\x1b" not in text
    try:
        seen = survey(TraceReader(io.BytesIO(data)))
        "".join(seen.lines("x", TraceReader(io.BytesIO(data))))
    except InputError as error:
        assert "\n" not in str(error)
    return text


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path to every value inside a JSON value."""
    if at:
        yield at
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*at, key))


def with_value(trace: Any, path: tuple[Any, ...], value: Any) -> Any:
    trace = copy.deepcopy(trace)
    inner = trace
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return trace


@pytest.mark.random
@pytest.mark.parametrize("trace", [SOUND, LOG], ids=["memblock", "lmb-list"])
def test_every_value_replaced_by_hostile_ones(trace: list[dict[str, Any]]) -> None:
    draw, count = random.Random(1 + SEED), 0
    for path in places(trace):
        for value in draw.sample(HOSTILE, 8):
            verdict(text_of(with_value(trace, path, value)).encode())
            count += 1
    assert count > 1000


@pytest.mark.parametrize("trace", [SOUND, LOG], ids=["memblock", "lmb-list"])
def test_every_member_taken_away(trace: list[dict[str, Any]]) -> None:
    for path in places(trace):
        changed = copy.deepcopy(trace)
        inner: Any = changed
        for key in path[:-1]:
            inner = inner[key]
        del inner[path[-1]]
        verdict(text_of(changed).encode())


@pytest.mark.random
@pytest.mark.parametrize("seed", seeds(8))
def test_bytes_flipped(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(150):
        data = bytearray(text_of(draw.choice([SOUND, LOG])).encode())
        for _ in range(draw.randrange(1, 4)):
            data[draw.randrange(len(data))] = draw.choice(b'\x00\n"{}[],:0x9f\xff')
        verdict(bytes(data))


@pytest.mark.random
@pytest.mark.parametrize("seed", seeds(8))
def test_lines_shuffled(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(50):
        lines = text_of(draw.choice([SOUND, LOG])).encode().splitlines(keepends=True)
        draw.shuffle(lines)
        verdict(b"".join(draw.choices(lines, k=draw.randrange(1, 12))))


# -- there and back -----------------------------------------------------------------------------------

U64 = st.integers(0, (1 << 64) - 1)
READ = {
    **dict.fromkeys(("base", "size", "align", "min", "max"), U64),
    "flags": st.integers(0, (1 << 32) - 1),
    "nid": st.integers(-(1 << 31), (1 << 31) - 1),
    "list": st.sampled_from(LISTS),
    "exact": st.booleans(),
    "set": st.booleans(),
}


@st.composite
def operations(draw: st.DrawFn, layout: str) -> Operation:
    table = allocator(layout).operations
    op = draw(st.sampled_from(sorted(table)))
    values = {name: draw(READ[name]) for name in table[op].arguments}
    if op == "set_bottom_up":
        values["flags"] &= 1
    return table[op].call(op, **values)


@pytest.mark.random
@settings(max_examples=100 * ROUNDS)
@given(st.data(), st.sampled_from(["memblock", "lmb-list"]))
def test_any_record_there_and_back(data: st.DataObject, layout: str) -> None:
    states = TraceReader(io.BytesIO(text_of(SOUND if layout == "memblock" else LOG).encode()))
    lost = 0 if layout == "memblock" else 5
    header = TraceHeader(layout, "riscv64", "big", 64, 4096, initial=states.header.initial, lost=lost)
    first = header.lost + 1
    results = st.none() | U64 | st.integers(-4095, -1)
    records = [
        Record(first + at, operation, data.draw(results), tuple(data.draw(st.lists(U64, max_size=12))),
               data.draw(st.none() | st.text("aé\x1b\n\u202e", max_size=9)))
        for at, operation in enumerate(data.draw(st.lists(operations(layout), max_size=8)))
    ]  # fmt: skip
    stream = io.BytesIO()
    writer = TraceWriter(stream, header)
    for record in records:
        writer.record(record)
    assert list(TraceReader(io.BytesIO(stream.getvalue()))) == records


def test_no_more_than_a_line_is_held() -> None:
    lines = text_of(SOUND).encode().splitlines(keepends=True)
    row = json.loads(lines[3])

    limit = {**row, "op": "set_current_limit", "base": "0x9000", "result": None, "phase": "x" * 100}
    for name in ("size", "align", "min", "max", "nid", "exact"):
        del limit[name]

    def long(count: int) -> Iterator[bytes]:
        yield from lines[:3]
        for seq in range(3, count + 1):
            yield json.dumps({**limit, "seq": seq}).encode() + b"\n"

    def peak(count: int) -> int:
        tracemalloc.start()
        reader = TraceReader(long(count))
        replay = Replay(reader.header)
        for record in reader:
            replay.follow(record)
        assert replay.replayed == count
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    # Ten times the operations cost no more: what is kept is the state, not the history.
    assert peak(20_000) < peak(2_000) + (256 << 10)
