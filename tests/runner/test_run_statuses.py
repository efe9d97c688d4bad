# SPDX-License-Identifier: GPL-2.0-or-later
"""What comes of several things in one run: its exit status, and the line on stderr that tells why."""

from __future__ import annotations

from pathlib import Path

import pytest

from gdb_lmb.cli import main

Capture = pytest.CaptureFixture[str]

DAMAGE = "set var lmb.reserved.cnt = lmb.reserved.cnt + 1"
REPAIR = "set var lmb.reserved.cnt = lmb.reserved.cnt - 1"
TORN = "stepi 12"
NOTHING = "gdb-lmb: no command that checks ran: nothing was verified\n"
SINCE = "gdb-lmb: no command that checks ran since lmb-verdict --reset: nothing was verified\n"

# The commands, the exit status, and all of stderr.
ROWS: list[tuple[tuple[str, ...], int, str]] = [
    (("lmb-check", "print 1", "lmb-who 0x1000"), 0, ""),
    (("lmb-who 0x1000", "lmb-free", "lmb-whatif alloc 1K", "lmb-map", "lmb-verdict"), 5, NOTHING),
    ((DAMAGE, "lmb-check --no-log", "lmb-verdict --reset"), 5, SINCE),
    ((DAMAGE, "lmb-check --no-log", "lmb-verdict --reset", REPAIR, "lmb-check"), 0, ""),
    ((DAMAGE, "lmb-check --no-log", REPAIR, "lmb-check"), 1, "gdb-lmb: 1 finding\n"),
    # Two findings in two commands.
    ((DAMAGE, "lmb-dump", REPAIR, "set var lmb.memory.cnt = 7", "lmb-check --no-log"), 1, "gdb-lmb: 2 findings\n"),
    # What a stop inside a function shows is none for certain, and takes nothing from what was found before, or after.
    ((TORN, DAMAGE, "lmb-check"), 5, "gdb-lmb: 1 finding; not verified: torn\n"),
    ((DAMAGE, "lmb-check --no-log", REPAIR, TORN, "lmb-check"), 1, "gdb-lmb: 1 finding; not verified: torn\n"),
    ((TORN, "lmb-check", "finish", DAMAGE, "lmb-dump"), 1, "gdb-lmb: 1 finding; not verified: torn\n"),
    ((TORN, "lmb-check", "finish", "lmb-check"), 5, "gdb-lmb: not verified: torn\n"),
    # A command that failed ends the run; what was found by then is told.
    (("lmb-check", "lmb-check --typo", "echo not reached"), 2, "gdb-lmb: 'lmb-check --typo' failed: "),
    ((DAMAGE, "lmb-dump", "print no_such"), 2, "gdb-lmb: 1 finding\ngdb-lmb: 'print no_such' failed: "),
    ((DAMAGE, "lmb-dump", "shell kill -9 $PPID", "echo not reached"), 4, "gdb-lmb: gdb was killed by SIGKILL"),
    ((DAMAGE, "lmb-dump", "monitor quit", "lmb-check", "echo not reached"), 4, "gdb-lmb: "),
]  # fmt: skip


@pytest.mark.kernel
@pytest.mark.parametrize(("commands", "status", "says"), ROWS, ids=range(len(ROWS)))
def test_a_run(fixture_kernel: Path, commands: tuple[str, ...], status: int, says: str, capfd: Capture) -> None:
    # At the entry of a function that changes the lists these are whole.
    assert main(["run", str(fixture_kernel), "--until", "lmb_alloc", "--", *commands]) == status
    out, err = capfd.readouterr()
    assert "not reached" not in out
    assert err.startswith(says) and err.count("\n") == says.count("\n") + (says[-1:] not in ("", "\n"))
