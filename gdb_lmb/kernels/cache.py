# SPDX-License-Identifier: GPL-2.0-or-later
"""The cache on disk: where it is, one fetch of a name at a time, and files that stay while they are used."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from gdb_lmb.core.errors import InfrastructureError

TESTED = Path(__file__).with_name("stock-kernels.json")
Notice = Callable[[str], None]
_KEPT: dict[Path, int] = {}
"""The folders in use by this process, each with the descriptor that holds its shared lock."""


class KernelFiles(NamedTuple):
    """A kernel in the cache: its packages' `version`, their SHA-256 by file name, and the unpacked files."""

    name: str
    arch: str
    version: str
    image: Path
    vmlinux: Path
    hashes: dict[str, str]

    def there(self) -> bool:
        """Tell whether the files are there."""
        return self.image.is_file() and self.vmlinux.is_file()


class SourceFiles(NamedTuple):
    """Part of a kernel's source in the cache: the package's `version`, its SHA-256 by name, the `tree`."""

    name: str
    version: str
    tree: Path
    hashes: dict[str, str]

    @property
    def memblock(self) -> Path:
        """Return the file with the allocator."""
        return self.tree / "mm" / "memblock.c"

    def there(self) -> bool:
        """Tell whether the files are there."""
        return self.memblock.is_file()


F = TypeVar("F", KernelFiles, SourceFiles)


def cache_folder() -> Path:
    """Return the cache: $GDB_LMB_CACHE, or ~/.cache/gdb-lmb."""
    # Absolute, because apt runs in another folder and the manifest outlives this process.
    return Path(os.environ.get("GDB_LMB_CACHE") or Path.home() / ".cache" / "gdb-lmb").absolute()


def safe_name(version: str) -> str:
    """Return a folder's name for a version."""
    return "".join(c if c.isalnum() or c in ".+-~" else "_" for c in version)


@contextmanager
def locked(folder: Path, waiting: Callable[[], None]) -> Iterator[int]:
    """Hold this name's lock; yields its descriptor, which apt inherits: it may outlive a killed parent."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield lock.fileno()
    except OSError as error:
        raise InfrastructureError(f"cannot write the cache {folder}: {error.strerror or error}") from None


def keep(folder: Path, there: Callable[[], bool]) -> bool:
    """See that no other process removes the folder; tell whether its files are still `there`."""
    if folder not in _KEPT:
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return there()
        # Where the file system cannot lock, remove_unless_used() removes nothing.
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


def require_space(folder: Path, needed: int) -> None:
    """Check that `needed` bytes are free where `folder` is. Raises: InfrastructureError."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InfrastructureError(f"{folder} has {free >> 20} MiB free; {needed >> 20} MiB are needed")


def drift(files: KernelFiles | SourceFiles) -> str:
    """Return in words whether this is the version that was last tested."""
    try:
        tested = json.loads(TESTED.read_text()).get(files.name, {})
    except (OSError, ValueError):
        tested = {}
    if not tested:
        return "; none was tested yet"
    same = tested.get("version") == files.version and tested.get("hashes") == files.hashes
    return "; last tested" if same else f"; last tested was {tested.get('version')}"


def fetched_together(*files: Path) -> bool:
    """Tell whether get-kernel has unpacked the files from packages of one version."""
    folder = (cache_folder() / "kernels").resolve()
    places = [file.resolve() for file in files]
    return all(place.is_relative_to(folder) for place in places) and (
        len({place.relative_to(folder).parts[:2] for place in places}) == 1
    )
