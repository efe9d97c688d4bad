# SPDX-License-Identifier: GPL-2.0-or-later
"""What builds a kernel's own memblock in user space: parts of Debian's linux-source packages, in the cache.

The packages come the same way as kernels do. Only what builds the simulator is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from gdb_lmb.core.errors import UsageError
from gdb_lmb.kernels.cache import cache_folder, keep
from gdb_lmb.kernels.names import SOURCES


class SourceFiles(NamedTuple):
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
    """Bring the newest source of this name into the cache, or keep the one it holds; see `fetch.newest`.

    Raises: InfrastructureError where there is none.
    """
    from gdb_lmb.kernels import fetch, source_package

    return fetch.newest(SOURCES[name], _home(name), source_package.KIND, lambda: cached(name), notice)


def _home(name: str) -> Path:
    return cache_folder() / "sources" / name.replace(":", "-")
