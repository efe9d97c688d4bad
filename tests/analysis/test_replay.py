# SPDX-License-Identifier: GPL-2.0-or-later
"""`gdb-lmb replay`: expected results and places are worked out by hand from the design."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gdb_lmb.cli import main


def replay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: str | bytes, *options: str
) -> tuple[int, str, str]:
    ops = tmp_path / "ops.jsonl"
    ops.write_bytes(lines if isinstance(lines, bytes) else lines.encode())
    try:
        status = main(["replay", str(ops), *options])
    except SystemExit as error:
        status = int(error.code or 0)
    out, err = capsys.readouterr()
    return status, out, err


def test_whole_story(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = """
    {"op": "add", "base": 0, "size": "0x100000"}
    {"op": "reserve", "base": "0x1000", "size": 4096, "flags": 4}

    {"op": "alloc", "size": 64, "align": 4096}
    {"op": "alloc", "size": 64, "align": 3}
    {"op": "allow_growth"}
    {"op": "set_limit", "base": "0x80000"}
    {"op": "alloc", "size": 4096, "align": 4096, "flags": 1}
    {"op": "set_bottom_up", "flags": 1}
    {"op": "alloc", "size": 4096}
    {"op": "free", "base": "0xff000", "size": 64}
    {"op": "remove", "base": "0xf0000", "size": 4096}
    {"op": "free_all"}
    {"op": "reserve", "size": 1}
    """
    status, out, _ = replay(tmp_path, capsys, lines, "--static", "8")
    data = json.loads(out)
    assert status == 0
    # Seven regions are stored in the end, all in the static array: no growth.
    # 256 pages of RAM; gone: page 0, [1], [2], [127] reserved and [240] removed: 251.
    assert data["results"] == [0, 0, "0xff000", -22, 0, 0, "0x7f000", 0, "0x2000", 0, 0, 251, -16]
    snapshot = data["snapshot"]
    assert snapshot["schema"] == "gdb-lmb/snapshot/1" and snapshot["layout"] == "lmb-list"
    assert snapshot["memory"] == {
        "cnt": 2,
        "total_size": "0xff000",
        "regions": [
            {"base": "0x0", "size": "0xf0000", "flags": 0, "entry": [0, 0]},
            # entry 2 stored the 64 bytes at 0xff000, was freed, and is the freelist's head again
            {"base": "0xf1000", "size": "0xf000", "flags": 0, "entry": [0, 2]},
        ],
    }
    assert [(r["base"], r["size"], r["flags"], r["entry"]) for r in snapshot["reserved"]["regions"]] == [
        ("0x1000", "0x1000", 4, [0, 1]),
        ("0x2000", "0x1000", 0, [0, 4]),
        ("0x7f000", "0x1000", 1, [0, 3]),
    ]
    assert snapshot["free"] == [[0, 5], [0, 6], [0, 7]]
    assert snapshot["blocks"] == [{"base": "0x0", "entries": 8, "static": True}]
    assert snapshot["findings"] == [] and snapshot["firmware"] == [] and snapshot["torn"] is False


def test_klimit_and_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = replay(tmp_path, capsys, '{"op": "set_bottom_up", "flags": 1}', "--klimit", "0x200000",
                            "--entry-size", "32", "--bits", "32", "--block-header", "40", "--bottom-up")  # fmt: skip
    snapshot = json.loads(out)["snapshot"]
    assert status == 0
    # (4096 - 40) / 32 = 126.75
    assert snapshot["blocks"] == [{"base": "0x200000", "entries": 126, "static": False}]
    assert snapshot["reserved"]["regions"] == [
        {"base": "0x200000", "size": "0x1000", "flags": 0x80000000, "entry": [0, 0]}
    ]
    assert snapshot["bottom_up"] is True and snapshot["bits"] == 32


@pytest.mark.parametrize(
    ("bits", "page"), [("64", "0x0"), ("32", "0x0"), ("64", f"{2**64 - 8192:#x}"), ("32", "0xffffe000")]
)
def test_klimit_at_the_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str], bits: str, page: str) -> None:
    status, out, _ = replay(
        tmp_path, capsys, f'{{"op": "free", "base": "{page}", "size": 1}}', "--klimit", page, "--bits", bits
    )
    found = json.loads(out)
    assert (status, found["results"]) == (0, [-16])
    (region,) = found["snapshot"]["reserved"]["regions"]
    assert (region["base"], region["flags"]) == (page, 0x80000000)


BAD_LINES = [
    ("not json", "line 1: this is not JSON"),
    ("[1]", "line 1: expected a JSON object"),
    ('{"op": "grow"}', 'line 1: "op" is "grow"; expected one of add, remove'),
    ('\n{"op": "add", "base": -1}', 'line 2: "base" is -1; expected a number'),
    ('{"op": "add", "base": 1.5}', '"base" is 1.5; expected'),
    ('{"op": "add", "base": true}', '"base" is true; expected'),
    ('{"op": "add", "base": "0x10000000000000000"}', "at most 64 bits"),
    ('{"op": "add", "flags": 4294967296}', "at most 32 bits"),
    ('{"op": "add", "length": 1}', 'unknown member "length"'),
    ('{"op": "set_bottom_up", "flags": 2}', "0 or 1"),
    ("[" * 30000, "line 1: this is not JSON"),
    (b"\xff\xfe{}", "line 1: this is not JSON"),
]


@pytest.mark.parametrize(("line", "message"), BAD_LINES, ids=range(len(BAD_LINES)))
def test_bad_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str | bytes, message: str) -> None:
    status, out, err = replay(tmp_path, capsys, line)
    assert (status, out) == (2, "") and message in err
    assert len(err.splitlines()) == 1


def test_ten_megabyte_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = replay(tmp_path, capsys, b'{"op": "add"}\n{"op": "' + b"a" * (10 << 20) + b'"}\n')
    assert (status, out) == (2, "") and "line 2 is longer than 65536 bytes" in err and len(err) < 300


BAD_OPTIONS = [
    (["--block-size", "100"], "no power of two"),
    (["--block-size", "64"], "holds no header"),
    (["--static", "1"], "less than 2"),
    (["--static", "x"], "not a number"),
    (["--klimit", "0x1001"], "--klimit 0x1001 is no page"),
    (["--klimit", f"{2**64 - 4096:#x}"], "--klimit 0xfffffffffffff000 is no page of a 64-bit address space"),
    (["--klimit", "0xfffff000", "--bits", "32"], "--klimit 0xfffff000 is no page of a 32-bit address space"),
    (["--static", "2", "--klimit", "4096"], "not allowed with"),
    (["--entry-size", "0"], "--entry-size must be more than 0"),
    (["--bits", "48"], "invalid choice"),
]


@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS, ids=[" ".join(row[0]) for row in BAD_OPTIONS])
def test_bad_option(tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str) -> None:
    status, out, err = replay(tmp_path, capsys, "", *options)
    assert (status, out) == (2, "") and message in err


def test_missing_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "/nowhere/ops.jsonl"]) == 2
    assert "cannot read /nowhere/ops.jsonl: No such file" in capsys.readouterr().err
