# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers, ranges and flags as they are typed to the commands."""

from __future__ import annotations

import pytest

from gdb_lmb.commands.numbers import address_range, flags_of, literal, number
from gdb_lmb.errors import UsageError

LITERALS = [
    ("0", 0), ("4096", 4096), ("0x1000", 4096), ("0XFF", 255), ("010", 10), ("4K", 4096), ("0x10k", 16384),
    ("16M", 16 << 20), ("4g", 4 << 30), ("1T", 1 << 40), ("0xffffffffffffffff", (1 << 64) - 1),
    ("", None), ("K", None), ("0x", None), ("1.5", None), ("-1", None), ("4KB", None), ("1_000", None), ("٣", None),
    (" 1", None), ("1e3", None), ("9" * 300, None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), LITERALS, ids=[repr(row[0][:20]) for row in LITERALS])
def test_literal(text: str, value: int | None) -> None:
    assert literal(text) == value


def nobody(name: str) -> int:
    raise AssertionError(f"{name} must not be looked up")


def known(name: str) -> int:
    return {"$x": 0x2000, "lmb": 0x100000, "&lmb": 0x100000, "sizeof(struct foo *)": 8, "sizeof (int)": 4}[name]


EXPRESSIONS = ["f()", "$x=1", "x++", "a.b", "p->q", "*p", "a[1]", "sizeof(f())", "'a'", "a b", "$x+1", "sizeof(a[b()])",
               "&&x", "$", "1;2", "x\n", "λ", "a" * 300]  # fmt: skip


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_no_expression_ever_gets_to_gdb(text: str) -> None:
    with pytest.raises(UsageError, match="is no number") as refused:
        number(text, "SIZE", 64, nobody)
    assert len(str(refused.value)) < 250 and "\n" not in str(refused.value)


def test_names_are_looked_up() -> None:
    assert number("$x", "SIZE", 64, known) == 0x2000
    assert number("&lmb", "BASE", 64, known) == 0x100000
    assert number("sizeof(struct foo *)", "SIZE", 64, known) == 8
    assert number("sizeof (int)", "SIZE", 64, known) == 4


def test_too_wide() -> None:
    with pytest.raises(UsageError, match="SIZE 4G is 0x100000000, which is no number of 32 bits"):
        number("4G", "SIZE", 32, nobody)
    assert number("4G", "SIZE", 33, nobody) == 1 << 32


def same(value: int) -> int:
    return value


def test_ranges() -> None:
    assert address_range("0x1000", 64, nobody, same) == (0x1000, 0x1001)
    assert address_range("0x1000-8K", 64, nobody, same) == (0x1000, 0x2000)
    assert address_range("lmb+4K", 64, known, same) == (0x100000, 0x101000)
    assert address_range("$x-lmb", 64, known, same) == (0x2000, 0x100000)
    # Numbers written out may be virtual; names are physical already, and a size is neither.
    assert address_range("5+3", 64, nobody, lambda value: value + 100) == (105, 108)
    assert address_range("5-7", 64, nobody, lambda value: value + 100) == (105, 107)
    assert address_range("0xffffffff", 32, nobody, same) == (0xFFFFFFFF, 1 << 32)


@pytest.mark.parametrize(("text", "message"), [
    ("5-5", "is empty"), ("5-3", "is empty"), ("5+0", "is empty"), ("0xffffffff+2", "past the end of 32-bit"),
    ("1-2-3", "is no number"), ("1+2+3", "is no number"), ("-", "is no number"), ("+4K", "is no number"), ("", "is no"),
])  # fmt: skip
def test_bad_ranges(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        address_range(text, 32, nobody, same)


def test_flags() -> None:
    names = {1: "HOTPLUG", 4: "NOMAP"}
    assert flags_of("NOMAP", names, nobody) == 4
    assert flags_of("nomap|HotPlug|NOMAP", names, nobody) == 5
    assert flags_of("0x80", names, nobody) == 0x80
    assert flags_of("$x", names, known) == 0x2000
    with pytest.raises(UsageError, match=r"--flags 'MIRROR' is no number and none of HOTPLUG, NOMAP"):
        flags_of("MIRROR", names, nobody)
    with pytest.raises(UsageError, match="32 bits"):
        flags_of("0x100000000", names, nobody)
