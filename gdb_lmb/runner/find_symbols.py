# SPDX-License-Identifier: GPL-2.0-or-later
"""The vmlinux of a kernel image, where distributions and kernel trees have it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from gdb_lmb.core.errors import UsageError
from gdb_lmb.core.words import printable
from gdb_lmb.runner.debug_files import DEBUG_FOLDERS
from gdb_lmb.runner.elf import read_elf, require_debug
from gdb_lmb.runner.kernel_image import KernelImage
from gdb_lmb.runner.same_kernel import difference

MODULE_FOLDERS = [Path("/lib/modules"), Path("/usr/lib/modules")]
BOOT_FOLDERS = [Path("/boot")]
_RELEASE = re.compile(r"[A-Za-z0-9][^\s/\0]*")
_BOOT = re.compile(r"arch/[^/]+/boot$")
_PACKAGES = (
    "Debian's linux-image-{release}-dbg, Ubuntu's linux-image-unsigned-{release}-dbgsym, Fedora's kernel-debuginfo "
    "(dnf debuginfo-install kernel-{release}) and openSUSE's kernel-*-debuginfo bring it"
)


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
    if release is None:
        return
    for folder in DEBUG_FOLDERS:
        yield folder / "boot" / f"vmlinux-{release}"
        yield folder / "lib/modules" / release / "vmlinux"
        yield folder / "usr/lib/modules" / release / "vmlinux"
        # openSUSE's name for what belongs to /usr/lib/modules/RELEASE/vmlinux.
        yield folder / "usr/lib/modules" / release / "vmlinux.debug"
    for folder in MODULE_FOLDERS:
        yield folder / release / "build/vmlinux"
        yield folder / release / "vmlinux"
    for folder in BOOT_FOLDERS:
        yield folder / f"vmlinux-{release}"
