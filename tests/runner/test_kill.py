# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs killed at random moments leave no process, no socket, no folder."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from pathlib import Path

import pytest

from tests.helpers.soak import seeds
from tests.helpers.tool import PATIENCE_S, Tool, build_guest, program_of

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# A whole run takes about this long; the last part falls into the commands, which never end.
LONGEST_S = 0.9
ENDLESS = ("shell sleep 600 &", "shell setsid sleep 600 &", "python while True: gdb.execute('stepi', to_string=True)")


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_guest(tmp_path_factory.mktemp("guest"), "ready")


@pytest.mark.random
@pytest.mark.parametrize("number", seeds(10))
def test_killed_at_a_random_moment(guest: Path, number: int) -> None:
    chance = random.Random(1000 + number)
    folder = Path(tempfile.mkdtemp(prefix="lmbt", dir="/tmp"))
    tool = Tool(folder, "run", guest, "--", *ENDLESS)
    time.sleep(chance.uniform(0.0, LONGEST_S))
    which = SIGNALS[number % len(SIGNALS)]
    tool.process.send_signal(which)
    status, _, err = tool.finish()
    assert tool.left_behind() == []
    # Before our handlers are in place the signal itself ends the interpreter; a Ctrl-C while it imports its
    # site modules, an editable install's finder among them, ends it with a status of its own.
    starting = which == signal.SIGINT and "init_import_site" in err and "dispatch" not in err
    assert status in (-which, 128 + which) or starting, err
    # Only Python's own start-up, before it has read a line of ours, may show a Ctrl-C with a traceback.
    assert "Traceback" not in err or (which == signal.SIGINT and "dispatch" not in err)
    folder.rmdir()


@pytest.mark.parametrize("which", SIGNALS)
def test_killed_in_the_middle_of_a_boot(guest: Path, which: signal.Signals) -> None:
    folder = Path(tempfile.mkdtemp(prefix="lmbt", dir="/tmp"))
    tool = Tool(folder, "run", guest, "--until", "never")
    deadline = time.monotonic() + PATIENCE_S
    while not any(path.name == "console" and path.stat().st_size for path in folder.rglob("*")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    tool.process.send_signal(which)
    status, _, err = tool.finish()
    assert status == (-which if which == signal.SIGKILL else 128 + which)
    assert err == ""
    assert tool.left_behind() == []
    folder.rmdir()


def test_a_second_signal_does_not_stop_the_cleaning_up(guest: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="lmbt", dir="/tmp"))
    tool = Tool(folder, "run", guest, "--", "echo here\\n", "shell sleep 600")
    assert tool.process.stdout is not None
    tool.process.stdout.readline()
    for _ in range(20):
        tool.process.send_signal(signal.SIGINT)
        time.sleep(0.002)
    assert tool.finish()[0] == 130
    assert tool.left_behind() == []
    folder.rmdir()


@pytest.mark.parametrize("victim", ["qemu-system-x86_64", "gdb"])
def test_the_death_of_a_child_ends_the_run(guest: Path, victim: str) -> None:
    folder = Path(tempfile.mkdtemp(prefix="lmbt", dir="/tmp"))
    tool = Tool(folder, "run", guest, "--until", "never")
    deadline = time.monotonic() + PATIENCE_S
    found: list[int] = []
    while not found:
        assert time.monotonic() < deadline
        time.sleep(0.05)
        found = [pid for pid in tool.relatives() if program_of(pid) == victim]
    os.kill(found[0], signal.SIGKILL)
    status, _, err = tool.finish()
    assert status == 4
    assert f"{victim} was killed by SIGKILL" in err
    assert tool.left_behind() == []
    folder.rmdir()


def test_without_the_reaper_the_rest_still_works(guest: Path, tmp_path: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="lmbt", dir="/tmp"))
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    tool = Tool(folder, "run", guest, "--", "echo here\\n", f"shell cat {gate}")
    assert tool.process.stdout is not None
    tool.process.stdout.readline()
    with gate.open("w"):
        # All have been started, and none ends.
        reapers = [pid for pid in tool.relatives() if b"runner.reaper" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        assert len(reapers) == 1
        os.kill(reapers[0], signal.SIGKILL)
    assert tool.finish()[0] == 5
    assert tool.left_behind() == []
    folder.rmdir()
