# SPDX-License-Identifier: GPL-2.0-or-later
"""Become another program that the kernel kills when its parent dies (`PR_SET_PDEATHSIG`).

A program of its own, in place of a `preexec_fn`, which may deadlock in a parent with threads. The
setting survives execve(2), and the process keeps its id. Arguments: parent's id, program, arguments.
"""

from __future__ import annotations

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
CANNOT_START = 127


def main() -> None:
    """Tie this process to its parent's life and run the program given."""
    import ctypes  # here, since process.py imports this module too

    parent, program = int(sys.argv[1]), sys.argv[2:]
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:  # it died before the setting took effect: no signal will come
        os._exit(CANNOT_START)
    try:
        os.execv(program[0], program)
    except OSError as error:
        sys.stderr.write(f"{program[0]}: {error.strerror}\n")
        sys.stderr.flush()
        os._exit(CANNOT_START)
