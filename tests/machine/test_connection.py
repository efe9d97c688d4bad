# SPDX-License-Identifier: GPL-2.0-or-later
"""gdb's connection to the guest: which of its sockets it is, and what is said when it breaks."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from tests.helpers.attached import booted
from tests.helpers.plain_gdb import LOAD, gdb

FOUND = (
    "python from gdb_lmb.machine.memory import link_to_stub; link = link_to_stub(); "
    "print('link:', link and link.getpeername())"
)


def connect(family: str, address: str) -> str:
    """Return what makes gdb's own Python connect a socket that stays open."""
    return f"python import socket; other = socket.socket(socket.{family}); other.connect({address})"


QEMU = "target remote | qemu-system-x86_64 -display none -nodefaults -gdb stdio -S -name {path}"


@pytest.mark.parametrize("target", ["echo no target\\n", QEMU])
def test_another_connection_is_not_taken_for_the_stub(tmp_path: Path, target: str) -> None:
    """Where the stub is no socket, or there is none."""
    path = tmp_path / "other"
    with socket.socket(socket.AF_UNIX) as listener, socket.create_server(("127.0.0.1", 0)) as tcp:
        listener.bind(str(path))
        listener.listen()
        others = [
            connect("AF_UNIX", repr(str(path))),
            connect("AF_INET", repr(tcp.getsockname())),
            "python import os; raw = bytes([0]) + os.urandom(8).hex().encode()",
            "python away = socket.socket(socket.AF_UNIX); away.bind(raw); away.listen(); "
            "own = socket.socket(socket.AF_UNIX); own.connect(raw)",
        ]
        for some in (others[:1], others[1:2], ["python import socket", *others[2:]], others):
            # gdb 16 waits at its end for a command in a pipe, which goes on when gdb only detaches.
            assert "link: None" in gdb(f"source {LOAD}", target.format(path=path), *some, FOUND, "kill")


@pytest.mark.kernel
@pytest.mark.parametrize("way", ["{path}", "../{folder}/{name}"])
def test_the_stub_is_found_beside_others(fixture_kernel: Path, tmp_path: Path, way: str) -> None:
    with booted(fixture_kernel) as machine, socket.create_server(("127.0.0.1", 0)) as tcp:
        path = Path(machine.qemu.endpoint.path)
        told = gdb(
            f"source {LOAD}",
            connect("AF_INET", repr(tcp.getsockname())),
            f"target remote {way.format(path=path, folder=path.parent.name, name=path.name)}",
            FOUND,
            cwd=path.parent,
        )
        assert f"link: {path}" in told


@pytest.mark.kernel
@pytest.mark.parametrize("command", ["lmb-check", "lmb-dump", "lmb-map", "lmb-who 0x1000", "lmb-whatif alloc 4K"])
def test_a_guest_that_has_just_gone(fixture_kernel: Path, command: str) -> None:
    with booted(fixture_kernel) as machine:
        pid = machine.qemu.child.process.pid
        told = gdb(
            f"source {LOAD}",
            f"file {fixture_kernel}",
            f"target remote {machine.qemu.endpoint.path}",
            "hbreak lmb_ready",
            "continue",
            f"shell kill -9 {pid}",
            command,
            "output $lmb_status",
        )
    assert "Python Exception" not in told and "Error occurred in Python" not in told
    assert re.search(rf"^{command.split()[0]}: the connection to the guest was lost", told, re.M), told
