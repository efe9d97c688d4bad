# SPDX-License-Identifier: GPL-2.0-or-later
"""Output files that cannot be written: one clear line, status 4, and nothing half-written without saying so."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gdb_lmb.cli import main
from gdb_lmb.core.errors import InfrastructureError, OutputError, UsageError
from gdb_lmb.kernels.fetch import write_file
from gdb_lmb.report.output import require_apart, require_writable, told_of, whole_file
from gdb_lmb.runner.session import CommandError
from tests.helpers.live import guest_of, no_breakpoint_is_left, read, status_of
from tests.helpers.traces import SOUND, text_of

FULL = Path("/dev/full")


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_whole_file_takes_its_place_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with whole_file(path) as stream:
        stream.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new" and names(tmp_path) == ["out"]
    path.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to("out")
    with whole_file(link) as stream:
        stream.write(b"newer")
    assert link.is_symlink() and path.read_bytes() == b"newer"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), whole_file(path) as stream:
        stream.write(b"half")
        stream.flush()
        raise ZeroDivisionError
    assert path.read_bytes() == b"old" and names(tmp_path) == ["out"]


@pytest.mark.parametrize(
    ("path", "why"),
    [(FULL, "No space left on device"), (Path("/nonexistent/x"), "No such file or directory"),
     (Path("/"), "Is a directory"), (Path("/dev/null/x"), "Not a directory")],
)  # fmt: skip
def test_what_cannot_be_written_is_named(path: Path, why: str) -> None:
    with pytest.raises(OutputError, match=f"^cannot write {path}: {why}$"), whole_file(path) as stream:
        stream.write(b"x")
    assert stat.S_ISCHR(FULL.stat().st_mode)


def test_whether_a_file_can_be_written_is_asked_without_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "out"
    require_writable(path)
    assert not path.exists()
    path.write_bytes(b"old")
    require_writable(path)
    assert path.read_bytes() == b"old"
    with pytest.raises(OutputError, match="Is a directory"):
        require_writable(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    require_writable(tmp_path / "pipe")
    with pytest.raises(UsageError, match="is read, so it cannot be written too"):
        require_apart(path, None, tmp_path / "none", path)
    require_apart(path, tmp_path)


def test_the_file_in_question_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"^cannot write made up/inner: No such file$"), told_of(Path("made up")):
        raise FileNotFoundError(2, "No such file", "made up/inner")
    # A link as it was given, not what it is for.
    link = tmp_path / "link"
    link.symlink_to("none/there")
    with pytest.raises(OutputError) as refusal:
        require_writable(link)
    assert str(refusal.value) == f"cannot write {link}: No such file or directory"
    long = tmp_path / ("x" * 200) / ("y" * 200)
    long.parent.mkdir()
    long.touch()
    with pytest.raises(UsageError) as refused:
        require_apart(long, long)
    assert str(refused.value) == f"{str(long)[:200]}... is read, so it cannot be written too: name another file"


def test_a_full_disk_under_the_cache() -> None:
    with pytest.raises(OutputError, match=r"^cannot write /dev/full: No space left on device$"):
        write_file(FULL, io.BytesIO(b"x" * 10))


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return the one line that a failing command line says."""
    assert main(list(words)) == 4
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if not line.startswith("gdb-lmb: lmb-")]
    assert len(lines) == 1 and "Traceback" not in out + err and "Error occurred in Python" not in out + err
    return lines[0]


def test_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = tmp_path / "trace"
    trace.write_text(text_of(SOUND))
    said = refused(capsys, "export", str(trace), "--c", "-o", "/dev/full", "--name", "boot")
    assert said == "gdb-lmb: cannot write /dev/full: No space left on device"
    assert stat.S_ISCHR(FULL.stat().st_mode)
    said = refused(capsys, "export", str(trace), "--c", "-o", "/nonexistent/x.c")
    assert said == "gdb-lmb: cannot write /nonexistent/x.c: No such file or directory"
    assert main(["export", str(trace), "--c", "--name", "boot", "-o", str(trace)]) == 2
    assert "is read, so it cannot be written too" in capsys.readouterr().err


@pytest.mark.kernel
def test_trace_and_console(fixture_kernel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kernel = str(fixture_kernel)
    full = "cannot write /dev/full: No space left on device"
    assert full in refused(capsys, "trace", kernel, "-o", "/dev/full")
    assert "cannot write /nonexistent/t: No such" in refused(capsys, "trace", kernel, "-o", "/nonexistent/t")
    assert "cannot write /nonexistent/c: No such" in refused(capsys, "run", kernel, "--console", "/nonexistent/c")
    said = refused(capsys, "run", kernel, "--console", "/dev/full", "--", "lmb-check")
    assert said == f"gdb-lmb: {full}"
    before = fixture_kernel.stat()
    assert main(["trace", kernel, "-o", kernel]) == 2 and main(["run", kernel, "--console", kernel]) == 2
    assert fixture_kernel.stat() == before


@pytest.mark.kernel
def test_commands_in_gdb(fixture_kernel: Path, tmp_path: Path) -> None:
    with guest_of(fixture_kernel, "") as guest:
        for path, why in (("/dev/full", "No space left on device"), ("/nonexistent/t", "No such file or directory")):
            with pytest.raises(InfrastructureError, match=f"failed: lmb-trace: cannot write {path}: {why}$"):
                guest.command(f"lmb-trace start -o {path}")
            assert guest.command("output $lmb_status") == "4"
            assert no_breakpoint_is_left(guest)
        with pytest.raises(CommandError):
            guest.command("lmb-free --typo")
        assert guest.command("output $lmb_status") == "2"
        guest.command("lmb-trace start --until lmb_ready")
        guest.run_on("lmb_ready")
        saved = tmp_path / "saved"
        guest.command(f"lmb-trace save {saved}")
        whole = saved.read_bytes()
        for path in ("/dev/full", "/nonexistent/t"):
            with pytest.raises(InfrastructureError, match=f"failed: lmb-trace: cannot write {path}: "):
                guest.command(f"lmb-trace save {path}")
        with pytest.raises(InfrastructureError, match="cannot write /dev/full"):
            guest.command("lmb-trace save /dev/full --from-log")
        assert saved.read_bytes() == whole and stat.S_ISCHR(FULL.stat().st_mode)
        assert "clean" in guest.command("lmb-check")


def reader_of(pipe: Path, lines: int) -> threading.Thread:
    """Read so many lines of a named pipe, then close it."""

    def read_some() -> None:
        with pipe.open("rb") as stream:
            for _ in range(lines):
                stream.readline()

    thread = threading.Thread(target=read_some, daemon=True)
    thread.start()
    return thread


@pytest.mark.kernel
def test_a_file_that_takes_no_more_in_the_middle_of_a_trace(fixture_kernel: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = reader_of(pipe, 5)
    with guest_of(fixture_kernel, "lmb.scenario=random lmb.ops=300") as guest:
        guest.command(f"lmb-trace start --lockstep -o {pipe}")
        guest.run_on("the end")
        reader.join(30)
        status = status_of(guest)
        told = status["write_error"]
        assert told.startswith(f"cannot write {pipe}: Broken pipe; it holds the first ")
        # What is in memory is whole all the same, and nothing is blamed on the kernel.
        assert status["ended"] == told and not status["complete"] and status["divergence"] is None
        assert status["findings"] == [] and not status["compared"]
        assert no_breakpoint_is_left(guest)
        saved = tmp_path / "saved"
        guest.command(f"lmb-trace save {saved}")
        assert len(read(saved)[1]) == status["records"] > 0
        assert "lmb-check: clean" in guest.command("lmb-check --no-log")


@pytest.mark.kernel
def test_the_command_line_says_so_too(fixture_kernel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = reader_of(pipe, 3)
    said = refused(capsys, "trace", str(fixture_kernel), "-o", str(pipe), "--", "lmb-check")
    reader.join(30)
    assert said.startswith(f"gdb-lmb: cannot write {pipe}: Broken pipe; it holds the first ")


@pytest.mark.kernel
def test_closed_streams_are_not_taken_for_sockets(fixture_kernel: Path) -> None:
    line = f"{sys.executable} -m gdb_lmb run {fixture_kernel} -- lmb-check"
    for streams, status in (("<&-", 0), ("<&- 2>&-", 0), (">&-", 4), ("<&- >&- 2>&-", 4), (">/dev/full", 4)):
        done = subprocess.run(["bash", "-c", f"{line} {streams}"], capture_output=True, timeout=90, check=False)
        assert done.returncode == status, (streams, done)
        assert (b"lmb-check: clean" in done.stdout) == (status == 0)
        assert b"not a socket" not in done.stderr and b"Traceback" not in done.stderr
