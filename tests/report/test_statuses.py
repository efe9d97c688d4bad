# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of exit statuses: which error has which, and which outcome comes first."""

from __future__ import annotations

import pytest

from gdb_lmb.core import errors
from gdb_lmb.report.statuses import (
    STATUSES,
    ExitStatus,
    status_for_bisect,
    status_of_error,
    status_of_outcome,
    status_of_run,
)
from gdb_lmb.runner.base import CommandError

# As the manual has them: 0 clean, 1 findings, 2 usage, 3 never reached, 4 infrastructure, 5 not verified.
ERRORS: list[tuple[errors.LmbError, int, int]] = [
    (errors.UsageError("x"), 2, 2),
    (errors.InputError("x"), 2, 2),
    (CommandError("x", "y"), 2, 2),
    (errors.GuestError("x"), 3, 2),
    (errors.NotReachedError("x", b""), 3, 2),
    (errors.InfrastructureError("x"), 4, 4),
    (errors.OutputError("x"), 4, 4),
    (errors.OverdueError("x"), 4, 4),
    (errors.PassedError("x"), 4, 4),
    (errors.LayoutError("x"), 4, 2),
    (errors.StateError("x"), 4, 5),
    (errors.GuestPanicError("x"), 4, 2),
    (errors.NotReadyError("x"), 4, 5),
    (errors.ReadError(0, 8), 4, 5),
]


@pytest.mark.parametrize(("error", "outside", "in_gdb"), ERRORS, ids=lambda value: type(value).__name__)
def test_each_error_has_its_status(error: errors.LmbError, outside: int, in_gdb: int) -> None:
    assert status_of_error(error) == outside
    assert status_of_error(error, in_gdb=True) == in_gdb


def test_no_error_is_left_out() -> None:
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.LmbError)}
    tried = tuple(type(error) for error, _, _ in ERRORS)
    assert {kind for kind in kinds if not issubclass(kind, tried)} == {errors.LmbError}


@pytest.mark.parametrize(
    ("findings", "not_verified", "status"),
    [
        (0, [], 0), (1, [], 1), (0, ["log-wrapped"], 5), (1, ["log-wrapped"], 1), (0, ["torn"], 5), (2, ["torn"], 5),
        (2, ["log-wrapped", "torn"], 5), (0, ["trace-not-compared"], 5),
    ],
)  # fmt: skip
def test_which_outcome_comes_first(findings: int, not_verified: list[str], status: int) -> None:
    assert status_of_outcome(findings, not_verified) == status


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([], 5), ([0], 0), ([0, 1], 1), ([0, 5], 5), ([1, 5], 1), ([5, 1, 0], 1), ([2, 1], 2), ([5, 2], 2),
        ([1, 3, 2], 3), ([3, 5, 0], 3), ([3, 4], 4), ([0, 1, 2, 3, 4, 5], 4),
    ],
)  # fmt: skip
def test_what_comes_of_several(parts: list[int], status: int) -> None:
    assert status_of_run(map(ExitStatus, parts)) == status


def test_the_help_names_every_status() -> None:
    assert [line.split()[0] for line in STATUSES.splitlines() if line[2:3].isdecimal() and line[3] == " "] == list(
        "012345"
    )


def test_a_bisection_skips_what_says_nothing_about_the_commit() -> None:
    found = {status: status_for_bisect(status) for status in (*ExitStatus, 130)}
    assert found == {0: 0, 1: 1, 2: 128, 3: 3, 4: 125, 5: 125, 130: 130}
