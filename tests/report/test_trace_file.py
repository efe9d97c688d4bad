# SPDX-License-Identifier: GPL-2.0-or-later
"""Saved traces: written line by line, read back, and refused or cut off where they are damaged."""

from __future__ import annotations

import contextlib
import io
import json
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gdb_lmb.allocators.lmb.model import LmbConfig, LmbModel
from gdb_lmb.allocators.memblock.storage import MemblockStorage, RegionArray
from gdb_lmb.analysis.compare import compare
from gdb_lmb.core.errors import InputError, OutputError
from gdb_lmb.core.operation import Record, Symbol, TraceHeader
from gdb_lmb.core.snapshot import RegionList, Snapshot, Stop, column
from gdb_lmb.report import trace_file
from gdb_lmb.report.jsonio import dumps, snapshot_from, snapshot_json
from gdb_lmb.report.terminal import COUNT_VARIABLE
from gdb_lmb.report.trace_file import TraceEnd, TraceOutput, TraceReader, TraceWriter, complete, save
from tests.helpers.operations import op
from tests.helpers.schemas import error_of
from tests.helpers.states import memblock

LMB = LmbModel(LmbConfig(static=8)).snapshot()


def header(**changes: Any) -> TraceHeader:
    values = {"layout": "lmb-list", "arch": "x86_64", "byte_order": "little", "bits": 64, "page_size": 4096,
              "source": "breakpoints", "initial": LMB}  # fmt: skip
    return TraceHeader(**{**values, **changes})


def region_list(name: str, rows: list[tuple[int, int, int, int]], most: int = 128) -> RegionList:
    return RegionList(
        name, len(rows), sum(row[1] for row in rows), column(row[0] for row in rows), column(row[1] for row in rows),
        column(row[2] for row in rows), column(range(len(rows))), max=most, nid=[row[3] for row in rows],
    )  # fmt: skip


MEMBLOCK = Snapshot(
    memory=region_list("memory", [(0x1000, 0x9F000, 0, 0), (0x100000, 0x7FF00000, 4, 1)]),
    reserved=region_list("reserved", [(0, 0x100000, 0, -1), (1 << 32, 64, 0x20, 1024)], 256),
    others=(region_list("physmem", [(0, 1 << 40, 0, 0)], 4),),
    storage=MemblockStorage(
        arrays=(
            RegionArray("memory", 0, 128, True, 3072, 0x2000000),
            RegionArray("reserved", 0, 256, False, 6144, 0x7FFE000),
            RegionArray("physmem", 0, 4, True, 96),
        )
    ),
    layout="memblock",
    arch="s390x",
    byte_order="big",
    bits=64,
    page_size=4096,
    current_limit=(1 << 64) - 1,
    bottom_up=True,
    phase="mapped",
    stop=Stop(0x1234, "setup_arch"),
    flag_names={1: "HOTPLUG", 0x20: "RSRV_KERN"},
    no_node=1024,
)

RECORDS = [
    Record(1, op("add", 0, 0x100000), 0, (0xFFFFFFFF81000010, 0xFFFFFFFF81000020), "early"),
    Record(2, op("reserve", 0x1000, 0x1000, flags=4), -12),
    Record(3, op("alloc", size=64, align=64), 0xFFFC0, (0x1000,), "mapped"),
    Record(4, op("free_all"), 255),
    Record(5, op("free", 0x1000, 1), None, (), "handed over"),
]
SYMBOLS = {
    0xFFFFFFFF81000010: Symbol("setup_arch", 0x10, "arch/x86/kernel/setup.c", 812),
    0x1000: Symbol("?", 0, inlined=("a", "b")),
}


def written(*, end: bool = True) -> bytes:
    stream = io.BytesIO()
    writer = TraceWriter(stream, header())
    for record in RECORDS:
        writer.record(record)
    if end:
        writer.symbols(SYMBOLS)
        writer.end(LMB)
    return stream.getvalue()


def lines_of(data: bytes) -> Iterator[bytes]:
    yield from io.BytesIO(data)


# -- both ways --------------------------------------------------------------------------------------


def test_there_and_back() -> None:
    reader = TraceReader(lines_of(written()))
    assert reader.header == header(initial=reader.header.initial)
    assert reader.header.initial is not None and compare(LMB, reader.header.initial, whole=True) is None
    assert list(reader) == RECORDS
    assert reader.symbols == SYMBOLS
    assert reader.end is not None and reader.end.records == 5 and reader.cut_off is None
    assert reader.end.final is not None and compare(LMB, reader.end.final, whole=True) is None


ROLES = [{"base": "0x1000", "size": "0x2000", "role": "kernel image"}]


def test_what_lay_where_at_the_end_there_and_back(tmp_path: Path) -> None:
    save(tmp_path / "t", header(), RECORDS, SYMBOLS, LMB, ROLES)
    output = TraceOutput(tmp_path / "u")
    output.begin(header())
    output.end({}, LMB, ROLES)
    output.close()
    for path in (tmp_path / "t", tmp_path / "u"):
        lines = path.read_bytes().splitlines(keepends=True)
        assert json.loads(lines[-1])["end"]["roles"] == ROLES
        assert [error_of(json.loads(line), "gdb-lmb/trace/1") for line in lines] == [None] * len(lines)
        reader = TraceReader(lines)
        list(reader)
        assert reader.end is not None and reader.end.roles == ROLES


def test_a_trace_that_does_not_tell_what_lay_where() -> None:
    assert "roles" not in json.loads(written().splitlines()[-1])["end"]
    reader = TraceReader(lines_of(written()))
    list(reader)
    assert reader.end is not None and reader.end.roles is None


def test_the_lines_themselves() -> None:
    rows = [json.loads(line) for line in written().splitlines()]
    assert rows[0]["schema"] == "gdb-lmb/trace/1" and rows[0]["initial"]["schema"] == "gdb-lmb/snapshot/1"
    assert rows[1] == {
        "seq": 1, "op": "add", "base": "0x0", "size": "0x100000", "flags": 0, "result": 0,
        "callers": ["0xffffffff81000010", "0xffffffff81000020"], "phase": "early",
    }  # fmt: skip
    assert rows[3]["result"] == "0xfffc0" and rows[4]["result"] == 255 and rows[5]["result"] is None
    assert rows[6]["symbols"]["0x1000"] == {
        "function": "?", "offset": 0, "file": None, "line": None, "inlined": ["a", "b"],
    }  # fmt: skip
    assert "inlined" not in rows[6]["symbols"]["0xffffffff81000010"]
    assert rows[7]["end"]["records"] == 5


@pytest.mark.parametrize(("cut", "kept"), [(0, 5), (1, 5), (2, 4), (40, 4)])
def test_a_trace_that_breaks_off_is_completed(tmp_path: Path, cut: int, kept: int) -> None:
    path = tmp_path / "t.jsonl"
    whole = written(end=False)
    path.write_bytes(whole[: len(whole) - cut])
    assert complete(path) == kept
    with path.open("rb") as file:
        reader = TraceReader(file)
        assert list(reader) == RECORDS[:kept]
    assert reader.cut_off is None and reader.end == TraceEnd(kept, None)
    before = path.read_bytes()
    assert complete(path) == kept and path.read_bytes() == before


@contextlib.contextmanager
def full_at(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes, as on a disk that is full then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_has_no_room_for_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # There is no room for the copy that is kept of all JSON either.
    monkeypatch.setattr(json, "dumps", json.JSONEncoder().encode)
    path, whole = tmp_path / "t.jsonl", written(end=False)
    lines = whole.splitlines(keepends=True)
    for data, kept, left in (
        (whole, 5, whole), (whole[:-1], 5, whole[:-1]), (whole[:-2], 4, b"".join(lines[:-1])),
    ):  # fmt: skip
        for room in (0, 1, 10):
            path.write_bytes(data)
            with full_at(len(left) + room):
                assert complete(path) == kept
            assert path.read_bytes() == left
    # A running trace is written without a buffer, which would be written once more.
    path.unlink()
    output = TraceOutput(path)
    output.begin(header())
    with full_at(len(b"".join(lines[:2])) + 10):
        output.record(RECORDS[0])
        with pytest.raises(OutputError, match="it holds the first 1 operation only"):
            output.record(RECORDS[1])
    output.close()
    assert path.read_bytes() == b"".join(lines[:2])


def test_each_line_is_flushed() -> None:
    class Stream(io.BytesIO):
        flushed = b""

        def flush(self) -> None:
            self.flushed = self.getvalue()

    stream = Stream()
    writer = TraceWriter(stream, header())
    writer.record(RECORDS[0])
    assert stream.flushed.count(b"\n") == 2 and stream.flushed == stream.getvalue()


def test_a_disk_that_is_full_in_the_middle() -> None:
    class Stream(io.BytesIO):
        name = "t.jsonl"

        def write(self, data: Any) -> int:
            if self.getvalue().count(b"\n") == self.room:
                super().write(data[:5])
                raise OSError(28, "No space left on device")
            return super().write(data)

        def __init__(self, room: int) -> None:
            super().__init__()
            self.room = room

    for room, left in (
        (0, ""),
        (1, ""),
        (2, "; it holds the first 1 operation only"),
        (3, "; it holds the first 2 operations only"),
    ):
        stream = Stream(room)
        with pytest.raises(OutputError) as refusal:
            writer = TraceWriter(stream, header())
            for record in RECORDS:
                writer.record(record)
        assert str(refusal.value) == f"cannot write t.jsonl: No space left on device{left}"
        # What the disk has taken of a line is taken back.
        assert stream.getvalue() == b"".join(written().splitlines(keepends=True)[:room])


def test_what_a_running_trace_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(COUNT_VARIABLE, str(tmp_path / "count"))
    again = Record(6, op("free_all"), 0, (0x1000,))
    for path in (None, tmp_path / "t"):
        (tmp_path / "count").unlink(missing_ok=True)
        output = TraceOutput(path)
        output.begin(header(), SYMBOLS.get)
        for record in (*RECORDS, again):
            output.record(record)
        output.end({7: Symbol("late", 0)}, LMB)
        output.close()
        assert (tmp_path / "count").read_bytes() == b"6"
    rows = [json.loads(line) for line in (tmp_path / "t").read_bytes().splitlines()]
    assert [row["seq"] if "seq" in row else next(iter(row.get("symbols", row))) for row in rows] == [
        "schema", "0xffffffff81000010", 1, 2, "0x1000", 3, 4, 5, 6, "0x7", "end",
    ]  # fmt: skip
    with (tmp_path / "t").open("rb") as file:
        reader = TraceReader(file)
        assert list(reader) == [*RECORDS, again]
    assert reader.end is not None and reader.end.final is not None


def test_a_file_that_cannot_be_closed() -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    output = TraceOutput(Path("t.jsonl"))
    output._files.callback(full)
    with pytest.raises(OutputError, match=r"^cannot write t\.jsonl: No space left on device$"):
        output.close()


def test_a_whole_trace_is_saved(tmp_path: Path) -> None:
    save(tmp_path / "t", header(), RECORDS, SYMBOLS, LMB)
    assert (tmp_path / "t").read_bytes() == written()


def test_strings_from_outside_stay_ascii() -> None:
    stream = io.BytesIO()
    writer = TraceWriter(stream, header())
    writer.symbols({1: Symbol("a\x1b[2J\n\u202e", 0, "\ud800.c", 1)})
    assert stream.getvalue().count(b"\n") == 2 and stream.getvalue().isascii() and b"\x1b" not in stream.getvalue()


def test_a_memblock_snapshot_there_and_back() -> None:
    text = dumps(snapshot_json(MEMBLOCK))
    again = snapshot_from(json.loads(text))
    assert compare(MEMBLOCK, again) is None
    assert dumps(snapshot_json(again)) == text
    assert (
        list(again.reserved.nid) == [-1, 1024] and memblock(again).arrays[1].base == 0x7FFE000 and again.no_node == 1024
    )
    assert (
        again.others[0].name == "physmem"
        and again.others[0].max == 4
        and again.flag_names == {1: "HOTPLUG", 32: "RSRV_KERN"}
    )


def test_a_memblock_trace() -> None:
    stream = io.BytesIO()
    writer = TraceWriter(stream, header(layout="memblock", initial=MEMBLOCK, behavior={"dummy": True}))
    record = Record(1, op("add_range", 0, 1, list="reserved", nid=-1), 0, (1,), None)
    writer.record(record)
    writer.end(MEMBLOCK)
    reader = TraceReader(lines_of(stream.getvalue()))
    assert list(reader) == [record]
    assert reader.header.behavior == {"dummy": True} and reader.end == TraceEnd(1, reader.end.final)  # type: ignore[union-attr]


def test_a_log_begins_with_init() -> None:
    stream = io.BytesIO()
    writer = TraceWriter(stream, header(initial=None, source="log"))
    init = Record(1, op("init", 0, 4096, flags=64, align=40, min=40, max=64), 0)
    writer.record(init)
    assert list(TraceReader(lines_of(stream.getvalue()))) == [init]
    # A second one is refused by the kernel, and a call like any other.
    again = stream.getvalue() + stream.getvalue().splitlines(keepends=True)[1].replace(b'"seq": 1', b'"seq": 2')
    assert [record.operation.op for record in TraceReader(lines_of(again))] == ["init", "init"]


# -- cut off ----------------------------------------------------------------------------------------


def test_every_cut_is_told() -> None:
    data = written()
    ends = [at for at, byte in enumerate(data) if byte == ord("\n")]
    header_end = ends[0]
    for cut in range(header_end, len(data) - 1):
        reader = TraceReader(lines_of(data[:cut]))
        got = list(reader)
        # A line whose newline alone is missing is whole.
        whole = sum(1 for end in ends[1 : len(RECORDS) + 1] if end <= cut)
        assert got == RECORDS[:whole]
        if cut == ends[-1]:
            continue
        assert reader.end is None and reader.cut_off is not None
        assert reader.cut_off.endswith(f"after record {whole}")
        assert ("in the middle of a line" in reader.cut_off) == (cut not in ends and cut - 1 not in ends)


@pytest.mark.parametrize("cut", [0, 1, 100])
def test_a_cut_header_is_no_trace(cut: int) -> None:
    with pytest.raises(InputError, match="line 1: this is no trace"):
        TraceReader(lines_of(written()[:cut]))


# -- refused ----------------------------------------------------------------------------------------

ADD = {"seq": 1, "op": "add", "base": "0x0", "size": "0x1", "flags": 0, "result": 0, "callers": [], "phase": None}

BAD_RECORDS: list[tuple[Any, str]] = [
    ("{", "this is not JSON"),
    ([], "expected a JSON object"),
    ({}, 'expected a line with "seq", "symbols" or "end"'),
    ({**ADD, "seq": 2}, '"seq" is 2, but operation 1 comes next'),
    ({**ADD, "seq": True}, '"seq" is true'),
    ({**ADD, "seq": "1"}, '"seq" is "1"'),
    ({**ADD, "op": "add_range"}, '"op" is "add_range"; expected one of add, '),
    ({**ADD, "align": 1}, 'unknown member "align"'),
    ({key: value for key, value in ADD.items() if key != "size"}, 'add takes "size", which is missing'),
    ({**ADD, "base": "0x10000000000000000"}, '"base" is "0x10000000000000000"'),
    ({**ADD, "flags": 1 << 32}, '"flags" is 4294967296'),
    ({**ADD, "result": -4096}, '"result" is -4096'),
    ({**ADD, "result": "minus"}, '"result" is "minus"'),
    ({**ADD, "result": False}, '"result" is false'),
    ({**ADD, "callers": "0x1"}, '"callers" is "0x1"; expected at most 64 addresses'),
    ({**ADD, "callers": ["0x1"] * 65}, '"callers" is ["0x1", '),
    ({**ADD, "callers": [None]}, '"callers" is null'),
    ({**ADD, "phase": 3}, '"phase" is 3'),
    ({"symbols": []}, '"symbols" is no JSON object'),
    ({"symbols": {"main": {"function": "main"}}}, '"symbols" is "main"'),
    ({"symbols": {"0x1": {"file": None}}}, '"function" is null; expected a string'),
    ({"symbols": {"0x1": 7}}, "7 is no symbol"),
    ({"symbols": {"0x1": {"function": "f", "file": 1}}}, '"file" is 1'),
    ({"symbols": {"0x1": {"function": "f", "line": -1}}}, '"line" is -1'),
    ({"symbols": {"0x1": {"function": "f", "inlined": [1]}}}, '"inlined" is [1]'),
    ({"symbols": {"0x1": {"function": "f", "inlined": ["g"] * 65}}}, '"inlined" is ["g"'),
    ({"end": {"records": 1}}, "the end tells of 1 records, but there are 0"),
    ({"end": 5}, "the end tells of 5 records"),
    ({"end": {"records": 0, "roles": 5}}, '"roles" is 5; expected a list'),
    ({"end": {"records": 0, "roles": [5]}}, '"roles" is 5; expected rows that are JSON objects'),
    ({"end": {"records": 0, "roles": [{}]}}, '"role" is null; expected a string'),
    ({"end": {"records": 0, "roles": [{"role": "a", "base": "b", "size": 1}]}}, '"base" is "b"; expected a number'),
    ({"end": {"records": 0, "roles": [{"role": "a", "base": 0, "size": -1}]}}, '"size" is -1; expected a number'),
    ({"end": {"records": 0, "final": {}}}, "this is no snapshot of schema gdb-lmb/snapshot/1"),
    (
        {"end": {"records": 0, "final": snapshot_json(MEMBLOCK)}},
        "a state of layout memblock, 64 bits",
    ),
]


def test_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = written().splitlines(keepends=True)[:2]
    many = json.dumps({**ADD, "callers": [hex(pc) for pc in range(64)]}).encode() + b"\n"
    assert [len(record.callers) for record in TraceReader([first, many])] == [64]
    names = json.dumps({"symbols": {hex(pc): {"function": "f", "offset": 0} for pc in range(3)}}).encode() + b"\n"
    monkeypatch.setattr(trace_file, "MAX_SYMBOLS", 3)
    assert list(TraceReader([first, names])) == []
    monkeypatch.setattr(trace_file, "MAX_SYMBOLS", 2)
    with pytest.raises(InputError, match=r"^line 2: more than 2 symbols$"):
        list(TraceReader([first, names]))
    path = tmp_path / "t"
    long = second.rstrip(b"\n").ljust(len(first) - 1) + b"\n"
    for more in (0, 1):
        path.write_bytes(first + b" " * more + long)
        monkeypatch.setattr(trace_file, "MAX_LINE_BYTES", len(first))
        if not more:
            assert complete(path) == 1
            continue
        for read in (lambda: complete(path), lambda: list(TraceReader(lines_of(path.read_bytes())))):
            with pytest.raises(InputError) as refusal:
                read()
            assert str(refusal.value) == f"line 2 is longer than {len(first)} bytes"


@pytest.mark.parametrize(("row", "message"), BAD_RECORDS, ids=range(len(BAD_RECORDS)))
def test_bad_record(row: Any, message: str) -> None:
    line = row if isinstance(row, str) else json.dumps(row)
    first = written().splitlines(keepends=True)[0]
    with pytest.raises(InputError) as refusal:
        list(TraceReader([first, line.encode() + b"\n"]))
    assert str(refusal.value).startswith("line 2: ") and message in str(refusal.value)
    assert len(str(refusal.value)) < 300


BAD_HEADERS: list[tuple[str, Any, str]] = [
    ("schema", "gdb-lmb/trace/2", 'this is "gdb-lmb/trace/2", not a trace of schema gdb-lmb/trace/1'),
    ("layout", "slab", '"layout" is "slab"; expected one of lmb-list, memblock'),
    ("layout", [], '"layout" is []'),
    ("source", "tea leaves", '"source" is "tea leaves"; expected one of breakpoints, log'),
    ("bits", 48, '"bits" is 48; expected 32 or 64'),
    ("page_size", "0x1001", "no power of two"),
    ("page_size", 0, "no power of two"),
    ("page_size", "0x100000000", '"page_size" is "0x100000000"'),
    ("page_size", None, '"page_size" is null'),
    ("arch", None, '"arch" is null'),
    ("generation", 6.1, '"generation" is 6.1'),
    ("lost", -1, '"lost" is -1'),
    ("initial", {"schema": "x"}, "not a snapshot of schema"),
    ("initial", [], "this is no snapshot"),
]


@pytest.mark.parametrize(("name", "value", "message"), BAD_HEADERS, ids=range(len(BAD_HEADERS)))
def test_bad_header(name: str, value: Any, message: str) -> None:
    row = {**json.loads(written().splitlines()[0]), name: value}
    with pytest.raises(InputError) as refusal:
        TraceReader([json.dumps(row).encode() + b"\n"])
    assert str(refusal.value).startswith("line 1: ") and message in str(refusal.value)


def test_a_memblock_trace_needs_its_state() -> None:
    row = {**json.loads(written().splitlines()[0]), "layout": "memblock", "initial": None}
    with pytest.raises(InputError, match='"initial" is missing'):
        TraceReader([json.dumps(row).encode() + b"\n"])


def test_nothing_follows_the_end() -> None:
    data = written()
    with pytest.raises(InputError, match="line 9: nothing may follow"):
        list(TraceReader(lines_of(data + data.splitlines(keepends=True)[-2])))


def test_a_bad_line_before_the_last_is_no_cut() -> None:
    lines = written().splitlines(keepends=True)
    with pytest.raises(InputError, match="line 3: this is not JSON"):
        list(TraceReader([*lines[:2], lines[2][:-9] + b"\n", *lines[3:]]))


def test_what_was_lost_is_counted() -> None:
    row = {**json.loads(written().splitlines()[0]), "lost": 100}
    lines = [json.dumps(row).encode() + b"\n", json.dumps({**ADD, "seq": 101}).encode() + b"\n"]
    reader = TraceReader(lines)
    assert [record.seq for record in reader] == [101]
    assert reader.cut_off == "cut off after record 101"
