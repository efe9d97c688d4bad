# SPDX-License-Identifier: GPL-2.0-or-later
"""The words of a gdb command before they are parsed: what is joined, and what is refused."""

from __future__ import annotations

import argparse

import pytest

from gdb_lmb.commands.words import for_parser, joined
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


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="lmb-x", add_help=False, allow_abbrev=False)
    made.add_argument("what")
    made.add_argument("rest", nargs="?")
    made.add_argument("--min")
    made.add_argument("-o", dest="output")
    made.add_argument("--only", nargs="+")
    made.add_argument("--json", action="store_true")
    return made


def test_each_option_gets_its_value() -> None:
    found = parser().parse_args(for_parser(["w", "--min", "-4K", "-o", "-x", "--json"], parser()))
    assert (found.what, found.min, found.output, found.json) == ("w", "-4K", "-x", True)
    found = parser().parse_args(for_parser(["--min=5", "-ofile", "w", "v", "--only", "a", "b"], parser()))
    assert (found.min, found.output, found.rest, found.only) == ("5", "file", "v", ["a", "b"])


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
        (["w", "--jsno"], "unknown option '--jsno', did you mean --json?"),
        (["w", "-z"], "unknown option '-z' \\(see: help lmb-x\\)"),
        (["w", "--\x1b[2J"], r"unknown option '--\\\\x1b"),
    ],
)
def test_what_cannot_be_is_refused_in_our_words(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        for_parser(words, parser())
