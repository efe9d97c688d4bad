# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers as they are typed, in gdb and in a shell: 4096, 0x1000, 640K; and times in seconds.

`commands.numbers` adds what only gdb can look up: $variable, sizeof(type), symbols.
"""

from __future__ import annotations

import math
import re

from gdb_lmb.core.errors import UsageError
from gdb_lmb.core.words import safe

MAX_CHARACTERS = 200
"""The longest word that is looked at."""

LONGEST_S = 1e6
"""The longest time that may be asked for, in seconds."""

_LITERAL = re.compile(r"(0x[0-9a-f]+|[0-9]+)([kmgt]?)", re.IGNORECASE)
_SHIFT = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}
_DECIMAL = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?", re.IGNORECASE | re.ASCII)
_NEGATIVE = re.compile(r"-[0-9.]", re.ASCII)


def literal(text: str) -> int | None:
    """Return a number written out: decimal or 0x…, with K, M, G or T (powers of 1024); None for what is none."""
    found = _LITERAL.fullmatch(text)
    if found is None or len(text) > MAX_CHARACTERS:
        return None
    return int(found[1], 0 if found[1][:2].lower() == "0x" else 10) << _SHIFT[found[2].lower()]


def is_negative(text: str) -> bool:
    """Tell whether `text` begins like a negative number."""
    return _NEGATIVE.match(text) is not None


def no_number(text: str, what: str, besides: str = "") -> UsageError:
    """Return the error for a word that is no number; `what` names it, `besides` lists what else it could be."""
    why = "is negative, but must be 0 or more" if is_negative(text) else "is no number"
    return UsageError(f"{what} {safe(text, 40)!r} {why} (4096, 0x1000, 640K){besides}")


def bounded(value: int, text: str, what: str, least: int, most: int) -> int:
    """Return `value`, which `text` stands for. Raises: `UsageError` where it is not from `least` to `most`."""
    if value < least:
        raise UsageError(f"{what} {safe(text, 40)}: give a number from {least:,} up")
    if value > most:
        raise UsageError(f"{what} {safe(text, 40)} is too large: the most is {most:,}")
    return value


def whole_number(text: str, what: str, *, least: int = 0, most: int = (1 << 64) - 1) -> int:
    """Return a number written out, from `least` to `most`; `what` names it in messages. Raises: `UsageError`."""
    value = literal(text)
    if value is None:
        raise no_number(text, what)
    return bounded(value, text, what, least, most)


def seconds(text: str, what: str) -> float:
    """Return a time in seconds, more than 0: 60, 0.5, 0x10. Raises: `UsageError`."""
    value = literal(text)
    if value is not None:
        return time_limit(value, what)
    if len(text) > MAX_CHARACTERS or not _DECIMAL.fullmatch(text):
        why = "is negative" if is_negative(text) else "is no time"
        raise UsageError(f"{what} {safe(text, 40)!r} {why}: give seconds, such as 60 or 0.5")
    return time_limit(float(text), what)


def time_limit(value: float, what: str) -> float:
    """Return `value` in seconds. Raises: `UsageError` where it is no time that can be waited for."""
    if math.isnan(value) or not 0 < value <= LONGEST_S:
        shown = f"{value:g}" if value < 1e18 else "more than that"
        raise UsageError(f"{what} {shown}: give a number of seconds more than 0, at most {LONGEST_S:,.0f}")
    return float(value)
