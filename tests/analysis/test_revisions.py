# SPDX-License-Identifier: GPL-2.0-or-later
"""Traces, logs, snapshots and operation files of both revisions of the list-based LMB: each on its own rules."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from gdb_lmb.allocators.base import check
from gdb_lmb.allocators.lmb.decode import decode
from gdb_lmb.allocators.lmb.model import LmbConfig, LmbModel
from gdb_lmb.analysis.replay import Replay, check_log
from gdb_lmb.cli import main
from gdb_lmb.core.errors import InputError
from gdb_lmb.core.operation import Operation, Record, TraceHeader, operation_json
from gdb_lmb.core.snapshot import FLAG_NAMES, Snapshot
from gdb_lmb.report.jsonio import check_json, snapshot_from, snapshot_json
from gdb_lmb.report.trace_file import TraceReader, TraceWriter
from tests.helpers.image import ABIS, Image, build
from tests.helpers.operations import apply, op
from tests.helpers.schemas import error_of

K = 1024
BLOCK = 0x80000000
RAM = [(0, 1024 * K, 1)]
INIT = op("init", 0, 4096, flags=64, align=40, min=40, max=3)
# Three entries: memory and [4K, 5K) take two, so that the allocation grows. Revision 1 gives it what lies below the
# block, revision 2 the block what lies below it.
BOTH = [op("add", 0, 1024 * K), op("allow_growth"), op("reserve", 4 * K, K), op("alloc", size=4 * K, align=4 * K)]
ALLOCATED = {1: 1016 * K, 2: 1020 * K}
SECOND = [
    op("add", 0, 2048 * K), op("mark", 64 * K, 4 * K, flags=4), op("enforce_limit", size=1024 * K - 4 * K),
    op("clear", 66 * K, K, flags=4), *BOTH[1:], op("mark", 1016 * K, K, flags=1),
]  # fmt: skip


def booted(revision: int, operations: list[Operation], static: int = 3) -> tuple[LmbModel, list[int]]:
    model = LmbModel(LmbConfig(static=static, revision=revision))
    return model, [apply(model, operation) or 0 for operation in operations]


def traced(header_says: int | None, revision: int, operations: list[Operation], final: Snapshot | None = None) -> bytes:
    """Return a trace of a kernel of `revision` from its `lmb_init()` on."""
    model, results = booted(revision, operations)
    stream = io.BytesIO()
    behavior = {} if header_says is None else {"revision": header_says}
    writer = TraceWriter(stream, TraceHeader("lmb-list", "x86_64", "little", 64, 4096, behavior=behavior))
    for seq, (operation, result) in enumerate([(INIT, 0), *zip(operations, results, strict=True)], 1):
        writer.record(Record(seq, operation, result, (0x1000,)))
    writer.end(final or model.snapshot())
    return stream.getvalue()


def replayed(data: bytes) -> Replay:
    reader = TraceReader(data.splitlines(keepends=True))
    replay = Replay(reader.header)
    for record in reader:
        replay.follow(record)
    assert reader.end is not None
    assert replay.finish(reader.end.final) is None
    return replay


@pytest.mark.parametrize("revision", [1, 2])
def test_a_trace_is_replayed_on_the_rules_of_its_own_revision(revision: int) -> None:
    assert booted(revision, BOTH)[1] == [0, 0, 0, ALLOCATED[revision]]
    assert replayed(traced(revision, revision, BOTH)).divergence is None
    wrong = replayed(traced(3 - revision, revision, BOTH)).divergence
    assert wrong is not None and wrong.record is not None and wrong.record.operation.op == "alloc"


def test_a_trace_of_before_is_of_revision_1() -> None:
    data = traced(None, 1, BOTH)
    # What such a trace did not have.
    *lines, end = data.splitlines(keepends=True)
    last = json.loads(end)
    del last["end"]["final"]["revision"], last["end"]["final"]["flag_names"]
    header = json.loads(lines[0])
    del header["generation"]
    old = b"".join([json.dumps(header).encode() + b"\n", *lines[1:], json.dumps(last).encode()])
    assert replayed(old).divergence is None


def test_the_operations_of_revision_2_are_replayed() -> None:
    model, results = booted(2, SECOND, static=16)
    assert results[:4] == [0] * 4 and max(model.memory.end) == 1024 * K
    data = traced(2, 2, SECOND)
    for line in data.splitlines():
        assert error_of(json.loads(line), "gdb-lmb/trace/1") is None
    assert replayed(data).divergence is None
    with pytest.raises(InputError, match="revision 1 of the list-based LMB has no mark, clear or enforce_limit"):
        replayed(traced(1, 2, SECOND))


def test_a_second_init_is_refused_by_both() -> None:
    again = traced(2, 2, [*BOTH, INIT])
    assert b'"result": -16' in again and replayed(again).divergence is None
    wrong = replayed(again.replace(b'"result": -16', b'"result": 0')).divergence
    assert wrong is not None and "it returned 0, but -16 (EBUSY) is expected" in wrong.message


@pytest.mark.parametrize(
    ("says", "why"),
    [(3, "revision 3 of the list-based LMB is not known: 1 and 2 are"), (0, "revision 0 of the list-based LMB is not"),
     (True, '"revision" is true; expected a number'), ("2", '"revision" is "2"; expected a number'),
     ([2], '"revision" is [2]; expected a number')],
)  # fmt: skip
def test_a_trace_of_no_known_revision_is_refused_in_one_line(
    says: object, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "boot.jsonl"
    file.write_bytes(traced(2, 2, BOTH).replace(b'{"revision": 2}', json.dumps({"revision": says}).encode(), 1))
    assert main(["replay", str(file)]) == 2
    told = capsys.readouterr()
    assert why in told.err and told.err.count("\n") == 1 and not told.out


def test_operation_files_follow_revision_2_unless_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "ops.jsonl"
    file.write_text("\n".join(json.dumps(operation_json(operation)) for operation in [*BOTH, INIT]))
    for revision, options in ((2, []), (2, ["--revision", "2"]), (1, ["--revision", "1"])):
        assert main(["replay", str(file), "--static", "3", *options]) == 0
        written = json.loads(capsys.readouterr().out)
        assert written["results"] == [0, 0, 0, hex(ALLOCATED[revision]), -16]
        assert written["snapshot"]["revision"] == revision
    file.write_text("\n".join(json.dumps(operation_json(operation)) for operation in SECOND))
    assert main(["replay", str(file), "--static", "16"]) == 0
    assert json.loads(capsys.readouterr().out)["results"] == [0, 0, 0, 0, 0, 0, hex(1020 * K), 0]
    assert main(["replay", str(file), "--revision", "1"]) == 2
    assert "revision 1 of the list-based LMB has no mark" in capsys.readouterr().err


def test_header_and_initial_state_are_of_one_revision() -> None:
    model, _ = booted(1, BOTH)
    header = TraceHeader("lmb-list", "x86_64", "little", 64, 4096, initial=model.snapshot(), behavior={"revision": 2})
    with pytest.raises(InputError, match="the header is of revision 2, but its state of revision 1"):
        Replay(header)


# -- snapshots and logs -----------------------------------------------------------------------------


def test_json_says_the_revision_and_names_the_flag() -> None:
    model, _ = booted(2, BOTH)
    data = snapshot_json(model.snapshot())
    assert error_of(data, "gdb-lmb/snapshot/1") is None
    assert data["revision"] == 2 and data["flag_names"]["0x80000000"] == "BLOCK"
    assert snapshot_from(data) == model.snapshot()
    old, _ = booted(1, BOTH)
    data = snapshot_json(old.snapshot())
    assert data["revision"] == 1 and "0x80000000" not in data["flag_names"]
    del data["revision"], data["flag_names"]
    assert snapshot_from(data) == old.snapshot() and snapshot_from(data).flag_names == FLAG_NAMES


def image_of(revision: int, operations: list[Operation]) -> Image:
    model, results = booted(revision, operations, static=16)
    return build(model, ABIS["x86_64"], RAM, list(zip(operations, results, strict=True)))


@pytest.mark.parametrize(("revision", "operations"), [(1, BOTH), (2, BOTH), (2, SECOND), (2, [*SECOND, INIT])])
def test_a_log_is_replayed_on_the_rules_of_its_own_revision(revision: int, operations: list[Operation]) -> None:
    image = image_of(revision, operations)
    snapshot = decode(image.program, image, with_log=True)
    assert [found.code for found in check(snapshot) if found.severity == "finding"] == []
    verdict = check_log(snapshot)
    assert (verdict.replayed, verdict.not_verified, verdict.divergence) == (len(operations), None, None)


@pytest.mark.parametrize("revision", [0, 3, 1 << 31])
def test_a_revision_that_is_not_known_is_not_verified(revision: int) -> None:
    image = image_of(2, BOTH)
    image.lmb("revision", revision)
    snapshot = decode(image.program, image, with_log=True)
    why = f"revision {revision} of the list-based LMB is not known: 1 and 2 are"
    verdict = check_log(snapshot)
    assert (verdict.reason, verdict.not_verified, verdict.divergence) == ("generation-unknown", why, None)
    written = check_json(snapshot, check(snapshot), verdict)
    assert written["not_verified"] == ["uncompared", "generation-unknown"] and written["uncompared"] == [why]
    assert written["findings"] == []


# -- checks -----------------------------------------------------------------------------------------


def findings(revision: int, which: str, member: int, change: int) -> list[tuple[str, str]]:
    # Flags of one region are changed; a bit that means nothing keeps it unlike its neighbours.
    model = LmbModel(LmbConfig(static=3, revision=revision))
    for operation in BOTH:
        apply(model, operation)
    image = build(model, ABIS["x86_64"], RAM)
    entry = image.members(f"{which}.regions")[member]
    image.entry(entry, "flags", image.entry(entry, "flags") ^ change)
    return [(one.code, one.message) for one in check(decode(image.program, image))]


def test_blocks_and_their_flag() -> None:
    # Reserved are [4K, 5K), the block at 1016K and the allocation above it.
    assert findings(2, "reserved", 1, 0) == []
    assert findings(2, "reserved", 1, BLOCK | 0x40) == [
        ("block-unflagged", "block 1 lies in [0xfe000, 0xff000), which is reserved without the flag BLOCK")
    ]
    assert findings(2, "reserved", 0, BLOCK) == [
        ("no-block", "[0x1000, 0x1400) is reserved with the flag BLOCK, but no block lies there")
    ]
    assert findings(2, "memory", 0, BLOCK) == [("bad-flags", "memory[0] has the flag BLOCK, which none of memory has")]
    # In revision 1 it is a bit like any other.
    assert findings(1, "reserved", 0, BLOCK) == findings(1, "memory", 0, BLOCK) == []


@pytest.mark.parametrize(("revision", "codes"), [(1, []), (2, ["outside-firmware"])])
def test_ram_is_what_no_other_entry_covers(revision: int, codes: list[str]) -> None:
    model, _ = booted(revision, [op("add", 0, 1024 * K)])
    image = build(model, ABIS["x86_64"], [*RAM, (64 * K, 4 * K, 2)])
    assert [one.code for one in check(decode(image.program, image))] == codes
