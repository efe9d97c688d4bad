# SPDX-License-Identifier: GPL-2.0-or-later
"""`gdb-lmb run`: each exit status, what goes to stdout and to stderr, and bad input; real gdb and QEMU."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from gdb_lmb.arches.registry import NAMES, named
from gdb_lmb.cli import main
from gdb_lmb.core.errors import InfrastructureError, UsageError
from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import CommandError, GuestSession, NotReachedError
from tests.helpers.tool import Tool, build_guest

Capture = pytest.CaptureFixture[str]
EXIT = "--qemu-arg=-device", "--qemu-arg=isa-debug-exit,iobase=0xf4"
EXITED = "gdb-lmb: qemu-system-x86_64 ended with status 7: the guest ended it, by isa-debug-exit"


@pytest.fixture(scope="module")
def guests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every small guest."""
    folder = tmp_path_factory.mktemp("guests")
    for kind in ("ready", "spin", "exit", "ready_exit"):
        build_guest(folder, kind)
    return folder


@pytest.fixture
def folder() -> Path:
    """A short TMPDIR of the test's own: sockets have short names."""
    return Path(tempfile.mkdtemp(prefix="lmbt", dir="/tmp"))


def run(kernel: Path, *words: str) -> int:
    return main(["run", str(kernel), *words])


# --- status 0, 1 and 5 ------------------------------------------------------------------------------------


def test_commands_run_in_order_and_nothing_else_is_on_stdout(guests: Path, capfd: Capture) -> None:
    commands = ("echo one\\n", "shell echo two", "shell printf three", "print 4", "monitor info status",
                "python gdb.write('f\\u00fcnf\\n')", "stepi", "echo \\033[1m\"q\\\\\\n", "echo >")  # fmt: skip
    assert run(guests / "ready", "--", *commands) == 5
    out, err = capfd.readouterr()
    lines = out.split("\n")
    assert lines[:5] == ["one", "two", "three$1 = 4", "VM status: paused (debug)", "fünf"]
    assert lines[5].endswith("incl counter")
    assert lines[6:] == ['\033[1m"q\\', ">"]
    assert err == "gdb-lmb: no command that checks ran: nothing was verified\n"


def test_commands_wait_for_the_guest(guests: Path, capfd: Capture) -> None:
    commands = ("tbreak lmb_scenario_done", "continue", "print $pc == lmb_scenario_done", "stepi")
    assert run(guests / "ready", "--", *commands) == 5
    assert "$1 = 1\n" in capfd.readouterr().out


@pytest.mark.kernel
def test_the_fixture_kernel_is_clean(fixture_kernel: Path, capfd: Capture) -> None:
    assert run(fixture_kernel) == 0
    out, err = capfd.readouterr()
    assert out.splitlines()[-1] == (
        "lmb-check: clean, verified: 64 entries, 7 regions, 1 block; 19 operations replayed on the model"
    )
    assert err == ""


@pytest.mark.kernel
def test_findings_are_status_1(fixture_kernel: Path, capfd: Capture) -> None:
    assert run(fixture_kernel, "--", "set var lmb.reserved.cnt = lmb.reserved.cnt + 1", "lmb-check") == 1
    out, err = capfd.readouterr()
    assert "count-mismatch" in out
    assert "finding" in err


@pytest.mark.kernel
def test_a_run_counts_each_finding_once(fixture_kernel: Path, capfd: Capture) -> None:
    damage = "set var lmb.reserved.cnt = lmb.reserved.cnt + 1"
    # lmb-dump and lmb-check look at the same state and find the same.
    assert run(fixture_kernel, "--", damage, "lmb-dump", "lmb-check --no-log", "lmb-check --no-log", "lmb-verdict") == 1
    out, err = capfd.readouterr()
    assert "lmb-check: 1 finding in" in out and err == "gdb-lmb: 1 finding\n"
    verdict = json.loads(next(line for line in out.splitlines() if line.startswith("{")))
    assert [check["findings"] for check in verdict["checks"]] == [1, 1, 1] and verdict["findings"] == 1
    # What a later state has besides is another one; forgetting begins anew.
    worse = "set var lmb.memory.cnt = lmb.memory.cnt + 1"
    assert run(fixture_kernel, "--", damage, "lmb-check --no-log", worse, "lmb-check --no-log") == 1
    assert capfd.readouterr().err == "gdb-lmb: 2 findings\n"
    assert run(fixture_kernel, "--", damage, "lmb-check --no-log", "lmb-verdict --reset", worse, "lmb-dump") == 1
    assert capfd.readouterr().err == "gdb-lmb: 2 findings\n"


# --- status 2 ---------------------------------------------------------------------------------------------


def _damaged(folder: Path, ready: Path) -> dict[str, Path]:
    """Return kernels that are none."""
    good = ready.read_bytes()
    contents = {
        "empty": b"", "text": b"#!/bin/sh\n", "magic": b"\x7fELF", "header": good[:40], "cut": good[: len(good) // 2],
        "class": good[:4] + b"\7" + good[5:], "alien": good[:18] + b"\xff\x7f" + good[20:],
        "sections": good[:58] + b"\1\0" + good[60:],
    }  # fmt: skip
    found = {}
    for name, content in contents.items():
        found[name] = folder / name
        found[name].write_bytes(content)
    found["stripped"] = folder / "stripped"
    subprocess.run(["strip", "-o", found["stripped"], ready], check=True, timeout=60)
    found["missing"] = folder / "missing"
    found["folder"] = folder
    found["fifo"] = folder / "fifo"
    os.mkfifo(found["fifo"])
    return found


def test_bad_kernels(guests: Path, tmp_path: Path, capfd: Capture) -> None:
    kernels = _damaged(tmp_path, guests / "ready")
    for name, kernel in kernels.items():
        assert run(kernel) == 2, name
        out, err = capfd.readouterr()
        assert (out, err.count("\n")) == ("", 1), name
        assert str(kernel) in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--until", "no_such_symbol"), "no_such_symbol"),
        (("--until", "counter"), "counter"),
        (("--until", "*"), "cannot stop at *"),
        (("--until", ""), "empty"),
        (("--", "print no_such_symbol", "echo not reached"), "'print no_such_symbol' failed: No symbol"),
        (("--", "no-such-command"), "'no-such-command' failed"),
        (("--", "python raise ValueError(3)"), "failed"),
        (("--", "define x", "echo not reached"), "source FILE"),
        (("--", "echo a\necho b"), "one line"),
        (("--timeout", "3", "--", "continue", "echo not reached"), "did not stop within 3 s"),
        (("--timeout", "3", "--", "continue &", "echo not reached"), "did not stop within 3 s"),
        (("--memory", "lots"), "memory"),
        (("--initrd", "/nonexistent"), "/nonexistent"),
    ],
)
def test_usage_errors(guests: Path, words: tuple[str, ...], says: str, capfd: Capture) -> None:
    assert run(guests / "ready", *words) == 2
    out, err = capfd.readouterr()
    assert "not reached" not in out
    assert says in err
    assert err.count("\n") == 1


def test_a_kernel_without_the_default_symbol(guests: Path, capfd: Capture) -> None:
    assert run(guests / "spin") == 2
    assert "--until" in capfd.readouterr().err


def test_a_command_that_runs_the_guest_twice_is_waited_for(guests: Path, tmp_path: Path, capfd: Capture) -> None:
    """To MI it has its result as soon as the guest runs first."""
    script = tmp_path / "twice.py"
    lines = ["import gdb", "class Twice(gdb.Command):", "    def invoke(self, argument, from_tty):"]
    lines += [f"        {what}" for what in ("gdb.execute('stepi')", "gdb.execute('stepi')", "print('after both')")]
    lines += ["        if argument: raise gdb.GdbError('no cheese')", "Twice('twice', gdb.COMMAND_USER)"]
    script.write_text("\n".join(lines) + "\n")
    with GuestSession(guests / "ready", timeout_s=60) as guest:
        guest.run_until()
        guest.command(f"source {script}")
        for _ in range(20):
            assert "after both" in guest.command("twice")
            with pytest.raises(CommandError, match="no cheese"):
                guest.command("twice and fail")
            assert guest.command("echo next") == "next"


def test_a_failing_script_is_a_failed_command(guests: Path, tmp_path: Path, capfd: Capture) -> None:
    """To gdb it is a success, with a traceback."""
    script = tmp_path / "bad.py"
    script.write_text("raise ValueError('no cheese')\n")
    assert run(guests / "ready", "--", f"source {script}") == 2
    assert "ValueError: no cheese" in capfd.readouterr().err


@pytest.mark.parametrize("words", [[], ["nonsense"], ["run"], ["run", "x", "--nonsense"], ["attach", "x"]])
def test_argparse_errors(words: list[str], capfd: Capture) -> None:
    assert main(words) == 2
    assert "usage: gdb-lmb" in capfd.readouterr().err


# --- status 3 ---------------------------------------------------------------------------------------------


@pytest.mark.kernel
@pytest.mark.parametrize("command", ["run", "trace"])
def test_the_lists_of_a_dead_guest_are_checked(fixture_kernel: Path, command: str, capfd: Capture) -> None:
    words = ("--append", "lmb.fault=overlap@9", "--until", "lmb_scenario_done", "--", "lmb-check --no-log")
    assert main([command, str(fixture_kernel), *words]) == 3
    out, err = capfd.readouterr()
    assert "lmb-check: 1 finding in: " in out and "gdb-lmb: 1 finding\n" in err
    assert "Kernel panic - not syncing: lmb.fault: no hand-over with corrupt lists" in err


def test_a_dead_guest_that_ends_qemu_with_a_status_is_infrastructure(guests: Path, capfd: Capture) -> None:
    assert run(guests / "exit", "--until", "never", *EXIT, "--", "print 1") == 4
    assert capfd.readouterr().err.splitlines()[-1] == EXITED


def test_a_guest_that_hangs(guests: Path, tmp_path: Path, capfd: Capture) -> None:
    console = tmp_path / "console"
    assert run(guests / "spin", "--until", "never", "--timeout", "3", "--console", str(console)) == 3
    assert "within 3 s; it was in spin at 0x1000" in capfd.readouterr().err
    assert console.read_bytes() == b"hello \033[31mred\r\nsecond line\n"


# --- status 4 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--qemu", "/nonexistent/qemu"), "/nonexistent/qemu not found"),
        (("--gdb", "/nonexistent/gdb"), "/nonexistent/gdb not found"),
        (("--qemu", "/bin/false"), "false ended with status 1"),
        (("--gdb", "/bin/true"), "gdb ended with status 0"),
        (("--qemu-arg=-nonsense",), "-nonsense: invalid option"),
        (("--machine", "nonsense"), "unsupported machine type"),
        (("--", "shell kill -9 $PPID", "echo not reached"), "gdb was killed by SIGKILL"),
        (("--", "quit", "echo not reached"), "gdb ended with status 0"),
        (("--timeout", "3", "--", "shell sleep 50"), "did not end within 3 s"),
    ],
)
def test_infrastructure_errors(guests: Path, words: tuple[str, ...], says: str, capfd: Capture) -> None:
    assert run(guests / "ready", *words) == 4
    out, err = capfd.readouterr()
    assert "not reached" not in out
    assert says in err
    assert err.count("\n") == 1


def test_a_guest_killed_by_a_command(guests: Path, capfd: Capture) -> None:
    """QEMU 7.2 ends at once; later ones shut the guest down, and keep it as told to."""
    assert run(guests / "ready", "--", "kill", "echo not reached") == 4
    out, err = capfd.readouterr()
    assert "not reached" not in out and err.count("\n") == 1
    assert "qemu-system-x86_64 ended" in err or "the connection to QEMU was lost during 'kill'" in err


def test_qemu_ended_by_its_guest(guests: Path, capfd: Capture) -> None:
    action = "--qemu-arg=-action", "--qemu-arg=shutdown=poweroff"
    assert run(guests / "exit", "--until", "never", *EXIT, *action) == 4
    assert capfd.readouterr().err.splitlines()[-1] == EXITED


def test_a_guest_that_ends_qemu(guests: Path, capfd: Capture) -> None:
    """QEMU 7.2 ends whatever it is told; a later one keeps the guest, which must not look as if it only stopped."""
    assert run(guests / "exit", "--until", "never", *EXIT) == 4
    assert capfd.readouterr().err.splitlines()[-1] == EXITED
    assert run(guests / "ready_exit", *EXIT, "--", "continue") == 4
    assert capfd.readouterr().err.splitlines()[-1] == EXITED


def test_missing_programs_name_their_packages(guests: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert run(guests / "ready") == 4
    says = "qemu-system-x86_64 and gdb not found; apt-get install qemu-system-x86 gdb\n"
    assert says in capfd.readouterr().err
    # Of another architecture, and before anything is fetched.
    monkeypatch.setenv("GDB_LMB_CACHE", "/nonexistent")
    assert main(["run", "debian:6.12-cloud-arm64"]) == 4
    says = "qemu-system-aarch64 and gdb-multiarch not found; apt-get install qemu-system-arm gdb-multiarch\n"
    assert says in capfd.readouterr().err
    assert run(guests / "ready", "--gdb", str(shutil.which("gdb", path=os.defpath))) == 4
    assert "apt-get install qemu-system-x86\n" in capfd.readouterr().err


def test_packages_of_qemu_have_these_names() -> None:
    """In this release: what holds the program has the name, or provides it."""
    programs = {f"/usr/bin/{arch.qemu}": arch.qemu_package for arch in map(named, NAMES)}
    found = {program: package for program, package in programs.items() if Path(program).exists()}
    assert len(set(found.values())) >= 4
    for program, package in found.items():
        holder, _, _ = subprocess.check_output(["dpkg-query", "-S", program], text=True, timeout=60).partition(": ")
        words = ["dpkg-query", "-W", "-f", "${Package} ${Provides}", holder]
        assert package in re.findall(r"[\w-]+", subprocess.check_output(words, text=True, timeout=60))


def test_disk_full(guests: Path, capfd: Capture) -> None:
    assert run(guests / "ready", "--console", "/dev/full", "--", "print 1") == 4
    out, err = capfd.readouterr()
    assert out == "$1 = 1\n"
    assert err.splitlines()[-1] == "gdb-lmb: cannot write /dev/full: No space left on device"


def test_stdout_full(guests: Path, folder: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        tool = Tool(folder, "run", guests / "ready", "--", "print 1", stdout=full.fileno())
        status, _, err = tool.finish()
    assert status == 4
    assert "No space left" in err
    assert "Traceback" not in err
    assert tool.left_behind() == []
    folder.rmdir()


# --- processes and streams --------------------------------------------------------------------------------


def test_output_comes_as_it_is_made(guests: Path, folder: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    tool = Tool(folder, "run", guests / "ready", "--", "echo first\\n", f"shell cat {gate}", "echo second\\n")
    assert tool.process.stdout is not None
    assert tool.process.stdout.readline() == b"first\n"
    gate.write_text("")
    assert tool.process.stdout.readline() == b"second\n"
    assert tool.finish()[0] == 5
    assert tool.left_behind() == []
    folder.rmdir()


def test_a_reader_that_leaves(guests: Path, folder: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    words = ("echo first\\n", f"shell cat {gate}", "echo second\\n", "info line")
    tool = Tool(folder, "run", guests / "ready", "--", *words)
    assert tool.process.stdout is not None
    tool.process.stdout.readline()
    tool.process.stdout.close()
    tool.process.stdout = None
    gate.write_text("")
    status, _, err = tool.finish()
    assert (status, err) == (128 + 13, "")
    assert tool.left_behind() == []
    folder.rmdir()


def test_background_programs_of_commands_end_too(guests: Path, folder: Path) -> None:
    tool = Tool(folder, "run", guests / "ready", "--", "shell sleep 600 & setsid sleep 600 &", "print 1")
    assert tool.finish()[0] == 5
    assert tool.left_behind(0) == []
    folder.rmdir()


def test_odd_file_names(guests: Path, tmp_path: Path, capfd: Capture) -> None:
    odd = tmp_path / "a b'\"\\\n,ü\udcff$(x)"
    shutil.copy(guests / "ready", odd)
    assert run(odd, "--", "print 1") == 5
    assert capfd.readouterr().out == "$1 = 1\n"
    odd.unlink()
    assert run(odd) == 2
    assert capfd.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("name", ["a:b,c", "x" * 100, "nonexistent/x"])
def test_unsuitable_temporary_folders(guests: Path, folder: Path, name: str) -> None:
    """Sockets need a short name, gdb one without a colon: then the folder is in /tmp."""
    inner = folder / name
    if "/" not in name:
        inner.mkdir()
    environment = {**os.environ, "TMPDIR": str(inner)}
    code = "import sys; from gdb_lmb.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "run", guests / "ready", "--", "print 1"],
        env=environment,
        capture_output=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parent.parent.parent,
    )
    assert (done.returncode, done.stdout) == (5, b"$1 = 1\n")
    shutil.rmtree(folder)


# --- the Python interface ---------------------------------------------------------------------------------


def test_many_commands_in_one_session(guests: Path) -> None:
    said: list[str] = []
    with GuestSession(guests / "ready", QemuOptions(memory="64M"), notice=said.append) as guest:
        folder, processes = guest.folder, [guest.qemu.child.process, guest.mi.gdb.process]
        assert guest.run_until().function == "lmb_ready"
        for number in range(50):
            assert guest.command(f"print {number} + 1").endswith(f" = {number + 1}\n")
        with pytest.raises(CommandError, match="no_such") as caught:
            guest.command("print no_such")
        assert caught.value.command == "print no_such"
        assert guest.run_until("lmb_scenario_done").function == "lmb_scenario_done"
        assert guest.console() == b"hello \033[31mred\r\nsecond line\n"
        with pytest.raises(UsageError):
            guest.run_until("no_such")
        assert guest.verdict().checks == ()
        with pytest.raises(NotReachedError, match="it was in spin"):
            guest.run_until("never", timeout_s=0.5)
        assert guest.command("print 1").endswith(" = 1\n")
    assert not folder.exists()
    assert all(process.returncode is not None for process in processes)
    assert said == []


@pytest.mark.parametrize("victim", ["qemu", "gdb"])
def test_the_death_of_a_child_is_no_verdict(guests: Path, victim: str) -> None:
    with GuestSession(guests / "ready") as guest:
        guest.run_until()
        process = (guest.qemu.child if victim == "qemu" else guest.mi.gdb).process
        process.kill()
        process.wait(10)
        with pytest.raises(InfrastructureError, match="killed by SIGKILL"):
            guest.command("print 1")
        with pytest.raises(InfrastructureError, match="killed by SIGKILL"):
            guest.verdict()


# --- the other commands -----------------------------------------------------------------------------------


def test_gdbinit_lines_load_the_commands_in_a_bare_gdb(capfd: Capture, tmp_path: Path) -> None:
    assert main(["gdbinit"]) == 0
    init = tmp_path / "gdbinit"
    init.write_text(capfd.readouterr().out)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "GDB_LMB"))}
    done = subprocess.run(
        ["gdb", "-nx", "-q", "-batch", "-x", init, "-ex", "help lmb-check"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd="/",
    )
    assert "Usage:" in done.stdout
    assert done.stderr == ""


def test_gdb_becomes_gdb_with_the_commands(guests: Path, folder: Path) -> None:
    tool = Tool(folder, "gdb", guests / "ready", "-nx", "-batch", "-ex", "help lmb-check", "-ex", "info symbol never")
    status, out, _ = tool.finish()
    assert status == 0
    assert "Usage:" in out
    assert "never in section .text" in out
    folder.rmdir()


def test_a_crash_of_ours_is_not_a_finding(folder: Path) -> None:
    """Python ends with status 1 on an exception, which is this tool's word for findings."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    code = "import sys; from gdb_lmb.cli import main; sys.modules['argparse'] = None; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "gdbinit"], env=environment, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 4
    assert b"Traceback" in done.stderr
    folder.rmdir()


def test_both_streams_closed(guests: Path) -> None:
    code = "import sys; from gdb_lmb.cli import main; sys.exit(main())"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    for words, status in ((("--", "print 1"), (4, 141)), (("--until", "no_such"), (2,))):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            [sys.executable, "-c", code, "run", guests / "ready", *words],
            env=environment,
            stdout=writer,
            stderr=writer,
            timeout=60,
            check=False,
        )
        os.close(writer)
        assert done.returncode in status


def test_help_and_version(capfd: Capture) -> None:
    assert main(["--version"]) == 0
    assert capfd.readouterr().out.startswith("gdb-lmb ")
    for words in (["--help"], ["run", "--help"], ["attach", "--help"]):
        assert main(words) == 0
        assert "exit status" in capfd.readouterr().out
    for words in (["gdb", "--help"], ["gdbinit", "--help"]):
        assert main(words) == 0
        assert "example" in capfd.readouterr().out
