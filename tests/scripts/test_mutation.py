# SPDX-License-Identifier: GPL-2.0-or-later
"""The changes that mutation testing makes, and that the tests of a room are run against them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.mutation import ROOT, equivalent, mutants, one_of_each

FILES = ("gdb_lmb/core/ranges.py", "gdb_lmb/core/fields.py")
SOURCE = '''\
LIMIT = 8

def least(values, low=1):
    """Not changed: 5 < 6."""
    if not values:
        raise ValueError("none")
    found: list[int] = []
    for value in values:
        if value <= low and value != LIMIT:
            found.append(value + 1)
    return found
'''


def test_each_change_is_one_place() -> None:
    made = [(mutant.function, mutant.what) for mutant in mutants("sample.py", SOURCE)]
    assert made == [
        ("", "8 -> 9"), ("", "8 -> 7"),
        ("least", "1 -> 2"), ("least", "1 -> 0"),
        ("least", "if not values -> if True"), ("least", "if not values -> if False"),
        ("least", "not values -> values"),
        ("least", "raise ValueError('none') -> nothing"),
        ("least", "if value <= low and value != LIMIT -> if True"),
        ("least", "if value <= low and value != LIMIT -> if False"),
        ("least", "value <= low and value != LIMIT -> value <= low or value != LIMIT"),
        ("least", "value <= low -> value < low"), ("least", "value != LIMIT -> value == LIMIT"),
        ("least", "found.append(value + 1) -> nothing"),
        ("least", "value + 1 -> value - 1"), ("least", "1 -> 2 (2)"), ("least", "1 -> 0 (2)"),
        ("least", "return found -> return None"),
    ]  # fmt: skip


def test_one_change_of_each_statement() -> None:
    found = {mutant.key: mutant.line for mutant in mutants("sample.py", SOURCE)}
    first = one_of_each(mutants("sample.py", SOURCE))
    assert first < set(found)
    # The function's default; what neither a statement nor a default holds is no change.
    assert sorted(found[key] for key in first) == [1, 3, 5, 6, 9, 10, 11]
    after = one_of_each(mutants("sample.py", "WORDS = ()\n\n" + SOURCE))
    assert after == first, "the same ones, wherever the lines are"


def test_a_default_belongs_to_the_module() -> None:
    outer = {mutant.what: mutant.outer_line for mutant in mutants("sample.py", SOURCE)}
    assert outer["1 -> 2"] == 0 and outer["1 -> 2 (2)"] == 3


def test_a_method_is_compiled_as_its_class_has_it() -> None:
    source = "class A:\n    def f(self):\n        super().f()\n        return lambda: self.__x + 1\n"
    (code,) = [mutant.code() for mutant in mutants("sample.py", source) if mutant.what == "1 -> 2"]
    assert code.co_freevars == ("__class__",)
    (inner,) = [one for one in code.co_consts if isinstance(one, type(code))]
    assert inner.co_names == ("_A__x",) and 2 in inner.co_consts


@pytest.mark.long
def test_known_ones_are_there() -> None:
    files = {key.split(" | ")[0] for key in equivalent()}
    made = {mutant.key for path in files for mutant in mutants(path, (ROOT / path).read_text())}
    assert set(equivalent()) <= made


def _total(what: str, text: str) -> int:
    # One line of counts is of what is changed in place, and one of what is imported anew.
    return sum(map(int, re.findall(rf"(\d+) {what}(?:,|$)", text, re.MULTILINE)))


@pytest.mark.long
def test_survivors_are_printed_and_what_was_tried_is_kept(tmp_path: Path) -> None:
    results = tmp_path / "results"

    def run(*more: str) -> tuple[str, list[str]]:
        words = ["--results", results, "--tests", "core/test_ranges.py", *more]
        command = [sys.executable, "-m", "tests.helpers.mutation", *words, *FILES]
        done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=240, check=False)
        assert done.returncode == (" survived" in done.stdout)
        return done.stdout, results.read_text().splitlines()

    first, kept = run("--each", "1")
    assert " (no test)\n" in first
    killed = sum('"test": "tests/core/test_ranges.py::' in line for line in kept)
    assert killed and _total("killed", first) == killed and _total("survived", first) == len(kept) - killed
    second, still_kept = run("--each", "1", "--seconds", "0")
    assert still_kept == kept and "not tried" not in second
    assert _total("killed before", second) == killed
    assert [line for line in second.splitlines() if line.startswith("gdb_lmb/")] == [
        line for line in first.splitlines() if line.startswith("gdb_lmb/")
    ]
    third, _ = run("--each", "2", "--seconds", "0")
    assert _total("not tried", third) == len(kept) - killed
