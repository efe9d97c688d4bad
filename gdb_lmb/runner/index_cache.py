# SPDX-License-Identifier: GPL-2.0-or-later
"""gdb's own index of a large program, kept in our cache.

To read half a gigabyte of debug information takes gdb seconds, each time, and again when the symbols are
moved; with the index that it can keep it takes a fifth of that. gdb files it by build id, which a stripped
file shares with its origin, so each file has a folder of its own here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path

from gdb_lmb.runner.cache import cache_folder

LARGE_BYTES = 64 << 20
"""Smaller programs are read in no time."""

UNUSED_S = 90 * 86400
"""How long an index that nobody uses is kept."""


def index_folder(program: Path) -> Path | None:
    """Return where gdb shall keep its index of `program`; None where it is small, or nothing can be kept."""
    try:
        status = program.stat()
        if status.st_size < LARGE_BYTES:
            return None
        home = cache_folder() / "gdb-index"
        key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        folder = home / "-".join(f"{part:x}" for part in key)
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        _forget_unused(home)
    except OSError:
        return None
    return folder


def _forget_unused(home: Path) -> None:
    """Remove what was not used for a long time."""
    oldest = time.time() - UNUSED_S
    for folder in home.iterdir():
        with contextlib.suppress(OSError):
            if folder.stat().st_mtime < oldest:
                shutil.rmtree(folder)
