# SPDX-License-Identifier: GPL-2.0-or-later
"""What a user calls a gdbstub: as gdb's `target remote` takes it, or as QEMU's `-gdb` was given it."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

from gdb_lmb.core.errors import UsageError
from gdb_lmb.core.words import printable
from gdb_lmb.runner.rsp import Endpoint

_KINDS = ("tcp", "tcp4", "tcp6")
_LOCAL = "localhost"
"""Whom gdb means without a host. QEMU then listens on all addresses, of which this is one."""
_HARMLESS = "|".join(
    (
        r"server(?:=(?:on|yes|true|y))?", "nowait", r"wait(?:=\w+)?", "nodelay(?:=\\w+)?", "delay(?:=\\w+)?",
        r"ipv[46](?:=\w+)?", r"mux=\w+", r"logfile=[^,]*", r"logappend=\w+", r"id=[^,]*",
    )
)  # fmt: skip
_OPTIONS = re.compile(rf"((?:,(?:{_HARMLESS}))+)$")
"""Options of QEMU's that change nothing for whoever connects. Source: `qemu_chr_parse_compat()` of chardev/char.c."""


def parse_endpoint(text: str) -> Endpoint:
    """Read `unix:PATH`, a path, `tcp:HOST:PORT`, `HOST:PORT` or `:PORT`, with QEMU's options after it or without.

    Raises: UsageError.
    """
    kind, colon, rest = text.partition(":")
    endpoint = None
    if "\0" in text or "\n" in text:
        pass
    elif kind == "unix" and colon:
        endpoint = _unix(_without_options(rest))
    elif kind in _KINDS and colon:
        endpoint = _tcp(kind, _without_options(rest))
    elif "/" in text or _is_socket(text):  # no host has a slash, and gdb looks at the file too
        endpoint = _unix(text)
    else:
        endpoint = _tcp("tcp", _without_options(text))
    if endpoint is None:
        raise UsageError(
            f"{printable(text, 100)!r} is no gdbstub: give unix:PATH or tcp:HOST:PORT, or as gdb takes it :PORT, "
            "HOST:PORT or a socket's path"
        )
    return endpoint


def _unix(path: str) -> Endpoint | None:
    return Endpoint(str(Path(path).absolute())) if path else None


def _tcp(kind: str, text: str) -> Endpoint | None:
    """Read `[HOST]:PORT`; an IPv6 address stands in brackets or, as gdb takes it, without."""
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        return None
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if not _is_ipv6(host):
            return None
    elif (":" in host and not _is_ipv6(host)) or not re.fullmatch(r"[^\s\[\]/,|]*", host):
        return None
    return Endpoint(None, host or _LOCAL, int(port), kind)


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _is_socket(text: str) -> bool:
    try:
        return Path(text).is_socket()
    except (OSError, ValueError):
        return False


def _without_options(text: str) -> str:
    """Return what comes before QEMU's options, in which it doubles a comma."""
    found = _OPTIONS.search(text)
    return text if found is None else text[: found.start()].replace(",,", ",")
