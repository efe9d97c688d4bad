# SPDX-License-Identifier: GPL-2.0-or-later
"""What is kept of Debian's packages: a kernel's image and debug file, or what builds its memblock in user space."""

from __future__ import annotations

import lzma
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast

from gdb_lmb.core.errors import InfrastructureError
from gdb_lmb.core.words import human_size
from gdb_lmb.kernels.apt import Apt
from gdb_lmb.kernels.fetch import Kind
from gdb_lmb.report.output import told_of
from gdb_lmb.report.progress import PROGRESS

_BLOCK_BYTES = 1 << 20
_OF_A_KERNEL = re.compile(
    r"boot/(vmlinuz|config)-[^/]+|(usr/)?lib/modules/[^/]+/vmlinuz|usr/lib/debug/(boot/vmlinux-[^/]+|lib/modules/[^/]+/vmlinux)"
)
_TREE = re.compile(r"usr/src/linux-source-[^/]+\.tar\.xz")
"""The archive in a linux-source package; of its files the simulator is built from these, below its first folder."""
_OF_A_TREE = re.compile(
    r"[^/]+/(mm/memblock\.c|include/linux/[^/]+\.h|lib/[^/]+\.c|arch/x86/include/asm/[^/]+\.h"
    r"|tools/(include|lib|arch/x86/include|testing/memblock)/.+)"
)


def extract_kernel(deb: Path, work: Path) -> None:
    """Take the wanted files out of one package, which may hold none of them.

    Raises: InfrastructureError unless it could be read to its end.
    """

    def take(path: str, content: IO[bytes]) -> bool:
        if _OF_A_KERNEL.fullmatch(path):
            write_file(work / path, content)
        return True

    _read_package(deb, take)


def extract_source(deb: Path, work: Path) -> None:
    """Take the wanted files out of the archive that the package holds.

    Raises: InfrastructureError unless both could be read to their ends.
    """

    def take(path: str, content: IO[bytes]) -> bool:
        if not _TREE.fullmatch(path):
            return False
        for inner, file in _files(content, "r|xz"):
            wanted = _OF_A_TREE.fullmatch(inner)
            if wanted and ".." not in Path(inner).parts:
                write_file(work / wanted[1], file)
        return True

    _read_package(deb, take)


def _fill_kernel(debs: list[Path], work: Path) -> dict[str, Path]:
    """Take the wanted files out of all packages; return where in `work` the image and the debug file are."""
    for deb in debs:
        extract_kernel(deb, work)
    found = [path for path in work.rglob("vmlinu*") if path.is_file() and not path.is_symlink()]
    images = [path for path in found if path.name.startswith("vmlinuz")]
    symbols = [path for path in found if path.name.startswith("vmlinux") and "debug" in path.parts]
    if not images or not symbols:
        raise InfrastructureError(f"{', '.join(deb.name for deb in debs)}: no kernel image or no debug file in there")
    return {"image": images[0].relative_to(work), "vmlinux": symbols[0].relative_to(work)}


def _fill_source(debs: list[Path], work: Path) -> dict[str, Path]:
    """Take the wanted files out of the package; return where in `work` the tree is: all of it."""
    for deb in debs:
        extract_source(deb, work)
    if not (work / "tools" / "testing" / "memblock" / "Makefile").is_file() or not (work / "mm/memblock.c").is_file():
        raise InfrastructureError(f"{debs[0].name} holds no memblock or no simulator of it")
    return {"tree": Path()}


# The first number is for the packages and, of a kernel, the unpacked debug file beside them.
KERNEL = Kind(3 << 30, Apt.newest, _fill_kernel)
SOURCE = Kind(1 << 29, lambda apt: [apt.newest_source()], _fill_source)


def _read_package(deb: Path, take: Callable[[str, IO[bytes]], bool]) -> None:
    """Give `take` the path and the content of each file in a Debian package; it tells whether it wanted it.

    Raises: InfrastructureError unless the package could be read to its end and something in it was wanted.
    """
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as unpacked:
        assert unpacked.stdout is not None
        try:
            found = [take(*file) for file in _files(cast(IO[bytes], _Counted(unpacked.stdout, deb)), "r|")]
            # What follows the last member: dpkg-deb must not die of a closed pipe.
            while unpacked.stdout.read(_BLOCK_BYTES):
                pass
            whole = unpacked.wait() == 0 and any(found)
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
        """Read up to `size` bytes."""
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
