# SPDX-License-Identifier: GPL-2.0-or-later
"""The words of a gdb command before they are parsed: what is joined, and what is refused."""

from __future__ import annotations

import pytest

from gdb_lmb.commands.arguments import (
    ANY,
    FLAG,
    JSON,
    OPTIONAL,
    SOME,
    Argument,
    Options,
    candidates,
    joined,
    parse,
)
from gdb_lmb.core.errors import UsageError

JOINED = [
    (["sizeof(struct", "lmb)"], ["sizeof(struct lmb)"]),
    (["sizeof", "(struct", "lmb", "*)", "4K"], ["sizeof(struct lmb *)", "4K"]),
    (["0x1000+sizeof(struct", "lmb)"], ["0x1000+sizeof(struct lmb)"]),
    (["0x1000", "+", "sizeof", "(int)", "--json"], ["0x1000+sizeof(int)", "--json"]),
    (["16M", "-", "17M"], ["16M-17M"]),
    (["16M-", "17M"], ["16M-17M"]),
    (["16M", "+4K"], ["16M+4K"]),
    (["$a", "-", "$b", "x"], ["$a-$b", "x"]),
    # What is not a range, or is one already.
    (["16M-17M"], ["16M-17M"]),
    (["0x1000", "4K"], ["0x1000", "4K"]),
    (["show", "--last", "3"], ["show", "--last", "3"]),
    (["save", "-", "--from-log"], ["save", "-", "--from-log"]),
    (["-o", "-"], ["-o", "-"]),
    (["--caller", "^setup.*+", "a.b"], ["--caller", "^setup.*+", "a.b"]),
    (["sizeof(struct", "lmb", "--json"], ["sizeof(struct lmb", "--json"]),
    (["sizeof"], ["sizeof"]),
    ([], []),
]


@pytest.mark.parametrize(("words", "expected"), JOINED)
def test_what_belongs_together_is_joined(words: list[str], expected: list[str]) -> None:
    assert joined(words) == expected


TABLE = (
    Argument("what"),
    Argument("rest", OPTIONAL),
    Argument("--min"),
    Argument("-o", field="output"),
    Argument("--only", SOME),
    JSON,
    Argument("--kernel", FLAG),
)


def parsed(*words: str) -> Options:
    return parse(words, TABLE, "lmb-x", ("--json", "--kernel"))


def test_each_option_gets_its_value() -> None:
    found = parsed("w", "--min", "-4K", "-o", "-x", "--json")
    assert (found.what, found.min, found.output, found.json, found.kernel) == ("w", "-4K", "-x", True, False)
    found = parsed("--min=5", "-ofile", "w", "v", "--only", "a", "b")
    assert (found.min, found.output, found.rest, found.only) == ("5", "file", "v", ["a", "b"])
    found = parsed("--only", "a", "b", "--json", "w", "-o=file", "--min=")
    assert (found.what, found.rest, found.only, found.output, found.min) == ("w", None, ["a", "b"], "file", "")
    # An option between two words, and a later value of the same option.
    found = parsed("w", "--min", "1", "v", "--min", "2")
    assert (found.what, found.rest, found.min) == ("w", "v", "2")


def test_words_by_position() -> None:
    table = (Argument("how", choices=("fast", "slow")), Argument("numbers", ANY), Argument("--part", OPTIONAL))
    found = parse(["slow", "1", "16M", "-", "17M"], table, "lmb-y")
    assert (found.how, found.numbers) == ("slow", ["1", "16M-17M"])
    assert parse(["fast"], table, "lmb-y").numbers == []
    with pytest.raises(UsageError, match=r"^'fats' is not one of fast, slow \(see: help lmb-y\)$"):
        parse(["fats"], table, "lmb-y")
    with pytest.raises(UsageError, match=r"^how is missing: one of fast, slow \(see: help lmb-y\)$"):
        parse([], table, "lmb-y")


def test_what_goes_with_one_first_word_only() -> None:
    table = (Argument("how", choices=("fast", "slow")), Argument("file", OPTIONAL, of=("slow",)),
             Argument("--by", of=("slow",)), Argument("--only", SOME, default=(), of=("slow",)),
             Argument("--all", FLAG, of=("fast",)))  # fmt: skip
    assert parse(["slow", "f", "--by", "1", "--only", "a"], table, "lmb-y").file == "f"
    assert parse(["fast", "--all"], table, "lmb-y").all is True
    for words, message in (
        (["fast", "f"], "fast takes no word 'f'"),
        (["fast", "--by="], "fast takes no --by"),
        (["--only", "a", "--all", "fast"], "fast takes no --only"),
        (["slow", "--all"], "slow takes no --all"),
    ):
        with pytest.raises(UsageError, match=rf"^{message} \(see: help lmb-y\)$"):
            parse(words, table, "lmb-y")


def test_what_completes() -> None:
    table = (Argument("how", choices=("fast", "slow")), Argument("--min"), JSON)
    assert candidates([], table) == ["fast", "slow", "--min", "--json"]
    assert candidates(["slow", "--json"], table) == ["--min"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "what is missing"),
        (["--only", "a", "b"], "what is missing"),
        (["w", "--min"], "--min needs a value"),
        (["w", "--min", "--json"], "--min needs a value"),
        (["w", "-o"], "-o needs a value"),
        (["w", "--only"], "--only needs a value"),
        (["w", "--only", "--json"], "--only needs a value"),
        (["w", "--json=1"], "--json takes no value"),
        (["-4K"], "'-4K' is negative, but must be 0 or more"),
        (["w", "--json", "--min=1", "--kernel"], "--json and --kernel exclude each other"),
        (["w", "--kernel", "--json"], "--kernel and --json exclude each other"),
        (["w", "v", "u"], "'u' is one word too many \\(see: help lmb-x\\)"),
        (["w", "--jsno"], "unknown option '--jsno', did you mean --json?"),
        (["w", "-z"], "unknown option '-z' \\(see: help lmb-x\\)"),
        (["w", "--\x1b[2J"], r"unknown option '--\\\\x1b"),
    ],
)
def test_what_cannot_be_is_refused_in_our_words(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parsed(*words)
