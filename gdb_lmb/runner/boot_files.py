# SPDX-License-Identifier: GPL-2.0-or-later
"""What is booted and where its symbols are: found where distributions and kernel trees have them, and checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from gdb_lmb.arches.registry import architectures
from gdb_lmb.core.errors import UsageError
from gdb_lmb.core.words import printable
from gdb_lmb.formats.elf import MAGIC, Elf
from gdb_lmb.runner.elf import DEBUG_FOLDERS, ElfFile, headers_of, read_elf, require_debug
from gdb_lmb.runner.kernel_image import KernelImage, identify
from gdb_lmb.runner.machines import machine_of
from gdb_lmb.runner.matching import difference, require_same_elf, require_same_kernel

MODULE_FOLDERS = [Path("/lib/modules"), Path("/usr/lib/modules")]
BOOT_FOLDERS = [Path("/boot")]
_IN_DEBUG_FOLDERS = (
    "boot/vmlinux-{}",
    "lib/modules/{}/vmlinux",
    "usr/lib/modules/{}/vmlinux",
    # openSUSE's name for what belongs to /usr/lib/modules/RELEASE/vmlinux.
    "usr/lib/modules/{}/vmlinux.debug",
)
_RELEASE = re.compile(r"[A-Za-z0-9][^\s/\0]*")
_BOOT = re.compile(r"arch/[^/]+/boot$")
_PACKAGES = (
    "Debian's linux-image-{release}-dbg, Ubuntu's linux-image-unsigned-{release}-dbgsym, Fedora's kernel-debuginfo "
    "(dnf debuginfo-install kernel-{release}) and openSUSE's kernel-*-debuginfo bring it"
)


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


def find_symbols(image: KernelImage) -> Path:
    """Return the vmlinux with debug information of this image.

    Raises: UsageError naming the option, where was looked, and which package brings it.
    """
    release = image.release
    if release is not None and not _RELEASE.fullmatch(release):
        release = None
    candidates = list(dict.fromkeys(_candidates(image.path.absolute(), release)))
    refused = []
    for path in candidates:
        if not path.is_file() or (path.is_symlink() and path.resolve() == image.path.resolve()):
            continue
        try:
            read_elf(path)
            require_debug(path)
        except UsageError as error:
            refused.append(str(error))
            continue
        why_not = difference(image, path)
        if why_not is None:
            return path
        refused.append(why_not)
    what = f"{image.path} is a {image.kind}" + (f" of Linux {printable(release, 100)}" if release else "")
    looked = "; ".join(refused) or f"it is not in {_folders(image.path.absolute())}"
    brings = _PACKAGES.format(release=printable(release, 100)) if release else "its build has it as vmlinux"
    raise UsageError(f"{what}: give its vmlinux with --symbols VMLINUX; {brings} ({looked})")


def _folders(image: Path) -> str:
    """Return where `_candidates` looks, without the names of each file."""
    folders = [image.parent, image.resolve().parent, *DEBUG_FOLDERS, *MODULE_FOLDERS, *BOOT_FOLDERS]
    distinct = {folder.resolve(): folder for folder in reversed(folders)}
    return ", ".join(str(folder) for folder in reversed(distinct.values()))


def _candidates(image: Path, release: str | None) -> Iterator[Path]:
    """Yield where the vmlinux may be, the likely places first."""
    for path in dict.fromkeys((image, image.resolve())):
        if _BOOT.search(str(path.parent)):
            yield path.parents[3] / "vmlinux"
        if release is not None:
            yield path.parent / f"vmlinux-{release}"
        yield path.parent / "vmlinux"
    if release is not None:
        for folders, names in (
            (DEBUG_FOLDERS, _IN_DEBUG_FOLDERS),
            (MODULE_FOLDERS, ("{}/build/vmlinux", "{}/vmlinux")),
            (BOOT_FOLDERS, ("vmlinux-{}",)),
        ):
            for folder in folders:
                yield from (folder / name.format(release) for name in names)
