# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU or a gdb that takes its time, as on a busy machine, is not taken for one that is gone."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from gdb_lmb.core.errors import NotReachedError
from gdb_lmb.runner.session import GuestSession
from tests.helpers.tool import build_guest

# Longer than the time after which an interrupt is repeated.
LONG_S = 2.0
SLOW_UNWINDER = f"""\
import time
import gdb.unwinder

class Slow(gdb.unwinder.Unwinder):
    def __init__(self):
        super().__init__("slow")
    def __call__(self, frame):
        time.sleep({LONG_S})
        return None

gdb.unwinder.register_unwinder(None, Slow())
"""


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_guest(tmp_path_factory.mktemp("guest"), "ready")


def test_a_qemu_that_takes_long_to_stop_the_guest(ready: Path) -> None:
    with GuestSession(ready) as guest:
        guest.run_until()
        process = guest.qemu.child.process.pid
        timers = [threading.Timer(0.5, os.kill, (process, signal.SIGSTOP)),
                  threading.Timer(0.5 + 2 * LONG_S, os.kill, (process, signal.SIGCONT))]  # fmt: skip
        for timer in timers:
            timer.start()
        with pytest.raises(NotReachedError, match="did not reach never within 1 s; it was in spin"):
            guest.run_until("never", timeout_s=1)
        for timer in timers:
            timer.join()
        assert guest.command("print 1").endswith(" = 1\n")


@pytest.mark.parametrize("monitor", [True, False], ids=["QEMU tells that it has stopped", "QEMU tells nothing"])
def test_a_gdb_that_takes_long_to_say_where_the_guest_has_stopped(ready: Path, tmp_path: Path, monitor: bool) -> None:
    script = tmp_path / "slow.py"
    script.write_text(SLOW_UNWINDER)
    with GuestSession(ready) as guest:
        guest.run_until()
        if not monitor:
            guest.mi.is_stopping = bool
        guest.command(f"source {script}")
        with pytest.raises(NotReachedError, match="did not reach never within 1 s; it was in spin"):
            guest.run_until("never", timeout_s=1)
        assert guest.command("print 1").endswith(" = 1\n")
