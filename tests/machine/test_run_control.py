# SPDX-License-Identifier: GPL-2.0-or-later
"""Letting the guest run and looking at it: one run to everybody else, and no interrupt is taken for another's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import GuestSession

pytestmark = pytest.mark.kernel

# A guest that comes by the breakpoint again and again, with slices that are over before that, about then, and after.
RING = """
from gdb_lmb.machine import run_control
seen = [0, 0]
at = int(gdb.parse_and_eval("(unsigned long)&lmb_reserve"))
def look(reached):
    seen[reached] += 1
    for _ in range(100):
        gdb.parse_and_eval("1")
    assert not reached or gdb.newest_frame().pc() == at
    number = sum(seen)
    return run_control.Slice((at,), 0.00004 * (number % 100)) if number < 500 else None
run_control.run_watched(run_control.Slice((at,), 0), look)
print(*seen)
"""

ELSEWHERE = """
from gdb_lmb.core.errors import GuestError
from gdb_lmb.machine import run_control
try:
    run_control.run_watched(run_control.Slice((0x1234,), 20), lambda reached: None)
except GuestError as error:
    print(error)
"""


# Ctrl-C while the guest runs.
PRESSED = """
import os, signal, threading
def press(event):
    gdb.events.cont.disconnect(press)
    threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()
gdb.events.cont.connect(press)
"""


def test_a_late_bell_is_not_heard(fixture_kernel: Path, tmp_path: Path) -> None:
    script = tmp_path / "ring.py"
    script.write_text(RING)
    with GuestSession(fixture_kernel, QemuOptions(append="lmb.scenario=random lmb.ops=5000")) as guest:
        guest.run_until("lmb_reserve")
        over, reached = map(int, guest.command(f"source {script}").splitlines()[-1].split())
        assert over + reached == 500 and reached >= 100
        assert guest.command("print 1") == "$1 = 1\n"
        guest.run_until("lmb_ready")


def test_a_guest_that_stops_by_itself(fixture_kernel: Path, tmp_path: Path) -> None:
    script = tmp_path / "elsewhere.py"
    script.write_text(ELSEWHERE)
    with GuestSession(fixture_kernel) as guest:
        guest.run_until("lmb_init")
        guest.command("break *(long)&lmb_add")
        at = guest.command("output/x (long)&lmb_add")
        told = guest.command(f"source {script}").splitlines()[-1]
        assert told == f"the guest stopped at {at} on its way to the kernel: it was interrupted, or see why"


def test_a_users_ctrl_c_ends_it(fixture_kernel: Path, tmp_path: Path) -> None:
    script = tmp_path / "interrupted.py"
    script.write_text(PRESSED + ELSEWHERE)
    # A guest that would be busy for minutes: one that has halted ends the wait by itself.
    with GuestSession(fixture_kernel, QemuOptions(append="lmb.scenario=random lmb.ops=1000000")) as guest:
        guest.run_until("lmb_init")
        told = guest.command(f"source {script}").splitlines()[-1]
        assert re.fullmatch(
            r"the guest stopped at 0x\w+ on its way to the kernel: it was interrupted, or see why", told
        )
        assert guest.command("print 1") == "$1 = 1\n"
