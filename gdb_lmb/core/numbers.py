# SPDX-License-Identifier: GPL-2.0-or-later
"""The grammar of numbers, addresses, ranges, flags and times, in gdb and in a shell: 4096, 0x1000, 640K, A-B, A+SIZE.

In gdb a number may also be a name: $variable, sizeof(type), a symbol. `Resolve` looks it up. Only names are ever
handed to it, never an expression: that could call or change something in the guest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from gdb_lmb.core.errors import UsageError
from gdb_lmb.core.words import safe

# Turns `$name`, `sizeof(type)` or a symbol into a number. Raises: `UsageError`.
Resolve = Callable[[str], int]

LONGEST_S = 1e6  # the longest time that may be asked for, in seconds

DEFAULT_TIMEOUT_S = 60.0

_MAX_CHARACTERS = 200  # the longest word that is looked at

_LITERAL_PATTERN = "(0x[0-9a-f]+|[0-9]+)([kmgt]?)"
_NAME_PATTERN = r"\$\w+|&?[A-Za-z_]\w*|sizeof *\( *[A-Za-z_][\w ]*[ *]*\)"
# One side of a range, for `re.IGNORECASE | re.ASCII`.
OPERAND_PATTERN = f"(?:{_LITERAL_PATTERN}|{_NAME_PATTERN})"

_DECIMAL_PATTERN = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?"
_SHIFT = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}


def literal(text: str) -> int | None:
    """Return the number that `text` is: decimal or 0x..., with K, M, G or T (powers of 1024); else None."""
    found = re.fullmatch(_LITERAL_PATTERN, text, re.IGNORECASE)
    if found is None or len(text) > _MAX_CHARACTERS:
        return None
    return int(found[1], 0 if found[1][:2].lower() == "0x" else 10) << _SHIFT[found[2].lower()]


def is_name(text: str) -> bool:
    """Tell whether `text` is a single name that gdb may look up: it cannot call or change anything."""
    return len(text) <= _MAX_CHARACTERS and re.fullmatch(_NAME_PATTERN, text, re.ASCII) is not None


def is_negative(text: str) -> bool:
    """Tell whether `text` begins like a negative number."""
    return re.match("-[0-9.]", text) is not None


def _not_a_number(text: str, what: str, resolve: Resolve | None, least: int) -> UsageError:
    why = f"is negative, but must be {least} or more" if is_negative(text) else "is not a number"
    others = "" if resolve is None else ", $variable, sizeof(type) or symbol"
    return UsageError(f"{what} {safe(text, 40)!r} {why} (4096, 0x1000, 640K){others}")


def _value(text: str, what: str, resolve: Resolve | None, least: int = 0) -> int:
    value = literal(text)
    if value is not None:
        return value
    if resolve is None or not is_name(text):
        raise _not_a_number(text, what, resolve, least)
    return resolve(text)


def number(text: str, what: str, bits: int, resolve: Resolve) -> int:
    """Return an unsigned number of at most `bits` bits; `what` names it in messages. Raises: `UsageError`."""
    value = _value(text, what, resolve)
    if not 0 <= value < 1 << bits:
        raise UsageError(f"{what} {safe(text, 40)} is {value:#x}, which does not fit in {bits} bits")
    return value


def whole_number(
    text: str, what: str, resolve: Resolve | None = None, *, least: int = 0, most: int = (1 << 31) - 1
) -> int:
    """Return a number from `least` to `most`, without `resolve` one that is written out. Raises: `UsageError`."""
    value = _value(text, what, resolve, least)
    if value < least:
        raise UsageError(f"{what} {safe(text, 40)}: give a number from {least:,} up")
    if value > most:
        raise UsageError(f"{what} {safe(text, 40)} is too large: the most is {most:,}")
    return value


def alignment(text: str, what: str, bits: int, resolve: Resolve) -> int:
    """Return a power of two, in bytes. Raises: `UsageError`."""
    value = number(text, what, bits, resolve)
    if value.bit_count() != 1:
        raise UsageError(f"{what} {value:#x} is not a power of two")
    return value


def seconds(text: str | None, what: str, resolve: Resolve | None = None) -> float:
    """Return a time in seconds, more than 0: 60, 0.5, 0x10; `DEFAULT_TIMEOUT_S` for None. Raises: `UsageError`."""
    if text is None:
        return DEFAULT_TIMEOUT_S
    value: float | None = resolve(text) if resolve is not None and is_name(text) else literal(text)
    if value is None and (len(text) > _MAX_CHARACTERS or not re.fullmatch(_DECIMAL_PATTERN, text, re.IGNORECASE)):
        why = "is negative" if is_negative(text) else "is not a time"
        raise UsageError(f"{what} {safe(text, 40)!r} {why}: give seconds, such as 60 or 0.5")
    value = float(text) if value is None else value
    if not 0 < value <= LONGEST_S:
        shown = f"{value:g}" if value < 1e18 else "more than that"
        raise UsageError(f"{what} {shown}: give a number of seconds more than 0, at most {LONGEST_S:,.0f}")
    return float(value)


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
        raise _not_a_number(text, "address", resolve, 0)
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
        raise UsageError(f"--flags {safe(text, 40)!r} is neither a number nor one of {', '.join(known)} (joined by |)")
    return number(text, "--flags", 32, resolve)
