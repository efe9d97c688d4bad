# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest of a process that has more than 1,024 files open, as a test suite's may: select(2) ends there."""

from __future__ import annotations

import os
import resource

from fixture_kernels import vmlinux

from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import GuestSession

SELECT_FILES = 1024
"""`FD_SETSIZE`."""


def test_a_guest_beside_many_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * SELECT_FILES, hard))
    files: list[int] = []
    try:
        while not files or files[-1] <= SELECT_FILES:
            files.append(os.open(os.devnull, os.O_RDONLY))
        with GuestSession(vmlinux(), QemuOptions(), timeout_s=60) as guest:
            guest.run_until("lmb_ready")
            assert "clean" in guest.command("lmb-check")
    finally:
        for number in files:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
