# SPDX-License-Identifier: GPL-2.0-or-later
"""`gdb-lmb help`: the pages as they are shipped, in a pipe, on a terminal, and where output cannot be written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gdb_lmb
from gdb_lmb.cli import main
from tests.helpers.on_terminal import SGR, Shown, on_terminal

DOCS = Path(gdb_lmb.__file__).parent / "docs"
TOPICS = ["architecture", "benchmarks", "ci", "commands", "design", "findings", "glossary", "json", "kernels",
          "porting", "post-mortem", "reference", "tracing", "tutorial"]  # fmt: skip
HELP = (sys.executable, "-m", "gdb_lmb", "help")


def help_of(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*HELP, *words], capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "LC_ALL": "C.UTF-8", **environment},
    )  # fmt: skip


def test_without_a_topic_each_has_one_line() -> None:
    done = help_of()
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split(None, 1) for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == TOPICS
    assert all(row[1].strip() for row in rows)


@pytest.mark.parametrize("topic", TOPICS)
def test_a_page_in_a_pipe_is_the_file(topic: str) -> None:
    # What a pager would add would be seen.
    done = help_of(topic, PAGER="echo PAGER; cat")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (DOCS / f"{topic}.md").read_text()


@pytest.mark.parametrize(
    ("topic", "says"),
    [
        ("tutorals", "there is no topic 'tutorals': did you mean tutorial?"),
        ("Tracing", "there is no topic 'Tracing': did you mean tracing?"),
        ("postmortem", "there is no topic 'postmortem': did you mean post-mortem?"),
        ("xyz", f"there is no topic 'xyz': the topics are {', '.join(TOPICS)}"),
        ("../CHANGELOG", f"there is no topic '../CHANGELOG': the topics are {', '.join(TOPICS)}"),
        ("", f"there is no topic '': the topics are {', '.join(TOPICS)}"),
        ("\x1b[2J", "there is no topic '\\\\x1b[2J'"),
    ],
)
def test_an_unknown_topic_is_one_line(topic: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", topic]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"gdb-lmb: {says}")
    assert shown.err.count("\n") == 1


def on_a_terminal(*words: str, **environment: str | None) -> Shown:
    return on_terminal([*HELP, *words], 80, {"LESS": None, **environment})


def test_on_a_terminal_the_pager_gets_the_page() -> None:
    shown = on_a_terminal("glossary", PAGER="echo by LESS=$LESS; cat")
    assert (shown.status, shown.errors) == (0, "")
    assert shown.plain == "by LESS=FRX\n" + (DOCS / "glossary.md").read_text()
    # Headings, and nothing else, are drawn otherwise than the text.
    painted = re.findall(r"\x1b\[1m(.*?)\x1b\[0m", shown.text)
    assert painted == [line for line in (DOCS / "glossary.md").read_text().splitlines() if line.startswith("#")] != []


def test_the_options_of_less_are_the_users() -> None:
    assert on_a_terminal("glossary", PAGER="echo by LESS=$LESS; cat", LESS="S").lines[0] == "by LESS=S"


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colours_where_none_are_wanted(environment: dict[str, str]) -> None:
    shown = on_a_terminal("glossary", PAGER="cat", **environment)
    assert SGR.search(shown.text) is None
    assert shown.text == (DOCS / "glossary.md").read_text()


def test_the_option_overrides_what_stdout_is() -> None:
    assert SGR.search(help_of("glossary", "--color", "always").stdout) is not None
    assert SGR.search(on_a_terminal("glossary", "--color=never", PAGER="cat").text) is None


@pytest.mark.parametrize("pager", ["", " ", "cat", "/nowhere/pager", "/etc/passwd"])
def test_without_a_pager_that_runs_the_page_is_written(pager: str) -> None:
    shown = on_a_terminal("glossary", PAGER=pager, NO_COLOR="1")
    assert shown.status == 0
    assert shown.text == (DOCS / "glossary.md").read_text()


def test_without_less_the_page_is_written(tmp_path: Path) -> None:
    (tmp_path / "python3").symlink_to(sys.executable)
    shown = on_a_terminal("glossary", PAGER=None, PATH=str(tmp_path), NO_COLOR="1")
    assert (shown.status, shown.text) == (0, (DOCS / "glossary.md").read_text())


def test_a_pager_that_is_left_early_is_no_error() -> None:
    shown = on_a_terminal("findings", PAGER="head -1", NO_COLOR="1")
    assert (shown.status, shown.text.count("\n"), shown.errors) == (0, 1, "")


def test_ctrl_c_is_the_pagers() -> None:
    # What the terminal sends both of them; the pager goes on until it is told to end, and so does its parent.
    pager = "trap 'echo heard' INT; cat >/dev/null; kill -INT $PPID; kill -INT $$; echo went on"
    shown = on_a_terminal("glossary", PAGER=pager)
    assert (shown.status, shown.lines[:2]) == (0, ["heard", "went on"])


def test_a_closed_stdout_is_said() -> None:
    done = subprocess.run(
        ["sh", "-c", '"$@" >&-', "-", *HELP, "glossary"], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (4, "gdb-lmb: cannot write to stdout: it is closed\n")


def test_a_full_device_is_said() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*HELP, "json"], stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (4, "gdb-lmb: cannot write to stdout: No space left on device\n")


def test_a_reader_that_leaves_is_no_message() -> None:
    done = subprocess.run(
        ["bash", "-c", '"$@" | head -1; exit ${PIPESTATUS[0]}', "-", *HELP, "findings"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode in (0, 128 + 13)
    assert (done.stdout.count("\n"), done.stderr) == (1, "")


def test_ascii_shows_every_page() -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    for topic in TOPICS:
        done = help_of(topic, **ascii_only)
        assert done.returncode == 0
        assert done.stdout.isascii()
    assert "flags, …" not in help_of("json", **ascii_only).stdout
    assert '`"0x..."`' in help_of("json", **ascii_only).stdout
