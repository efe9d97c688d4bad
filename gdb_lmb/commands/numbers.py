# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers, addresses and ranges as they are typed: 4096, 0x1000, 640K, $var, a symbol, A-B, A+SIZE.

What gdb has to look up comes in as a function, so that nothing here knows gdb. Only names are ever handed to
it, never an expression: that could call or change something in the guest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from gdb_lmb.errors import UsageError
from gdb_lmb.report.words import safe

Resolve = Callable[[str], int]
"""Turns `$name`, `sizeof(type)` or a symbol into a number. Raises: `UsageError`."""

_LITERAL = re.compile(r"(0x[0-9a-f]+|[0-9]+)([kmgt]?)", re.IGNORECASE)
_SHIFT = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}
_NAME = re.compile(r"\$\w+|&?[A-Za-z_]\w*|sizeof ?\([A-Za-z_][\w ]*[ *]*\)", re.ASCII)
_MAX_CHARACTERS = 200
_FLAGS_BITS = 32


def literal(text: str) -> int | None:
    """Return a number written out: decimal or 0x…, with K, M, G or T (powers of 1024); None for what is none."""
    found = _LITERAL.fullmatch(text)
    if found is None or len(text) > _MAX_CHARACTERS:
        return None
    return int(found[1], 0 if found[1][:2].lower() == "0x" else 10) << _SHIFT[found[2].lower()]


def number(text: str, what: str, bits: int, resolve: Resolve) -> int:
    """Return a number of at most `bits` bits; `what` names it in messages. Raises: `UsageError`."""
    value = literal(text)
    if value is None:
        if len(text) > _MAX_CHARACTERS or not _NAME.fullmatch(text):
            raise UsageError(
                f"{what} {safe(text, 40)!r} is no number (4096, 0x1000, 640K), $variable, sizeof(type) or symbol"
            )
        value = resolve(text)
    if not 0 <= value < 1 << bits:
        raise UsageError(f"{what} {safe(text, 40)} is {value:#x}, which is no number of {bits} bits")
    return value


def address_range(text: str, bits: int, resolve: Resolve, translate: Callable[[int], int]) -> tuple[int, int]:
    """Return the half-open physical range that ADDRESS, A-B or A+SIZE means; one address is one byte.

    `resolve` makes a name physical, `translate` a number that is written out. Raises: `UsageError`.
    """

    def address(word: str) -> int:
        value = number(word, "address", bits, resolve)
        return value if literal(word) is None else translate(value)

    low, mark, high = text.partition("-") if "-" in text else text.partition("+")
    base = address(low)
    if not mark:
        return base, base + 1
    end = base + number(high, "size", bits, resolve) if mark == "+" else address(high)
    if end <= base:
        raise UsageError(f"the range {safe(text, 80)} is empty: A-B goes from A up to B and leaves B out")
    if end > 1 << bits:
        raise UsageError(f"the range {safe(text, 80)} goes past the end of {bits}-bit addresses")
    return base, end


def flags_of(text: str, names: Mapping[int, str], resolve: Resolve) -> int:
    """Return flags given as a number or by name: "4", "NOMAP", "HOTPLUG|MIRROR". Raises: `UsageError`."""
    known = {name: bit for bit, name in names.items()}
    words = text.upper().split("|")
    if all(word in known for word in words):
        return sum({known[word] for word in words})
    if literal(text) is None and not text.startswith("$"):
        raise UsageError(f"--flags {safe(text, 40)!r} is no number and none of {', '.join(known)} (joined by |)")
    return number(text, "--flags", _FLAGS_BITS, resolve)
