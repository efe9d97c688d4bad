# SPDX-License-Identifier: GPL-2.0-or-later
"""What builds a kernel's own memblock in user space: parts of Debian's linux-source packages, in the cache.

The packages come the same way as kernels do: apt with a configuration of its own, signatures and hashes
checked. Only what `tools/testing/memblock`, the simulator, is built from is kept.
"""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from gdb_lmb.errors import InfrastructureError, UsageError
from gdb_lmb.runner.apt import Apt, Name, require_apt, safe_name
from gdb_lmb.runner.cache import cache_folder, keep, locked, remove_unless_used, require_space
from gdb_lmb.runner.package import BLOCK_BYTES, read_package, write_file

NEEDED_BYTES = 1 << 29
"""Free disk that a fetch wants: the package, and what is kept of it."""

SOURCES = {
    row.name: row
    for row in (
        Name("source:6.1", ("bookworm", "bookworm-updates", "bookworm-security"), "linux-source-6.1", "", "amd64"),
        Name("source:6.12", ("bookworm-backports", "bookworm-security"), "linux-source-6.12", "", "amd64"),
        Name("source:7", ("trixie-backports",), "linux-source-7.", "", "amd64"),
    )
}

_WANTED = re.compile(
    r"mm/memblock\.c|include/linux/[^/]+\.h|lib/[^/]+\.c|arch/x86/include/asm/[^/]+\.h"
    r"|tools/(include|lib|arch/x86/include|testing/memblock)/.+"
)
_TREE = re.compile(r"usr/src/linux-source-[^/]+\.tar\.xz")


@dataclass(frozen=True)
class SourceFiles:
    """Part of a kernel's source in the cache: the package's `version`, its SHA-256 by name, the `tree`."""

    name: str
    version: str
    tree: Path
    hashes: dict[str, str]

    @property
    def memblock(self) -> Path:
        """Return the file that all this is about."""
        return self.tree / "mm" / "memblock.c"


def find_source(name: str, *, fetch: bool = True, notice: Callable[[str], None] = lambda _: None) -> SourceFiles:
    """Return the source of this name, brought into the cache first if it is not there.

    Its files stay for as long as this process lives.
    Raises: UsageError where it is not in the cache and `fetch` is False; InfrastructureError where it cannot be had.
    """
    while True:
        files = cached(name)
        if files is None:
            if not fetch:
                raise UsageError(f"{name} is not in the cache; bring it there with scripts/get-kernel {name}")
            files = get_source(name, notice)
        if keep(files.tree, files.memblock.is_file):
            return files


def cached(name: str) -> SourceFiles | None:
    """Return what the cache holds of this name."""
    try:
        data = json.loads((_home(name) / "manifest.json").read_text())
        files = SourceFiles(data["name"], data["version"], Path(data["tree"]), data["hashes"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return files if files.memblock.is_file() else None


def get_source(name: str, notice: Callable[[str], None]) -> SourceFiles:
    """Bring the newest source of this name into the cache, unless it is there already.

    Two at once are safe: the second waits and finds it. What was fetched before an interruption is kept.
    Where the archive cannot give the newest one, that of the cache will do.
    """
    try:
        return _fetch(SOURCES[name], notice)
    except InfrastructureError as error:
        held = cached(name)
        if held is None:
            raise
        notice(f"{name}: {error}")
        notice(f"{name}: keeping {held.version}, which is in the cache")
        return held


def _home(name: str) -> Path:
    return cache_folder() / "sources" / name.replace(":", "-")


def _fetch(row: Name, notice: Callable[[str], None]) -> SourceFiles:
    """Ask the archive, and fetch what the cache has not."""
    name = row.name
    require_apt()
    home = _home(name)
    with locked(home, lambda: notice(f"{name}: waiting for another get-kernel")) as lock:
        apt = Apt(home / "apt", row, lock, lambda text: notice(f"{name}: {text}"))
        notice(f"{name}: asking the archive for the newest version")
        apt.run("update")
        package, version, digest = apt.newest_source()
        held = cached(name)
        if held is not None and held.version == version:
            notice(f"{name}: {version} is in the cache")
            return held
        require_space(home, NEEDED_BYTES)
        notice(f"{name}: fetching {package} {version}")
        (deb,) = apt.download([(package, version, digest)])
        notice(f"{name}: unpacking")
        tree = home / safe_name(version)
        files = SourceFiles(name, version, tree, {package: digest})
        _unpack(deb, files)
        deb.unlink()
        for path in home.iterdir():
            if path.is_dir() and path.name not in ("apt", tree.name):
                remove_unless_used(path)
        notice(f"{name}: {version} is in the cache")
        return files


def _unpack(deb: Path, files: SourceFiles) -> None:
    """Take the wanted part out of the package, into a folder that appears whole or not at all."""
    work = files.tree.with_name(f"{files.tree.name}.partial")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    extract(deb, work)
    if not (work / "tools" / "testing" / "memblock" / "Makefile").is_file() or not (work / "mm/memblock.c").is_file():
        raise InfrastructureError(f"{deb.name} holds no memblock or no simulator of it")
    shutil.rmtree(files.tree, ignore_errors=True)
    work.rename(files.tree)
    partial = files.tree.with_name("manifest.partial")
    manifest = {**asdict(files), "tree": str(files.tree)}
    partial.write_text(json.dumps(manifest, indent=1) + "\n")
    partial.rename(files.tree.with_name("manifest.json"))


def extract(deb: Path, work: Path) -> None:
    """Take the wanted members out of the archive that the package holds.

    Raises: InfrastructureError unless both could be read to their ends.
    """

    def take(path: str, content: IO[bytes]) -> bool:
        wanted = _TREE.fullmatch(path) is not None
        if wanted:
            _extract_tree(content, work)
        return wanted

    read_package(deb, take)


def _extract_tree(content: IO[bytes], work: Path) -> None:
    with tarfile.open(fileobj=content, mode="r|xz", bufsize=BLOCK_BYTES) as members:
        for member in members:
            path = member.name.removeprefix("./").partition("/")[2]
            if not member.isfile() or not _WANTED.fullmatch(path) or ".." in Path(path).parts:
                continue
            inner = members.extractfile(member)
            if inner is not None:
                write_file(work / path, inner)
