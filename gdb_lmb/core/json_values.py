# SPDX-License-Identifier: GPL-2.0-or-later
"""JSON values from outside: what is taken of them, and what is said of the others."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from gdb_lmb.core.errors import InputError

Json = dict[str, Any]


def checked(name: str, value: Any, fits: type | Callable[[Any], bool], expected: str) -> Any:
    """Return `value`, the member `name` of JSON from outside, if it is of a type or `fits`. Raises: `InputError`."""
    if not (isinstance(value, fits) if isinstance(fits, type) else fits(value)):
        raise InputError(f'"{name}" is {short(value)}; expected {expected}')
    return value


def read_number(name: str, value: object, bits: int) -> int:
    """Return a number, or a "0x…" string's, of at most `bits` bits. Raises: `InputError` naming `name`."""
    number = value if isinstance(value, int) and not isinstance(value, bool) else None
    if isinstance(value, str) and len(value) < 40:
        try:
            number = int(value, 0)
        except ValueError:
            number = None
    if number is None or not 0 <= number < 1 << bits:
        raise InputError(f'"{name}" is {short(value)}; expected a number or a "0x…" string of at most {bits} bits')
    return number


def short(value: object) -> str:
    """Return `value` from outside as JSON, short enough for a message."""
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
