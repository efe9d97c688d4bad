# SPDX-License-Identifier: GPL-2.0-or-later
"""The test suite itself: a run in which a test proves nothing fails, a hang is named, nothing outlives its test."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.helpers.tool import ROOT, Tool, build_guest

CASES = """
import pytest, signal, time

def test_passes(): pass
def test_expects_to_fail(): pytest.xfail("not yet")
def test_skips(): pytest.skip("not here")

@pytest.mark.xfail
def test_passes_unexpectedly(): pass

def test_waits(): time.sleep(60)

def test_waits_and_hears_no_signal():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    time.sleep(60)
"""


def run_pytest(folder: Path, *words: str) -> tuple[int, str]:
    """Run pytest on `CASES` as CI does, with this suite's own settings and conftest.py."""
    shutil.copy(ROOT / "tests" / "conftest.py", folder)
    (folder / "test_cases.py").write_text(CASES)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml", f"--rootdir={folder}", "-p", "no:cacheprovider",
         *words, folder / "test_cases.py"],
        capture_output=True, text=True, check=False, timeout=120, cwd=ROOT,
        env={**os.environ, "CI": "true", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("chosen", "status", "says"),
    [
        ("test_passes and not unexpectedly", 0, "1 passed"),
        ("test_expects or test_passes", 1, "must run and pass: 1 xfailed, 1 xpassed"),
        ("test_skips or test_passes and not unexpectedly", 1, "must run and pass: 1 skipped"),
        ("no_such_test", 5, "must run and pass: no test passed"),
    ],
)
def test_in_ci_each_test_runs_and_passes(tmp_path: Path, chosen: str, status: int, says: str) -> None:
    got, out = run_pytest(tmp_path, "-k", chosen)
    assert got == status, out
    assert says in out


def test_a_hang_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    limits = ("-o", "timeout=1", "-o", "faulthandler_timeout=3")
    status, out = run_pytest(tmp_path, "-n", "1", *limits, "-k", "waits or test_passes and not unexpectedly")
    assert status == 1, out
    assert "test_cases.py::test_waits - Failed: Timeout" in out
    assert "crashed while running 'test_cases.py::test_waits_and_hears_no_signal'" in out
    assert "2 failed, 1 passed" in out


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    return build_guest(tmp_path, "ready")


@pytest.mark.kernel
def test_a_tool_that_runs_into_its_time_limit_leaves_nothing(guest: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="lmbt", dir="/tmp"))
    tool = Tool(folder, "run", guest, "--", "echo here\\n", "shell setsid sleep 600")
    assert tool.process.stdout is not None
    tool.process.stdout.readline()
    with pytest.raises(subprocess.TimeoutExpired):
        tool.finish(0.1)
    assert tool.relatives() != []
    Tool.end_all()
    assert tool.left_behind(0) == []
    assert not folder.exists()


@pytest.mark.kernel
def test_a_tool_hears_what_nohup_has_ignored(guest: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        folder = Path(tempfile.mkdtemp(prefix="lmbt", dir="/tmp"))
        tool = Tool(folder, "run", guest, "--", "echo here\\n", "shell sleep 600")
    finally:
        signal.signal(signal.SIGHUP, before)
    assert tool.process.stdout is not None
    tool.process.stdout.readline()
    tool.process.send_signal(signal.SIGHUP)
    assert tool.finish(30)[0] == 128 + signal.SIGHUP
    folder.rmdir()
