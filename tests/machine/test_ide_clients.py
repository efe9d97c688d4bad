# SPDX-License-Identifier: GPL-2.0-or-later
"""What an IDE sees of a trace, by MI, and by DAP in the lanes of releases (gdb has it from 14 on): one run, one stop.

What is internal stays so, and the verdict reaches the client.
"""

from __future__ import annotations

import json
import os
import queue
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from fixture_kernels import qemu_words

from gdb_lmb.runner.gdb_process import extension, python_path

pytestmark = pytest.mark.kernel

DEADLINE_S = 90.0

# Two dozen looks at the guest on its way, by interrupts and by a breakpoint; then it stays where it is.
WATCH = """
from gdb_lmb.machine import run_control
seen = []
at = int(gdb.parse_and_eval("(unsigned long)&lmb_reserve"))
def look(reached):
    seen.append(reached)
    return run_control.Slice((at,) if len(seen) % 2 else (), 0.02) if len(seen) < 24 else None
run_control.run_watched(run_control.Slice((), 0.02), look)
print("looked", len(seen), "times")
"""


class Client:
    """A gdb that is talked to by pipes: whole messages come out of a queue, and each wait has a deadline."""

    def __init__(self, interpreter: str, read: Callable[[IO[bytes]], Iterator[Any]]) -> None:
        environment = {**os.environ, "GDB_LMB_PATH": python_path(), "TERM": "dumb", "LC_ALL": "C.UTF-8"}
        environment.pop("GDB_LMB_TERMINAL", None)
        self.process = subprocess.Popen(
            ["gdb", "-nx", "-q", f"--interpreter={interpreter}", "-iex", "set debuginfod enabled off"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
        )  # fmt: skip
        self.messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.seen: list[Any] = []
        threading.Thread(target=self._pump, args=(read,), daemon=True).start()

    def _pump(self, read: Callable[[IO[bytes]], Iterator[Any]]) -> None:
        assert self.process.stdout is not None
        for message in read(self.process.stdout):
            self.messages.put(message)
        self.messages.put(None)

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def wait(self, wanted: Callable[[Any], bool]) -> Any:
        """Return the first message from now on that is wanted; all others are in `seen` too."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            message = self.messages.get(timeout=max(0.01, deadline - time.monotonic()))
            assert message is not None, f"gdb ended: {self.seen[-5:]}"
            self.seen.append(message)
            if wanted(message):
                return message

    def quiet(self, seconds: float = 0.5) -> None:
        """Take what still comes, until nothing has come for a while."""
        while True:
            try:
                message = self.messages.get(timeout=seconds)
            except queue.Empty:
                return
            if message is None:
                return
            self.seen.append(message)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def mi_lines(stream: IO[bytes]) -> Iterator[str]:
    for line in stream:
        yield line.decode().rstrip("\n")


def dap_messages(stream: IO[bytes]) -> Iterator[dict[str, Any]]:
    while True:
        head = stream.readline()
        if not head:
            return
        if head.startswith(b"Content-Length:"):
            size = int(head.split(b":")[1])
            while stream.readline().strip():
                pass
            yield json.loads(stream.read(size))


@contextmanager
def stub(kernel: Path, folder: Path) -> Iterator[str]:
    """Start QEMU with the fixture kernel, paused at reset; yield the socket of its gdbstub."""
    path = folder / "stub"
    process = subprocess.Popen(
        [*qemu_words(), "-kernel", kernel, "-m", "64M", "-S", "-no-reboot",
         "-append", "lmb.scenario=random lmb.ops=300",
         "-gdb", f"unix:{path},server=on,wait=off"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + DEADLINE_S
        while not path.exists():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)
        yield str(path)
    finally:
        process.kill()
        process.wait()


class Mi(Client):
    """A client by MI."""

    def __init__(self) -> None:
        super().__init__("mi3", mi_lines)
        self._token = 100

    def command(self, text: str) -> str:
        """Send a command and return its result record."""
        self._token += 1
        token = str(self._token)
        self.send(f"{token}{text}\n".encode())
        return str(self.wait(lambda line: line.startswith(f"{token}^")))

    def console(self, text: str) -> None:
        assert "^error" not in self.command(f"-interpreter-exec console {json.dumps(text)}")

    def since(self, start: int, pattern: str) -> list[str]:
        return [line for line in self.seen[start:] if re.match(pattern, line)]


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s")


def test_mi_sees_one_run_of_a_trace(fixture_kernel: Path, folder: Path) -> None:
    with stub(fixture_kernel, folder) as socket:
        client = Mi()
        try:
            client.command(f"-file-exec-and-symbols {fixture_kernel}")
            client.command(f"-target-select remote {socket}")
            client.console(f"source {extension()}")
            client.quiet()
            start = len(client.seen)
            client.console("lmb-trace start --lockstep --until lmb_scenario_done")
            client.command("-exec-continue")
            client.wait(lambda line: line.startswith("*stopped"))
            client.quiet()
            assert client.since(start, "=breakpoint-") == []
            assert len(client.since(start, r"\*stopped")) == len(client.since(start, r"\*running")) == 1
            assert client.since(
                start, r'~".*lmb-trace: kernel and model agree: \d+ operations recorded, (of which \d+ failed, )?until'
            )
            assert client.since(start, r'~".*(Breakpoint -|received signal)') == []
        finally:
            client.close()


def test_mi_sees_one_stop_of_a_run_that_is_looked_at(fixture_kernel: Path, folder: Path) -> None:
    script = folder / "watch.py"
    script.write_text(WATCH)
    with stub(fixture_kernel, folder) as socket:
        client = Mi()
        try:
            client.command(f"-file-exec-and-symbols {fixture_kernel}")
            client.command(f"-target-select remote {socket}")
            client.console(f"source {extension()}")
            client.quiet()
            start = len(client.seen)
            client.command(f'-interpreter-exec console "source {script}"')
            client.wait(lambda line: "looked 24 times" in line)
            client.quiet()
            assert len(client.since(start, r"\*stopped")) == 1
            assert client.since(start, r'~".*(Breakpoint -|[Cc]atchpoint|received signal)') == []
            # One catchpoint is made, set up, and taken away again, as far as this gdb tells; nothing of the looks.
            made, gone = (client.since(start, f"=breakpoint-{what}") for what in ("created", "deleted"))
            assert len(made) == len(gone) <= 1
            assert len(client.since(start, "=breakpoint-modified")) <= 1 + 2 * len(made)
        finally:
            client.close()


class Dap(Client):
    """A client by DAP."""

    def __init__(self) -> None:
        super().__init__("dap", dap_messages)
        self._number = 0

    def start(self, command: str, **arguments: Any) -> int:
        self._number += 1
        body = json.dumps({"seq": self._number, "type": "request", "command": command, "arguments": arguments}).encode()
        self.send(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        return self._number

    def request(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Send a request and return its answer."""
        number = self.start(command, **arguments)
        found = self.wait(lambda m: m["type"] == "response" and m["request_seq"] == number)
        assert found["success"], found
        return dict(found.get("body") or {})

    def repl(self, command: str) -> str:
        return str(self.request("evaluate", expression=command, context="repl")["result"])

    def events(self, start: int, name: str) -> list[dict[str, Any]]:
        return [m["body"] for m in self.seen[start:] if m["type"] == "event" and m["event"] == name]


@contextmanager
def dap_client(program: Path, socket: str) -> Iterator[Dap]:
    """Connect a DAP client to a guest that is stopped."""
    client = Dap()
    try:
        client.request("initialize", clientID="test", adapterID="gdb", linesStartAt1=True)
        client.wait(lambda m: m.get("event") == "initialized")
        attach = client.start("attach", program=str(program), target=socket)
        client.request("configurationDone")
        if not any(m["type"] == "response" and m["request_seq"] == attach for m in client.seen):
            client.wait(lambda m: m["type"] == "response" and m["request_seq"] == attach)
        client.repl(f"source {extension()}")
        client.quiet()
        yield client
    finally:
        client.close()


@pytest.mark.release
def test_dap_sees_one_run_of_a_trace(fixture_kernel: Path, folder: Path) -> None:
    with stub(fixture_kernel, folder) as socket, dap_client(fixture_kernel, socket) as client:
        start = len(client.seen)
        assert "recording in lockstep" in client.repl("lmb-trace start --lockstep --until lmb_scenario_done")
        client.request("continue", threadId=1)
        client.wait(lambda m: m.get("event") == "stopped")
        client.quiet()
        assert client.events(start, "breakpoint") == []
        assert len(client.events(start, "stopped")) == 1
        told = "".join(body["output"] for body in client.events(start, "output") if body["category"] == "console")
        assert re.search(
            r"^lmb-trace: kernel and model agree: \d+ operations recorded, (of which \d+ failed, )?until",
            told,
            re.MULTILINE,
        )
        # The user's own breakpoints are told of as ever.
        client.repl("break lmb_add")
        client.quiet()
        assert next(body["reason"] for body in client.events(start, "breakpoint")) == "new"


@pytest.mark.release
def test_dap_sees_one_stop_of_a_run_that_is_looked_at(fixture_kernel: Path, folder: Path) -> None:
    script = folder / "watch.py"
    script.write_text(WATCH)
    with stub(fixture_kernel, folder) as socket, dap_client(fixture_kernel, socket) as client:
        start = len(client.seen)
        assert "looked 24 times" in client.repl(f"source {script}")
        client.quiet()
        assert client.events(start, "breakpoint") == []
        assert len(client.events(start, "stopped")) == 1
