# SPDX-License-Identifier: GPL-2.0-or-later
"""Ask gdb for what only its text tells: in English whatever the user's language, and without MI's quoting."""

from __future__ import annotations

import locale
import re

import gdb

# One stream record of MI: console, target or log output.
_RECORD = re.compile(r'[~@&]"((?:[^"\\\n]|\\.)*)"\n')
_RECORDS = re.compile(rf"(?:{_RECORD.pattern})+")
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)")
# The letters by which gdb escapes control characters. Source: print_one_char() of gdb/utils.c.
_CONTROLS = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"e": b"\x1b", b"b": b"\b", b"f": b"\f", b"v": b"\v", b"a": b"\a"}


def ask(command: str) -> str:
    """Execute a gdb command and return what it prints, untranslated. Raises: `gdb.error`."""
    # In any other locale than C, C.UTF-8 too, LANGUAGE may name a catalog.
    language = locale.setlocale(locale.LC_MESSAGES)
    locale.setlocale(locale.LC_MESSAGES, "C")
    try:
        return plain(str(gdb.execute(command, to_string=True)))
    finally:
        locale.setlocale(locale.LC_MESSAGES, language)


def captures_records() -> bool:
    """Tell whether gdb gives MI's records where a command's output is asked for, as gdb 18 does under MI."""
    return bool(gdb.execute("echo -", to_string=True) != "-")


def plain(text: str) -> str:
    """Return `text` without the quoting that gdb 18 puts around a command's output where its interpreter is MI."""
    if not _RECORDS.fullmatch(text):
        return text
    # Every byte that is not printable ASCII is an escape of its own, also the parts of one character.
    quoted = "".join(found[1] for found in _RECORD.finditer(text)).encode()
    return _ESCAPE.sub(_unescaped, quoted).decode(errors="replace")


def _unescaped(found: re.Match[bytes]) -> bytes:
    code = found[1]
    return bytes([int(code, 8) & 0xFF]) if len(code) == 3 else _CONTROLS.get(code, code)
