# SPDX-License-Identifier: GPL-2.0-or-later
"""What the command line says to wrong words and to terminals that are not there; no guest is needed."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gdb_lmb.cli import main, plain
from gdb_lmb.cli.common import build_parser
from gdb_lmb.core.errors import UsageError
from gdb_lmb.runner.qemu import QemuOptions, memory_size

COMMANDS = ("run", "trace", "attach", "core", "gdb", "gdbinit", "replay", "export")
NEEDED = {
    "run": ["K"], "trace": ["K"], "attach": ["unix:S", "K"], "core": ["C", "K"], "gdb": [], "gdbinit": [],
    "replay": ["T"], "export": ["T", "--c"],
}  # fmt: skip
WITH_GDB_COMMANDS = ("run", "trace", "attach", "core")


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, str]:
    """Return the first and the last line of what is said to a usage error."""
    assert main(list(words)) == 2
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == "" and "Traceback" not in err
    return lines[0], lines[-1]


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option_shows_the_commands_own_usage(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    usage, said = refusal(capsys, command, *NEEDED[command], "--typo")
    assert usage.startswith(f"usage: gdb-lmb {command}")
    assert said.startswith(f"gdb-lmb {command}: error: ")
    if command != "gdb":  # it wants its program first
        assert "unknown option '--typo'" in said
    assert ("gdb commands come after --" in said) == (command in WITH_GDB_COMMANDS)


@pytest.mark.parametrize("command", WITH_GDB_COMMANDS)
def test_a_gdb_command_is_shown_its_place(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    usage, said = refusal(capsys, command, *NEEDED[command], "lmb-dump reserved")
    assert usage.startswith(f"usage: gdb-lmb {command} ")
    assert said.endswith(
        f"is one word too many (gdb commands come after --: gdb-lmb {command} ... -- 'lmb-dump reserved')"
    )


def test_a_near_option_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(capsys, "trace", "K", "--evry", "3")[1].endswith("unknown option '--evry', did you mean --every?")


NUMBERS = [
    ("run K --smp 0", "argument --smp: 0: give a number from 1 up"),
    ("run K --smp -1", "argument --smp: '-1' is negative"),
    ("run K --smp two", "argument --smp: 'two' is not a number (4096, 0x1000, 640K)"),
    ("run K --smp 1.5", "is not a number"),
    ("run K --timeout 0", "argument --timeout: 0: give a number of seconds more than 0"),
    ("run K --timeout nan", "argument --timeout: 'nan' is not a time: give seconds, such as 60 or 0.5"),
    ("core C K --timeout inf", "is not a time"),
    ("attach unix:S K --timeout -5", "'-5' is negative"),
    ("run K --timeout 1e999", "more than that: give a number of seconds"),
    ("trace K --lockstep --every 0", "argument --every: 0: give a number from 1 up"),
    ("trace K --lockstep --every -1", "'-1' is negative"),
    ("trace K -o T --every 2", "--every says how often to compare: it needs --lockstep"),
    ("trace K --lockstep --until=", "--until is empty"),
    ("replay T --static -1", "argument --static: '-1' is negative"),
    ("replay T --static 1_000", "is not a number"),
    ("replay T --klimit 0x", "is not a number"),
    ("replay T --block-size 9999999999999999999999", "is too large"),
    ("replay T --bits 16", "argument --bits: invalid choice"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "message"), NUMBERS)
def test_a_number_that_is_none_is_refused_before_anything_runs(
    line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refusal(capsys, *line.split(" "))[1]


def test_numbers_are_those_of_the_commands_in_gdb() -> None:
    parse = build_parser().parse_args
    assert parse(["run", "K", "--smp", "0x2", "--timeout", "1.5"]).smp == 2
    found = parse(["replay", "T", "--klimit", "16M", "--block-size", "4K", "--bits", "0x20"])
    assert (found.klimit, found.block_size, found.bits) == (16 << 20, 4096, 32)
    assert [memory_size(text) for text in ("256M", "1G", "300", "0x100", "0x40000K", "640K")] == [
        "256M", "1G", "300", "256M", "262144K", "640K",
    ]  # fmt: skip
    for wrong in ("0", "0M", "-1", "12Q", "", "0x", "1.5G"):
        with pytest.raises(UsageError, match="memory size"):
            QemuOptions(memory=wrong)


@pytest.mark.parametrize("content", ["", "\n\n  \n"], ids=["empty", "blank"])
def test_replay_of_nothing_is_refused(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ops"
    path.write_text(content)
    said = refusal(capsys, "replay", str(path))[1]
    assert said == (
        f"gdb-lmb: {path} holds no operation: there is nothing to replay" if content
        else f"gdb-lmb: {path} is empty: it holds neither a trace nor operations"
    )  # fmt: skip


def test_an_option_of_operations_is_refused_for_a_trace_also_where_it_is_zero(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trace"
    path.write_text('{"schema": "gdb-lmb/trace/1"}\n')
    assert refusal(capsys, "replay", str(path), "--klimit", "0")[1].endswith("which says itself what --klimit is")


# -- streams ----------------------------------------------------------------------------------------


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of shell, in which `$LMB` is the command line of this package."""
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, "LMB": f"{sys.executable} -m gdb_lmb", **environment},
    )  # fmt: skip


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_help_is_in_ascii(command: str) -> None:
    parser = build_parser()
    if command:
        subparsers = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
        parser = subparsers.choices[command]
    assert parser.format_help().isascii()


@pytest.mark.parametrize("setting", ["PYTHONIOENCODING=ascii", "PYTHONIOENCODING=latin-1", "LC_ALL=C", "LC_ALL=POSIX"])
def test_help_where_stdout_is_not_utf_8(setting: str) -> None:
    for command in ("", "run", "replay"):
        done = shell(f"env {setting} PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 $LMB {command} --help")
        assert (
            (done.returncode, done.stderr) == (0, b"")
            and done.stdout.startswith(b"usage: gdb-lmb")
            and done.stdout.isascii()
        )


def test_other_text_where_stderr_is_not_utf_8() -> None:
    done = shell("$LMB replay 'no…such→é.file'", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (
        2, rb"gdb-lmb: cannot read no...such->\xe9.file: No such file or directory" + b"\n"
    )  # fmt: skip


def test_plain_characters() -> None:
    assert plain(UnicodeEncodeError("ascii", "a…→é", 1, 4, "")) == ("...->\\xe9", 4)


@pytest.mark.parametrize("words", ["--help", "run --help", "--version", "gdbinit", "replay nothing", "run nothing"])
def test_closed_and_full_stdout(words: str) -> None:
    closed, full = shell(f"$LMB {words} >&-"), shell(f"$LMB {words} >/dev/full")
    assert (closed.returncode, closed.stderr) == (4, b"gdb-lmb: cannot write to stdout: it is closed\n")
    if "nothing" not in words:  # which prints nothing to stdout
        assert full.returncode == 4
        assert full.stderr == b"gdb-lmb: cannot write to stdout: No space left on device\n"


def test_closed_stdin_and_stderr() -> None:
    done = shell("$LMB replay - <&-")
    assert (done.returncode, done.stderr) == (2, b"gdb-lmb: cannot read stdin: it is closed\n")
    done = shell("$LMB replay nothing 2>&-")
    assert (done.returncode, done.stdout) == (2, b"")
    assert shell("$LMB gdbinit <&- 2>&-").returncode == 0
    assert shell("$LMB gdbinit <&- 2>&- >&-").returncode == 4


def test_a_reader_that_leaves_is_a_broken_pipe_and_not_the_inputs_fault(tmp_path: Path) -> None:
    path = tmp_path / "ops"
    path.write_text('{"op": "add", "base": 4096, "size": 4096}\n{"op": "remove", "base": 4096, "size": 4096}\n' * 20000)
    done = shell(f"$LMB replay {path} | head -c 1 >/dev/null; echo ${{PIPESTATUS[0]}}")
    assert (done.stdout, done.stderr) == (b"141\n", b"")
