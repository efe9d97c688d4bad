# SPDX-License-Identifier: GPL-2.0-or-later
"""Distribution kernels with their debug symbols, and sources, in the cache; and the command line of scripts/get-kernel.

apt fetches signed packages and checks them with a configuration of its own inside the cache: the system's is not
touched, but its sources say which archive to ask. What fetches is imported only where something is to be fetched. Of a
source only what builds the memblock simulator, `tools/testing/memblock`, is kept.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import Any

from gdb_lmb.core.errors import LmbError, UsageError
from gdb_lmb.kernels.cache import (
    KERNELS,
    SOURCES,
    F,
    KernelFiles,
    Notice,
    SourceFiles,
    cache_folder,
    drift,
    keep,
    row_of,
    safe_name,
)
from gdb_lmb.report.progress import PROGRESS

_PLACES = ("image", "vmlinux", "tree")


def find_kernel(name: str, *, fetch: bool = True, notice: Notice = lambda _: None) -> KernelFiles:
    """Return the kernel of this name, brought into the cache first if it is not there.

    Its files stay for as long as this process lives, whatever else comes into the cache meanwhile.
    Raises: UsageError for an unknown name, or one not in the cache where `fetch` is False;
    InfrastructureError where it cannot be had.
    """
    return _find(KernelFiles, name, fetch, notice)


def find_source(name: str, *, fetch: bool = True, notice: Notice = lambda _: None) -> SourceFiles:
    """Return the source of this name, as `find_kernel` does."""
    return _find(SourceFiles, name, fetch, notice)


def _find(kind: type[F], name: str, fetch: bool, notice: Notice) -> F:
    row_of(name)
    while True:
        files = cached(name, kind)
        if files is None and not fetch:
            raise UsageError(f"{name} is not in the cache; bring it there with scripts/get-kernel {name}")
        files = files or get(name, notice, kind)
        if keep(_folder(name, files.version), files.there):
            return files


def get(name: str, notice: Notice, kind: type[F]) -> F:
    """Bring the newest of this name into the cache, or keep the one it holds; see `fetch.newest`.

    Raises: UsageError for an unknown name; InfrastructureError where there is none.
    """
    from gdb_lmb.kernels import fetch

    wanted = fetch.KERNEL if name in KERNELS else fetch.SOURCE
    return fetch.newest(row_of(name), _folder_of(name), wanted, lambda: cached(name, kind), notice)


def cached(name: str, kind: type[F]) -> F | None:
    """Return what the cache's manifest of this name says, None where there is none or a file is gone."""
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


# -- scripts/get-kernel -----------------------------------------------------------------------------


def _listed(name: str) -> str:
    files = cached(name, _kind_of(name))
    told = "not in the cache" if files is None else files.version + drift(files)
    if isinstance(files, KernelFiles):
        size = (files.image.stat().st_size + files.vmlinux.stat().st_size) >> 20
        told = f"{files.version}, {size} MiB{drift(files)}"
    return f"{name:28} {told}"


def main(argv: list[str] | None = None) -> int:
    """Do what scripts/get-kernel is asked for; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="scripts/get-kernel",
        description="Bring a distribution kernel and its debug symbols, or what builds its memblock in user space, "
        "into the cache, signatures checked.",
        epilog=f"names: {', '.join([*KERNELS, *SOURCES])}",
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help="suite, flavour and architecture")
    parser.add_argument("--cached", action="store_true", help="be content with what the cache holds, however old")
    parser.add_argument("--list", action="store_true", help="show the known names and what the cache holds")
    options = parser.parse_args(argv)
    if options.list or options.name is None:
        print("\n".join(map(_listed, (*KERNELS, *SOURCES))))
        return 0
    try:
        kind = _kind_of(options.name)
        files = _find(kind, options.name, True, _tell) if options.cached else get(options.name, _tell, kind)
    except LmbError as error:
        _tell(str(error))
        return 2 if isinstance(error, UsageError) else 4
    except KeyboardInterrupt:
        _tell("interrupted")
        return 128 + signal.SIGINT
    places = (
        [("source", files.tree)]
        if isinstance(files, SourceFiles)
        else [("image", files.image), ("vmlinux", files.vmlinux)]
    )
    print("\n".join(f"{what}={value}" for what, value in [*places, ("version", files.version)]))
    return 0


def _kind_of(name: str) -> type[KernelFiles] | type[SourceFiles]:
    return SourceFiles if name in SOURCES else KernelFiles


def _tell(text: str) -> None:
    PROGRESS.clear()
    print(f"get-kernel: {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
