# SPDX-License-Identifier: GPL-2.0-or-later
"""Distribution kernels and their debug symbols, as signed packages, in the cache.

apt fetches and checks them with a configuration of its own inside the cache: the system's is not touched,
but its sources say which archive to ask. What fetches is imported only where something is to be fetched.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from gdb_lmb.core.errors import UsageError
from gdb_lmb.kernels.cache import cache_folder, keep, safe_name
from gdb_lmb.kernels.names import row_of


class KernelFiles(NamedTuple):
    """A kernel in the cache: its packages' `version`, their SHA-256 by file name, and the unpacked files."""

    name: str
    arch: str
    version: str
    image: Path
    vmlinux: Path
    hashes: dict[str, str]


def find_kernel(name: str, *, fetch: bool = True, notice: Callable[[str], None] = lambda _: None) -> KernelFiles:
    """Return the kernel of this name, brought into the cache first if it is not there.

    Its files stay for as long as this process lives, whatever else comes into the cache meanwhile.
    Raises: UsageError for an unknown name, or one not in the cache where `fetch` is False;
    InfrastructureError where it cannot be had.
    """
    row_of(name)
    while True:
        files = cached(name)
        if files is None:
            if not fetch:
                raise UsageError(f"{name} is not in the cache; bring it there with scripts/get-kernel {name}")
            files = get_kernel(name, notice)
        if _keep(files):
            return files


def cached(name: str) -> KernelFiles | None:
    """Return what the cache holds of this name."""
    manifest = _home(name) / "manifest.json"
    try:
        data = json.loads(manifest.read_text())
        files = KernelFiles(
            data["name"], data["arch"], data["version"], Path(data["image"]), Path(data["vmlinux"]), data["hashes"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return files if files.image.is_file() and files.vmlinux.is_file() else None


def get_kernel(name: str, notice: Callable[[str], None]) -> KernelFiles:
    """Bring the newest kernel of this name into the cache, or keep the one it holds; see `fetch.newest`.

    Raises: UsageError for an unknown name; InfrastructureError where there is none.
    """
    from gdb_lmb.kernels import fetch, kernel_package

    return fetch.newest(row_of(name), _home(name), kernel_package.KIND, lambda: cached(name), notice)


def _keep(files: KernelFiles) -> bool:
    """See that no other process removes the files; tell whether they are still there."""
    return keep(_folder(files.name, files.version), lambda: files.image.is_file() and files.vmlinux.is_file())


def _folder(name: str, version: str) -> Path:
    return _home(name) / safe_name(version)


def _home(name: str) -> Path:
    return cache_folder() / "kernels" / name.replace(":", "-")
