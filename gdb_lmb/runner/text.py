# SPDX-License-Identifier: GPL-2.0-or-later
"""Text to and from the programs that run: the end of what one printed, and the strings of MI."""

from __future__ import annotations

import os

from gdb_lmb.core.words import printable

TAIL_LINES = 20
TAIL_BYTES = 4096


def tail(data: bytes, lines: int = TAIL_LINES, limit: int = TAIL_BYTES) -> list[str]:
    """Return the last `lines` lines within the last `limit` bytes of `data`, each safe to print."""
    text = data[-limit:].decode("utf-8", errors="surrogateescape").replace("\r\n", "\n")
    found = text.rstrip("\n").split("\n") if text.strip() else []
    return [printable(line) for line in found[-lines:]]


def quote(text: str) -> str:
    """Write `text` as a C string of MI; bytes that are not plain ASCII become octal escapes."""
    plain = (chr(b) if 0x20 <= b < 0x7F and b not in b'"\\' else f"\\{b:03o}" for b in os.fsencode(text))
    return '"' + "".join(plain) + '"'
