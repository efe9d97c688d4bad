# SPDX-License-Identifier: GPL-2.0-or-later
"""Widths, colours and characters follow the terminal, in gdb and through gdb-lmb; files and pipes get it plain."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fixture_kernels import FIXTURES, vmlinux

from gdb_lmb.report.terminal import Terminal
from gdb_lmb.runner.gdb_process import extension, python_path
from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import GuestSession
from tests.helpers.dump import dump_of
from tests.helpers.on_terminal import SGR, Shown, on_terminal

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).resolve().parent.parent.parent
MAIN = [sys.executable, "-c", "import sys; from gdb_lmb.cli import main; sys.exit(main())"]
SHOW = ("lmb-trace show --last 6", "lmb-dump", "lmb-dump --owners", "lmb-free", "lmb-map", "lmb-check")


@pytest.fixture(scope="module")
def core(fixture_build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A dump of the fixture kernel at the end of its boot, whose reserved list is damaged."""
    link = tmp_path_factory.mktemp("core") / "core"
    with GuestSession(vmlinux(build=fixture_build), QemuOptions(memory="64M")) as guest:
        guest.run_until("lmb_ready")
        guest.command("set var lmb.reserved.cnt = 99")
        with dump_of(guest) as path:
            link.symlink_to(path)
            yield link


def tool(columns: int, *words: str | Path, **environment: str | None) -> Shown:
    """Run gdb-lmb on a terminal."""
    return on_terminal([*MAIN, *words], columns, {"PYTHONPATH": str(ROOT), **environment})


def piped(*words: str | Path, checks: bool = True, **environment: str) -> str:
    """Run gdb-lmb with a pipe for stdout; return what came. `checks`: one of its commands gives a verdict."""
    done = subprocess.run(
        [*MAIN, *words], capture_output=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **environment}, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode in ((0, 1) if checks else (5,)), done.stderr
    return done.stdout


def in_gdb(core: Path, program: Path, *commands: str, columns: int = 80, **environment: str | None) -> Shown:
    """Run commands in a gdb of the user's on a terminal, with a dump."""
    words: list[str | Path] = ["gdb", "-nx", "-q", "-iex", "set height 0", "-iex", "set debuginfod enabled off",
                               program, "-c", core.resolve(), "-ex", f"source {extension()}"]  # fmt: skip
    for command in (*commands, "quit"):
        words += ["-ex", command]
    return on_terminal(words, columns, {"GDB_LMB_PATH": python_path(), **environment})


def after(shown: Shown, mark: str) -> str:
    """Return what a gdb printed after `echo mark`, up to the next such."""
    return shown.text.partition(f"<{mark}>")[2].partition("<")[0]


def test_tables_fit_a_terminal_and_a_pipe_gets_them_whole(fixture_kernel: Path) -> None:
    words = ("trace", fixture_kernel, "--lockstep", "--until", "lmb_ready", "--", *SHOW)
    whole = piped(*words)
    assert "\x1b" not in whole and "…" not in whole
    source = (FIXTURES / "main.c").read_text().splitlines()
    line = next(number for number, text in enumerate(source, 1) if "must(lmb_alloc, PER_CPU_SIZE" in text)
    caller = f"setup_per_cpu_areas+0x27 (main.c:{line})"
    assert "alloc(size=0x8000, align=0x1000" in whole and caller in whole
    for columns in (60, 80):
        shown = tool(columns, *words)
        assert shown.status == 0
        tables = [line for line in shown.lines if line.startswith("  ")]
        assert len(tables) > 60 and max(map(len, tables)) <= columns
        assert max(map(len, tables)) == columns  # the bar
        assert "…" in shown.plain and "█" in shown.plain
    wide = tool(250, *words)
    assert "…" not in wide.plain and caller in wide.plain
    # COLUMNS comes before what the terminal says, as everywhere.
    assert max(len(line) for line in tool(80, *words, COLUMNS="70").lines if line.startswith("  ")) == 70


def test_colours_follow_the_terminal_and_the_user(core: Path, fixture_kernel: Path) -> None:
    words = ("core", core, fixture_kernel)
    plain = piped(*words)
    assert "\x1b" not in plain
    shown = tool(200, *words)
    assert shown.status == 1
    assert SGR.sub("", shown.text).count("\x1b") == 0
    assert "\x1b[1;31mfinding: count-mismatch:\x1b[0m" in shown.text
    assert "\x1b[1;31mlmb-check: 1 finding in:\x1b[0m" in shown.text
    assert "\x1b[1mreserved: " in shown.text
    # The last word on stderr too, where that is a terminal.
    both = on_terminal([*MAIN, *words], 200, {"PYTHONPATH": str(ROOT)}, errors_too=True)
    assert re.search(r"gdb-lmb: \x1b\[1;31m1 finding.*\x1b\[0m\n", both.text) and "\x1b" not in shown.errors
    # Colours change nothing else: the terminal is wide, so that only the bar differs from the pipe's.
    coloured = [
        line for line in SGR.sub("", shown.text).split("\n") if not line.startswith("   ") and "lmb-check" in line
    ]
    assert coloured and all(line in plain for line in coloured)
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": None}):
        assert "\x1b" not in tool(80, *words, **environment).text
    assert "\x1b" not in tool(80, *words, "--color", "never").text
    assert "\x1b[1m" in tool(80, *words, NO_COLOR="").text
    # What is asked for expressly comes before the rest, but not into JSON.
    assert "\x1b[1m" in tool(80, *words, "--color", "always", NO_COLOR="1").text
    assert "\x1b[1m" in piped(*words, "--color", "always")
    for command in ("lmb-dump --json", "lmb-check --json", "lmb-map --json", "lmb-dump --kernel"):
        assert "\x1b" not in piped(*words, "--color", "always", "--", command, checks=command != "lmb-map --json")
    # The user's own setting in gdb counts too.
    assert "\x1b" not in tool(80, *words, "--", "set style enabled off", "lmb-check").text
    assert max(map(len, tool(80, *words, "--", "set width 50", "lmb-dump memory").plain.split("\n")[1:6])) == 50


def test_characters_follow_the_terminal(core: Path, fixture_kernel: Path) -> None:
    words = ("core", core, fixture_kernel, "--", "lmb-dump")
    assert "·" in piped(*words, PYTHONIOENCODING="utf-8")
    assert piped(*words, PYTHONIOENCODING="ascii").isascii()
    shown = tool(80, *words, PYTHONIOENCODING="latin-1")
    assert shown.text.isascii() and "......" in shown.text


def test_in_a_gdb_of_ones_own(core: Path, fixture_kernel: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    shown = in_gdb(
        core, fixture_kernel,
        "echo <wide>", "lmb-dump", "echo <narrow>", "set width 50", "lmb-dump", "echo <check>", "lmb-check",
        "echo <unlimited>", "set width 0", "lmb-dump", "echo <off>", "set style enabled off", "lmb-check",
        "echo <on>", "set style enabled on", "lmb-check", "echo <json>", "lmb-check --json",
        "echo <python>", "python print(len(gdb.execute('lmb-check', to_string=True).split(chr(27))))",
        "echo <pipe>", "set width 50", "pipe lmb-dump memory | cat", "echo <after>", "lmb-dump memory",
        "echo <logging>",
        f"set logging file {log}", "set logging redirect on", "set width 50", "set logging enabled on",
        "lmb-dump", "lmb-check", "set logging enabled off", "echo <end>",
        columns=100,
    )  # fmt: skip

    def widest(mark: str) -> int:
        return max(len(line) for line in SGR.sub("", after(shown, mark)).split("\n") if line.startswith("  "))

    assert (widest("wide"), widest("narrow")) == (100, 50)
    assert widest("unlimited") == 80
    assert "·····" in after(shown, "wide")
    # gdb 18 writes the same colours in words of its own.
    red = re.compile(r"\x1b\[[0-9;]*(?<![0-9])31(?![0-9])[0-9;]*mfinding: count-mismatch:\x1b\[0?m ")
    assert red.search(after(shown, "check")) and red.search(after(shown, "on"))
    assert "\nfinding: count-mismatch: " in "\n" + SGR.sub("", after(shown, "off")) and not red.search(
        after(shown, "off")
    )
    # gdb itself puts colours back to its default before it prints after something coloured.
    assert "\x1b" not in after(shown, "json").split("\n")[0].removeprefix("\x1b[m")
    # What a program keeps is plain, and so is what goes to a file.
    assert SGR.sub("", after(shown, "python")).split()[0] == "1"
    piped_text = after(shown, "pipe").removeprefix("\x1b[m")
    assert "memory: 2 regions" in piped_text and "\x1b[" not in piped_text
    assert max(map(len, piped_text.split("\n"))) > 70 and "0x0000000000100000" in piped_text
    assert "\x1b[" in after(shown, "after") and "0x0000000000100000" not in after(shown, "after")
    kept = log.read_text()
    assert "finding: count-mismatch: " in kept and "\x1b" not in kept
    assert max(map(len, kept.split("\n"))) > 80  # `set width 50` is for terminals


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["NO_COLOR", "dumb"])
def test_no_colours_in_gdb(core: Path, fixture_kernel: Path, environment: dict[str, str]) -> None:
    shown = in_gdb(core, fixture_kernel, "echo <one>", "lmb-check", "echo <end>", **environment)
    assert "finding: count-mismatch: reserved.cnt" in after(shown, "one")


def test_columns_and_ascii_in_gdb(core: Path, fixture_kernel: Path) -> None:
    # A terminal that does not know its size: only then gdb goes by COLUMNS.
    shown = in_gdb(core, fixture_kernel, "echo <one>", "lmb-dump", "echo <end>", columns=0, COLUMNS="60", LC_ALL="C")
    lines = [SGR.sub("", line) for line in after(shown, "one").split("\n") if line.startswith("  ")]
    assert max(map(len, lines)) == 60 and all(line.isascii() for line in lines)


def test_a_replay_fits_too(fixture_kernel: Path, tmp_path: Path) -> None:
    trace = tmp_path / "t.jsonl"
    piped("trace", fixture_kernel, "-o", trace)
    # One result that is not the model's: all that differs is told in tables.
    lines = trace.read_text().split("\n")
    at = next(number for number, line in enumerate(lines) if '"alloc"' in line)
    record = json.loads(lines[at])
    record["result"] = hex(int(record["result"], 16) - 0x1000)
    lines[at] = json.dumps(record)
    trace.write_text("\n".join(lines))
    shown = tool(60, "replay", trace)
    assert shown.status == 1 and "\x1b[1;31m" in shown.text
    assert "\x1b" not in piped("replay", trace)
    assert "\x1b" not in tool(60, "replay", trace, "--json").text


def test_a_session_draws_as_it_is_told(fixture_kernel: Path) -> None:
    with GuestSession(fixture_kernel, terminal=Terminal(64, color=True, unicode=True)) as guest:
        guest.run_until("lmb_ready")
        text = guest.command("lmb-dump memory")
        assert "\x1b[1mmemory: " in text and len(SGR.sub("", text.split("\n")[2])) == 64
