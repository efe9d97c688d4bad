# SPDX-License-Identifier: GPL-2.0-or-later
"""`gdb-lmb completion`, in the shells themselves."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gdb_lmb.cli import main
from gdb_lmb.cli.common import build_parser
from gdb_lmb.cli.completion import LMB_COMMANDS, described
from gdb_lmb.commands import MODULES

COMMANDS = {
    "run", "trace", "attach", "core", "snapshot", "check", "diff", "accept", "gdb", "gdbinit", "replay", "export",
    "completion", "help",
}  # fmt: skip
KERNELS = {"debian:6.1-cloud-amd64", "debian:6.12-cloud-amd64", "debian:6.12-cloud-arm64", "debian:7-cloud-amd64"}


def script(shell: str, folder: Path) -> Path:
    path = folder / f"completion.{shell}"
    with path.open("w") as out:
        subprocess.run([sys.executable, "-m", "gdb_lmb", "completion", shell], stdout=out, check=True)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files to complete."""
    folder = tmp_path_factory.mktemp("files")
    for name in ("vmlinux", "vmlinuz-6.1", "boot.jsonl"):
        (folder / name).touch()
    (folder / "tree").mkdir()
    return folder


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return script("bash", tmp_path_factory.mktemp("bash"))


def test_all_lmb_commands_are_offered() -> None:
    assert set(LMB_COMMANDS) == {f"lmb-{name}" for name in MODULES if name != "prefix"}


def test_every_option_of_every_parser_is_described() -> None:
    parser = build_parser()
    told = {
        command.name: {flag for option in command.options for flag in option.flags} for command in described(parser)
    }
    assert set(told) == COMMANDS
    for name, command in parser.commands.choices.items():
        assert told[name] == {flag for action in command._actions for flag in action.option_strings}


def test_an_unknown_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"]) == 2
    assert "invalid choice: 'tcsh'" in capsys.readouterr().err


def in_bash(script: Path, folder: Path, line: str, breaks: str = " \t\n\"'><=;|&(:") -> set[str]:
    """Return what bash offers at the end of `line`; a word may end at a ":" or a "=", as for bash itself."""
    done = subprocess.run(
        ["bash", "--norc", "-c", f"source {shlex.quote(str(script))}; COMP_WORDBREAKS=$2; COMP_LINE=$1; "
         "COMP_POINT=${#1}; _gdb_lmb; printf '%s\\n' \"${COMPREPLY[@]}\"", "-", line, breaks],
        cwd=folder, text=True, capture_output=True, check=True, timeout=30,
    )  # fmt: skip
    assert done.stderr == ""
    return set(done.stdout.split("\n")) - {""}


IN_BASH = [
    ("gdb-lmb ", COMMANDS | {"-h", "--help", "--version"}),
    ("gdb-lmb tr", {"trace"}),
    ("gdb-lmb run --sy", {"--symbols"}),
    ("gdb-lmb run vmlinux --m", {"--memory", "--machine"}),
    ("gdb-lmb run --symbols vml", {"vmlinux", "vmlinuz-6.1"}),
    ("gdb-lmb run --symbols=vmlinuz", {"vmlinuz-6.1"}),
    ("gdb-lmb run --memory ", set()),
    ("gdb-lmb run vm", {"vmlinux", "vmlinuz-6.1"}),
    ("gdb-lmb run t", {"tree"}),
    ("gdb-lmb run ", KERNELS | {"vmlinux", "vmlinuz-6.1", "boot.jsonl", "tree"}),
    ("gdb-lmb run deb", KERNELS),
    ("gdb-lmb run debian:6.12-cloud-a", {"6.12-cloud-amd64", "6.12-cloud-arm64"}),
    ("gdb-lmb run vmlinuz --arch aa", {"aarch64"}),
    ("gdb-lmb run vmlinux --color=n", {"never"}),
    ("gdb-lmb trace vmlinux --lock", {"--lockstep"}),
    ("gdb-lmb trace vmlinux -o bo", {"boot.jsonl"}),
    ("gdb-lmb trace vmlinux -- lmb-w", {"lmb-whatif", "lmb-who"}),
    ("gdb-lmb run vmlinux -- lmb-dump --e", set()),
    ("gdb-lmb attach u", {"unix:"}),
    ("gdb-lmb attach unix:tr", {"tree"}),
    ("gdb-lmb attach tcp:localhost:1234 vmlinux --leave p", {"paused"}),
    ("gdb-lmb replay b", {"boot.jsonl"}),
    ("gdb-lmb replay --bits ", {"32", "64"}),
    ("gdb-lmb export boot.jsonl --", {"--help", "--c", "--output", "--name"}),
    ("gdb-lmb completion ", {"bash", "zsh", "fish"}),
    ("gdb-lmb help t", {"tutorial", "tracing"}),
    ("gdb-lmb help post", {"post-mortem"}),
    ("gdb-lmb nonsense ", set()),
]


@pytest.mark.parametrize(("line", "offered"), IN_BASH, ids=[row[0][8:] for row in IN_BASH])
def test_what_bash_offers(line: str, offered: set[str], bash_script: Path, files: Path) -> None:
    assert in_bash(bash_script, files, line) == offered


def test_other_word_breaks_of_bash(bash_script: Path, files: Path) -> None:
    assert in_bash(bash_script, files, "gdb-lmb run --color=al", breaks=" ") == {"--color=always"}
    assert in_bash(bash_script, files, "gdb-lmb run debian:7", breaks=" ") == {"debian:7-cloud-amd64"}


def typed(words: list[str], keys: str, until: str, folder: Path, **environment: str) -> str:
    """Type into a program in a terminal of its own; return what it showed up to `until`."""
    terminal, theirs = pty.openpty()
    # A session of its own, whose terminal that is.
    child = subprocess.Popen(
        ["setsid", "--ctty", *words], stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder,
        env={**os.environ, "TERM": "dumb", **environment},
    )  # fmt: skip
    os.close(theirs)
    shown, deadline = "", time.monotonic() + 30
    try:
        while "READY" not in shown and time.monotonic() < deadline:
            if select.select([terminal], [], [], 0.2)[0]:
                shown += os.read(terminal, 4096).decode(errors="replace")
        os.write(terminal, keys.encode())
        shown = ""
        while until not in seen(shown) and time.monotonic() < deadline:
            if select.select([terminal], [], [], 0.2)[0]:
                shown += os.read(terminal, 4096).decode(errors="replace")
    finally:
        child.kill()
        child.wait(10)
        os.close(terminal)
    return seen(shown)


def seen(output: str) -> str:
    """Return what a terminal shows of `output` where the cursor only ever goes one step back."""
    return re.sub(r".\x08", "", output.replace("\a", ""))


def test_tab_in_an_interactive_bash(bash_script: Path, files: Path) -> None:
    rc = bash_script.with_name("rc")
    rc.write_text(f"source {shlex.quote(str(bash_script))}\nPS1='READY '\n")
    bash = ["bash", "--noprofile", "--rcfile", str(rc), "-i"]
    assert "gdb-lmb trace vmlinux --lockstep " in typed(bash, "gdb-lmb tr\tvmlinux\t--lock\t", "--lockstep ", files)
    assert "run debian:7-cloud-amd64 " in typed(bash, "gdb-lmb run deb\t7\t", "7-cloud-amd64 ", files)
    assert "run tree/" in typed(bash, "gdb-lmb run tr\t", "tree/", files)


@pytest.mark.stock
def test_what_fish_offers(tmp_path: Path, files: Path) -> None:
    path = script("fish", tmp_path)
    for line, offered in IN_BASH:
        if "=" in line or "unix:" in line or "vm" in line.split()[-1] or line.endswith((" -- ", "run ", "--")):
            continue  # which fish completes in forms of its own
        done = subprocess.run(
            ["fish", "--no-config", "-c", f"source {path}; complete -C {shlex.quote(line)}"],
            cwd=files, text=True, capture_output=True, check=True, timeout=60,
        )  # fmt: skip
        found = {row.partition("\t")[0].rstrip("/") for row in done.stdout.splitlines()}
        want = {f"debian:{word}" if word.startswith("6.12-") else word for word in offered if not word.startswith("-")}
        assert found == (want or {word for word in offered if word.startswith("--")}), line


@pytest.mark.stock
def test_tab_in_zsh(tmp_path: Path, files: Path) -> None:
    functions = tmp_path / "functions"
    functions.mkdir()
    script("zsh", tmp_path).rename(functions / "_gdb-lmb")
    (tmp_path / ".zshrc").write_text(
        f"fpath=({functions} $fpath)\nautoload -U compinit\ncompinit -u -D\nPS1='READY '\n"
    )
    zsh = ["zsh", "-i"]
    for keys, until in (
        ("gdb-lmb tr\tvmlinux --lock\t", "trace vmlinux --lockstep "),
        ("gdb-lmb run vmlinux --symb\tvmlinuz\t", "--symbols=vmlinuz-6.1"),
        ("gdb-lmb run debian:7\t", "run debian:7-cloud-amd64"),
        ("gdb-lmb attach tcp:localhost:1 vmlinux --leave p\t", "paused"),
        ("gdb-lmb run vmlinux -- lmb-wha\t", "-- lmb-whatif"),
        ("gdb-lmb replay bo\t", "replay boot.jsonl"),
        ("gdb-lmb completion f\t", "completion fish"),
    ):
        shown = typed(zsh, keys, until, files, ZDOTDIR=str(tmp_path))
        assert until in shown, (keys, shown)
