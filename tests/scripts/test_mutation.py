# SPDX-License-Identifier: GPL-2.0-or-later
"""The changes that mutation testing makes, and that the tests of a room are run against them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.mutation import ROOT, equivalent, mutants

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


def test_a_default_belongs_to_the_module() -> None:
    outer = {mutant.what: mutant.outer_line for mutant in mutants("sample.py", SOURCE)}
    assert outer["1 -> 2"] == 0 and outer["1 -> 2 (2)"] == 3


@pytest.mark.long
def test_known_ones_are_there() -> None:
    files = {key.split(" | ")[0] for key in equivalent()}
    made = {mutant.key for path in files for mutant in mutants(path, (ROOT / path).read_text())}
    assert set(equivalent()) <= made


@pytest.mark.long
def test_survivors_are_printed_and_the_rest_is_kept(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.helpers.mutation", "--results", tmp_path / "results",
               "--each", "1",
               "--tests", "core/test_ranges.py", "gdb_lmb/core/ranges.py", "gdb_lmb/core/fields.py"]  # fmt: skip
    first, second = (
        subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=240, check=False) for _ in range(2)
    )
    assert first.returncode == second.returncode == 1 and " (no test)\n" in first.stdout
    # One line of counts for what is changed in place, and one for what is imported anew.
    killed = (tmp_path / "results").read_text().count("\n")
    assert killed and sum(map(int, re.findall(r"(\d+) killed,", first.stdout))) == killed
    assert sum(map(int, re.findall(r"(\d+) killed before,", second.stdout))) == killed
