# SPDX-License-Identifier: GPL-2.0-or-later
"""The JSON Schemas: one a format, each used, and each refuses what is not of its format.

That all JSON of every test follows them is seen to by tests/helpers/json_log.py.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import gdb_lmb
from gdb_lmb.allocators.base import allocator, names
from gdb_lmb.allocators.memblock.behavior import MemblockConfig
from gdb_lmb.allocators.memblock.model import MemblockModel
from gdb_lmb.cli import main
from gdb_lmb.core.golden import Golden, Rule
from gdb_lmb.core.operation import Operation, Record
from gdb_lmb.core.snapshot import Stop
from gdb_lmb.report import suite_json
from gdb_lmb.report.golden.dump import environment_of, stop_of
from gdb_lmb.report.golden.toml import tomllib
from gdb_lmb.report.golden.writing import golden_text
from gdb_lmb.report.jsonio import snapshot_json
from gdb_lmb.report.trace_file import record_json
from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import GuestSession
from tests.helpers.json_log import JsonLog
from tests.helpers.linux_behaviors import LINUX_6_12
from tests.helpers.schemas import Refused, check, error_of, file_of, schema_files
from tests.helpers.suites import ALL

PACKAGE = Path(gdb_lmb.__file__).resolve().parent
NAME = re.compile(r"gdb-lmb/[a-z-]+/[0-9]+")

ATTACHED = {
    "schema": "gdb-lmb/attach/1", "program": "vmlinux", "build_id": "0123456789abcdef0123456789abcdef01234567",
    "physical": "0x1e00000", "virtual": "-0x200000", "settled": True, "symbols": "0x0", "phase": "mapped",
    "at_first_instruction": False,
}  # fmt: skip
"""Written after the README: no small kernel can be attached to."""

# Where members may be left out, by the schema and the object's path ("" is the document).
LATER = {"entry_size", "header_size", "revision", "flag_names", "handover_nr"}
"""What old snapshots of a list-based LMB do not have."""

OPTIONAL = {
    ("gdb-lmb/who/1", ""): {"closed", "findings"},
    ("gdb-lmb/map/1", ""): {"closed", "findings"},
    ("gdb-lmb/map/1", "bytes"): {"handed over"},
    ("gdb-lmb/free/1", ""): {"findings", "state"},
    ("gdb-lmb/whatif/1", ""): {"closed"},
    ("gdb-lmb/verdict/1", ""): {"forgotten"},
    ("gdb-lmb/snapshot/1", ""): {
        "owners",
        "roles",
        "entry_size",
        "header_size",
        "revision",
        "handover_nr",
        "flag_names",
        "no_node",
        "physmem",
        "firmware_edited",
    },
    ("gdb-lmb/suite/1", "properties"): {"kernel", "boots"},
    ("gdb-lmb/snapshot/2", ""): {"rules"},
    ("gdb-lmb/snapshot/2", "environment"): {
        "release", "build_id", "append", "memory", "smp", "machine", "history", "image", "ram_end", "flag_names",
    },
    ("gdb-lmb/snapshot/2", "rules"): {"ignore"},
    ("gdb-lmb/snapshot/2", "rules.ignore[0]"): {"kind", "list", "name", "bytes", "percent"},
    ("gdb-lmb/snapshot/2", "stop[0]"): {"phase", "closed", "findings"},
    ("gdb-lmb/snapshot/2", "stop[0].reserved[0]"): {"flags", "node", "owner", "role", "seq", "place"},
    ("gdb-lmb/snapshot/1", "memory.regions[0]"): {"nid"},
    ("gdb-lmb/snapshot/1", "reserved.regions[0]"): {"nid"},
    ("gdb-lmb/trace/1", "initial"): LATER,
    ("gdb-lmb/trace/1", "end"): {"roles"},
    ("gdb-lmb/trace/1", "end.final"): LATER,
    ("gdb-lmb/replay/1", "snapshot"): LATER,
    ("gdb-lmb/trace/1", "symbols.*"): {"inlined"},
    ("gdb-lmb/trace/1", ""): {"lost", "only", "generation", "initial"},
}  # fmt: skip
# Where another allocator may have members of its own; those of the package close it.
OPEN = {("gdb-lmb/snapshot/1", ""), ("gdb-lmb/trace/1", "$defs.record")}
# Objects with names of no fixed set.
MAPS = {
    "symbols", "generation", "initial.refused", "initial.flag_names", "end.final.flag_names", "snapshot.flag_names",
    "arguments", "flag_names", "environment.flag_names", "refused",
}  # fmt: skip
# What is written in TOML.
IN_TOML = {"gdb-lmb/snapshot/2"}
# What is measured: tests/scripts/test_bench.py.
BENCHES = {"gdb-lmb/bench/1", "gdb-lmb/bench-stock/1", "gdb-lmb/bench-check/1"}


# -- files and names ----------------------------------------------------------------------------------------------


def test_every_schema_in_the_code_has_a_file_and_every_file_a_schema() -> None:
    files = [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "scripts").glob("bench*.py")]
    named = {name for path in files for name in NAME.findall(path.read_text())}
    assert len(named) == 18
    assert named == set(schema_files())


@pytest.mark.parametrize("name", schema_files())
def test_file_is_a_schema_of_its_name(name: str) -> None:
    schema = json.loads(file_of(name).read_text())
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert (schema["title"], schema["$id"]) == (name, file_of(name).name)
    Draft202012Validator.check_schema(schema)
    for path, part in objects(schema):
        if part.get("type") == "object" and "properties" in part and (name, path) not in OPEN:
            assert "additionalProperties" in part, f"{name} {path} takes anything"


def objects(value: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects in a document, each with its path; of a list's elements the first."""
    if isinstance(value, dict):
        yield path, value
        for name, part in value.items():
            yield from objects(part, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list) and value:
        yield from objects(value[0], f"{path}[0]")


# -- each is used -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def documents(fixture_kernel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Return documents of each schema as gdb wrote them: of a sound boot, and of one with a fault."""
    found: dict[str, list[Any]] = {}
    folder = tmp_path_factory.mktemp("schemas")

    def ask(guest: GuestSession, *commands: str) -> None:
        for command in commands:
            document = json.loads(guest.command(command).splitlines()[-1])
            found.setdefault(document["schema"], []).append(document)

    for append in ("", "lmb.fault=overlap@9"):
        trace = folder / f"trace-{bool(append)}.jsonl"
        with GuestSession(fixture_kernel, QemuOptions(append=append, memory="64M")) as guest:
            guest.command(f"lmb-trace start --lockstep -o {trace} --until lmb_ready")
            guest.run_on("the trace's end")
            ask(guest, "lmb-trace status --json", "lmb-trace show --json", "lmb-dump --owners --roles --json",
                "lmb-check --json", "lmb-who --json 0x1000000-0x3000000", "lmb-map --json 0-64M", "lmb-free --json",
                "lmb-verdict")  # fmt: skip
            if not append:
                ask(guest, "lmb-whatif --json alloc 4K", "lmb-whatif --json reserve 0x1800000 4K")
        found.setdefault("gdb-lmb/trace/1", []).extend(map(json.loads, trace.read_text().splitlines()))
    found["gdb-lmb/attach/1"] = [ATTACHED]
    found["gdb-lmb/suite/1"] = [json.loads(suite_json.write(ALL))]
    found["gdb-lmb/snapshot/2"] = [tomllib.loads(text) for text in goldens(found["gdb-lmb/snapshot/1"])]
    return found


def goldens(dumps: list[Any]) -> list[str]:
    """Return goldens of dumps, as they are in files."""
    rule = Rule("grew", "reserved", "alloc_log_buf", 4096, 2.5)
    known = {"release": "6.1", "build_id": "0123", "append": "", "memory": "64M", "smp": 1, "machine": "q35"}
    return [golden_text(Golden(environment_of(dump, "vmlinux", **known), (stop_of(dump),), (rule,))) for dump in dumps]


def compared(folder: Path, documents: dict[str, list[Any]], capsys: pytest.CaptureFixture[str]) -> list[Any]:
    """Return what `gdb-lmb diff` writes: of a sound boot and a damaged one, either way."""
    paths = []
    for number, text in enumerate(goldens(documents["gdb-lmb/snapshot/1"])):
        paths.append(str(folder / f"{number}.golden"))
        Path(paths[-1]).write_text(text)
    out = []
    for pair in (paths, paths[::-1]):
        assert main(["diff", *pair, "--json"]) == 1
        out.append(json.loads(capsys.readouterr().out))
    return out


def memblocks() -> list[Any]:
    """Return states of a memblock: with nodes and without, and one whose lists are not true any more."""
    model = MemblockModel(MemblockConfig(LINUX_6_12))
    for name, base in (("memory", 0x1000), ("memory", 0x9000), ("reserved", 0x2000)):
        model.add_range(name, base, 0x1000, 0, 2)
    state = model.snapshot()
    gone = {"memory": "freed with the rest of .init.data"}
    plain = replace(state, reserved=replace(state.reserved, nid=()), refused=gone, stop=Stop(0x1000, "start_kernel"))
    return [snapshot_json(state), snapshot_json(plain)]


def calls() -> list[Operation]:
    """Return one call of each operation of each allocator, with all its arguments."""
    values = {"list": "reserved", "nid": 0, "exact": True, "set": True, "flags": 1}
    tables = [table for name in names() for table in (allocator(name).init, allocator(name).operations)]
    return [Operation(op, **{name: values.get(name, 0x2000) for name in kind.arguments}, takes=kind.arguments)
            for table in tables for op, kind in table.items()]  # fmt: skip


def replayed(folder: Path, documents: dict[str, list[Any]], capsys: pytest.CaptureFixture[str]) -> list[Any]:
    """Return what `gdb-lmb replay` writes: of a trace, of a damaged one, and of operations."""
    lines = documents["gdb-lmb/trace/1"]
    lines = lines[: 1 + next(at for at, line in enumerate(lines) if "end" in line)]
    damaged = copy.deepcopy(lines)
    damaged[-1]["end"]["final"]["reserved"]["regions"][0]["flags"] ^= 1
    out = []
    for name, rows, options in (("sound", lines, ["--json"]), ("damaged", damaged, ["--json"]),
                                ("operations", [{"op": "add", "base": 0, "size": 4096}], [])):  # fmt: skip
        path = folder / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert main(["replay", *options, str(path)]) == (name == "damaged")
        out.append(json.loads(capsys.readouterr().out))
    return out


def test_each_schema_is_used_and_each_document_seen(
    documents: dict[str, list[Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str], json_log: JsonLog
) -> None:
    """What came out of gdb, of this process and into files was kept: nothing is written past the log."""
    assert json_log.refused() == []
    replays, diffs = replayed(tmp_path, documents, capsys), compared(tmp_path, documents, capsys)
    assert json_log.refused() == []
    assert json_log.written["gdb-lmb/replay/1"] >= 3
    assert {name for name in schema_files() if not json_log.written[name]} <= {"gdb-lmb/attach/1", *IN_TOML, *BENCHES}
    for name, some in {**documents, "gdb-lmb/replay/1": replays, "gdb-lmb/diff/1": diffs}.items():
        assert name in {"gdb-lmb/attach/1", *IN_TOML} or json_log.written[name] >= len(some)
        assert [error_of(document, name) for document in some] == [None] * len(some)


def test_what_is_written_without_a_schema_is_refused() -> None:
    with pytest.raises(Refused, match="names no schema"):
        check(b'{"cnt": 1}', "gdb_lmb.commands.dump")
    with pytest.raises(Refused, match="there is no schema gdb-lmb/dump/7"):
        check(b'{"schema": "gdb-lmb/dump/7"}', "gdb_lmb.commands.dump")
    assert check(b'{"kill": 7}', "gdb_lmb.runner.process") is None


# -- and each refuses what is not of its format ---------------------------------------------------------------------


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each value in a document; of a list's elements those of the first."""
    if path:
        yield path
    if isinstance(value, dict):
        for name, part in value.items():
            yield from places(part, (*path, name))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*path, 0))


def holder(document: Any, path: tuple[Any, ...]) -> Any:
    """Return the object or the list that the value at `path` is in."""
    for name in path[:-1]:
        document = document[name]
    return document


def written_path(path: tuple[Any, ...]) -> str:
    """Return a path as `objects` does."""
    return "".join(f"[{name}]" if isinstance(name, int) else f".{name}" for name in path).lstrip(".")


def test_mutated_documents_are_refused(
    documents: dict[str, list[Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A value of another type, a member that is missing, one that nobody knows, a number below 0: anywhere."""
    every = {**documents, "gdb-lmb/replay/1": replayed(tmp_path, documents, capsys),
             "gdb-lmb/diff/1": compared(tmp_path, documents, capsys)}  # fmt: skip
    # What one guest does not have: another allocator, and each operation.
    records = [record_json(Record(7, operation, 0, (0x1000,), "growing")) for operation in calls()]
    every |= {"gdb-lmb/snapshot/1": [*every["gdb-lmb/snapshot/1"], *memblocks()],
              "gdb-lmb/trace/1": [*every["gdb-lmb/trace/1"], *records]}  # fmt: skip
    assert every.keys() | BENCHES == set(schema_files())
    for name, some in every.items():
        tried: set[tuple[Any, ...]] = set()
        count = 0
        for document in some:
            assert error_of(document, name) is None
            kind = tuple(sorted(document))
            for path in places(document):
                if (kind, path) in tried:
                    continue
                tried.add((kind, path))
                for what, mutant in mutants(name, document, path):
                    assert error_of(mutant, name) is not None, f"{name}: {written_path(path)}: {what} is taken"
                    count += 1
        assert count > 20, name


def mutants(name: str, document: Any, path: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    """Yield documents with one fault at a value, and what the fault is."""
    within, last = written_path(path[:-1]), path[-1]
    if path[0] == "symbols" and len(path) > 2:  # they are by program counters
        within = "symbols.*"
    value = holder(document, path)[last]

    def changed(new: Any) -> Any:
        mutant = copy.deepcopy(document)
        holder(mutant, path)[last] = new
        return mutant

    yield "another type", changed({"x": [1.5]})
    if isinstance(value, bool):
        yield "a number for a truth value", changed(1)
    elif isinstance(value, int):
        yield "a fraction", changed(1.5)
        yield "a number in a string", changed("1")
        yield "less than any", changed(-(1 << 70))
    elif isinstance(value, str) and value.startswith("0x"):
        yield "a number", changed(int(value, 16))
        yield "digits that are none", changed(value + "g")
    elif isinstance(value, dict) and written_path(path) not in MAPS:
        yield "an unknown member", changed({**value, "more": 1})
    elif isinstance(value, list) and value:
        yield "an element of another type", changed([*value, {"x": [1.5]}])
    if isinstance(last, str) and within not in MAPS and last not in OPTIONAL.get((name, within), set()):
        mutant = copy.deepcopy(document)
        del holder(mutant, path)[last]
        yield "missing", mutant


def test_a_document_with_an_unknown_member_is_refused(documents: dict[str, list[Any]]) -> None:
    for name, some in documents.items():
        assert all(error_of({**document, "more": 1}, name) is not None for document in some), name
        assert error_of([], name) is not None and error_of({}, name) is not None


@pytest.mark.parametrize(
    ("member", "value"),
    [("severity", "fault"), ("severity", "warning"), ("code", "Bad Code"), ("addresses", [-1])],
)
def test_a_finding_of_another_kind_is_refused(documents: dict[str, list[Any]], member: str, value: Any) -> None:
    document = copy.deepcopy(next(row for row in documents["gdb-lmb/check/1"] if row["findings"]))
    document["findings"][0][member] = value
    assert error_of(document, "gdb-lmb/check/1") is not None


def test_another_allocators_members_are_its_own(documents: dict[str, list[Any]]) -> None:
    """Of an allocator that this package does not have, a state and operations keep to what all have."""
    state = {**documents["gdb-lmb/snapshot/1"][0], "layout": "toy", "slots": 3}
    del state["blocks"], state["free"]
    assert error_of(state, "gdb-lmb/snapshot/1") is None
    del state["bits"]
    assert error_of(state, "gdb-lmb/snapshot/1") is not None
    record = {"seq": 1, "op": "take", "slot": 2, "result": 0, "callers": [], "phase": None}
    assert error_of(record, "gdb-lmb/trace/1") is None
    assert error_of({**record, "op": "add"}, "gdb-lmb/trace/1") is not None
