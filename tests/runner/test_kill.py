# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs killed at random moments leave no process, no socket, no folder."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import time
from pathlib import Path

import pytest

from gdb_lmb.runner.process import RunFolder
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


@pytest.fixture(params=["setpriv", "python"])
def started_by(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """By which of the two ways programs are started: without setpriv, or with Busybox's, a bare Python does it."""
    if request.param == "python":
        folder = tmp_path / "path"
        folder.mkdir()
        for name in ("gdb", "qemu-system-x86_64", "cat", "grep"):
            (folder / name).symlink_to(str(shutil.which(name)))
        (folder / "busybox").touch(0o755)
        (folder / "setpriv").symlink_to("busybox")
        monkeypatch.setenv("PATH", str(folder))
    return str(request.param)


def test_where_nothing_else_is_left_the_kernel_ends_all(guest: Path, tmp_path: Path, started_by: str) -> None:
    folder = Path(tempfile.mkdtemp(prefix="lmbt", dir="/tmp"))
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    tool = Tool(folder, "run", guest, "--", "echo here\\n", f"shell cat {gate}")
    assert tool.process.stdout is not None
    tool.process.stdout.readline()
    with gate.open("w"):
        (reaper,) = (pid for pid in tool.relatives() if b"runner.reaper" in Path(f"/proc/{pid}/cmdline").read_bytes())
        os.kill(reaper, signal.SIGKILL)
        tool.kill()
        tool.process.wait(PATIENCE_S)
    deadline = time.monotonic() + PATIENCE_S
    while left := tool.relatives():
        assert time.monotonic() < deadline, [program_of(pid) for pid in left]
        time.sleep(0.02)


@pytest.mark.usefixtures("started_by")
def test_what_a_program_finds_when_it_starts() -> None:
    folder = RunFolder()
    try:
        grep = str(Path(str(shutil.which("grep"))).resolve())
        child = folder.spawn(
            "grep", [grep, "-e", "^SigIgn", "-e", "^SigBlk", "-e", "^PPid", "/proc/self/status"], pipes=True
        )
        assert child.process.stdout is not None
        rows = dict(line.split(":\t") for line in child.process.stdout.read().decode().splitlines())
        assert child.process.wait(PATIENCE_S) == 0
    finally:
        folder.close()
    assert (int(rows["PPid"]), int(rows["SigBlk"], 16)) == (os.getpid(), 0)
    # As of Python's own, whatever else whoever started it ignores.
    assert all(int(rows["SigIgn"], 16) >> (number - 1) & 1 for number in (signal.SIGPIPE, signal.SIGXFSZ))


@pytest.mark.usefixtures("started_by")
@pytest.mark.parametrize("content", [b"echo never\n", b"\x7fELF\x02\x01\x01" + bytes(11) + b"\xff\xff" + bytes(44)])
def test_what_cannot_be_executed_is_taken_for_no_script(tmp_path: Path, content: bytes) -> None:
    """A shell would: it reads what execve(2) refuses with ENOEXEC as commands."""
    program = tmp_path / "program"
    program.write_bytes(content)
    program.chmod(0o755)
    folder = RunFolder()
    try:
        child = folder.spawn("qemu", [str(program)])
        assert child.ended(PATIENCE_S)
        assert child.how_it_ended() == f"qemu could not be started: {program}: Exec format error"
    finally:
        folder.close()
