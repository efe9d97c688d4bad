# SPDX-License-Identifier: GPL-2.0-or-later
"""Distribution kernels with their debug symbols, and sources, in the cache.

apt fetches signed packages and checks them with a configuration of its own inside the cache: the system's is not
touched, but its sources say which archive to ask. What fetches is imported only where something is to be fetched. Of a
source only what builds the memblock simulator, `tools/testing/memblock`, is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gdb_lmb.core.errors import UsageError
from gdb_lmb.kernels.cache import F, KernelFiles, Notice, SourceFiles, cache_folder, keep, safe_name
from gdb_lmb.kernels.names import KERNELS, SOURCES, row_of

_PLACES = ("image", "vmlinux", "tree")


def find_kernel(name: str, *, fetch: bool = True, notice: Notice = lambda _: None) -> KernelFiles:
    """Return the kernel of this name, brought into the cache first if it is not there.

    Its files stay for as long as this process lives, whatever else comes into the cache meanwhile.
    Raises: UsageError for an unknown name, or one not in the cache where `fetch` is False;
    InfrastructureError where it cannot be had.
    """
    row_of(name)
    return _find(KernelFiles, name, get_kernel if fetch else None, notice)


def find_source(name: str, *, fetch: bool = True, notice: Notice = lambda _: None) -> SourceFiles:
    """Return the source of this name, as `find_kernel` does."""
    return _find(SourceFiles, name, get_source if fetch else None, notice)


def cached(name: str) -> KernelFiles | None:
    """Return what the cache holds of the kernel of this name."""
    return _cached(KernelFiles, name)


def cached_source(name: str) -> SourceFiles | None:
    """Return what the cache holds of the source of this name."""
    return _cached(SourceFiles, name)


def get_kernel(name: str, notice: Notice) -> KernelFiles:
    """Bring the newest kernel of this name into the cache, or keep the one it holds; see `fetch.newest`.

    Raises: UsageError for an unknown name; InfrastructureError where there is none.
    """
    from gdb_lmb.kernels import fetch, package

    return fetch.newest(row_of(name), _folder_of(name), package.KERNEL, lambda: cached(name), notice)


def get_source(name: str, notice: Notice) -> SourceFiles:
    """Bring the newest source of this name into the cache, as `get_kernel` does."""
    from gdb_lmb.kernels import fetch, package

    return fetch.newest(SOURCES[name], _folder_of(name), package.SOURCE, lambda: cached_source(name), notice)


def _find(kind: type[F], name: str, get: Callable[[str, Notice], F] | None, notice: Notice) -> F:
    """Return what the cache holds, after `get` where it holds nothing, and see that no other process removes it."""
    while True:
        files = _cached(kind, name)
        if files is None:
            if get is None:
                raise UsageError(f"{name} is not in the cache; bring it there with scripts/get-kernel {name}")
            files = get(name, notice)
        if keep(_folder(name, files.version), files.there):
            return files


def _cached(kind: type[F], name: str) -> F | None:
    """Return what the manifest says, None where there is none or a file is gone."""
    try:
        data = json.loads((_folder_of(name) / "manifest.json").read_text())
        members: dict[str, Any] = {key: Path(data[key]) if key in _PLACES else data[key] for key in kind._fields}
        files = kind(**members)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return files if files.there() else None


def _folder(name: str, version: str) -> Path:
    return _folder_of(name) / safe_name(version)


def _folder_of(name: str) -> Path:
    return cache_folder() / ("kernels" if name in KERNELS else "sources") / name.replace(":", "-")
