# SPDX-License-Identifier: GPL-2.0-or-later
"""What `get-kernel` can be asked for, and the cache on disk that holds it.

Of a name there is one fetch at a time, and files stay while they are used.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from gdb_lmb.core.errors import InfrastructureError, UsageError

TESTED = Path(__file__).with_name("stock-kernels.json")
Notice = Callable[[str], None]
# The folders in use by this process, each with the descriptor that holds its shared lock.
_KEPT: dict[Path, int] = {}


class Name(NamedTuple):
    """A kernel that can be asked for: where its newest version lives and how its packages are called.

    `suites` of the Debian archive are tried together; `image` is the start of the image package's name.
    """

    name: str
    suites: tuple[str, ...]
    image: str
    flavour: str
    arch: str


_BOOKWORM = ("bookworm", "bookworm-updates", "bookworm-security")
_BACKPORTS = ("bookworm-backports", "bookworm-security")
_TRIXIE = ("trixie", "trixie-updates", "trixie-security")
_NEWEST = ("trixie-backports",)

KERNELS = {
    row.name: row
    for row in (
        Name("debian:6.1-cloud-amd64", _BOOKWORM, "linux-image-6.1.", "cloud-amd64", "amd64"),
        Name("debian:6.12-cloud-amd64", _BACKPORTS, "linux-image-6.12.", "cloud-amd64", "amd64"),
        Name("debian:7-cloud-amd64", _NEWEST, "linux-image-7.", "cloud-amd64", "amd64"),
        Name("debian:6.12-cloud-arm64", _TRIXIE, "linux-image-6.12.", "cloud-arm64", "arm64"),
    )
}

SOURCES = {
    row.name: row
    for row in (
        Name("source:6.1", _BOOKWORM, "linux-source-6.1", "", "amd64"),
        Name("source:6.12", _BACKPORTS, "linux-source-6.12", "", "amd64"),
        Name("source:7", _NEWEST, "linux-source-7.", "", "amd64"),
    )
}


def is_name(text: str) -> bool:
    """Tell whether `text` is meant as a kernel's name and not as a file."""
    return text.startswith("debian:")


def row_of(name: str) -> Name:
    """Return the row of this kernel or source. Raises: UsageError naming the kernels there are."""
    row = KERNELS.get(name) or SOURCES.get(name)
    if row is None:
        raise UsageError(f"unknown kernel {name!r}; known are {', '.join(KERNELS)}")
    return row


class KernelFiles(NamedTuple):
    """A kernel in the cache: its packages' `version`, their SHA-256 by file name, and the unpacked files."""

    name: str
    arch: str
    version: str
    image: Path
    vmlinux: Path
    hashes: dict[str, str]

    def there(self) -> bool:
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

    @property
    def kunit(self) -> Path:
        """Return the kernel's own reader of KTAP."""
        return self.tree / "tools" / "testing" / "kunit" / "kunit.py"

    def there(self) -> bool:
        return self.memblock.is_file() and self.kunit.is_file()


F = TypeVar("F", bound="KernelFiles | SourceFiles")


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
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


def drift(files: KernelFiles | SourceFiles) -> str:
    """Return in words whether this is the version that was last tested."""
    tested = {}
    with suppress(OSError, ValueError):
        tested = json.loads(TESTED.read_text()).get(files.name, {})
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
