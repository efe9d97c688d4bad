# SPDX-License-Identifier: GPL-2.0-or-later
"""The runner's parts that need neither gdb nor QEMU: verdict, ELF header, escapes, endpoints."""

from __future__ import annotations

import ast
import json
import os
import socket
import struct
import sys
from pathlib import Path

import pytest

import gdb_lmb
from gdb_lmb.arches.registry import architectures, named
from gdb_lmb.core.errors import InfrastructureError, UsageError
from gdb_lmb.core.words import printable
from gdb_lmb.runner import process
from gdb_lmb.runner.elf import machine_of, read_elf
from gdb_lmb.runner.endpoints import parse_endpoint
from gdb_lmb.runner.existing import judge
from gdb_lmb.runner.gdb_process import python_path
from gdb_lmb.runner.mi import Lines
from gdb_lmb.runner.mi_records import unglue
from gdb_lmb.runner.process import quote, tail
from gdb_lmb.runner.results import SCHEMAS, Verdict, read


def verdict_text(*checks: tuple[int, int, list[str]]) -> str:
    listed = [{"command": "lmb-check", "findings": f, "notes": n, "not_verified": v} for f, n, v in checks]
    return json.dumps({"schema": SCHEMAS[Verdict], "checks": listed}) + "\n"


@pytest.mark.parametrize(
    ("checks", "status"),
    [
        ([], 5),
        ([(0, 0, [])], 0),
        ([(0, 7, [])], 0),
        ([(1, 0, [])], 1),
        ([(0, 0, []), (2, 0, []), (0, 0, [])], 1),
        ([(0, 0, ["log-wrapped"])], 5),
        ([(1, 0, ["log-wrapped"])], 1),
        ([(0, 0, ["torn"])], 5),
        ([(3, 0, ["torn"])], 5),
        ([(3, 0, []), (0, 0, ["log-wrapped", "torn"])], 1),
        ([(0, 0, ["torn"]), (3, 0, [])], 1),
        ([(0, 0, []), (3, 0, ["torn"]), (0, 0, [])], 5),
        ([(3, 0, ["torn"]), (1, 0, ["log-wrapped"])], 1),
    ],
)
def test_exit_status(checks: list[tuple[int, int, list[str]]], status: int) -> None:
    assert read(Verdict, verdict_text(*checks)).exit_status == status


def test_verdict_in_words() -> None:
    assert read(Verdict, verdict_text()).in_words() == "no command that checks ran: nothing was verified"
    assert read(Verdict, verdict_text((0, 2, []))).in_words() == "clean"
    forgotten = json.dumps(json.loads(verdict_text()) | {"forgotten": 2})
    assert read(Verdict, forgotten).in_words() == (
        "no command that checks ran since lmb-verdict --reset: nothing was verified"
    )
    both = read(Verdict, verdict_text((1, 0, ["log-wrapped"]), (1, 0, ["log-wrapped", "\033[2J"])))
    assert both.in_words() == "2 findings; not verified: log-wrapped, \\x1b[2J"


def test_what_two_commands_found_alike_counts_once() -> None:
    two = json.loads(verdict_text((3, 0, []), (3, 0, [])))
    assert read(Verdict, json.dumps(two)).in_words() == "6 findings"
    for total, words in ((3, "3 findings"), (4, "4 findings"), (6, "6 findings")):
        assert read(Verdict, json.dumps(two | {"findings": total})).in_words() == words
    for wrong in (0, 2, 7, True, "3", 3.0):
        with pytest.raises(InfrastructureError, match="findings"):
            read(Verdict, json.dumps(two | {"findings": wrong}))


@pytest.mark.parametrize(
    "output",
    [
        "",
        "clean\n",
        "{",
        "[]",
        "{}",
        '{"schema": "gdb-lmb/verdict/2", "checks": []}',
        '{"schema": "gdb-lmb/verdict/1"}',
        '{"schema": "gdb-lmb/verdict/1", "checks": {}}',
        '{"schema": "gdb-lmb/verdict/1", "checks": [1]}',
        '{"schema": "gdb-lmb/verdict/1", "checks": [{}]}',
        verdict_text((0, 0, [])) * 2,
        verdict_text((0, 0, [])).replace('"findings": 0', '"findings": true'),
        verdict_text((0, 0, [])).replace('"findings": 0', '"findings": -1'),
        verdict_text((0, 0, [])).replace('"findings": 0', '"findings": "0"'),
        verdict_text((0, 0, [])).replace('"not_verified": []', '"not_verified": "torn"'),
        verdict_text((0, 0, [])).replace('"not_verified": []', '"not_verified": [0]'),
    ],
)
def test_a_damaged_verdict_is_never_clean(output: str) -> None:
    with pytest.raises(InfrastructureError):
        read(Verdict, output)


def elf(machine: int, bits: int, order: str, symbols: bool = True) -> bytes:
    """Return a small ELF of any kind: a header and one section header."""
    mark, address = "<" if order == "little" else ">", "I" if bits == 32 else "Q"
    header = struct.Struct(f"{mark}HHI{address}{address}{address}IHHHHHH")
    section = struct.Struct(f"{mark}II{4 * address}II{2 * address}")
    ident = b"\x7fELF" + bytes([bits // 32, 1 if order == "little" else 2, 1]) + bytes(9)
    offset = len(ident) + header.size
    return (
        ident
        + header.pack(2, machine, 1, 0, 0, offset, 0, 0, 0, 0, section.size, 1, 0)
        + section.pack(0, 2 if symbols else 3, 0, 0, 0, 24, 0, 0, 0, 0)
    )


@pytest.mark.parametrize("row", tuple(architectures()), ids=lambda row: row.name)
def test_every_machine_is_found_by_its_elf(tmp_path: Path, row: object) -> None:
    machine = next(candidate for candidate in architectures() if candidate is row)
    kernel = tmp_path / "vmlinux"
    kernel.write_bytes(elf(machine.e_machine, machine.bits, machine.byte_order))
    found = read_elf(kernel)
    assert (found.bits, found.byte_order, found.e_machine) == (machine.bits, machine.byte_order, machine.e_machine)
    assert machine_of(found) is machine


def test_the_architecture_that_is_asked_for(tmp_path: Path) -> None:
    kernel = tmp_path / "vmlinux"
    kernel.write_bytes(elf(183, 64, "little"))
    found = read_elf(kernel)
    assert machine_of(found, "aarch64") is machine_of(found, "arm64") is named("aarch64")
    with pytest.raises(UsageError, match="this is for aarch64, not for x86-64"):
        machine_of(found, "x86-64")
    with pytest.raises(UsageError, match="architecture 'arm65' is not one of x86-64, i386"):
        machine_of(found, "arm65")
    names = [name for row in architectures() for name in (row.name, *row.aliases)]
    assert len(set(names)) == len(names)


def test_a_cut_elf_is_refused_at_every_length(tmp_path: Path) -> None:
    for bits, order in ((64, "little"), (32, "big")):
        whole = elf(62, bits, order)
        for length in range(len(whole)):
            kernel = tmp_path / "vmlinux"
            kernel.write_bytes(whole[:length])
            with pytest.raises(UsageError):
                read_elf(kernel)
        kernel.write_bytes(elf(62, bits, order, symbols=False))
        with pytest.raises(UsageError, match="no symbol table"):
            read_elf(kernel)


def test_printable() -> None:
    assert printable("a\tb\nc\r\n") == "a b c"
    assert printable("\x00\x1b[31m\x7f\x9b\u202e\U000e0001") == "\\x00\\x1b[31m\\x7f\\x9b\\u202e\\U000e0001"
    assert printable("fünf 測") == "fünf 測"
    assert printable("x" * 1000, 10) == "xxxxxxxxxx …"


def test_tail_is_bounded_and_escaped() -> None:
    assert tail(b"") == tail(b"\n \n") == []
    assert tail(b"one\r\n\xfftwo\r\n\x1b[2J\n") == ["one", "\\xfftwo", "\\x1b[2J"]
    assert tail(b"a\nb\nc\n", lines=2) == ["b", "c"]
    assert sum(map(len, tail(b"x" * 100_000))) < 5000
    assert len(tail(b"\n".join([b"\0" * 50] * 10_000))) == 20


def test_quote() -> None:
    assert quote('a "b" \\ \n') == '"a \\042b\\042 \\134 \\012"'
    assert quote("ü\udcff") == '"\\303\\274\\377"'


def test_pieces_become_whole_lines() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb", 0) as pipe:
        lines, got = Lines(pipe), []
        for piece in (b'~"a', b"b", b'c"\n^do', b"ne\n", b"x\ny\nz"):
            os.write(writer, piece)
            got.append(lines.read())
        os.close(writer)
        got.append(lines.read())
    assert got == [[], [], ['~"abc"'], ["^done"], ["x", "y"], []]


def test_a_result_after_an_unfinished_line_of_a_program() -> None:
    glued = {"type": "output", "message": None, "payload": 'abc12^error,msg="no"'}
    before, result = unglue(glued, 12)
    assert (before["type"], before["payload"]) == ("console", "abc")
    assert (result["type"], result["message"], result["payload"]) == ("result", "error", {"msg": "no"})
    assert unglue(glued, 13) == [glued]


@pytest.mark.parametrize(
    ("text", "stands_for"),
    [
        ("unix:/tmp/s", "unix:/tmp/s"),
        ("/tmp/x.sock", "unix:/tmp/x.sock"),
        ("/tmp/a:1", "unix:/tmp/a:1"),
        ("unix:/tmp/s,server=on,wait=off", "unix:/tmp/s"),
        ("unix:/tmp/s,server,nowait", "unix:/tmp/s"),
        ("unix:/tmp/a,,b,server=on,wait=off", "unix:/tmp/a,b"),
        ("unix:/tmp/a,,b", "unix:/tmp/a,,b"),
        ("tcp:host:1", "tcp:host:1"),
        ("tcp::1234", "tcp:localhost:1234"),
        (":1234", "tcp:localhost:1234"),
        ("localhost:1234", "tcp:localhost:1234"),
        ("tcp:localhost:1234,server=on,wait=off", "tcp:localhost:1234"),
        ("tcp::1234,ipv4=on,nodelay=on,server=on,wait=off", "tcp:localhost:1234"),
        ("192.0.2.7:65535", "tcp:192.0.2.7:65535"),
        ("tcp:[::1]:65535", "tcp:[::1]:65535"),
        ("[::1]:1234", "tcp:[::1]:1234"),
        ("::1:1234", "tcp:[::1]:1234"),
        ("tcp:[fe80::1%eth0]:1", "tcp:[fe80::1%eth0]:1"),
        ("tcp4::1234", "tcp4:localhost:1234"),
        ("tcp6:localhost:1", "tcp6:localhost:1"),
        ("tcp6:[::1]:1", "tcp6:[::1]:1"),
    ],
)
def test_endpoints(text: str, stands_for: str) -> None:
    assert str(parse_endpoint(text)) == stands_for
    assert parse_endpoint(stands_for) == parse_endpoint(text)


def test_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert str(parse_endpoint("unix:s")) == str(parse_endpoint("./s")) == f"unix:{tmp_path}/s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("here:1")
        # gdb looks at the file before it takes this for a host.
        assert str(parse_endpoint("here:1")) == f"unix:{tmp_path}/here:1"


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "unix", "unix:", "unix:,server=on", "tcp", "tcp:", "tcp::", "tcp:h", "tcp:h:0", "tcp:h:65536",
        "tcp:h:-1",
        "tcp:h:gdb", "h", "1234", "udp:h:1", "telnet:h:1", "a:b:1", "[::1]", "[::1:1", "[h]:1", "tcp6:::", "|cat:1",
        "stdio", "none", "chardev:gdb", "tcp:h:1,to=5", "tcp:h:1,server=off", "tcp:h:1,telnet=on", "h h:1", "h:1\n",
        "unix:/tmp/\0",
    ],
)  # fmt: skip
def test_bad_endpoints(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_endpoint(text)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("stops", "status", "version", "woken", "running", "certain"),
    [
        # Up to 8.0 the stop packet alone decides.
        ([True], "VM status: paused", "7.2.0", None, True, True),
        ([False], "VM status: paused", "7.2.0", None, False, True),
        ([False], "VM status: paused", "8.0.9", None, False, True),
        ([False], "VM status: paused", "8.0.9", True, False, True),
        ([False], "VM status: paused", "8.1.0", True, True, True),
        ([False], "VM status: paused", "10.0.2", True, True, True),
        ([False], "VM status: paused", "10.0.2", False, False, True),
        ([False], "VM status: paused", "10.0.2", None, False, False),
        ([False], "VM status: paused (prelaunch)", "10.0.2", None, False, True),
        ([False], "VM status: paused (debug)", "7.2.0", None, False, True),
        ([True], "VM status: paused", "10.0.2", None, True, True),
        ([False], "", "", None, False, False),
    ],
)
def test_what_the_machine_did_before(
    stops: list[bool], status: str, version: str, woken: bool | None, running: bool, certain: bool
) -> None:
    assert judge(stops, status, version, woken) is (running if certain else None)


@pytest.mark.parametrize("base", ["/tmp/a:b", "/tmp/a,b", "/tmp/a b", "/tmp/" + "x" * 80, "/tmp/\udcff"])
def test_unusable_temporary_folders(base: str) -> None:
    assert process.folder_base(base) == "/tmp"
    assert process.folder_base("/var/tmp") == "/var/tmp"


def test_gdbs_python_gets_a_folder_with_tabulate() -> None:
    folders = [Path(folder) for folder in python_path().split(":")]
    assert folders[0] == Path(gdb_lmb.__file__).resolve().parent.parent
    assert any((folder / "tabulate.py").exists() or (folder / "tabulate").is_dir() for folder in folders)


@pytest.mark.parametrize("name", ["__init__", "rsp", "reaper"])
def test_the_bare_programs_need_only_the_standard_library(name: str) -> None:
    """They run with -S, where pygdbmi is not found."""
    source = (Path(gdb_lmb.__file__).parent / "runner" / f"{name}.py").read_text()
    for node in ast.walk(ast.parse(source)):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            if node.module == "gdb_lmb.runner":
                assert [a.name for a in node.names] == ["rsp"]
                continue
            names = [str(node.module)]
        assert all(n.split(".")[0] in sys.stdlib_module_names for n in names)
