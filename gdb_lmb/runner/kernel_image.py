# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel images that are no ELF, as boot loaders get them: what they say of their architecture and build.

Mirrors drivers/firmware/efi/libstub/zboot-header.S of Linux; each architecture knows its own kinds. The files are
untrusted.
"""

from __future__ import annotations

import functools
import mmap
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from gdb_lmb.arches.registry import architectures
from gdb_lmb.core.errors import UsageError

_HEAD_BYTES = 1 << 16
_MAX_UNPACKED_BYTES = 512 << 20
_GZIP = b"\x1f\x8b\x08"
_BANNER = b"Linux version "
_BANNER_LINE = re.compile(rb"Linux version ([^\s\0]+) \([^\0\n]{1,1000}#\d[^\0\n]{0,200}")


@dataclass(frozen=True)
class KernelImage:
    """What an image tells: `kind` in words, `machine` is the name of its architecture, None where it does not tell.

    `version` is the header's of a bzImage: "6.1.0 (user@host) #1 SMP ...". `data` holds the kernel, from
    `gzip_at` on if it is compressed by gzip, and is None where it is compressed by what is not read here.
    """

    path: Path
    kind: str
    machine: str | None = None
    version: str | None = None
    data: bytes | mmap.mmap | None = None
    gzip_at: int | None = None

    @functools.cached_property
    def content(self) -> bytes | mmap.mmap | None:
        """Return the unpacked kernel, None where it cannot be read: that takes some tenths of a second."""
        return self.data if self.gzip_at is None or self.data is None else _gunzip(self.data, self.gzip_at)

    @property
    def release(self) -> str | None:
        """Return the kernel's release, as `uname -r` says it."""
        if self.version is not None:
            return self.version.split(" ", 1)[0]
        banner = next(iter(self.banners()), None)
        return None if banner is None else banner.split()[2]

    def banners(self) -> list[str]:
        """Return the kernel's `linux_banner`, as far as that can be read."""
        return [] if self.content is None else banners_in(self.content)

    @property
    def name(self) -> str:
        """Return the kernel's own words for its build."""
        return self.version or next((b.removeprefix(_BANNER.decode()) for b in self.banners()), "an unknown build")


def banners_in(data: bytes | mmap.mmap) -> list[str]:
    """Return every banner in the bytes of a kernel; it may hold a copy without the build's number."""
    found, at = [], data.find(_BANNER)
    while at >= 0:
        line = _BANNER_LINE.match(data[at : at + 1500])
        if line is not None:
            found.append(line[0].decode(errors="replace").strip())
        at = data.find(_BANNER, at + 1)
    return found


def identify(path: Path) -> KernelImage | None:
    """Return what the image at `path` tells, None for an ELF or for what is not known. Raises: UsageError."""
    try:
        if path.exists() and not path.is_file():  # opening a FIFO would block
            raise UsageError(f"{path}: not a regular file")
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            if not head:  # nothing can be mapped
                return None
            data: bytes | mmap.mmap = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    if head.startswith(_GZIP):
        data = _gunzip(data, 0) or b""
        return _of(path, data[:_HEAD_BYTES], data, "gzip-compressed ")
    return _of(path, head, data)


# Tell by the magic numbers of each kind.
def _of(path: Path, head: bytes, data: bytes | mmap.mmap, how: str = "") -> KernelImage | None:
    head = head.ljust(_HEAD_BYTES, b"\0")
    if head[4:8] == b"zimg" and head[:2] == b"MZ":
        (offset,) = struct.unpack_from("<I", head, 8)
        packed = head[24:29] == b"gzip\0" and data[offset : offset + 3] == _GZIP
        return KernelImage(
            path, f"{how}EFI image (vmlinuz.efi)", _pe_machine(head), None, data if packed else None,
            offset if packed else None,
        )  # fmt: skip
    for architecture in architectures():
        found = architecture.boot_image(head, data)
        if found is not None:
            held = None if found.content_at is None else data
            gzip_at = found.content_at if found.gzip else None
            return KernelImage(path, how + found.kind, found.name, found.version, held, gzip_at)
    return None


# What the gzip stream at an offset holds, None where there is none, or it is damaged.
def _gunzip(data: bytes | mmap.mmap, at: int) -> bytes | None:
    if data[at : at + 3] != _GZIP:
        return None
    try:
        return zlib.decompressobj(wbits=31).decompress(data[at:], _MAX_UNPACKED_BYTES) or None
    except zlib.error:
        return None


# The architecture by the PE header.
def _pe_machine(head: bytes) -> str | None:
    (at,) = struct.unpack_from("<I", head, 60)
    machine = int.from_bytes(head[at + 4 : at + 6], "little") if head[at : at + 4] == b"PE\0\0" else None
    return next((row.name for row in architectures() if machine and row.pe_machine == machine), None)
