# SPDX-License-Identifier: GPL-2.0-or-later
"""What is booted and where its symbols are: found where distributions and kernel trees have them, and checked.

Symbols belong to a kernel by architecture, build and build id.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from gdb_lmb.arches.registry import architectures
from gdb_lmb.core.errors import InputError, UsageError
from gdb_lmb.core.words import printable
from gdb_lmb.formats.elf import MAGIC, SHT_NOBITS, Elf, first_bytes, read_headers
from gdb_lmb.kernels.cache import fetched_together
from gdb_lmb.runner.elf import DEBUG_FOLDERS, ElfFile, has_symbol, headers_of, machine_of, read_elf, require_debug
from gdb_lmb.runner.kernel_image import KernelImage, banners_in, identify

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
_BUILD = re.compile(r"(?:Linux version )?(\S+ \([^)]*\)) .*?(#\d.*)")
_PACKAGES = (
    "Debian's linux-image-{release}-dbg, Ubuntu's linux-image-unsigned-{release}-dbgsym, Fedora's kernel-debuginfo "
    "(dnf debuginfo-install kernel-{release}) and openSUSE's kernel-*-debuginfo bring it"
)


class BootFiles(NamedTuple):
    """The `image` that is booted, None where that is the ELF itself, and the ELF with the symbols.

    `moves` tells whether the image may move itself before its kernel begins: an ELF does not, nor what is not Linux.
    """

    image: Path | None
    elf: ElfFile
    moves: bool


def boot_files(kernel: Path, symbols: Path | None, notice: Callable[[str], None]) -> BootFiles:
    """Find out what `kernel` is, and check that it can be booted and that the `symbols` are its own.

    Where an image comes without symbols, they are looked for, and `notice` is told which were found.
    Raises: UsageError.
    """
    is_elf = kernel.is_file() and first_bytes(kernel, len(MAGIC)) == MAGIC
    if symbols is None and is_elf:
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
    elf = read_elf(symbols)
    if image is not None:
        require_same_kernel(image, elf)
    elif is_elf:
        require_same_elf(headers_of(kernel), headers_of(symbols))
        require_bootable(headers_of(kernel), elf)
    require_debug(symbols)
    return BootFiles(kernel, elf, not is_elf and has_symbol(elf, "linux_banner"))


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


def find_symbols(image: KernelImage) -> Path:
    """Return the vmlinux with debug information of this image.

    Raises: UsageError naming the option, where was looked, and which package brings it.
    """
    release = image.release if image.release is not None and _RELEASE.fullmatch(image.release) else None
    refused = []
    for path in dict.fromkeys(_candidates(image.path.absolute(), release)):
        if path.is_file() and not (path.is_symlink() and path.resolve() == image.path.resolve()):
            try:
                read_elf(path)
                require_debug(path)
                why_not = difference(image, path)
            except UsageError as error:
                why_not = str(error)
            if why_not is None:
                return path
            refused.append(why_not)
    what = f"{image.path} is a {image.kind}" + (f" of Linux {printable(release, 100)}" if release else "")
    looked = "; ".join(refused) or f"it is not in {_folders(image.path.absolute())}"
    brings = _PACKAGES.format(release=printable(release, 100)) if release else "its build has it as vmlinux"
    raise UsageError(f"{what}: give its vmlinux with --symbols VMLINUX; {brings} ({looked})")


# Where `_candidates` looks, without the names of each file.
def _folders(image: Path) -> str:
    folders = [image.parent, image.resolve().parent, *DEBUG_FOLDERS, *MODULE_FOLDERS, *BOOT_FOLDERS]
    distinct = {folder.resolve(): folder for folder in reversed(folders)}
    return ", ".join(str(folder) for folder in reversed(distinct.values()))


# Where the vmlinux may be, the likely places first.
def _candidates(image: Path, release: str | None) -> Iterator[Path]:
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
            yield from (folder / name.format(release) for folder in folders for name in names)


def require_same_kernel(image: KernelImage, elf: ElfFile) -> None:
    """Check that `elf` has the symbols of `image`, as far as the two tell. Raises: UsageError that names both."""
    machine = machine_of(elf).name
    if image.machine is not None and image.machine != machine:
        raise UsageError(
            f"{image.path} is a kernel for {image.machine} ({image.kind}), but {elf.path} has symbols for {machine}"
        )
    # Nothing can differ in what has come as packages of one version, and to compare takes up to 60 ms.
    why_not = None if fetched_together(image.path, elf.path) else difference(image, elf.path)
    if why_not is not None:
        raise UsageError(f"{why_not}: give the vmlinux of the same build")


def require_same_elf(kernel: Elf, symbols: Elf) -> None:
    """Check that a kernel that is an ELF is of the same build as another. Raises: UsageError that names both."""
    if (kernel.machine, kernel.bits, kernel.byte_order) != (symbols.machine, symbols.bits, symbols.byte_order):
        raise UsageError(f"{kernel.path} and {symbols.path} are of different architectures: give the kernel's symbols")
    ours, theirs = kernel.build_id(), symbols.build_id()
    if ours is not None and theirs is not None and ours != theirs:
        raise UsageError(
            f"{kernel.path} has the build id {ours.hex()}, but {symbols.path} {theirs.hex()}: "
            "give the vmlinux of the same build"
        )


def difference(image: KernelImage, vmlinux: Path) -> str | None:
    """Return in words how the builds of the two differ, None where they do not, as far as they tell."""
    try:
        elf = read_headers(vmlinux)
        build_id, banners = elf.build_id(), banners_of(elf)
    except InputError:
        return None
    if image.version is None:
        theirs = image.banners()
        same = not theirs or bool(set(theirs) & set(banners))
    else:
        same = any(_says(banner, image.version) for banner in banners)
    if banners and not same:
        return (
            f"{image.path} is Linux {_build_in_words(image.name)}, but {vmlinux} is Linux {_build_in_words(banners[0])}"
        )
    # What builds are numbered by may be the same for two.
    if build_id and image.content is not None and image.content.find(build_id) < 0:
        return f"{image.path} is another build than {vmlinux}, whose build id {build_id.hex()} is not in it"
    return None


def banners_of(elf: Elf) -> list[str]:
    """Return the kernel's `linux_banner` from its ELF; it is read-only data. Raises: InputError."""
    places = [(s.offset, s.size) for s in elf.sections if s.name == b".rodata" and s.kind != SHT_NOBITS]
    places += [(s.offset, s.size) for s in elf.loads if s.size]
    try:
        with elf.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            parts = (banners_in(data[offset : offset + size]) for offset, size in places)
            return next(filter(None, parts), [])
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {elf.path}: {error}") from None


# Tell whether a banner is of the kernel that a bzImage calls `version`.
# The banner has the compiler between what is before "#" and what follows. Source: arch/x86/boot/version.c,
# init/version.c.
def _says(banner: str, version: str) -> bool:
    head, mark, build = version.partition(") #")
    return banner.startswith(f"Linux version {head}{mark[:1]} ") and banner.endswith(f" #{build}" if mark else "")


# Release, builder and number of a build, from a banner without its compiler.
def _build_in_words(text: str) -> str:
    found = _BUILD.match(text)
    return printable(text if found is None else f"{found[1]} {found[2]}", 300)
