# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks under infrastructure that fails at random: the exit status is right, nothing is left, no golden is damaged."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gdb_lmb.report.golden.reading import read_golden
from gdb_lmb.report.trace_file import TraceReader
from tests.helpers.soak import ROUNDS, SEED
from tests.helpers.tool import Tool

pytestmark = pytest.mark.kernel

RUNS = 200 if ROUNDS > 1 else 30
# A whole check takes about this long.
LONGEST_S = 1.5


class Place:
    """A folder with a golden of the fixture kernel, an initrd that makes a difference, and room for a run."""

    def __init__(self, golden: Path, kernel: Path) -> None:
        # Short, so that a socket has room.
        self.folder = Path(tempfile.mkdtemp(prefix="lmbc", dir="/tmp"))
        self.kernel = kernel
        self.golden = self.folder / "a.golden"
        self.golden.write_bytes(golden.read_bytes())
        self._content = self.golden.read_bytes()
        (self.folder / "initrd").write_bytes(bytes(1 << 20))
        self.temporary = self.folder / "tmp"
        self.temporary.mkdir()

    def check(self, *words: str | Path) -> Tool:
        return Tool(self.temporary, "check", self.kernel, "--golden", self.golden, *words)

    @property
    def differing(self) -> tuple[str | Path, ...]:
        return "--initrd", self.folder / "initrd"

    def assert_sound(self) -> None:
        """Nothing half-written is left, and the golden is what it was; what is new can be read."""
        assert self.golden.read_bytes() == self._content
        names = {path.name for path in self.folder.iterdir()}
        assert not {name for name in names if name.endswith((".partial", ".old"))}, names
        for path in self.folder.glob("*.new"):
            read_golden(path)


@pytest.fixture(scope="module")
def golden(fixture_kernel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chaos")
    (folder / "tmp").mkdir()
    assert Tool(folder / "tmp", "snapshot", fixture_kernel, "-o", folder / "a.golden").finish()[0] == 0
    return folder / "a.golden"


@pytest.fixture
def place(golden: Path, fixture_kernel: Path) -> Iterator[Place]:
    found = Place(golden, fixture_kernel)
    yield found
    found.assert_sound()
    for path in sorted(found.folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    found.folder.rmdir()


def kill_child(tool: Tool, name: str, chance: random.Random) -> bool:
    """Kill the run's QEMU or gdb at a random moment; tell whether there was one to kill."""
    deadline = time.monotonic() + chance.uniform(0.1, LONGEST_S)
    while time.monotonic() < deadline:
        time.sleep(0.01)
    for pid in tool.relatives():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().startswith(name[:15]):
                os.kill(pid, signal.SIGKILL)
                return True
    return False


def child_dies(name: str) -> Callable[[Place, random.Random], None]:
    def run(place: Place, chance: random.Random) -> None:
        tool = place.check()
        killed = kill_child(tool, name, chance)
        status, out, err = tool.finish()
        # It may have been killed when all was said.
        if status == 0:
            assert "no change from " in out
        else:
            assert (status, killed) == (4, True), err
            assert "was killed by SIGKILL" in err or "ended" in err or "connection" in err, err
        assert tool.left_behind() == []

    return run


def signalled(which: signal.Signals) -> Callable[[Place, random.Random], None]:
    def run(place: Place, chance: random.Random) -> None:
        tool = place.check(*place.differing)
        time.sleep(chance.uniform(0.0, LONGEST_S))
        tool.process.send_signal(which)
        status, out, err = tool.finish()
        # Python's own start-up may end otherwise; and it may have been over.
        starting = "dispatch" not in err and "Traceback" in err
        assert status in (128 + which, -which) or starting or (status == 1 and "1 change at" in out), err
        assert tool.left_behind() == []

    return run


@contextlib.contextmanager
def small_disk(place: Place, pages: int) -> Iterator[Path | None]:
    """A file system with the golden and room for `pages` pages more; None where none may be mounted."""
    folder = place.folder / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(words, capture_output=True, timeout=60, check=False).returncode:
        yield None
        return
    try:
        (folder / "a.golden").write_bytes(place.golden.read_bytes())
        room = os.statvfs(folder)
        (folder / "filler").write_bytes(bytes((room.f_bavail - pages) * room.f_bsize))
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], timeout=60, check=True)


# By what is written there: the command, its exit status, and the file that cannot be written; "DISK" is that disk.
FULL_DISKS: dict[str, tuple[list[str], int, str]] = {
    "another golden": (["snapshot", "-o", "DISK/b.golden"], 4, "b.golden"),
    "the golden": (["snapshot", "-o", "DISK/a.golden"], 4, "a.golden"),
    "FILE.new": (["check", "--golden", "DISK/a.golden", "--artefacts", "kept"], 4, "a.golden.new"),
    "actual": (["check", "--golden", "a.golden", "--actual", "DISK/actual"], 4, "actual"),
    "json": (["check", "--golden", "a.golden", "--report", "json=DISK/report"], 4, "report"),
    "junit": (["check", "--golden", "a.golden", "--report", "junit=DISK/report"], 4, "report"),
    "trace": (["trace", "-o", "DISK/trace"], 4, "trace"),
    "console": (["run", "--console", "DISK/console", "--", "lmb-check"], 4, "console"),
    "artefacts": (["check", "--golden", "a.golden", "--artefacts", "DISK/kept"], 1, "kept"),
}


def on_full_disk(place: Place, which: str) -> None:
    """Nothing is half-written, one line says why, and where no verdict is lost it stays."""
    words, expected, name = FULL_DISKS[which]
    with small_disk(place, 0) as disk:
        target = str(disk / name if disk else "/dev/full")
        if disk is None:
            if which not in ("actual", "json", "junit"):
                return
            words = [word.replace(f"DISK/{name}", target) for word in words]
        paths = {"a.golden": str(place.golden), "kept": str(place.folder / "kept")}
        words = [paths.get(word, word).replace("DISK", str(disk)) for word in words]
        tool = Tool(place.temporary, words[0], place.kernel, *place.differing, *words[1:])
        status, _, err = tool.finish()
        why = [line for line in err.splitlines() if "No space left on device" in line]
        assert (status, len(why), target in why[0]) == (expected, 1, True), err
        assert tool.left_behind() == []
        if disk is not None:
            assert (disk / "a.golden").read_bytes() == place.golden.read_bytes()
            assert {path.name for path in disk.iterdir()} == {"a.golden", "filler"}


def disk_full(place: Place, chance: random.Random) -> None:
    on_full_disk(place, chance.choice(list(FULL_DISKS)))


def no_room_for_new(place: Place, chance: random.Random) -> None:
    """Where FILE.new cannot be written, the check says so, whatever else it found."""
    (place.folder / "a.golden.new" / "taken").mkdir(parents=True)
    tool = place.check(*place.differing, *[f"--report=json={place.folder / 'json'}"] * chance.randrange(2))
    status, _, err = tool.finish()
    assert (status, "cannot write" in err) == (4, True), err
    assert tool.left_behind() == []
    (place.folder / "a.golden.new" / "taken").rmdir()
    (place.folder / "a.golden.new").rmdir()


def long_socket_path(place: Place, chance: random.Random) -> None:
    place.temporary = place.folder / "tmp" / ("x" * chance.randrange(60, 200))
    place.temporary.mkdir()
    tool = place.check()
    status, out, err = tool.finish()
    assert (status, err) == (0, "")
    assert "no change from " in out
    assert tool.left_behind() == []


def stale_socket(place: Place, chance: random.Random) -> None:
    """What a run of long ago left does not matter, and a stub that nobody serves is no verdict."""
    stale = place.folder / "stale.sock"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(stale))
    tool = Tool(place.temporary, "attach", f"unix:{stale}", place.kernel)
    assert tool.finish()[0] == 4
    assert tool.left_behind() == []
    (place.folder / "a.golden.failed").write_text("not ours")
    tool = place.check(*place.differing)
    status, _, err = tool.finish()
    # A file of somebody's in the place of the folder stays, and the verdict is what it was.
    assert (status, "cannot write the artefacts into" in err) == (1, True), err
    assert (place.folder / "a.golden.failed").read_text() == "not ours"
    assert tool.left_behind() == []


FAULTS: dict[str, Callable[[Place, random.Random], None]] = {
    "qemu dies": child_dies("qemu-system-x86_64"),
    "gdb dies": child_dies("gdb"),
    "interrupt": signalled(signal.SIGINT),
    "terminate": signalled(signal.SIGTERM),
    "disk full": disk_full,
    "no room": no_room_for_new,
    "long path": long_socket_path,
    "stale": stale_socket,
}


@pytest.mark.random
@pytest.mark.parametrize("number", range(SEED, SEED + RUNS))
def test_chaos(place: Place, number: int) -> None:
    list(FAULTS.values())[number % len(FAULTS)](place, random.Random(number))


@pytest.mark.parametrize("which", FULL_DISKS)
def test_a_full_disk(place: Place, which: str) -> None:
    on_full_disk(place, which)


def test_a_disk_that_fills_up_leaves_a_trace_of_whole_lines(place: Place) -> None:
    with small_disk(place, 1) as disk:
        if disk is None:
            return
        tool = Tool(place.temporary, "trace", place.kernel, "-o", disk / "trace")
        status, _, err = tool.finish()
        found = re.search(r"No space left on device; it holds the first (\d+) operations only", err)
        assert (status, found is None) == (4, False), err
        with (disk / "trace").open("rb") as file:
            reader = TraceReader(file)
            assert found is not None and len(list(reader)) == int(found[1])
        assert not reader.broken_line and reader.cut_off == f"cut off after record {found[1]}"
        assert tool.left_behind() == []


def test_accept_needs_no_room(place: Place) -> None:
    with small_disk(place, 1) as disk:
        folder = disk or place.folder / "disk"
        golden, new = folder / "a.golden", folder / "a.golden.new"
        golden.write_bytes(place.golden.read_bytes())
        renewed = place.golden.read_text().replace("lmb_ready", "elsewhere")
        new.write_text(renewed)
        if disk is not None:
            assert os.statvfs(disk).f_bavail == 0
        tool = Tool(place.temporary, "accept", golden)
        assert tool.finish()[0] == 0
        assert golden.read_text() == renewed and not new.exists()
        if disk is None:
            golden.unlink()


def test_eight_side_by_side_in_one_folder(place: Place) -> None:
    """Each says what it found, and the folder with the artefacts, and FILE.new, are whole: of one of them."""
    tools = [place.check(*place.differing) for _ in range(8)]
    for tool in tools:
        status, out, err = tool.finish(120)
        assert (status, "by reserve_initrd, 1 MiB, appeared" in out) == (1, True), err
        assert err.splitlines() == [f"gdb-lmb: artefacts are in {place.golden}.failed"]
    assert [tool.left_behind() for tool in tools] == [[]] * 8
    kept = place.folder / "a.golden.failed"
    assert {"actual.golden", "check.txt", "command.sh", "console.log", "diff.txt"} <= {
        one.name for one in kept.iterdir()
    }
    assert read_golden(kept / "actual.golden").golden.stops == read_golden(place.folder / "a.golden.new").golden.stops
