# SPDX-License-Identifier: GPL-2.0-or-later
"""What is taken out of a linux-source package: only what `tools/testing/memblock`, the simulator, is built from."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path
from typing import IO

from gdb_lmb.core.errors import InfrastructureError
from gdb_lmb.kernels.apt import Apt, Package
from gdb_lmb.kernels.fetch import Kind
from gdb_lmb.kernels.package import BLOCK_BYTES, read_package, write_file

# The package, and what is kept of it.
_NEEDED_BYTES = 1 << 29
_WANTED = re.compile(
    r"mm/memblock\.c|include/linux/[^/]+\.h|lib/[^/]+\.c|arch/x86/include/asm/[^/]+\.h"
    r"|tools/(include|lib|arch/x86/include|testing/memblock)/.+"
)
_TREE = re.compile(r"usr/src/linux-source-[^/]+\.tar\.xz")


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


def fill(debs: list[Path], work: Path) -> dict[str, Path]:
    """Take the wanted members out of the package; return where in `work` the tree is: all of it."""
    for deb in debs:
        extract(deb, work)
    if not (work / "tools" / "testing" / "memblock" / "Makefile").is_file() or not (work / "mm/memblock.c").is_file():
        raise InfrastructureError(f"{debs[0].name} holds no memblock or no simulator of it")
    return {"tree": Path()}


def _extract_tree(content: IO[bytes], work: Path) -> None:
    with tarfile.open(fileobj=content, mode="r|xz", bufsize=BLOCK_BYTES) as members:
        for member in members:
            path = member.name.removeprefix("./").partition("/")[2]
            if not member.isfile() or not _WANTED.fullmatch(path) or ".." in Path(path).parts:
                continue
            inner = members.extractfile(member)
            if inner is not None:
                write_file(work / path, inner)


def _ask(apt: Apt) -> list[Package]:
    return [apt.newest_source()]


KIND = Kind(_NEEDED_BYTES, _ask, fill)
