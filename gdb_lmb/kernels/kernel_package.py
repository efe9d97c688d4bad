# SPDX-License-Identifier: GPL-2.0-or-later
"""What is taken out of a distribution kernel's packages: the image, its configuration, and the debug file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import IO

from gdb_lmb.core.errors import InfrastructureError
from gdb_lmb.kernels.apt import Apt
from gdb_lmb.kernels.fetch import Kind
from gdb_lmb.kernels.package import read_package, write_file

# Packages, and the unpacked debug file beside them.
_NEEDED_BYTES = 3 << 30
_WANTED = re.compile(
    r"boot/(vmlinuz|config)-[^/]+|(usr/)?lib/modules/[^/]+/vmlinuz|usr/lib/debug/(boot/vmlinux-[^/]+|lib/modules/[^/]+/vmlinux)"
)


def extract(deb: Path, work: Path) -> None:
    """Take the wanted members out of one package, which may hold none of them.

    Raises: InfrastructureError unless it could be read to its end.
    """

    def take(path: str, content: IO[bytes]) -> bool:
        if _WANTED.fullmatch(path):
            write_file(work / path, content)
        return True

    read_package(deb, take)


def fill(debs: list[Path], work: Path) -> dict[str, Path]:
    """Take the wanted members out of all packages; return where in `work` the image and the debug file are."""
    for deb in debs:
        extract(deb, work)
    found = [path for path in work.rglob("vmlinu*") if path.is_file() and not path.is_symlink()]
    images = [path for path in found if path.name.startswith("vmlinuz")]
    symbols = [path for path in found if path.name.startswith("vmlinux") and "debug" in path.parts]
    if not images or not symbols:
        raise InfrastructureError(f"{', '.join(deb.name for deb in debs)}: no kernel image or no debug file in there")
    return {"image": images[0].relative_to(work), "vmlinux": symbols[0].relative_to(work)}


KIND = Kind(_NEEDED_BYTES, Apt.newest, fill)
