# SPDX-License-Identifier: GPL-2.0-or-later
"""Many runs of `gdb-lmb` side by side, each a process of its own, so that the death of one is its own."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import gdb_lmb
from gdb_lmb.runner.process import Child, RunFolder

# What a run has for cleaning up after it is told to end.
_GRACE_S = 20.0


class Boot(NamedTuple):
    """One run to be made: its `name`, and the `words` of its command line without the program's name."""

    name: str
    words: tuple[str, ...]


class Ended(NamedTuple):
    """A run that has ended: its exit status, negative for a signal's, and how it ended, in words."""

    boot: Boot
    number: int
    status: int
    words: str


def run_boots(
    folder: RunFolder, boots: Sequence[Boot], jobs: int, limit_s: float, waiting: Callable[[int], None]
) -> Iterator[Ended]:
    """Run all of them, at most `jobs` at once, and yield each as it ends, or is ended after `limit_s` seconds.

    `waiting` is called now and then with how many have ended. Whoever closes `folder` ends those that still run.
    """
    todo = deque(enumerate(boots))
    running: dict[int, tuple[int, Boot, Child, float]] = {}
    ended = 0
    try:
        while todo or running:
            while todo and len(running) < jobs:
                number, boot = todo.popleft()
                child = folder.spawn(f"boot-{number}", program(boot.words), environment=environment())
                child.grace_s = _GRACE_S
                running[os.pidfd_open(child.process.pid)] = (number, boot, child, time.monotonic() + limit_s)
            ready, _, _ = select.select(list(running), [], [], 1.0)
            overdue = [handle for handle, (*_, until) in running.items() if time.monotonic() > until]
            waiting(ended)
            for handle in dict.fromkeys((*ready, *overdue)):
                number, boot, child, _ = running.pop(handle)
                os.close(handle)
                late = handle not in ready
                if late:
                    child.end()
                status = child.process.wait()
                words = f"it did not end within {limit_s:g} s" if late else child.how_it_ended()
                child.end()
                ended += 1
                yield Ended(boot, number, status, words)
    finally:
        for handle in running:
            os.close(handle)
        # All at once: each has its own things to end.
        for _, _, child, _ in running.values():
            child.ask_to_end()


def program(words: Sequence[str]) -> list[str]:
    """Return the command that runs this `gdb-lmb`, with the same Python, and these words."""
    root = Path(gdb_lmb.__file__).resolve().parent.parent
    # Without the current folder, which Python would search first.
    path = f"sys.path = [*filter(None, sys.path), {str(root)!r}]"
    code = f"import sys; {path}; from gdb_lmb.cli import main; sys.exit(main())"
    return [sys.executable, "-c", code, *words]


def environment() -> dict[str, str]:
    """Return the environment of a run of many: it has no terminal, and writes no summary of its own."""
    return {name: value for name, value in os.environ.items() if name != "GITHUB_STEP_SUMMARY"}


def jobs_by_default() -> int:
    """Return how many processors this process may use."""
    with contextlib.suppress(AttributeError):  # not everywhere
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
