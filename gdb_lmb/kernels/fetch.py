# SPDX-License-Identifier: GPL-2.0-or-later
"""The way of a name's newest packages from the archive into the cache, and what is kept of them.

Of a kernel that is its image and its debug file, of a source what builds its memblock in user space. The archive drops
old versions, so the newest of a name is taken; what it was is recorded beside the files, and `stock-kernels.json` says
which one was last tested.
"""

from __future__ import annotations

import json
import lzma
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from gdb_lmb.core.errors import InfrastructureError
from gdb_lmb.core.words import human_size
from gdb_lmb.kernels.apt import Apt, Package, require_apt
from gdb_lmb.kernels.cache import F, Name, Notice, drift, locked, remove_unless_used, safe_name
from gdb_lmb.report.output import told_of
from gdb_lmb.report.progress import PROGRESS

_BLOCK_BYTES = 1 << 20
_OF_A_KERNEL = re.compile(
    r"boot/(vmlinuz|config)-[^/]+|(usr/)?lib/modules/[^/]+/vmlinuz|usr/lib/debug/(boot/vmlinux-[^/]+|lib/modules/[^/]+/vmlinux)"
)
# The archive in a linux-source package; of its files, below its first folder, the simulator is built from these, and
# the rest reads KTAP and tells whether C code is in kernel style.
_TREE = re.compile(r"usr/src/linux-source-[^/]+\.tar\.xz")
_OF_A_TREE = re.compile(
    r"[^/]+/(mm/memblock\.c|include/linux/[^/]+\.h|lib/[^/]+\.c|arch/x86/include/asm/[^/]+\.h"
    r"|tools/(include|lib|arch/x86/include|testing/(memblock|kunit))/.+"
    r"|scripts/(checkpatch\.pl|kernel-doc|spelling\.txt))"
)


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
    def tell(text: str) -> None:
        notice(f"{row.name}: {text}")

    require_apt()
    with locked(folder, lambda: tell("waiting for another get-kernel")) as lock:
        apt = Apt(folder / "apt", row, lock, tell)
        tell("asking the archive for the newest version")
        apt.run("update")
        packages = kind.ask(apt)
        version = packages[0][1]
        found = held()
        if found is None or found.version != version:
            fetched, unpacked = apt.total(packages)
            free = shutil.disk_usage(folder).free
            if free < kind.needed_bytes:
                raise InfrastructureError(
                    f"{folder} has {free >> 20} MiB free; {kind.needed_bytes >> 20} MiB are needed"
                )
            need = f"{human_size(free)} of disk are free"
            if fetched is not None and unpacked is not None:
                need = (
                    f"{human_size(fetched)} to fetch, at most {human_size(fetched + unpacked)} of disk, of which "
                    f"{human_size(free)} are free"
                )
            tell(f"fetching {', '.join(package for package, _, _ in packages)} {version}: {need}")
            try:
                debs = apt.download(packages)
                tell("unpacking")
                with told_of(folder):
                    unpack(row, folder, kind, debs, packages)
            except (InfrastructureError, KeyboardInterrupt):
                # Whatever ended it: what is here already need not be fetched again.
                tell(_left(apt.kept(), fetched))
                raise
            for deb in debs:
                deb.unlink()
            found = held()
        if found is None:
            raise InfrastructureError(f"{row.name} {version} was unpacked to {folder}, but is not there")
        tell(f"{version} is in the cache{drift(found)}")
        return found


def _left(kept: int, fetched: int | None) -> str:
    # What a broken-off fetch leaves in the cache, both in bytes.
    if not kept:
        return "nothing of it stays in the cache"
    of = "" if fetched is None else f" of {human_size(fetched)}"
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
    record = {
        "name": row.name, "arch": row.arch, "version": version,
        **{what: str(final / place) for what, place in files.items()},
        "hashes": {package: digest for package, _, digest in packages},
    }  # fmt: skip
    partial = folder / "manifest.partial"
    partial.write_text(json.dumps(record, indent=1) + "\n")
    partial.rename(folder / "manifest.json")
    for path in folder.iterdir():
        if path.is_dir() and path.name not in ("apt", final.name):
            remove_unless_used(path)


# -- what is kept of a package ----------------------------------------------------------------------


def extract_kernel(deb: Path, work: Path) -> None:
    """Take the wanted files out of one package, which may hold none of them.

    Raises: InfrastructureError unless it could be read to its end.
    """
    with _package(deb) as files:
        for path, content in files:
            if _OF_A_KERNEL.fullmatch(path):
                write_file(work / path, content)


def extract_source(deb: Path, work: Path) -> None:
    """Take the wanted files out of the archive that the package holds.

    Raises: InfrastructureError unless both could be read to their ends.
    """
    with _package(deb) as files:
        found = False
        for _, content in (file for file in files if _TREE.fullmatch(file[0])):
            found = True
            for path, file in _files(content, "r|xz"):
                wanted = _OF_A_TREE.fullmatch(path)
                if wanted and ".." not in Path(path).parts:
                    write_file(work / wanted[1], file)
        if not found:
            raise EOFError("there is no source in it")


def _fill_kernel(debs: list[Path], work: Path) -> dict[str, Path]:
    for deb in debs:
        extract_kernel(deb, work)
    found = [path for path in work.rglob("vmlinu*") if path.is_file() and not path.is_symlink()]
    images = [path for path in found if path.name.startswith("vmlinuz")]
    symbols = [path for path in found if path.name.startswith("vmlinux") and "debug" in path.parts]
    if not images or not symbols:
        raise InfrastructureError(f"{', '.join(deb.name for deb in debs)}: no kernel image or no debug file in there")
    return {"image": images[0].relative_to(work), "vmlinux": symbols[0].relative_to(work)}


def _fill_source(debs: list[Path], work: Path) -> dict[str, Path]:
    for deb in debs:
        extract_source(deb, work)
    if not (work / "tools" / "testing" / "memblock" / "Makefile").is_file() or not (work / "mm/memblock.c").is_file():
        raise InfrastructureError(f"{debs[0].name} holds no memblock or no simulator of it")
    return {"tree": Path()}


# The first number is for the packages and, of a kernel, the unpacked debug file beside them.
KERNEL = Kind(3 << 30, Apt.newest, _fill_kernel)
SOURCE = Kind(1 << 29, lambda apt: [apt.newest_source()], _fill_source)


@contextmanager
def _package(deb: Path) -> Iterator[Iterator[tuple[str, IO[bytes]]]]:
    """Give the path and the content of each file in a Debian package.

    Raises: InfrastructureError unless the package, and what the caller reads in it, could be read to its end.
    """
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as unpacked:
        assert unpacked.stdout is not None
        try:
            yield _files(cast(IO[bytes], _Counted(unpacked.stdout, deb)), "r|")
            # What follows the last member: dpkg-deb must not die of a closed pipe.
            while unpacked.stdout.read(_BLOCK_BYTES):
                pass
            whole = unpacked.wait() == 0
        except (tarfile.TarError, lzma.LZMAError, EOFError):
            whole = False
        finally:
            unpacked.kill()
            PROGRESS.clear()
    if not whole:
        raise InfrastructureError(f"{deb.name} cannot be unpacked to its end")


def _files(stream: IO[bytes], mode: str) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the path and the content of each regular file in a tar archive, which is read once, in its order."""
    with tarfile.open(fileobj=stream, mode=mode, bufsize=_BLOCK_BYTES) as members:  # type: ignore[call-overload]
        for member in members:
            content = members.extractfile(member) if member.isfile() else None
            if content is not None:
                yield member.name.removeprefix("./"), content


class _Counted:
    """A stream that shows how many bytes have been read of it."""

    def __init__(self, stream: IO[bytes], deb: Path) -> None:
        self._stream = stream
        self._name = deb.name
        self._bytes = 0
        field = subprocess.run(["dpkg-deb", "--field", deb, "Installed-Size"], capture_output=True, check=False).stdout
        self._of = f" of about {human_size(int(field) << 10)}" if field.strip().isdigit() else ""

    def read(self, size: int) -> bytes:
        piece = self._stream.read(size)
        self._bytes += len(piece)
        if PROGRESS.wanted():
            PROGRESS.show(f"unpacking {self._name}: {human_size(self._bytes)}{self._of}")
        return piece


def write_file(target: Path, content: IO[bytes]) -> None:
    """Write one file, its folders made as needed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with told_of(target), target.open("wb") as file:
        shutil.copyfileobj(content, file, _BLOCK_BYTES)
