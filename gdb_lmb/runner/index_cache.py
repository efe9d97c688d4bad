# SPDX-License-Identifier: GPL-2.0-or-later
"""gdb's own index of a large program, kept in our cache.

To read half a gigabyte of debug information takes gdb seconds, each time, and again when the symbols are
moved; with the index that it can keep it takes a fifth of that. gdb files it by build id, which a stripped
file shares with its origin, and another gdb makes another one: newer ones pass over what older ones wrote, or
take from it what is not all there. So each file has a folder of its own here for each gdb.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from pathlib import Path

from gdb_lmb.kernels.cache import cache_folder

LARGE_BYTES = 64 << 20
"""Smaller programs are read in no time."""

_UNSAFE = re.compile(r"[^A-Za-z0-9.+-]+")
_VERSION_CHARACTERS = 60

UNUSED_S = 90 * 86400
"""How long an index that nobody uses is kept."""


def is_large(program: Path) -> bool:
    """Tell whether gdb takes long to read `program`."""
    try:
        return program.stat().st_size >= LARGE_BYTES
    except OSError:
        return False


def index_folder(program: Path, version: str) -> Path | None:
    """Return where the gdb of this `version` shall keep its index of `program`; None where nothing can be kept."""
    try:
        status = program.stat()
        home = cache_folder() / "gdb-index"
        key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        name = "-".join(f"{part:x}" for part in key)
        folder = home / f"{name}-{_UNSAFE.sub('_', version)[:_VERSION_CHARACTERS]}"
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
