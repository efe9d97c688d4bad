# SPDX-License-Identifier: GPL-2.0-or-later
"""A small 6.1 that clang built with link-time optimisation, from Debian's source; built once, into the cache."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

from gdb_lmb.kernels.cache import SOURCES, KernelFiles, SourceFiles, cache_folder
from gdb_lmb.kernels.fetch import Kind, newest
from gdb_lmb.kernels.stock import find_source, get

SOURCE = "source:6.1"
CONFIG = """\
CONFIG_64BIT=y
CONFIG_LTO_CLANG_THIN=y
CONFIG_CC_OPTIMIZE_FOR_PERFORMANCE=y
CONFIG_PRINTK=y
CONFIG_TTY=y
CONFIG_SERIAL_8250=y
CONFIG_SERIAL_8250_CONSOLE=y
CONFIG_EARLY_PRINTK=y
CONFIG_BLK_DEV_INITRD=y
CONFIG_RELOCATABLE=y
CONFIG_RANDOMIZE_BASE=y
CONFIG_SMP=y
CONFIG_NUMA=y
CONFIG_ACPI=y
CONFIG_KEXEC=y
CONFIG_CRASH_DUMP=y
CONFIG_DEBUG_KERNEL=y
CONFIG_DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT=y
CONFIG_KALLSYMS=y
CONFIG_KERNEL_GZIP=y
"""
"""What is added to `make tinyconfig`."""


def clang_kernel() -> KernelFiles:
    """Return the kernel, built first (half an hour) where the cache has none of this source, settings and compiler.

    Two at once are safe: the second waits and finds it.
    """
    found = _held(_folder(find_source(SOURCE)))
    if found is None:
        # The archive has the newest source only.
        folder = _folder(get(SOURCE, print, SourceFiles))
        kind = Kind(6 << 30, lambda apt: [apt.newest_source()], _build)
        found = newest(SOURCES[SOURCE], folder, kind, lambda: _held(folder), print)
    return found


def _folder(source: SourceFiles) -> Path:
    """Return where the kernel of this source's package, this configuration and this compiler is kept."""
    version = subprocess.run(["clang", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    key = hashlib.sha256("\n".join([*source.hashes.values(), CONFIG, version]).encode()).hexdigest()[:16]
    return cache_folder() / "built" / f"clang-lto-{key}"


def _held(folder: Path) -> KernelFiles | None:
    try:
        data = json.loads((folder / "manifest.json").read_text())
    except OSError:
        return None
    places = {what: Path(data[what]) for what in ("image", "vmlinux")}
    files = KernelFiles(**{**data, **places})
    return files if files.there() else None


def _build(debs: list[Path], work: Path) -> dict[str, Path]:
    package, out, fragment = work / "package", work / "out", work / "fragment"
    subprocess.run(["dpkg-deb", "--extract", debs[0], package], check=True)
    (archive,) = package.glob("usr/src/linux-source-*.tar.xz")
    with tarfile.open(archive) as files:
        files.extractall(package / "tree")
    (top,) = (package / "tree").iterdir()
    fragment.write_text(CONFIG)
    names = ("KBUILD_BUILD_TIMESTAMP=@0", "KBUILD_BUILD_USER=user", "KBUILD_BUILD_HOST=host")
    make = ("nice", "make", "-s", f"-j{os.cpu_count() or 1}", "-C", top, f"O={out}", "LLVM=1", *names)
    for words in (
        (*make, "tinyconfig"),
        (top / "scripts/kconfig/merge_config.sh", "-m", "-O", out, out / ".config", fragment),
        (*make, "olddefconfig"),
    ):
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, cwd=top)
    missing = set(CONFIG.splitlines()) - set((out / ".config").read_text().splitlines())
    assert not missing, f"this source, or this clang, does not take {missing}"
    subprocess.run((*make, "bzImage"), check=True, stdout=subprocess.DEVNULL)
    (out / "arch/x86/boot/bzImage").rename(work / "bzImage")
    (out / "vmlinux").rename(work / "vmlinux")
    shutil.rmtree(package)
    shutil.rmtree(out)
    return {"image": Path("bzImage"), "vmlinux": Path("vmlinux")}
