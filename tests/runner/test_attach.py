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
from pathlib import Path

import pytest

from gdb_lmb.cli import main
from gdb_lmb.runner import rsp
from gdb_lmb.runner.existing import probe
from tests.helpers.attached import Machine, booted, free_port
from tests.helpers.tool import Tool, build_guest

NOTHING_CHECKED = "gdb-lmb: no command that checks ran: nothing was verified"
STATES = ("running", "prelaunch", "paused", "debug")


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_guest(tmp_path_factory.mktemp("guest"), "ready")


@pytest.fixture
def machine(guest: Path) -> Iterator[Machine]:
    with booted(guest) as found:
        yield found


def attach(machine: Machine, *words: str) -> int:
    return main(["attach", machine.stub, str(machine.kernel), *words])


@pytest.mark.parametrize("state", STATES)
def test_leaves_the_machine_as_it_was(machine: Machine, state: str, capfd: pytest.CaptureFixture[str]) -> None:
    machine.bring_to(state)
    assert attach(machine, "--", "print *(int *)&counter >= 0") == 5
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
        ("detach", 5),
        ("disconnect", 5),
        ("tbreak spin", 5),
        ("maint packet Qqemu.PhyMemMode:1", 5),
        ("shell kill -9 $PPID", 4),
        ("quit", 4),
        ("stepi", 5),
    ):
        assert attach(machine, "--", command) == status, command
        wanted = "running" if running else "debug" if command == "stepi" else "paused"
        assert machine.qmp.settled(wanted) == wanted, command
        assert machine.runs() == running, command


def test_an_endless_continue_is_interrupted_and_the_machine_left(
    machine: Machine, capfd: pytest.CaptureFixture[str]
) -> None:
    machine.bring_to("paused")
    assert attach(machine, "--timeout", "3", "--", "continue") == 2
    assert "did not stop within 3 s" in capfd.readouterr().err
    assert not machine.runs()


@pytest.mark.parametrize(("state", "leave"), [("running", "paused"), ("prelaunch", "running")])
def test_leave_overrides(machine: Machine, state: str, leave: str) -> None:
    machine.bring_to(state)
    assert attach(machine, "--leave", leave, "--", "print 1") == 5
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


@contextlib.contextmanager
def booted_on_tcp(kernel: Path, host: str) -> Iterator[tuple[Machine, int]]:
    """Boot with a stub on TCP, and let it run."""
    port = free_port(host)
    chardev = f"socket,id=tcp,host={host},port={port},server=on,wait=off"
    with booted(kernel, "-chardev", chardev, "-gdb", "chardev:tcp") as machine:
        machine.qmp.execute("cont")
        yield machine, port


@pytest.mark.parametrize(
    ("host", "stub"),
    [
        ("127.0.0.1", "tcp:127.0.0.1:PORT"),
        ("::1", "tcp:[::1]:PORT"),
        ("0.0.0.0", "tcp::PORT,server=on,wait=off"),
        ("::1", "localhost:PORT"),
        ("::", "tcp4:localhost:PORT"),
        ("127.0.0.1", "tcp:[::ffff:127.0.0.1]:PORT"),
    ],
)
def test_tcp(guest: Path, host: str, stub: str, capfd: pytest.CaptureFixture[str]) -> None:
    with booted_on_tcp(guest, host) as (machine, port):
        for state, command in (("running", "cont"), ("paused", "stop")):
            machine.qmp.execute(command)
            assert main(["attach", stub.replace("PORT", str(port)), str(guest), "--", "print 6 * 7"]) == 5
            out, err = capfd.readouterr()
            assert (out, err.splitlines()) == ("$1 = 42\n", [NOTHING_CHECKED])
            assert machine.qmp.settled(state) == state


@pytest.mark.parametrize(
    ("host", "first", "stub"),
    [
        ("127.0.0.1", "127.0.0.1", "localhost:PORT"),
        ("0.0.0.0", "127.0.0.2", "tcp:127.0.0.1:PORT"),
        ("::1", "::1", "[::1]:PORT"),
        ("::", "127.0.0.1", "tcp4::PORT"),
    ],
)
def test_a_refused_visit_over_tcp_stops_nothing_later(
    guest: Path, host: str, first: str, stub: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A connection that waits in QEMU's queue is taken when the first debugger leaves, even when it was closed."""
    with booted_on_tcp(guest, host) as (machine, port):
        with rsp.Endpoint(None, first, port).connect(60) as link:
            assert rsp.monitor(link, "info status", time.monotonic() + 60, []) == "VM status: paused"
            assert main(["attach", stub.replace("PORT", str(port)), str(guest)]) == 4
            said = capfd.readouterr().err
            assert "another debugger is connected" in said and said.count("\n") == 1
            rsp.detach(link)
            assert machine.qmp.settled("running") == "running"
        for _ in range(5):
            assert machine.runs()
        where = f"tcp:{'[' + first + ']' if ':' in first else first}:{port}"
        words = ["-ex", f"target remote {where}", "-ex", "print 6 * 7", "-ex", "detach"]
        new = subprocess.run(
            ["gdb", "-nx", "-q", "-batch", *words, guest], check=True, capture_output=True, text=True, timeout=60
        )
        assert "$1 = 42" in new.stdout and "Ignoring packet" not in new.stderr + new.stdout
        assert machine.qmp.settled("running") == "running"


def test_another_listener_of_the_port_is_told_apart(guest: Path) -> None:
    """Who is connected to one address of a port says nothing of another's."""
    port = free_port("127.0.0.1")
    with socket.create_server(("127.0.0.2", port)) as other, socket.create_connection(("127.0.0.2", port)):
        link, _ = other.accept()
        chardev = f"socket,id=tcp,host=127.0.0.1,port={port},server=on,wait=off"
        with link, booted(guest, "-chardev", chardev, "-gdb", "chardev:tcp"):
            assert main(["attach", f"tcp:127.0.0.1:{port}", str(guest), "--", "print 1"]) == 5


def test_a_stub_with_a_relative_name(guest: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["-nodefaults", "-display", "none", "-gdb", "unix:stub,server=on,wait=off", "-kernel", guest]
    qemu = subprocess.Popen(["qemu-system-x86_64", *words], cwd=tmp_path)
    try:
        stub = rsp.Endpoint(str(tmp_path / "stub"))
        deadline = time.monotonic() + 60
        while not (tmp_path / "stub").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert main(["attach", str(stub.path), str(guest), "--", "print 1"]) == 5
        with stub.connect(60) as link:
            assert rsp.monitor(link, "info status", time.monotonic() + 60, []) == "VM status: paused"
            assert main(["attach", str(stub.path), str(guest), "--", "print 1"]) == 4
        refused = f"gdb-lmb: another debugger is connected to {stub}"
        assert capfd.readouterr().err.splitlines() == [NOTHING_CHECKED, refused]
    finally:
        qemu.kill()
        qemu.wait()


def test_where_nothing_tells_it_is_left_paused(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    """Without the process to look at, as with a stub on another machine; QEMU up to 8.0 tells by itself."""
    machine.bring_to("running")
    before, _ = probe(machine.qemu.endpoint, 10)
    old = tuple(machine.qmp.execute("query-version")["qemu"][part] for part in ("major", "minor")) < (8, 1)
    assert before is (True if old else None)


@pytest.mark.parametrize("options", [(), ("-smp", "3"), ("-icount", "shift=auto"), ("-accel", "tcg,thread=single")])
def test_an_idle_guest(tmp_path: Path, options: tuple[str, ...], capfd: pytest.CaptureFixture[str]) -> None:
    """Its processors are halted for good: no program of it shows whether it runs."""
    with booted(build_guest(tmp_path, "halt"), *options) as machine:
        for state in ("running", "paused"):
            machine.bring_to(state)
            assert attach(machine, "--", "print 1") == 5
            assert capfd.readouterr().err.splitlines() == [NOTHING_CHECKED]
            assert machine.qmp.settled(state) == state


def test_another_debugger_is_not_disturbed(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    with machine.qemu.endpoint.connect(10):
        deadline = time.monotonic() + 60
        while attach(machine, "--timeout", "20") != 4 and time.monotonic() < deadline:
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
            assert main(["attach", f"unix:{link}", str(guest), "--", "print 1"]) == 5


@pytest.mark.parametrize(
    ("endpoint", "status", "says"),
    [
        ("/nonexistent/stub", 4, "No such file"),
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
            probe(rsp.Endpoint(str(path)), 5)
        except PermissionError:
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
