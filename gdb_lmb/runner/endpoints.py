# SPDX-License-Identifier: GPL-2.0-or-later
"""A gdbstub's address, as gdb's `target remote` takes it or QEMU's `-gdb` was given it, and who has its socket.

A connection that QEMU does not accept at once, because another debugger has its own, stays in the queue even when it
is closed. QEMU takes it when that debugger leaves, and stops the guest for it: so the kernel's tables are read first.
Mirrors /proc/net/unix, /proc/net/tcp and /proc/net/tcp6 of proc(5), which show the sockets of one network namespace.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from gdb_lmb.core.errors import UsageError
from gdb_lmb.core.words import printable
from gdb_lmb.runner.process import read_file
from gdb_lmb.runner.rsp import Endpoint

# Whom gdb means without a host. QEMU then listens on all addresses, of which this is one.
_LOCAL = "localhost"
_HARMLESS = "|".join(
    (
        r"server(?:=(?:on|yes|true|y))?", "nowait", r"wait(?:=\w+)?", "nodelay(?:=\\w+)?", "delay(?:=\\w+)?",
        r"ipv[46](?:=\w+)?", r"mux=\w+", r"logfile=[^,]*", r"logappend=\w+", r"id=[^,]*",
    )
)  # fmt: skip
# Options of QEMU's that change nothing for whoever connects. Source: `qemu_chr_parse_compat()` of chardev/char.c.
_OPTIONS = re.compile(rf"((?:,(?:{_HARMLESS}))+)$")
_HOST_AND_PORT = re.compile(r"(?:\[(?P<bracketed>[^\]]*)\]|(?P<host>[^\s\[\]/,|]*)):(?P<port>[0-9]{1,5})")
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NET = Path("/proc/net")
_TCP_LISTEN, _TCP_ESTABLISHED = "0A", "01"
# `__SO_ACCEPTCON`: the socket listens.
_UNIX_ACCEPTS = 0x10000
# `SS_CONNECTING`, which those are that wait to be accepted, and `SS_CONNECTED`.
_UNIX_CONNECTED = ("02", "03")
_WORD = 8
_LOOPBACK = {4: ipaddress.ip_address("127.0.0.1"), 6: ipaddress.ip_address("::1")}


def parse_endpoint(text: str) -> Endpoint:
    """Read `unix:PATH`, a path, `tcp:HOST:PORT`, `HOST:PORT` or `:PORT`, with QEMU's options after it or without.

    Raises: UsageError.
    """
    kind, colon, rest = text.partition(":")
    endpoint = None
    match kind + colon:
        case _ if "\0" in text or "\n" in text:
            pass
        case "unix:":
            endpoint = _unix(_without_options(rest))
        case "tcp:" | "tcp4:" | "tcp6:":
            endpoint = _tcp(kind, _without_options(rest))
        case _ if "/" in text or _is_socket(text):  # no host has a slash, and gdb looks at the file too
            endpoint = _unix(text)
        case _:
            endpoint = _tcp("tcp", _without_options(text))
    if endpoint is None:
        raise UsageError(
            f"{printable(text, 100)!r} is no gdbstub: give unix:PATH or tcp:HOST:PORT, or as gdb takes it :PORT, "
            "HOST:PORT or a socket's path"
        )
    return endpoint


def _unix(path: str) -> Endpoint | None:
    return Endpoint(str(Path(path).absolute())) if path else None


# Read `[HOST]:PORT`; an IPv6 address stands in brackets or, as gdb takes it, without.
def _tcp(kind: str, text: str) -> Endpoint | None:
    found = _HOST_AND_PORT.fullmatch(text)
    with contextlib.suppress(ValueError):
        if found is not None and 0 < int(found["port"]) < 65536:
            host = found["host"] if found["bracketed"] is None else found["bracketed"]
            if found["bracketed"] is not None or ":" in host:
                ipaddress.IPv6Address(host)  # raises where it is none
            return Endpoint(None, host or _LOCAL, int(found["port"]), kind)
    return None


def _is_socket(text: str) -> bool:
    try:
        return Path(text).is_socket()
    except OSError:
        return False


# What comes before QEMU's options, in which it doubles a comma.
def _without_options(text: str) -> str:
    found = _OPTIONS.search(text)
    return text if found is None else text[: found.start()].replace(",,", ",")


class Listener(NamedTuple):
    """A listening socket: the processes that have it, and whether a client has connected; None: cannot be told."""

    owners: tuple[int, ...] = ()
    taken: bool | None = None


def find_listener(endpoint: Endpoint) -> Listener:
    """Return the listening socket that a connection to `endpoint` would reach."""
    return _find_listener_tcp(endpoint) if endpoint.path is None else _find_listener_unix(endpoint.path)


def _find_listener_unix(path: str) -> Listener:
    # Num RefCount Protocol Flags Type St Inode Path; accepted connections carry the listener's path.
    fields = [line.split(None, 7) for line in _lines("unix")]
    rows = [(int(f[3], 16), f[5], int(f[6]), f[7]) for f in fields if len(f) == 8 and f[6].isdecimal()]
    listening = {inode: name for flags, _, inode, name in rows if flags & _UNIX_ACCEPTS}
    wanted = {inode for inode, name in listening.items() if name.startswith("/") and _same(name, path)}
    if not wanted:  # it may have been bound by a relative name, or in a container
        last = Path(path).resolve().name
        likely = {inode: name for inode, name in listening.items() if Path(name).name == last}
        seen = {(pid, inode): ("root" if likely[inode][0] == "/" else "cwd/") for pid, inode in _holders(likely)}
        wanted = {inode for (pid, inode), top in seen.items() if _same(f"/proc/{pid}/{top}{likely[inode]}", path)}
    if not wanted:
        return Listener()
    owners = tuple(sorted({pid for pid, _ in _holders(wanted)}))
    names = {listening[inode] for inode in wanted}
    taken = {inode for flags, state, inode, name in rows if state in _UNIX_CONNECTED and name in names}
    if not all(name.startswith("/") for name in names):
        # Others may have bound the same relative name elsewhere. One that waits to be accepted has no owner yet.
        taken = {inode for inode in taken if not inode} | {i for pid, i in _holders(taken) if pid in owners}
    return Listener(owners, bool(taken))


def _same(name: str, path: str) -> bool:
    try:
        return Path(name).samefile(path)
    except OSError:
        return False


class _Tcp(NamedTuple):
    address: _Address
    port: int
    state: str
    inode: int


def _find_listener_tcp(endpoint: Endpoint) -> Listener:
    rows = [*_tcp_sockets("tcp"), *_tcp_sockets("tcp6")]
    listening = [row for row in rows if row.state == _TCP_LISTEN and row.port == endpoint.port]
    wild = [row for row in listening if row.address.is_unspecified]
    for address in map(_address, endpoint.addresses()):
        if not _is_ours(address):
            break
        target = _LOOPBACK[address.version] if address.is_unspecified else address
        exact = [row for row in listening if row.address == target]
        any_of_it = [row for row in wild if row.address.version == target.version]
        # A socket for all of IPv6 takes IPv4 as well, unless it was told not to.
        found = exact or any_of_it or (wild if target.version == 4 else [])
        if found:  # else it is refused there, and the next address is tried
            # Connections to other addresses of a listener for all are its own, unless there is another for them.
            others = set() if exact else {row.address for row in listening if row not in wild}
            taken = any(
                row.state == _TCP_ESTABLISHED
                and row.port == endpoint.port
                and (row.address == target if exact else row.address not in others)
                for row in rows
            )
            return Listener(tuple(sorted({pid for pid, _ in _holders({row.inode for row in found})})), taken)
    return Listener()


# A numeric address without its scope, IPv4 that is mapped into IPv6 as what it is.
def _address(text: str) -> _Address:
    found = ipaddress.ip_address(text.partition("%")[0])
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


# Tell whether an address is one of this machine's: only such a one can be bound.
def _is_ours(address: _Address) -> bool:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((str(address), 0))
        return True
    return False


# The TCP sockets of one table, IPv4 addresses that are mapped into IPv6 as what they are.
def _tcp_sockets(name: str) -> Iterable[_Tcp]:
    for line in _lines(name)[1:]:
        fields = line.split()
        address, _, port = fields[1].partition(":")
        # Each 32-bit word is the host's number for bytes in the network's order.
        words = (int(address[at : at + _WORD], 16) for at in range(0, len(address), _WORD))
        packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
        yield _Tcp(_address(str(ipaddress.ip_address(packed))), int(port, 16), fields[3], int(fields[9]))


# (process, inode) for each open descriptor of one of these sockets, of processes that may be looked at.
def _holders(inodes: Iterable[int]) -> Iterable[tuple[int, int]]:
    wanted = {f"socket:[{inode}]": inode for inode in inodes if inode}
    # Thousands of names, few of which matter.
    for pid in filter(str.isdecimal, os.listdir("/proc") if wanted else ()):  # noqa: PTH208
        # It may be gone, or another user's.
        with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
            held = set(map(_link, entries))
            yield from ((int(pid), wanted[link]) for link in held & wanted.keys())


# What an open descriptor is of; "": it was closed meanwhile.
def _link(entry: os.DirEntry[str]) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(entry.path)  # noqa: PTH115
    return ""


# The lines of one of the kernel's tables, none where it cannot be read.
def _lines(table: str) -> list[str]:
    return read_file(_NET / table).decode(errors="surrogateescape").splitlines()
