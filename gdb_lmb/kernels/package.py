# SPDX-License-Identifier: GPL-2.0-or-later
"""Taking files out of a Debian package, in one pass, by `dpkg-deb`."""

from __future__ import annotations

import lzma
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, cast

from gdb_lmb.core.errors import InfrastructureError
from gdb_lmb.core.words import human_size
from gdb_lmb.report.output import told_of
from gdb_lmb.report.progress import PROGRESS

BLOCK_BYTES = 1 << 20


def read_package(deb: Path, take: Callable[[str, IO[bytes]], bool]) -> None:
    """Give `take` the path and the content of each file in a Debian package; it tells whether it wanted it.

    Raises: InfrastructureError unless the package could be read to its end and something in it was wanted.
    """
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as unpacked:
        assert unpacked.stdout is not None
        found = False
        try:
            counted = cast(IO[bytes], _Counted(unpacked.stdout, deb))
            with tarfile.open(fileobj=counted, mode="r|", bufsize=BLOCK_BYTES) as members:
                for member in members:
                    content = members.extractfile(member) if member.isfile() else None
                    if content is not None:
                        found = take(member.name.removeprefix("./"), content) or found
            # What follows the last member: dpkg-deb must not die of a closed pipe.
            while unpacked.stdout.read(BLOCK_BYTES):
                pass
            whole = unpacked.wait() == 0 and found
        except (tarfile.TarError, lzma.LZMAError, EOFError):
            whole = False
        finally:
            unpacked.kill()
            PROGRESS.clear()
    if not whole:
        raise InfrastructureError(f"{deb.name} cannot be unpacked to its end")


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
        shutil.copyfileobj(content, file, BLOCK_BYTES)
