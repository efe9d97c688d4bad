# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers, ranges and flags as they are typed to the commands."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gdb_lmb.core.errors import UsageError
from gdb_lmb.core.numbers import address_range, alignment, flags_of, is_name, literal, number, seconds, whole_number

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
    with pytest.raises(UsageError, match="is not a number") as refused:
        number(text, "SIZE", 64, nobody)
    assert len(str(refused.value)) < 250 and "\n" not in str(refused.value)


def test_names_are_looked_up() -> None:
    assert number("$x", "SIZE", 64, known) == 0x2000
    assert number("&lmb", "BASE", 64, known) == 0x100000
    assert number("sizeof(struct foo *)", "SIZE", 64, known) == 8
    assert number("sizeof (int)", "SIZE", 64, known) == 4


def test_too_wide() -> None:
    with pytest.raises(UsageError, match="SIZE 4G is 0x100000000, which does not fit in 32 bits"):
        number("4G", "SIZE", 32, nobody)
    assert number("4G", "SIZE", 33, nobody) == 1 << 32


def same(value: int) -> int:
    return value


def test_ranges() -> None:
    assert address_range("0x1000", 64, nobody, same, nobody) == (0x1000, 0x1001)
    assert address_range("0x1000-8K", 64, nobody, same, nobody) == (0x1000, 0x2000)
    assert address_range("lmb+4K", 64, known, same, nobody) == (0x100000, 0x101000)
    assert address_range("$x-lmb", 64, known, same, nobody) == (0x2000, 0x100000)
    assert address_range("$x - lmb", 64, known, same, nobody) == (0x2000, 0x100000)
    assert address_range("0+sizeof(struct foo *)", 64, nobody, same, known) == (0, 8)
    # Numbers written out may be virtual; names are physical already, and a size is neither.
    assert address_range("5+3", 64, nobody, lambda value: value + 100, nobody) == (105, 108)
    assert address_range("5-7", 64, nobody, lambda value: value + 100, nobody) == (105, 107)
    assert address_range("0xffffffff", 32, nobody, same, nobody) == (0xFFFFFFFF, 1 << 32)


@pytest.mark.parametrize(("text", "message"), [
    ("5-5", "is empty"), ("5-3", "is empty"), ("5+0", "is empty"), ("0xffffffff+2", "past the end of 32-bit"),
    ("1-2-3", "is not a number"), ("1+2+3", "is not a number"), ("-", "is not a number"),
    ("+4K", "is not a number"), ("", "is not a number"),
    ("-1", "address '-1' is negative"), ("-4K-8K", "is negative"), ("8--4", "address '-4' is negative"),
    ("8+-4", "'8\\+' is not a number"),
])  # fmt: skip
def test_bad_ranges(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        address_range(text, 32, nobody, same, nobody)


def test_flags() -> None:
    names = {1: "HOTPLUG", 4: "NOMAP"}
    assert flags_of("NOMAP", names, nobody) == 4
    assert flags_of("nomap|HotPlug|NOMAP", names, nobody) == 5
    assert flags_of("0x80", names, nobody) == 0x80
    assert flags_of("$x", names, known) == 0x2000
    with pytest.raises(UsageError, match=r"--flags 'MIRROR' is neither a number nor one of HOTPLUG, NOMAP"):
        flags_of("MIRROR", names, nobody)
    with pytest.raises(UsageError, match="32 bits"):
        flags_of("0x100000000", names, nobody)


def test_counts_and_alignments() -> None:
    assert whole_number("$x", "--every", known, least=1) == 0x2000
    assert whole_number("0", "--last", nobody) == 0
    assert alignment("2M", "--align", 64, nobody) == 2 << 20
    for text, message in (("0", "--every 0: give a number from 1 up"), ("-1", "'-1' is negative"), ("4G", "too large")):
        with pytest.raises(UsageError, match=message):
            whole_number(text, "--every", nobody, least=1)
    for text in ("0", "3", "0xc00"):
        with pytest.raises(UsageError, match="is not a power of two"):
            alignment(text, "--align", 64, nobody)


TIMES = [("60", 60.0), ("0.5", 0.5), (".25", 0.25), ("5.", 5.0), ("0x10", 16.0), ("1e3", 1000.0), ("1e-05", 1e-5)]


@pytest.mark.parametrize(("text", "value"), TIMES)
def test_times(text: str, value: float) -> None:
    assert seconds(text, "--timeout") == seconds(text, "--timeout", nobody) == value


@pytest.mark.parametrize("text", ["0", "0.0", "-1", "-0.5", "1e400", "1e7", "nan", "inf", "-inf", "1_0", "5s", "", "٣",
                                  "9" * 300, "1T"])  # fmt: skip
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--timeout .*seconds") as refused:
        seconds(text, "--timeout")
    assert len(str(refused.value)) < 200


def test_a_time_may_be_a_variable_in_gdb() -> None:
    assert seconds("$x", "--timeout", known) == 0x2000
    assert seconds(None, "--timeout", nobody) == 60


def test_whole_numbers_of_the_shell() -> None:
    assert whole_number("0x10", "--smp", least=1) == 16
    assert whole_number("4K", "--static") == 4096
    for text, message in (("0", "from 1 up"), ("-1", "is negative, but must be 1 or more"), ("$x", "is not a number"),
                          ("1.5", "is not a number"), ("100", "too large: the most is 64")):  # fmt: skip
        with pytest.raises(UsageError, match=f"^--smp .*{message}"):
            whole_number(text, "--smp", least=1, most=64)


LONG = "1" * 41


def told(call: Callable[[], object]) -> str:
    with pytest.raises(UsageError) as refused:
        call()
    return str(refused.value)


def test_what_is_refused_in_full() -> None:
    forty = f"{LONG[:40]}..."
    names = ", $variable, sizeof(type) or symbol"
    assert told(lambda: number("x y", "SIZE", 64, nobody)) == f"SIZE 'x y' is not a number (4096, 0x1000, 640K){names}"
    assert told(lambda: whole_number("x", "--smp")) == "--smp 'x' is not a number (4096, 0x1000, 640K)"
    assert told(lambda: whole_number("?" * 41, "--smp")).startswith(f"--smp '{'?' * 40}...' is not")
    assert told(lambda: whole_number("-" + LONG, "--smp")).startswith(f"--smp '-{LONG[:39]}...' is negative, but")
    assert told(lambda: number(LONG, "SIZE", 64, nobody)) == (
        f"SIZE {forty} is {int(LONG):#x}, which does not fit in 64 bits"
    )
    assert told(lambda: number("$m", "SIZE", 64, {"$m": -1}.__getitem__)) == (
        "SIZE $m is -0x1, which does not fit in 64 bits"
    )
    assert told(lambda: whole_number(LONG, "--smp")) == f"--smp {forty} is too large: the most is 2,147,483,647"
    assert told(lambda: whole_number("0" * 41, "--smp", least=1)) == f"--smp {'0' * 40}...: give a number from 1 up"
    assert whole_number("64", "--smp", most=64) == 64
    low, high = "0" * 40 + "5", "0" * 39 + "3"
    assert told(lambda: address_range(f"{low}-{high}", 32, nobody, same, nobody)) == (
        f"the range {f'{low}-{high}'[:80]}... is empty: A-B goes from A up to B and leaves B out"
    )
    assert told(lambda: address_range(f"{low}+{0xFFFF_FFFF:040}", 32, nobody, same, nobody)) == (
        f"the range {f'{low}+{0xFFFF_FFFF:040}'[:80]}... goes past the end of 32-bit addresses"
    )
    assert address_range("0xfffffffe+2", 32, nobody, same, nobody) == (0xFFFFFFFE, 1 << 32)
    assert told(lambda: flags_of("?" * 41, {4: "NOMAP"}, nobody)) == (
        f"--flags '{'?' * 40}...' is neither a number nor one of NOMAP (joined by |)"
    )


def test_the_longest_word() -> None:
    assert literal("0" * 199 + "7") == 7 and literal("0" * 200 + "7") is None and literal("0x" + "0" * 197 + "7") == 7
    assert is_name("a" * 200) and not is_name("a" * 201)
    assert seconds("0" * 198 + ".5", "--timeout") == 0.5
    assert told(lambda: seconds("0" * 199 + ".5", "--timeout")).startswith(f"--timeout '{'0' * 40}...' is not a time")


def test_a_number_is_translated_and_a_name_is_not() -> None:
    assert address_range("lmb-$x", 64, {"lmb": 0x1000, "$x": 0x2000}.__getitem__, lambda at: at + 5, nobody) == (
        0x1000, 0x2000,
    )  # fmt: skip


def test_times_that_are_refused_in_full() -> None:
    give = "give seconds, such as 60 or 0.5"
    assert told(lambda: seconds("-1", "--timeout")) == f"--timeout '-1' is negative: {give}"
    assert told(lambda: seconds("5s", "--timeout")) == f"--timeout '5s' is not a time: {give}"
    assert told(lambda: seconds("s" * 41, "--timeout")) == f"--timeout '{'s' * 40}...' is not a time: {give}"
    most = "give a number of seconds more than 0, at most 1,000,000"
    assert seconds("1000000", "--timeout") == 1e6
    assert told(lambda: seconds("1e17", "--timeout")) == f"--timeout 1e+17: {most}"
    assert told(lambda: seconds("1e18", "--timeout")) == f"--timeout more than that: {most}"
    assert told(lambda: seconds("0", "--timeout")) == f"--timeout 0: {most}"
