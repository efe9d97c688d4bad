# SPDX-License-Identifier: GPL-2.0-or-later
"""Long work shows how far it is, on a terminal only; what is broken off says what is kept."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gdb_lmb.cli.trace import _kept
from gdb_lmb.core.errors import InfrastructureError
from gdb_lmb.core.operation import TraceHeader
from gdb_lmb.kernels import fetch
from gdb_lmb.kernels.apt import Apt, Package, Sizes
from gdb_lmb.kernels.cache import Name
from gdb_lmb.report.progress import INTERVAL_S, ProgressLine
from gdb_lmb.report.trace_file import TraceEnd, TraceOutput, TraceReader
from tests.helpers.on_terminal import on_terminal
from tests.helpers.packages import made_package
from tests.helpers.tool import Tool, program_of

ROOT = Path(__file__).resolve().parent.parent.parent
MAIN = [sys.executable, "-c", "import sys; from gdb_lmb.cli import main; sys.exit(main())"]
ROW = Name("debian:6", ("trixie",), "linux-image-6.", "cloud-amd64", "amd64")

SHOWN = """
import os, sys, time
from pathlib import Path
from gdb_lmb.report.progress import ProgressLine
line = ProgressLine()
for number in range(3):
    line.show(f"{number} of 3, " + "x" * 100)
    time.sleep(0.12)
line.show("too soon"); line.show("too soon")
line.clear(); line.clear()
print("end", file=sys.stderr)
"""
"""What shows three texts, each longer than the terminal, then takes the line away."""


def shown(columns: int, **environment: str | None) -> str:
    words = [sys.executable, "-c", SHOWN]
    return on_terminal(words, columns, {"PYTHONPATH": str(ROOT), **environment}, errors_too=True).text


class Tty(io.StringIO):
    """A terminal, which may be gone."""

    gone = False

    def isatty(self) -> bool:
        super().isatty()  # which is refused of a closed one
        return True

    def flush(self) -> None:
        if self.gone:
            raise BrokenPipeError


def test_what_a_terminal_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 5.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "10")
    stream = Tty()
    line = ProgressLine(stream)
    line.clear()
    line.show("1234567890")
    line.show("not yet")
    now += INTERVAL_S
    line.show("123456789")
    line.clear()
    line.clear()
    assert stream.getvalue() == "\r\x1b[K123...890\r\x1b[K123456789\r\x1b[K"
    now += INTERVAL_S
    monkeypatch.setenv("COLUMNS", "1")
    line.show("ab")
    assert stream.getvalue().endswith("\r\x1b[Ka")
    # No more once it is gone, closed, no terminal, or one that obeys nothing.
    now += INTERVAL_S
    stream.gone = True
    line.show("x")
    now += INTERVAL_S
    assert not line.wanted()
    stream.close()
    assert ProgressLine(stream).wanted() is False
    assert not ProgressLine(io.StringIO()).wanted() and ProgressLine(Tty()).wanted()
    monkeypatch.setenv("TERM", "dumb")
    assert not ProgressLine(Tty()).wanted()


def test_one_line_is_written_anew_and_taken_away() -> None:
    text = shown(40)
    assert [part[:6] for part in text.split("\r\x1b[K")] == ["", "0 of 3", "1 of 3", "2 of 3", "too so", "end\n"]
    assert all(len(part) <= 39 for part in text.split("\r\x1b[K"))
    assert text.count("\n") == 1


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"TERM": None}], ids=["dumb", "none"])
def test_not_on_a_terminal_that_obeys_nothing(environment: dict[str, str | None]) -> None:
    assert shown(40, **environment) == "end\n"


def test_not_in_a_pipe() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHOWN], capture_output=True, timeout=60, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"},
    )  # fmt: skip
    assert done.stderr == b"end\n" and done.stdout == b""


def test_a_replay_shows_how_far_it_is(tmp_path: Path) -> None:
    operations = tmp_path / "ops.jsonl"
    line = '{"op": "add", "base": "0x100000", "size": 4096}\n{"op": "remove", "base": "0x100000", "size": 4096}\n'
    operations.write_text(line * 60_000)
    found = on_terminal([*MAIN, "replay", operations], 200, {"PYTHONPATH": str(ROOT)}, errors_too=True)
    assert found.status == 0
    seen = re.findall(r"ops\.jsonl: ([\d,]+) lines, (\d+) %", found.text)
    assert len(seen) >= 2
    numbers = [(int(number.replace(",", "")), int(share)) for number, share in seen]
    assert numbers == sorted(numbers) and all(abs(share - number / 1200) <= 1 for number, share in numbers)
    # What it prints is whole, behind the line that was taken away.
    assert len(json.loads(found.text[found.text.index('{"results"') :])["results"]) == 120_000


class _Interrupted(Apt):
    """apt that gets half of the first package before the user has had enough."""

    def __init__(self, folder: Path, why: BaseException) -> None:
        (folder / "debs").mkdir(parents=True)
        self.folder, self.row, self.why = folder, ROW, why
        self.sizes = {("image", "6-1"): Sizes(3 << 20, 20 << 20), ("image-dbg", "6-1"): Sizes(5 << 20, 80 << 20)}

    def run(self, *words: str, program: str = "apt-get", cwd: Path | None = None, told: object = None) -> str:
        if words[0] == "download":
            assert cwd is not None
            (cwd / "image_6-1.deb").write_bytes(b"x" * (1 << 20))
            raise self.why
        return ""


@pytest.mark.parametrize("why", [KeyboardInterrupt(), InfrastructureError("apt-get download failed: no route")])
def test_a_download_says_its_size_before_and_what_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: BaseException
) -> None:
    packages: list[Package] = [("image", "6-1", "00"), ("image-dbg", "6-1", "11")]
    monkeypatch.setattr(fetch, "Apt", lambda folder, row, lock, notice: _Interrupted(folder, why))
    monkeypatch.setattr(fetch, "require_apt", lambda: None)
    kind = fetch.Kind(0, lambda apt: packages, lambda debs, work: {})
    told: list[str] = []
    with pytest.raises(type(why)):
        fetch.newest(ROW, tmp_path, kind, lambda: None, told.append)
    sizes = r"8 MiB to fetch, at most 108 MiB of disk, of which [\d.]+ \w+ are free"
    assert re.fullmatch(rf"debian:6: fetching image, image-dbg 6-1: {sizes}", told[1])
    assert told[2] == "debian:6: 1 MiB of 8 MiB stay in the cache, and the next get-kernel goes on from there"


def test_the_sizes_come_from_the_index(tmp_path: Path) -> None:
    class Index(Apt):
        def __init__(self) -> None:
            self.row, self.sizes = ROW, {}

        def run(self, *words: str, program: str = "apt-get", cwd: Path | None = None, told: object = None) -> str:
            first = "Package: a\nVersion: 1\nSHA256: 00\nSize: 1000\nInstalled-Size: 3\n"
            return f"{first}\nPackage: a\nVersion: 2\nSHA256: 11\n"

    apt = Index()
    rows = apt._show("a")
    assert [version for _, version, _ in rows] == ["1", "2"]
    # What the index does not tell is not 0: then nothing tells how much all of them are.
    assert apt.total(rows[:1]) == Sizes(1000, 3072) and apt.total(rows) == Sizes(None, None)


UNPACK = """
import sys
from pathlib import Path
from gdb_lmb.kernels import fetch
fetch.extract_kernel(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_unpacking_shows_how_far_it_is(tmp_path: Path) -> None:
    deb = made_package(tmp_path, 8 << 20)
    words = [sys.executable, "-c", UNPACK, deb, tmp_path / "out"]
    found = on_terminal(words, 100, {"PYTHONPATH": str(ROOT)}, errors_too=True)
    assert found.status == 0
    assert re.search(r"unpacking linux-image-6_6-1_all\.deb: [\d.]+ [KM]iB of about 8 MiB", found.text)
    assert found.text.endswith("\r\x1b[K")
    assert fetch.KERNEL.needed_bytes


@pytest.mark.kernel
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, "gdb is killed"])
def test_a_trace_that_is_broken_off_says_what_is_kept(
    fixture_kernel: Path, tmp_path: Path, how: signal.Signals | str
) -> None:
    trace, folder = tmp_path / "t.jsonl", Path(os.fspath(tmp_path)) / "tmp"
    folder.mkdir()
    tool = Tool(folder, "trace", fixture_kernel, "-o", trace, "--append", "lmb.scenario=random lmb.ops=1000000")
    deadline = time.monotonic() + 60
    while not trace.exists() or trace.read_bytes().count(b'"op"') < 30:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    if isinstance(how, str):
        (gdb,) = (pid for pid in tool.relatives() if program_of(pid).startswith("gdb"))
        os.kill(gdb, signal.SIGKILL)
    else:
        tool.process.send_signal(how)
    status, _, errors = tool.finish()
    records = [line for line in trace.read_text().split("\n") if '"op"' in line and line.endswith("}")]
    if isinstance(how, str):
        assert (status, errors) == (4, "gdb-lmb: gdb was killed by SIGKILL\n")
    else:
        assert status == 128 + how
        kept = re.search(r"gdb-lmb: interrupted: ([\d,]+) operations kept in (.*)\n", errors)
        assert kept is not None and kept[2] == str(trace) and len(records) == int(kept[1].replace(",", ""))
    assert len(records) >= 28
    # The file has its end, and says whose program counters it holds; the state it ends with is not known.
    with trace.open("rb") as file:
        reader = TraceReader(file)
        callers = {pc for record in reader for pc in record.callers}
    assert reader.cut_off is None and reader.end == TraceEnd(len(records), None)
    assert callers <= reader.symbols.keys() and "setup_memory" in {one.function for one in reader.symbols.values()}
    assert tool.left_behind() == []


def test_a_trace_without_an_operation_has_its_end_too(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    output = TraceOutput(path)
    output.begin(TraceHeader("lmb-list", "x86_64", "little", 64, 4096))
    output.close()
    assert _kept(path, 0) == " before an operation was recorded"
    assert json.loads(path.read_text().splitlines()[-1]) == {"end": {"records": 0, "final": None}}
    # What is there of an older trace, before this one has begun, is left alone.
    path.write_text("older\n")
    assert _kept(path, None) == " before an operation was recorded" and path.read_text() == "older\n"
    assert _kept(path, 1) == f": nothing is kept in {path}"


@pytest.mark.kernel
def test_a_running_trace_shows_its_records(fixture_kernel: Path) -> None:
    words = [*MAIN, "trace", fixture_kernel, "--until", "lmb_scenario_done", "--append",
             "lmb.scenario=random lmb.ops=1600", "--", "lmb-trace status"]  # fmt: skip
    found = on_terminal(words, 120, {"PYTHONPATH": str(ROOT)}, errors_too=True)
    seen = [int(number.replace(",", "")) for number in re.findall(r" s, ([\d,]+) operations? recorded", found.text)]
    assert seen and seen == sorted(seen)
    total = re.findall(r"lmb-trace:\S* ([\d,]+) operations recorded, (?:of which \d+ failed, )?until", found.plain)
    assert total and seen[-1] <= int(total[0].replace(",", ""))
