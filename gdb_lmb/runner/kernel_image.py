# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel images that are no ELF, as boot loaders get them: what they say of their architecture and build.

Mirrors Documentation/arch/x86/boot.rst, Documentation/arch/arm64/booting.rst, Documentation/arch/riscv/
boot-image-header.rst, arch/arm/boot/compressed/head.S and drivers/firmware/efi/libstub/zboot-header.S of Linux.
The files are untrusted.
"""

from __future__ import annotations

import functools
import mmap
import re
import struct
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

from gdb_lmb.core.errors import UsageError

_HEAD_BYTES = 1 << 16
_MAX_UNPACKED_BYTES = 512 << 20
_GZIP = b"\x1f\x8b\x08"
_BANNER = b"Linux version "
_BANNER_LINE = re.compile(rb"Linux version ([^\s\0]+) \([^\0\n]{1,1000}#\d[^\0\n]{0,200}")
_PE_MACHINES = {0x8664: "x86-64", 0x14C: "i386", 0xAA64: "aarch64", 0x1C2: "arm", 0x5064: "riscv64"}
"""`Machine` of a PE header, which an image with an EFI stub has, in the words of `machines`."""

_XLF_KERNEL_64 = 1


@dataclass(frozen=True)
class KernelImage:
    """What an image tells: `kind` in words, `machine` as in `machines`, None where it does not tell.

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
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    if head.startswith(_GZIP):
        unpacked = _gunzip(data, 0)
        inner = None if unpacked is None else _of(path, unpacked[:_HEAD_BYTES], unpacked)
        return None if inner is None else replace(inner, kind=f"gzip-compressed {inner.kind}")
    return _of(path, head, data)


def _of(path: Path, head: bytes, data: bytes | mmap.mmap) -> KernelImage | None:
    """Tell by the magic numbers of each kind."""
    head = head.ljust(_HEAD_BYTES, b"\0")
    if head[0x202:0x206] == b"HdrS" and head[0x1FE:0x200] == b"\x55\xaa":
        return _of_x86(path, head, data)
    if head[4:8] == b"zimg" and head[:2] == b"MZ":
        (offset,) = struct.unpack_from("<I", head, 8)
        packed = head[24:29] == b"gzip\0" and data[offset : offset + 3] == _GZIP
        kind = "EFI image (vmlinuz.efi)"
        return KernelImage(path, kind, _pe_machine(head), None, data if packed else None, offset if packed else None)
    if head[56:60] == b"ARM\x64":
        return KernelImage(path, "arm64 Image", "aarch64", None, data)
    if head[48:56] == b"RISCV\0\0\0" and head[56:60] == b"RSC\x05":
        return KernelImage(path, "RISC-V Image", "riscv64", None, data)
    if head[0x24:0x28] in (b"\x18\x28\x6f\x01", b"\x01\x6f\x28\x18"):
        return KernelImage(path, "arm zImage", "arm")
    return None


def _of_x86(path: Path, head: bytes, data: bytes | mmap.mmap) -> KernelImage:
    """Read the setup header of a bzImage; a cut one tells less."""
    protocol, text_at = struct.unpack_from("<H", head, 0x206)[0], struct.unpack_from("<H", head, 0x20E)[0]
    text = head[text_at + 0x200 : text_at + 0x200 + 512].partition(b"\0")[0] if text_at else b""
    version = text.decode(errors="replace").strip() or None
    machine, at = None, None
    if protocol >= 0x20C:  # xloadflags
        machine = "x86-64" if struct.unpack_from("<H", head, 0x236)[0] & _XLF_KERNEL_64 else "i386"
    if protocol >= 0x208:  # payload_offset
        start = ((head[0x1F1] or 4) + 1) * 512 + struct.unpack_from("<I", head, 0x248)[0]
        at = start if data[start : start + 3] == _GZIP else None
    return KernelImage(path, "bzImage", machine, version, None if at is None else data, at)


def _gunzip(data: bytes | mmap.mmap, at: int) -> bytes | None:
    """Return what the gzip stream at an offset holds, None where there is none, or it is damaged."""
    if data[at : at + 3] != _GZIP:
        return None
    try:
        return zlib.decompressobj(wbits=31).decompress(data[at:], _MAX_UNPACKED_BYTES) or None
    except zlib.error:
        return None


def _pe_machine(head: bytes) -> str | None:
    """Return the architecture by the PE header."""
    (at,) = struct.unpack_from("<I", head, 60)
    if head[at : at + 4] != b"PE\0\0" or at + 6 > len(head):
        return None
    return _PE_MACHINES.get(struct.unpack_from("<H", head, at + 4)[0])
