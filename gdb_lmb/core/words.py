# SPDX-License-Identifier: GPL-2.0-or-later
"""Small pieces of text that every report uses: sizes, flags, addresses, safe strings."""

from __future__ import annotations

from collections.abc import Mapping

from gdb_lmb.core.snapshot import FLAG_NAMES

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def human_size(size: int) -> str:
    """Write `size` bytes in binary units: "640 KiB", "254.9 MiB"."""
    if size == 1:
        return "1 byte"
    unit, scale = 0, 1
    while size >= scale * 1024 and unit < len(_UNITS) - 1:
        unit, scale = unit + 1, scale * 1024
    whole, rest = divmod(size, scale)
    return f"{whole} {_UNITS[unit]}" if not rest else f"{size / scale:.1f} {_UNITS[unit]}"


def plural(count: int, noun: str) -> str:
    """Write `count` with its noun: "1 region", "12 regions", "2 entries", "2 arrays"."""
    if count != 1:
        noun = noun[:-1] + "ies" if noun.endswith("y") and noun[-2] not in "aeiou" else noun + "s"
    return f"{count:,} {noun}"


def flag_names(flags: int, known: Mapping[int, str] = FLAG_NAMES) -> str:
    """Write a region's flags by their names in `known`: "-", "NOMAP", "HOTPLUG|0x40"."""
    names = [name for bit, name in known.items() if flags & bit]
    rest = flags & ~sum(known)
    if rest:
        names.append(f"{rest:#x}")
    return "|".join(names) or "-"


def address(value: int, bits: int) -> str:
    """Write an address with all its digits for a space of `bits` bits."""
    return f"0x{value:0{bits // 4}x}"


def safe(text: str, limit: int = 256) -> str:
    """Return `text` from outside with nothing in it that a terminal obeys, at most `limit` characters.

    Printable ASCII stays; every other character becomes a backslash escape.
    """
    shown = text[:limit].replace("\\", "\\\\")
    out = "".join(c if " " <= c <= "~" else c.encode("unicode_escape").decode("ascii") for c in shown)
    return out + "..." if len(text) > limit else out
