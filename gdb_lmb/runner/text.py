# SPDX-License-Identifier: GPL-2.0-or-later
"""What a terminal may see: text from the guest, gdb or QEMU, bounded and with its controls escaped."""

from __future__ import annotations

import os

TAIL_LINES = 20
TAIL_BYTES = 4096
LINE_CHARACTERS = 400


def printable(text: str, limit: int = LINE_CHARACTERS) -> str:
    """Return `text` as one line of at most about `limit` characters that cannot steer a terminal.

    Tabs become spaces and line ends are joined; whatever else is not printable (controls, bidirectional
    marks, undecodable bytes) is written as an escape.
    """
    joined = " ".join(text.replace("\t", " ").splitlines())
    cut = joined[:limit]
    escaped = "".join(c if c.isprintable() else _escape(c) for c in cut)
    return escaped + (" …" if len(joined) > limit else "")


def tail(data: bytes, lines: int = TAIL_LINES, limit: int = TAIL_BYTES) -> list[str]:
    """Return the last `lines` lines within the last `limit` bytes of `data`, each safe to print."""
    text = data[-limit:].decode("utf-8", errors="surrogateescape").replace("\r\n", "\n")
    found = text.rstrip("\n").split("\n") if text.strip() else []
    return [printable(line) for line in found[-lines:]]


def quote(text: str) -> str:
    """Write `text` as a C string of MI; bytes that are not plain ASCII become octal escapes."""
    plain = (chr(b) if 0x20 <= b < 0x7F and b not in b'"\\' else f"\\{b:03o}" for b in os.fsencode(text))
    return '"' + "".join(plain) + '"'


def _escape(character: str) -> str:
    """Return one unprintable character as a Python-like escape."""
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was no UTF-8, kept by surrogateescape
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
