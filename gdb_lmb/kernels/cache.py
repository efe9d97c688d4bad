# SPDX-License-Identifier: GPL-2.0-or-later
"""The cache on disk: where it is, one fetch of a name at a time, and files that stay while they are used."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gdb_lmb.core.errors import InfrastructureError


def cache_folder() -> Path:
    """Return the cache: $GDB_LMB_CACHE, or ~/.cache/gdb-lmb."""
    # Absolute, because apt runs in another folder and the manifest outlives this process.
    return Path(os.environ.get("GDB_LMB_CACHE") or Path.home() / ".cache" / "gdb-lmb").absolute()


def safe_name(version: str) -> str:
    """Return a folder's name for a version."""
    return "".join(c if c.isalnum() or c in ".+-~" else "_" for c in version)


@contextmanager
def locked(home: Path, waiting: Callable[[], None]) -> Iterator[int]:
    """Hold this name's lock; yields its descriptor, which apt inherits: it may outlive a killed parent."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        with (home / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield lock.fileno()
    except OSError as error:
        raise InfrastructureError(f"cannot write the cache {home}: {error.strerror or error}") from None


_KEPT: dict[Path, int] = {}
"""The folders in use by this process, each with the descriptor that holds its shared lock."""


def keep(folder: Path, there: Callable[[], bool]) -> bool:
    """See that no other process removes the folder; tell whether its files are still `there`."""
    if folder not in _KEPT:
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return there()
        # Where the file system cannot lock, nobody removes anything either.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        _KEPT[folder] = descriptor
    if there():
        return True
    os.close(_KEPT.pop(folder))
    return False


def remove_unless_used(folder: Path) -> None:
    """Remove a version's folder, or leave it to the next fetch where a process still uses it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return
    else:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


def require_space(home: Path, needed: int) -> None:
    """Check that `needed` bytes are free where `home` is. Raises: InfrastructureError."""
    free = shutil.disk_usage(home).free
    if free < needed:
        raise InfrastructureError(f"{home} has {free >> 20} MiB free; {needed >> 20} MiB are needed")
