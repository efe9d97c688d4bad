# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers, addresses and ranges as the commands take them: 4096, 0x1000, 640K, $var, a symbol, A-B, A+SIZE.

What gdb has to look up comes in as a function, so that nothing here knows gdb. Only names are ever handed to
it, never an expression: that could call or change something in the guest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from gdb_lmb.core.errors import UsageError
from gdb_lmb.core.numbers import MAX_CHARACTERS, bounded, is_negative, literal, no_number, seconds, time_limit
from gdb_lmb.core.words import safe

Resolve = Callable[[str], int]
"""Turns `$name`, `sizeof(type)` or a symbol into a number. Raises: `UsageError`."""

DEFAULT_TIMEOUT_S = 60.0

_NAME = re.compile(r"\$\w+|&?[A-Za-z_]\w*|sizeof *\( *[A-Za-z_][\w ]*[ *]*\)", re.ASCII)
_BESIDES = ", $variable, sizeof(type) or symbol"
_FLAGS_BITS = 32


def number(text: str, what: str, bits: int, resolve: Resolve) -> int:
    """Return a number of at most `bits` bits; `what` names it in messages. Raises: `UsageError`."""
    value = literal(text)
    if value is None:
        if not is_name(text):
            raise no_number(text, what, _BESIDES)
        value = resolve(text)
    if not 0 <= value < 1 << bits:
        raise UsageError(f"{what} {safe(text, 40)} is {value:#x}, which is no number of {bits} bits")
    return value


def is_name(text: str) -> bool:
    """Tell whether `text` is a single name that gdb may look up: it cannot call or change anything."""
    return len(text) <= MAX_CHARACTERS and _NAME.fullmatch(text) is not None


def count(text: str, what: str, resolve: Resolve, *, least: int = 0, most: int = (1 << 31) - 1) -> int:
    """Return how many of something, from `least` to `most`. Raises: `UsageError`."""
    return bounded(number(text, what, 64, resolve), text, what, least, most)


def alignment(text: str, what: str, bits: int, resolve: Resolve) -> int:
    """Return a power of two, in bytes. Raises: `UsageError`."""
    value = number(text, what, bits, resolve)
    if not value or value & (value - 1):
        raise UsageError(f"{what} {value:#x} is no power of two")
    return value


def timeout(text: str | None, what: str, resolve: Resolve) -> float:
    """Return a time in seconds: 60, 0.5, $variable; `DEFAULT_TIMEOUT_S` for None. Raises: `UsageError`."""
    if text is None:
        return DEFAULT_TIMEOUT_S
    if literal(text) is None and is_name(text):
        return time_limit(resolve(text), what)
    return seconds(text, what)


def address_range(
    text: str, bits: int, resolve: Resolve, translate: Callable[[int], int], size_of: Resolve
) -> tuple[int, int]:
    """Return the half-open physical range that ADDRESS, A-B or A+SIZE means; one address is one byte.

    `resolve` makes a name physical, `translate` a number that is written out; `size_of` returns a name's value as
    a size. Raises: `UsageError`.
    """

    def address(word: str) -> int:
        value = number(word, "address", bits, resolve)
        return value if literal(word) is None else translate(value)

    if is_negative(text):
        raise no_number(text, "address", _BESIDES)
    low, mark, high = (part.strip() for part in (text.partition("-") if "-" in text else text.partition("+")))
    base = address(low)
    if not mark:
        return base, base + 1
    end = base + number(high, "size", bits, size_of) if mark == "+" else address(high)
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
    if literal(text) is None and not text.startswith(("$", "sizeof")):
        raise UsageError(f"--flags {safe(text, 40)!r} is no number and none of {', '.join(known)} (joined by |)")
    return number(text, "--flags", _FLAGS_BITS, resolve)
