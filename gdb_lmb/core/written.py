# SPDX-License-Identifier: GPL-2.0-or-later
"""How arguments, results and switches are written, in every report alike."""

from __future__ import annotations

import errno


def written(name: str, value: int | bool | str) -> str:
    """Return the value of an argument: a node is a decimal number, a truth value a word, the rest is hexadecimal."""
    if isinstance(value, bool):
        return truth(value)
    return str(value) if isinstance(value, str) or name == "nid" else hex(value)


def truth(value: bool) -> str:
    """Return a truth value as C writes it."""
    return "true" if value else "false"


def result_text(value: int | None) -> str:
    """Return a result: an errno or a small count in decimal, an address in hexadecimal, "nothing" for None."""
    return "nothing" if value is None else str(value) if value < 4096 else hex(value)


def errno_name(result: int | None) -> str | None:
    """Return "ENOMEM" for -12; None for what is no negative errno."""
    return errno.errorcode.get(-result, str(-result)) if result is not None and result < 0 else None
