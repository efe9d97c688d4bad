# SPDX-License-Identifier: GPL-2.0-or-later
"""What is booted and where its symbols are: checked against each other before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from gdb_lmb.arches.registry import architectures
from gdb_lmb.core.errors import UsageError
from gdb_lmb.formats.elf import MAGIC, Elf
from gdb_lmb.runner.elf import ElfFile, headers_of, read_elf, require_debug
from gdb_lmb.runner.machines import machine_of


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
            kinds = dict.fromkeys(row.image_kind for row in architectures() if row.image_kind)
            raise UsageError(
                f"{kernel}: not an ELF file, nor a kernel image of a kind that is known "
                f"({', '.join(kinds)}, vmlinuz.efi): give the vmlinux, or the image's with --symbols VMLINUX"
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
    machine = machine_of(elf)
    why_not = machine.why_not_bootable(headers)
    if why_not is None or machine.built_image is None:
        return
    # Where a kernel tree has the image of a vmlinux at its root.
    image = headers.path.parent / machine.built_image
    raise UsageError(
        f"{headers.path}: {why_not}: boot the {image.name} with --symbols {headers.path}"
        + (f" (there is {image})" if image.is_file() else "")
    )


def _is_elf(path: Path) -> bool:
    """Tell whether there is an ELF; what cannot be read counts, for reading it says why."""
    try:
        if not path.is_file():
            return True
        with path.open("rb") as file:
            return file.read(4) == MAGIC
    except OSError:
        return True
