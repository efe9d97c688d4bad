# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel tells of listening sockets, on real ones: whose they are, and whether a client has connected."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from gdb_lmb.runner.endpoints import Listener, find_listener
from gdb_lmb.runner.rsp import Endpoint

FREE = Listener((os.getpid(),), taken=False)
TAKEN = Listener((os.getpid(),), taken=True)
UNKNOWN = Listener()


@pytest.mark.parametrize(
    ("listens_at", "asked", "kind"),
    [
        ("127.0.0.1", "127.0.0.1", "tcp"),
        ("127.0.0.1", "localhost", "tcp"),
        ("0.0.0.0", "127.0.0.1", "tcp"),
        ("0.0.0.0", "0.0.0.0", "tcp"),
        ("::1", "::1", "tcp"),
        ("::1", "localhost", "tcp6"),
        ("::", "127.0.0.1", "tcp"),
        ("::", "localhost", "tcp4"),
        ("::", "::ffff:127.0.0.1", "tcp"),
    ],
)
def test_tcp(listens_at: str, asked: str, kind: str) -> None:
    family = socket.AF_INET6 if ":" in listens_at else socket.AF_INET
    with socket.create_server((listens_at, 0), family=family, dualstack_ipv6=listens_at == "::") as server:
        endpoint = Endpoint(None, asked, server.getsockname()[1], kind)
        assert find_listener(endpoint) == FREE
        with endpoint.connect(10):
            # It waits in the queue, where the next one would have to wait too.
            assert find_listener(endpoint) == TAKEN
            link, _ = server.accept()
            with link:
                assert find_listener(endpoint) == TAKEN
        assert find_listener(endpoint) == FREE
    assert find_listener(endpoint) == UNKNOWN


def test_one_port_of_several_addresses() -> None:
    with socket.create_server(("127.0.0.2", 0)) as one:
        port = one.getsockname()[1]
        with socket.create_server(("127.0.0.3", port)) as two, socket.create_connection(("127.0.0.3", port)):
            link, _ = two.accept()
            with link:
                assert find_listener(Endpoint(None, "127.0.0.2", port)) == FREE
                assert find_listener(Endpoint(None, "127.0.0.3", port)) == TAKEN


def test_nothing_is_known_of_other_machines() -> None:
    """Addresses for documentation are nobody's; a listener here with the same port says nothing of theirs."""
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            assert find_listener(Endpoint(None, "192.0.2.1", port)) == UNKNOWN
            assert find_listener(Endpoint(None, "2001:db8::1", port)) == UNKNOWN
            assert find_listener(Endpoint(None, "no-such-host.invalid", port)) == UNKNOWN


@pytest.mark.parametrize("relative", [False, True])
def test_unix(tmp_path: Path, relative: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "stub"
    (tmp_path / "link").symlink_to(path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("stub" if relative else str(path))
        assert find_listener(Endpoint(str(path))) == UNKNOWN
        server.listen(1)
        for name in (path, tmp_path / "link"):
            endpoint = Endpoint(str(name))
            assert find_listener(endpoint) == FREE
            with endpoint.connect(10):
                assert find_listener(endpoint) == TAKEN
                link, _ = server.accept()
                with link:
                    assert find_listener(endpoint) == TAKEN


def test_its_process_opens_and_closes_files() -> None:
    """A descriptor that is gone by the time it is looked at says nothing of the others."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = Endpoint(None, "127.0.0.1", server.getsockname()[1])
        done = threading.Event()
        files = threading.Thread(target=lambda: [os.close(os.open("/", os.O_RDONLY)) for _ in iter(done.is_set, True)])
        files.start()
        try:
            assert [find_listener(endpoint) for _ in range(200)] == [FREE] * 200
        finally:
            done.set()
            files.join()


def test_the_same_relative_name_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process has bound it in another folder, and has a client."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    ready, done = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            server.bind("stub")
            server.listen(1)
            client.connect("stub")
            link, _ = server.accept()
            os.write(ready[1], b"\n")
            os.close(done[1])
            os.read(done[0], 1)
            link.close()
        os._exit(0)
    try:
        os.read(ready[0], 1)
        monkeypatch.chdir(tmp_path / "here")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("stub")
            server.listen(1)
            assert find_listener(Endpoint(str(tmp_path / "here" / "stub"))) == FREE
            assert find_listener(Endpoint(str(tmp_path / "stub"))) == Listener((pid,), taken=True)
    finally:
        for end in (*done, *ready):
            os.close(end)
        os.waitpid(pid, 0)
