# SPDX-License-Identifier: GPL-2.0-or-later
"""The folder of what explains a failure: written whole, also by several at once, and never over somebody's own."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from gdb_lmb.cli import main
from gdb_lmb.cli.reports import discard, keep
from gdb_lmb.core.suite import CaseResult
from tests.helpers.minimal import GOLDEN

CASE = CaseResult("a case", "differs", 1, command=("gdb-lmb", "check", "vmlinux"))
TIMES = 200
FAULT = ("--append", "lmb.fault=overlap@9")
Capture = pytest.CaptureFixture[str]


def _keep(folder: Path) -> int:
    """Return how often it was kept."""
    return sum(keep(CASE, folder, {"diff.txt": b"a\n", "actual.golden": b"b\n"}) == folder for _ in range(TIMES))


def test_side_by_side(tmp_path: Path) -> None:
    folder = tmp_path / "a.golden.failed"
    with ProcessPoolExecutor(4, multiprocessing.get_context("spawn")) as pool:
        assert list(pool.map(_keep, [folder] * 4)) == [TIMES] * 4
    assert [one.name for one in tmp_path.iterdir()] == [folder.name]
    assert sorted(one.name for one in folder.iterdir()) == ["actual.golden", "command.sh", "diff.txt"]


@pytest.mark.parametrize("names", [["thesis.tex"], ["command.sh", "thesis.tex"], ["boot-1/command.sh", "boot-1/notes"]],
                         ids=" ".join)  # fmt: skip
def test_a_folder_of_somebody_else(names: list[str], tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "a.golden.failed"
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    before = sorted(tmp_path.rglob("*"))
    assert keep(CASE, folder, {"diff.txt": b"a\n"}) is None
    assert f"into {folder}: Directory not empty\n" in capsys.readouterr().err
    discard(folder)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_is_discarded(tmp_path: Path) -> None:
    folder, link = tmp_path / "failed", tmp_path / "link"
    discard(folder)
    folder.mkdir()
    discard(folder)  # an empty one may be anybody's
    assert folder.is_dir()
    assert keep(CASE, folder, {"diff.txt": b"a\n", "console.log": b""}) == folder
    link.symlink_to(folder)
    assert keep(CASE, link, {"gdb.log": b""}) == link and link.is_symlink()
    assert sorted(one.name for one in folder.iterdir()) == ["command.sh", "gdb.log"]
    discard(link)
    assert list(tmp_path.iterdir()) == [link]
    link.unlink()
    # Of many boots only those are removed that are ours.
    for boot in ("boot-1", "boot-2"):
        keep(CASE, folder / boot, {})
    (folder / "boot-7.123.partial").mkdir()
    (folder / "boot-7.123.partial" / "command.sh").touch()
    (folder / "junit.xml").touch()
    discard(folder)
    assert list(tmp_path.rglob("*")) == [folder, folder / "junit.xml"]
    (folder / "junit.xml").unlink()
    keep(CASE, folder / "boot-1", {})
    discard(folder)
    assert list(tmp_path.iterdir()) == []


REPLACED = "which is replaced as a whole: name another with --artefacts"
UNUSABLE = [
    (["--artefacts", "."], f"the current folder is in ., {REPLACED}"),
    (["--artefacts", ""], f"the current folder is in ., {REPLACED}"),
    (["--artefacts", "/"], f"the current folder is in /, {REPLACED}"),
    (["--artefacts", ".."], f"the current folder is in .., {REPLACED}"),
    (["--artefacts", "here"], f"the current folder is in here, {REPLACED}"),
    (["--artefacts", "kernel"], "--artefacts kernel is no folder: name one"),
    (["--artefacts", "out", "--console", "out"], f"out is in the folder of the artefacts, out, {REPLACED}"),
    (["--artefacts", "kept", "--report", "json=kept/json"],
     f"kept/json is in the folder of the artefacts, kept, {REPLACED}"),
    (["--artefacts", "kept", "--golden", "kept/actual.golden"],
     f"kept/actual.golden is in the folder of the artefacts, kept, {REPLACED}"),
    (["--artefacts", "kept", "--golden", "kept/actual.golden", "--boots", "2"],
     f"kept/actual.golden is in the folder of the artefacts, kept, {REPLACED}"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "said"), UNUSABLE, ids=[" ".join(row[0]) for row in UNUSABLE])
def test_what_cannot_be_the_folder(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    folder = tmp_path / "current"
    (folder / "kept").mkdir(parents=True)
    monkeypatch.chdir(folder)
    Path("here").symlink_to(".")
    Path("kernel").touch()
    for name in ("golden", "kept/actual.golden"):
        Path(name).write_text(GOLDEN)
    golden = [] if "--golden" in words else ["--golden", "golden"]
    assert main(["check", "kernel", *golden, *words]) == 2
    assert capsys.readouterr() == ("", f"gdb-lmb: {said}\n")


@pytest.mark.kernel
def test_one_failure_after_another(
    fixture_kernel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    """One boot after many and many after one: the folder is the last failure's, and gone with the first that passes."""
    monkeypatch.chdir(tmp_path)
    kernel, kept = str(fixture_kernel), tmp_path / "a.golden.failed"
    check = ["check", kernel, "--golden", "a.golden"]
    many = [*check, "--boots", "2", "--jobs", "2"]
    assert main(["snapshot", kernel, "-o", "a.golden"]) == 0

    def failing(words: list[str], *names: str) -> None:
        assert main([*words, *FAULT]) == 1
        assert capfd.readouterr().err.splitlines()[-1] == "gdb-lmb: artefacts are in a.golden.failed"
        assert {one.name for one in kept.iterdir()} >= set(names)
        assert {one.name[:4] for one in kept.iterdir() if one.is_dir()} == {name[:4] for name in names if "-" in name}

    failing(many, "boot-1", "boot-2")
    failing(check, "command.sh", "check.txt", "diff.txt")
    failing(many, "boot-1", "boot-2")
    assert {one.name for one in kept.iterdir()} == {"boot-1", "boot-2"}
    assert main(check) == 0
    assert not kept.exists()
    failing(check, "command.sh")
    assert main(many) == 0
    assert not kept.exists()
    kept.mkdir()
    (kept / "command.sh").touch()
    (kept / "mine").touch()
    assert main(check) == main(many) == 0
    assert {one.name for one in kept.iterdir()} == {"command.sh", "mine"}


@pytest.mark.kernel
def test_the_command_of_one_of_many_boots(
    fixture_kernel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    kernel = str(fixture_kernel)
    assert main(["snapshot", kernel, "-o", "a.golden"]) == 0
    words = ["check", kernel, "--golden", "a.golden", *FAULT, "--boots", "2", "--vary", "memory", "--jobs", "2"]
    assert main(words) == 1
    out = capfd.readouterr().out
    kept = tmp_path / "a.golden.failed" / "boot-2"
    command = (
        f"gdb-lmb check {kernel} --append=lmb.fault=overlap@9 --memory=512M --smp=1 --golden=a.golden "
        "--artefacts=a.golden.failed/boot-2"
    )
    repeated = [line.split(": ", 1)[1] for line in out.splitlines() if line.startswith("  repeat it with: ")]
    assert {*repeated[1].split()} == {*command.split()}
    assert (kept / "command.sh").read_text() == f"cd {tmp_path} && {repeated[1]}\n"
    # As a person does, by the program of that name.
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "gdb-lmb"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m gdb_lmb "$@"\n')
    program.chmod(0o755)
    told = (kept / "check.txt").read_text()
    root = Path(__file__).resolve().parent.parent.parent
    done = subprocess.run(
        ["sh", str(kept / "command.sh")], cwd="/", capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": str(root)},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, told)
    assert done.stderr == "gdb-lmb: artefacts are in a.golden.failed/boot-2\n"
    assert (kept / "command.sh").read_text() == f"cd {tmp_path} && {repeated[1]}\n"
