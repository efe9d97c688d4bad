# SPDX-License-Identifier: GPL-2.0-or-later
"""`gdb-lmb attach` leaves a running QEMU as it was: QMP beside the gdbstub is the witness."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gdb_lmb.cli import main
from gdb_lmb.runner import rsp
from gdb_lmb.runner.elf import read_elf
from gdb_lmb.runner.process import RunFolder
from gdb_lmb.runner.qemu import Qemu, QemuOptions
from tests.test_runner_helpers import Qmp, Tool, build_guest

STATES = ("running", "prelaunch", "paused", "debug")


@dataclass(frozen=True)
class Machine:
    """A QEMU of somebody else's, as far as gdb-lmb is concerned."""

    kernel: Path
    qemu: Qemu
    qmp: Qmp

    @property
    def stub(self) -> str:
        return str(self.qemu.endpoint)

    def bring_to(self, state: str) -> None:
        """Bring a fresh machine, stopped at reset, into one of `STATES`."""
        if state in ("running", "paused"):
            self.qmp.execute("cont")
        if state == "paused":
            self.qmp.execute("stop")
        if state == "debug":
            subprocess.run(
                ["gdb", "-nx", "-q", "-batch", "-ex", f"target remote {self.qemu.endpoint.path}",
                 "-ex", "break spin", "-ex", "continue", "-ex", "delete", "-ex", "disconnect", self.kernel],
                check=True, capture_output=True, timeout=60,
            )  # fmt: skip
        assert self.qmp.settled(state) == state

    def runs(self) -> bool:
        """Tell whether the guest really makes progress: its counter moves."""
        first = self.qmp.execute("human-monitor-command", **{"command-line": "xp /1wx 0x101000"})
        time.sleep(0.1)
        return bool(first != self.qmp.execute("human-monitor-command", **{"command-line": "xp /1wx 0x101000"}))


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_guest(tmp_path_factory.mktemp("guest"), "ready")


@contextlib.contextmanager
def booted(kernel: Path, *arguments: str) -> Iterator[Machine]:
    with RunFolder() as folder:
        words = ("-qmp", f"unix:{folder.path}/qmp,server=on,wait=off", *arguments)
        qemu = Qemu(folder, read_elf(kernel), QemuOptions(arguments=words))
        qmp = Qmp(folder.path / "qmp")
        yield Machine(kernel, qemu, qmp)
        qmp.close()


@pytest.fixture
def machine(guest: Path) -> Iterator[Machine]:
    with booted(guest) as found:
        yield found


def attach(machine: Machine, *words: str) -> int:
    return main(["attach", machine.stub, str(machine.kernel), *words])


@pytest.mark.parametrize("state", STATES)
def test_leaves_the_machine_as_it_was(machine: Machine, state: str, capfd: pytest.CaptureFixture[str]) -> None:
    machine.bring_to(state)
    assert attach(machine, "--", "print *(int *)&counter >= 0") == 0
    assert capfd.readouterr().out == "$1 = 1\n"
    # QEMU remembers no more than "paused" of a pause that a client looked at; stopped it is.
    assert machine.qmp.settled(state) == state
    assert machine.runs() == (state == "running")


@pytest.mark.parametrize("running", [True, False])
def test_leaves_it_so_whatever_the_commands_do(machine: Machine, running: bool) -> None:
    """One visit after the other to one machine."""
    machine.bring_to("running" if running else "paused")
    for command, status in (
        ("print no_such_symbol", 2),
        ("detach", 0),
        ("disconnect", 0),
        ("tbreak spin", 0),
        ("maint packet Qqemu.PhyMemMode:1", 0),
        ("shell kill -9 $PPID", 4),
        ("quit", 4),
        ("stepi", 0),
    ):
        assert attach(machine, "--", command) == status, command
        wanted = "running" if running else "debug" if command == "stepi" else "paused"
        assert machine.qmp.settled(wanted) == wanted, command
        assert machine.runs() == running, command


def test_an_endless_continue_is_interrupted_and_the_machine_left(
    machine: Machine, capfd: pytest.CaptureFixture[str]
) -> None:
    machine.bring_to("paused")
    assert attach(machine, "--timeout", "1", "--", "continue") == 2
    assert "did not stop within 1 s" in capfd.readouterr().err
    assert not machine.runs()


@pytest.mark.parametrize(("state", "leave"), [("running", "paused"), ("prelaunch", "running")])
def test_leave_overrides(machine: Machine, state: str, leave: str) -> None:
    machine.bring_to(state)
    assert attach(machine, "--leave", leave, "--", "print 1") == 0
    assert machine.qmp.settled(leave) == leave
    assert machine.runs() == (leave == "running")


@pytest.mark.parametrize("state", ["running", "paused"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_in_the_middle(machine: Machine, state: str, number: signal.Signals) -> None:
    machine.bring_to(state)
    folder = Path(tempfile.mkdtemp(prefix="lmbt", dir="/tmp"))
    tool = Tool(folder, "attach", machine.stub, machine.kernel, "--", "echo here\\n", "shell sleep 60")
    assert tool.process.stdout is not None
    assert tool.process.stdout.readline() == b"here\n"
    assert not machine.runs()  # QEMU stops the machine for a debugger
    tool.process.send_signal(number)
    status, _, _ = tool.finish()
    assert status == (-9 if number == signal.SIGKILL else 128 + 15)
    assert tool.left_behind() == []
    folder.rmdir()
    assert machine.qmp.settled(state) == state
    assert machine.runs() == (state == "running")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_tcp(guest: Path, host: str, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as free:
        free.bind((host.strip("[]"), 0))
        port = free.getsockname()[1]
    chardev = f"socket,id=tcp,host={host.strip('[]')},port={port},server=on,wait=off"
    with booted(guest, "-chardev", chardev, "-gdb", "chardev:tcp") as machine:
        machine.qmp.execute("cont")
        assert main(["attach", f"tcp:{host}:{port}", str(guest), "--", "print 6 * 7"]) == 0
        assert capfd.readouterr().out == "$1 = 42\n"
        assert machine.qmp.settled("running") == "running"


def test_another_debugger_is_not_disturbed(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    with machine.qemu.endpoint.connect(10):
        deadline = time.monotonic() + 10
        while attach(machine, "--timeout", "2") != 4 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert "another debugger is connected" in capfd.readouterr().err


def test_qemu_dies_under_a_visit(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    machine.bring_to("running")
    pid = machine.qemu.child.process.pid
    assert attach(machine, "--", f"shell kill -9 {pid}", "stepi") == 4
    assert "lost" in capfd.readouterr().err


def test_odd_names(guest: Path, tmp_path: Path) -> None:
    """gdb takes a colon for a port and a leading `|` for a command."""
    with tempfile.TemporaryDirectory(prefix="a b:c|'\"", dir="/tmp") as odd:
        link = Path(odd) / "| stub:1,2"
        with booted(guest) as machine:
            assert machine.qemu.endpoint.path is not None
            link.symlink_to(machine.qemu.endpoint.path)
            assert main(["attach", f"unix:{link}", str(guest), "--", "print 1"]) == 0


@pytest.mark.parametrize(
    ("endpoint", "status", "says"),
    [
        ("/tmp/x", 2, "unix:PATH or tcp:HOST:PORT"),
        ("tcp:localhost", 2, "unix:PATH or tcp:HOST:PORT"),
        ("tcp:localhost:0", 2, "unix:PATH or tcp:HOST:PORT"),
        ("unix:", 2, "unix:PATH or tcp:HOST:PORT"),
        ("unix:/nonexistent/stub", 4, "No such file"),
        ("unix:/etc/passwd", 4, "refused"),
        ("tcp:127.0.0.1:1", 4, "refused"),
        ("tcp:no-such-host.invalid:1", 4, "cannot connect"),
    ],
)
def test_bad_endpoints(guest: Path, endpoint: str, status: int, says: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["attach", endpoint, str(guest)]) == status
    out, err = capfd.readouterr()
    assert out == ""
    assert says in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+$#00"])
def test_not_a_gdbstub(guest: Path, tmp_path: Path, answer: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        path = tmp_path / "s"
        server.bind(os.fspath(path))
        server.listen(4)
        pid = os.fork()
        if pid == 0:
            link, _ = server.accept()
            link.sendall(answer)
            time.sleep(60)
            os._exit(0)
        try:
            assert main(["attach", f"unix:{path}", str(guest), "--timeout", "1"]) == 4
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    assert capfd.readouterr().err.count("\n") <= 2


def test_no_permission(guest: Path, machine: Machine) -> None:
    """As a user who may not use the socket; root may everything, so it becomes nobody first."""
    path = Path(str(machine.qemu.endpoint.path))
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            if os.geteuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            else:
                path.chmod(0)
            rsp.probe(rsp.Endpoint(str(path)), 5)
        except PermissionError:
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
