# SPDX-License-Identifier: GPL-2.0-or-later
"""The folder of what explains a failure: written whole, also by several at once, and never over somebody's own."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from gdb_lmb.cli.reports import keep
from gdb_lmb.core.suite import CaseResult

CASE = CaseResult("a case", "differs", 1, command=("gdb-lmb", "check", "vmlinux"))
TIMES = 200


def _keep(folder: Path) -> int:
    """Return how often it was kept."""
    return sum(keep(CASE, folder, {"diff.txt": b"a\n", "actual.golden": b"b\n"}) == folder for _ in range(TIMES))


def test_side_by_side(tmp_path: Path) -> None:
    folder = tmp_path / "a.golden.failed"
    with ProcessPoolExecutor(4, multiprocessing.get_context("spawn")) as pool:
        assert list(pool.map(_keep, [folder] * 4)) == [TIMES] * 4
    assert [one.name for one in tmp_path.iterdir()] == [folder.name]
    assert sorted(one.name for one in folder.iterdir()) == ["actual.golden", "command.sh", "diff.txt"]


def test_a_folder_of_somebody_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "a.golden.failed"
    folder.mkdir()
    (folder / "thesis.tex").touch()
    assert keep(CASE, folder, {"diff.txt": b"a\n"}) is None
    assert [one.name for one in tmp_path.rglob("*")] == [folder.name, "thesis.tex"]
    assert f"into {folder}: Directory not empty\n" in capsys.readouterr().err
