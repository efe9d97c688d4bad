# SPDX-License-Identifier: GPL-2.0-or-later
"""Small pieces of text: sizes, addresses, arguments and results; strings from outside with their controls escaped."""

from __future__ import annotations

import errno

FINDING, NOTE = "finding", "note"  # the severities of a finding: a fault of the guest, or worth knowing

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def human_size(size: int) -> str:
    """Write `size` bytes in binary units: "640 KiB", "254.9 MiB"."""
    if size == 1:
        return "1 byte"
    unit = min(max(size.bit_length() - 1, 0) // 10, len(_UNITS) - 1)
    whole, rest = divmod(size, 1 << 10 * unit)
    return f"{whole} {_UNITS[unit]}" if not rest else f"{size / (1 << 10 * unit):.1f} {_UNITS[unit]}"


def plural(count: int, noun: str) -> str:
    """Write `count` with its noun: "1 region", "12 regions", "2 entries", "2 arrays"."""
    if count != 1:
        noun = noun[:-1] + "ies" if noun.endswith("y") and noun[-2] not in "aeiou" else noun + "s"
    return f"{count:,} {noun}"


def address(value: int, bits: int) -> str:
    """Write an address with all its digits for a space of `bits` bits."""
    return f"0x{value:0{bits // 4}x}"


def written(name: str, value: int | bool | str) -> str:
    """Return the value of an argument: a node is a decimal number, a truth value a word, the rest is hexadecimal."""
    if isinstance(value, bool):
        return truth(value)
    return str(value) if isinstance(value, str) or name == "nid" else hex(value)


def truth(value: bool) -> str:
    """Return a truth value as C writes it."""
    return "true" if value else "false"


def errno_name(result: int | None) -> str | None:
    """Return "ENOMEM" for -12; None for what is no negative errno."""
    return errno.errorcode.get(-result, str(-result)) if result is not None and result < 0 else None


def safe(text: str, limit: int = 256) -> str:
    """Return at most `limit` characters of `text`, which comes from outside: printable ASCII only.

    Every other character, and a backslash, becomes a backslash escape: no terminal obeys it.
    """
    shown = "".join(c if " " <= c <= "~" else _escape(c) for c in text[:limit].replace("\\", "\\\\"))
    return shown + ("..." if len(text) > limit else "")


def printable(text: str, limit: int = 400) -> str:
    """Return `text`, which comes from another program, as one line of about `limit` characters in any language.

    Tabs become spaces and line ends are joined; whatever else is not printable (controls, bidirectional
    marks, undecodable bytes) becomes an escape: no terminal obeys it.
    """
    joined = " ".join(text.replace("\t", " ").splitlines())
    shown = "".join(c if c.isprintable() else _escape(c) for c in joined[:limit])
    return shown + (" …" if len(joined) > limit else "")


def _escape(character: str) -> str:
    # Return one character as Python writes it; a byte that was not UTF-8 (`surrogateescape`) as that byte.
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
