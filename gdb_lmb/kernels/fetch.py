# SPDX-License-Identifier: GPL-2.0-or-later
"""The way of a name's newest packages from the archive into the cache, the same for kernels and for sources.

The archive drops old versions, so the newest of a name is taken; what it was is recorded beside the files, and
`stock-kernels.json` says which one was last tested.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gdb_lmb.core.errors import InfrastructureError
from gdb_lmb.core.words import human_size
from gdb_lmb.kernels.apt import Apt, Package, Sizes, require_apt
from gdb_lmb.kernels.cache import F, Notice, drift, locked, remove_unless_used, require_space, safe_name
from gdb_lmb.kernels.names import Name
from gdb_lmb.report.output import told_of


@dataclass(frozen=True)
class Kind:
    """What differs between kernels and sources.

    `needed_bytes` of the disk are wanted free for a fetch; `ask` chooses the packages; `fill` takes what is
    wanted out of them into a folder, and returns the files' places in it, to be recorded by these names.
    """

    needed_bytes: int
    ask: Callable[[Apt], list[Package]]
    fill: Callable[[list[Path], Path], dict[str, Path]]


def newest(row: Name, folder: Path, kind: Kind, held: Callable[[], F | None], notice: Notice) -> F:
    """Bring the newest packages of this name into the cache, unless they are there already; `held` tells.

    Two at once are safe: the second waits and finds them. What was fetched before an interruption is kept.
    Where the archive cannot give the newest ones, those of the cache will do.
    """
    try:
        return _fetch(row, folder, kind, held, notice)
    except InfrastructureError as error:
        found = held()
        if found is None:
            raise
        notice(f"{row.name}: {error}")
        notice(f"{row.name}: keeping {found.version}, which is in the cache{drift(found)}")
        return found


def _fetch(row: Name, folder: Path, kind: Kind, held: Callable[[], F | None], notice: Notice) -> F:
    """Ask the archive, and fetch what the cache has not."""
    name = row.name
    require_apt()
    with locked(folder, lambda: notice(f"{name}: waiting for another get-kernel")) as lock:
        apt = Apt(folder / "apt", row, lock, lambda text: notice(f"{name}: {text}"))
        notice(f"{name}: asking the archive for the newest version")
        apt.run("update")
        packages = kind.ask(apt)
        version = packages[0][1]
        found = held()
        if found is None or found.version != version:
            sizes = apt.total(packages)
            require_space(folder, kind.needed_bytes)
            notice(
                f"{name}: fetching {', '.join(package for package, _, _ in packages)} {version}: {_need(sizes, folder)}"
            )
            try:
                debs = apt.download(packages)
                notice(f"{name}: unpacking")
                with told_of(folder):
                    unpack(row, folder, kind, debs, packages)
            except (InfrastructureError, KeyboardInterrupt):
                # Whatever ended it: what is here already need not be fetched again.
                notice(f"{name}: {_left(apt.kept(), sizes)}")
                raise
            for deb in debs:
                deb.unlink()
            found = held()
        if found is None:
            raise InfrastructureError(f"{name} {version} was unpacked to {folder}, but is not there")
        notice(f"{name}: {version} is in the cache{drift(found)}")
        return found


def _need(sizes: Sizes, folder: Path) -> str:
    """Say what a fetch will take, before it begins."""
    free = human_size(shutil.disk_usage(folder).free)
    if not sizes.fetched:
        return f"{free} of disk are free"
    return (
        f"{human_size(sizes.fetched)} to fetch, at most {human_size(sizes.fetched + sizes.unpacked)} of disk, "
        f"of which {free} are free"
    )


def _left(kept: int, sizes: Sizes) -> str:
    """Say what a broken-off fetch leaves in the cache."""
    if not kept:
        return "nothing of it stays in the cache"
    of = f" of {human_size(sizes.fetched)}" if sizes.fetched else ""
    return f"{human_size(kept)}{of} stay in the cache, and the next get-kernel goes on from there"


def unpack(row: Name, folder: Path, kind: Kind, debs: list[Path], packages: list[Package]) -> None:
    """Take the wanted files out of the packages, in a folder that appears whole or not at all, and record them."""
    version = packages[0][1]
    final = folder / safe_name(version)
    work = final.with_name(f"{final.name}.partial")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    files = kind.fill(debs, work)
    shutil.rmtree(final, ignore_errors=True)
    work.rename(final)
    record: dict[str, object] = {"name": row.name, "arch": row.arch, "version": version}
    record |= {what: str(final / place) for what, place in files.items()}
    record["hashes"] = {package: digest for package, _, digest in packages}
    partial = folder / "manifest.partial"
    partial.write_text(json.dumps(record, indent=1) + "\n")
    partial.rename(folder / "manifest.json")
    for path in folder.iterdir():
        if path.is_dir() and path.name not in ("apt", final.name):
            remove_unless_used(path)
