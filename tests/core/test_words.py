# SPDX-License-Identifier: GPL-2.0-or-later
"""Sizes, results and strings from outside, as they are written."""

from __future__ import annotations

import pytest

from gdb_lmb.core.words import errno_name, human_size, plural, printable, safe

SIZES = [
    (0, "0 bytes"), (1, "1 byte"), (2, "2 bytes"), (1023, "1023 bytes"), (1024, "1 KiB"), (1536, "1.5 KiB"),
    ((1 << 20) - 1, "1024.0 KiB"), (1 << 20, "1 MiB"), (1 << 60, "1 EiB"), (1 << 63, "8 EiB"), (1 << 70, "1024 EiB"),
]  # fmt: skip


@pytest.mark.parametrize(("size", "text"), SIZES)
def test_sizes(size: int, text: str) -> None:
    assert human_size(size) == text


def test_counts_and_errors() -> None:
    assert [plural(1, "entry"), plural(2, "entry"), plural(1000, "array")] == ["1 entry", "2 entries", "1,000 arrays"]
    assert [errno_name(number) for number in (-12, -1, 0, 1, None)] == ["ENOMEM", "EPERM", None, None, None]
    assert errno_name(-999) == "999"


def test_ascii_only_and_so_much_of_it() -> None:
    assert safe(" ~\x7f\x1f") == " ~\\x7f\\x1f"
    assert safe("ab", 2) == "ab" and safe("abc", 2) == "ab..."
    # A byte that is no UTF-8, as Python keeps it, and its neighbours, which are other characters.
    assert safe("\udc80\udcff") == "\\x80\\xff"
    assert safe("\udc7f\udd00") == "\\udc7f\\udd00"
    assert safe("a\\b") == "a\\\\b"
    assert safe("x" * 256) == "x" * 256 and safe("x" * 257) == "x" * 256 + "..."
    assert printable("x" * 400) == "x" * 400 and printable("x" * 401) == "x" * 400 + " …"


def test_any_language_on_one_line() -> None:
    assert printable("é\tb\nc\u202e") == "é b c\\u202e"
    assert printable("ab", 2) == "ab" and printable("abc", 2) == "ab …"
