# SPDX-License-Identifier: GPL-2.0-or-later
"""What is booted and where its symbols are: checked against each other before anything runs."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from gdb_lmb.core.errors import InputError, UsageError
from gdb_lmb.formats.elf import MAGIC, Elf
from gdb_lmb.runner.elf import ElfFile, headers_of, read_elf, require_debug
from gdb_lmb.runner.machines import machine_of

_XEN_PHYS32_ENTRY = 18
"""`XEN_ELFNOTE_PHYS32_ENTRY`: the note by which QEMU finds the entry of an uncompressed x86 kernel."""

_MULTIBOOT_MAGIC, _MULTIBOOT_BYTES = 0x1BADB002, 8192
_MAX_PHYSICAL = 1 << 52
"""No arm64 has a physical address above."""


class BootFiles(NamedTuple):
    """The `image` that is booted, None where that is the ELF itself, and the ELF with the symbols.

    `moves` tells whether the image may move itself before its kernel begins: one that is an ELF does not.
    """

    image: Path | None
    elf: ElfFile
    moves: bool


def boot_files(kernel: Path, symbols: Path | None, notice: Callable[[str], None]) -> BootFiles:
    """Find out what `kernel` is, and check that it can be booted and that the `symbols` are its own.

    Where an image comes without symbols, they are looked for, and `notice` is told which were found.
    Raises: UsageError.
    """
    if symbols is None and _is_elf(kernel):
        elf = read_elf(kernel)
        require_bootable(headers_of(kernel), elf)
        return BootFiles(None, elf, False)
    # What images need is imported for them only.
    from gdb_lmb.runner.find_symbols import find_symbols
    from gdb_lmb.runner.kernel_image import identify
    from gdb_lmb.runner.same_kernel import require_same_elf, require_same_kernel

    image = identify(kernel)
    if symbols is None:
        if image is None:
            raise UsageError(
                f"{kernel}: not an ELF file, nor a kernel image of a kind that is known (bzImage, arm64 Image, "
                "vmlinuz.efi): give the vmlinux, or the image's with --symbols VMLINUX"
            )
        symbols = find_symbols(image)
        notice(f"symbols of {kernel.name}: {symbols}")
    elif not kernel.is_file():
        raise UsageError(f"cannot read {kernel}: no such file")
    elf, is_elf = read_elf(symbols), _is_elf(kernel)
    if image is not None:
        require_same_kernel(image, elf)
    elif is_elf:
        require_same_elf(headers_of(kernel), headers_of(symbols))
        require_bootable(headers_of(kernel), elf)
    require_debug(symbols)
    return BootFiles(kernel, elf, not is_elf)


def require_bootable(headers: Elf, elf: ElfFile) -> None:
    """Check that QEMU's `-kernel` can boot this ELF. Raises: UsageError that says what can be booted instead."""
    machine = machine_of(elf).name
    if machine in ("x86-64", "i386"):
        try:
            pvh = any((n.name, n.kind) == (b"Xen", _XEN_PHYS32_ENTRY) for _, n in headers.loaded_notes())
        except InputError:
            pvh = False
        if not pvh and not (headers.bits == 32 and _is_multiboot(headers.path)):
            raise UsageError(
                f"{headers.path}: QEMU boots an x86 ELF by its PVH note, and this one has none (CONFIG_PVH=y makes "
                f"it): boot the bzImage with --symbols {headers.path}{_beside(headers.path)}"
            )
    loads = [segment for segment in headers.loads if segment.memory_size]
    if machine == "aarch64" and loads and all(segment.physical >= _MAX_PHYSICAL for segment in loads):
        raise UsageError(
            f"{headers.path}: QEMU cannot boot an arm64 vmlinux, which has no physical addresses: boot the Image with "
            f"--symbols {headers.path}{_beside(headers.path)}"
        )


def _beside(vmlinux: Path) -> str:
    """Return in words where a kernel tree has the image of a vmlinux at its root."""
    for name in ("arch/x86/boot/bzImage", "arch/arm64/boot/Image"):
        if (vmlinux.absolute().parent / name).is_file():
            return f" (there is {vmlinux.parent / name})"
    return ""


def _is_elf(path: Path) -> bool:
    """Tell whether there is an ELF; what cannot be read counts, for reading it says why."""
    try:
        if not path.is_file():
            return True
        with path.open("rb") as file:
            return file.read(4) == MAGIC
    except OSError:
        return True


def _is_multiboot(path: Path) -> bool:
    """Tell whether QEMU finds a multiboot header in the file. Source: load_multiboot() of QEMU."""
    with path.open("rb") as file:
        head = file.read(_MULTIBOOT_BYTES)
    for at in range(0, len(head) - 48, 4):
        magic, flags, checksum = struct.unpack_from("<III", head, at)
        if magic == _MULTIBOOT_MAGIC and not (magic + flags + checksum) & 0xFFFFFFFF:
            return True
    return False
