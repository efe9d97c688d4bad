# SPDX-License-Identifier: GPL-2.0-or-later
"""Exit statuses of gdb-lmb and values of `$lmb_status`: what each means, which comes first, which error has which."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import IntEnum

from gdb_lmb.core.errors import (
    GuestError,
    InfrastructureError,
    LmbError,
    NotReadyError,
    ReadError,
    StateError,
    UsageError,
)

TORN = "torn"
"""What a check could not verify where the stop is inside an allocator function."""

STATUSES = """\
exit status:
  0  clean (notes allowed), or a trace was recorded and nothing else asked for
  1  findings, or changes from a golden
  2  usage error, or one of your gdb commands failed
  3  the guest never reached the symbol (its console's end is shown)
  4  infrastructure: QEMU or gdb missing or died, socket trouble, a deadline
     or an output file cannot be written
  5  not verified: the guest stopped inside an allocator function, its log has
     wrapped, the kernel is not there yet, or no command that checks ran
  130, 143, ...  ended by a signal (128 and its number)
Where several hold, 4 comes before 3, 2, 1, 5, 0. What one check finds inside an
allocator function may be none, and is 5.
"""


class ExitStatus(IntEnum):
    """The exit statuses of gdb-lmb; one ended by a signal has 128 and the signal's number."""

    CLEAN = 0
    FINDINGS = 1
    USAGE = 2
    NOT_REACHED = 3
    INFRASTRUCTURE = 4
    NOT_VERIFIED = 5


_OF_ERRORS: tuple[tuple[type[LmbError], ExitStatus, ExitStatus], ...] = (
    (InfrastructureError, ExitStatus.INFRASTRUCTURE, ExitStatus.INFRASTRUCTURE),
    (UsageError, ExitStatus.USAGE, ExitStatus.USAGE),
    (GuestError, ExitStatus.NOT_REACHED, ExitStatus.USAGE),
    # An lmb command that comes too early, or meets damage, is not wrong: nothing can be verified at this stop.
    (StateError, ExitStatus.INFRASTRUCTURE, ExitStatus.NOT_VERIFIED),
    (NotReadyError, ExitStatus.INFRASTRUCTURE, ExitStatus.NOT_VERIFIED),
    (ReadError, ExitStatus.INFRASTRUCTURE, ExitStatus.NOT_VERIFIED),
    (LmbError, ExitStatus.INFRASTRUCTURE, ExitStatus.USAGE),
)
"""For each class of errors, the first that fits: the exit status of gdb-lmb, and `$lmb_status` of a failed command."""


def status_of_outcome(findings: int, not_verified: Collection[str]) -> ExitStatus:
    """Return the status of one check that counted `findings`, and could not verify what `not_verified` names."""
    # Lists in the middle of a change may show findings that are none.
    if TORN in not_verified:
        return ExitStatus.NOT_VERIFIED
    if findings:
        return ExitStatus.FINDINGS
    return ExitStatus.NOT_VERIFIED if not_verified else ExitStatus.CLEAN


_PRECEDENCE = (
    ExitStatus.INFRASTRUCTURE,
    ExitStatus.NOT_REACHED,
    ExitStatus.USAGE,
    ExitStatus.FINDINGS,
    ExitStatus.NOT_VERIFIED,
    ExitStatus.CLEAN,
)


def status_of_run(parts: Iterable[ExitStatus]) -> ExitStatus:
    """Return the status of a run, given those of its checks and of what failed in it."""
    # A run in which nothing was checked has verified nothing.
    return min(parts, key=_PRECEDENCE.index, default=ExitStatus.NOT_VERIFIED)


def status_of_error(error: LmbError, *, in_gdb: bool = False) -> ExitStatus:
    """Return the exit status of gdb-lmb after `error`; `in_gdb`: the `$lmb_status` of a command that failed with it."""
    return next(inside if in_gdb else outside for kind, outside, inside in _OF_ERRORS if isinstance(error, kind))


_SKIP_COMMIT, _STOP_BISECTION = 125, 128


def status_for_bisect(status: int) -> int:
    """Return what `git bisect run` takes for a status: that a commit is good (0), bad (1, 3), or cannot be tested.

    A usage error is no commit's fault: it stops the bisection, as a signal does. Source: git-bisect(1).
    """
    if status in (ExitStatus.INFRASTRUCTURE, ExitStatus.NOT_VERIFIED):
        return _SKIP_COMMIT
    return _STOP_BISECTION if status == ExitStatus.USAGE else status
