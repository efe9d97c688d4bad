# SPDX-License-Identifier: GPL-2.0-or-later
"""The fixture kernels: which architectures there are, where each kernel is built, and which QEMU boots it.

An architecture is a folder of vmlinux-fixtures/arch with an arch.mk, which has the name that Linux gives it; its QEMU,
gdb and machine options are in `gdb_lmb.arches`. A folder without arch.mk is shared by several.

Usage: fixture_kernels.py arch|kernel   (prints the default one's name, or its path from the checkout's folder)
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

from gdb_lmb.arches.base import Architecture
from gdb_lmb.arches.registry import named

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "vmlinux-fixtures"
BUILD = FIXTURES / "build"

ARCHES = tuple(sorted(path.parent.name for path in (FIXTURES / "arch").glob("*/arch.mk")))
DEFAULT_ARCH = os.uname().machine if os.uname().machine in ARCHES else ARCHES[0]


def machine(arch: str = DEFAULT_ARCH) -> Architecture:
    """Return what boots and debugs the fixture kernel of `arch`."""
    return named(arch)


def vmlinux(arch: str = DEFAULT_ARCH, *, klimit: bool = False, variant: str = "", build: Path = BUILD) -> Path:
    """Return where the kernel is, or will be, with its first block in a static array or in the page after the BSS.

    `variant` is what else arch.mk's `KERNEL_VARIANTS` names, as "phys64".
    """
    return build / arch / "-".join(["vmlinux", *filter(None, [variant]), *["klimit"] * klimit])


class Row(NamedTuple):
    """One machine: QEMU's `machine` (None: the usual one) with a `variant` of the kernel and so much `memory`."""

    arch: str
    machine: str | None = None
    variant: str = ""
    memory: str = "256M"

    def __str__(self) -> str:
        return "-".join(filter(None, (self.arch, self.machine, self.variant, self.memory)))

    def kernel(self, build: Path, *, klimit: bool = False) -> Path:
        return vmlinux(self.arch, klimit=klimit, variant=self.variant, build=build)

    def image(self, kernel: Path) -> Path:
        """Return what QEMU puts an initrd beside: the kernel, where its machine wants it the Image made of it."""
        image = kernel.with_name(kernel.name.replace("vmlinux", "Image"))
        return image if image.exists() else kernel

    def arguments(self, build: Path = BUILD) -> tuple[str, ...]:
        """Return what else QEMU must be told: Debian's 11.1 has the tree of a machine in another folder than it looks.

        Raises: `OSError`.
        """
        tree = Path("/usr/share/qemu") / f"{self.machine}.dtb"
        if not tree.exists() or (tree.parent / "dtb" / tree.name).exists():
            return ()
        link = build / "qemu" / "dtb" / tree.name
        link.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            link.symlink_to(tree)
        return ("-L", str(build / "qemu"))


VARIANTS = [
    Row("x86_64", "q35", memory="5G"),
    Row("x86_64", "microvm"),
    Row("ppc", "bamboo"),
    Row("ppc", "bamboo", "phys64"),
    Row("ppc", variant="phys64", memory="5G"),
    Row("ppc64", memory="5G"),
    Row("aarch64", memory="5G"),
    Row("riscv64", memory="5G"),
]
"""Other machines, other widths of `phys_addr_t`, memory above 4 GiB."""


def folders(arch: str = DEFAULT_ARCH) -> list[Path]:
    """Return where the sources of `arch` lie: its own folder, then those that it shares with others."""
    shared = re.search(r"^ARCH_DIRS := (.*)", (FIXTURES / "arch" / arch / "arch.mk").read_text(), re.M)
    return [FIXTURES / "arch" / arch, *(FIXTURES / name for name in (shared[1].split() if shared else ()))]


def make_words(*words: str | Path, arch: str = DEFAULT_ARCH) -> list[str]:
    """Return the command that builds `words`, which may be settings too, for `arch`."""
    return ["make", "-C", str(FIXTURES), f"ARCH={arch}", *map(str, words)]


def qemu_words(arch: str = DEFAULT_ARCH) -> list[str]:
    """Return the start of a QEMU command line that boots `arch`: its binary, machine and processor; no devices."""
    row = machine(arch)
    words = [row.qemu, "-nodefaults", "-display", "none"]
    words += ["-machine", row.machine] if row.machine else []
    cpu = row.cpu_on(None)
    return words + (["-cpu", cpu] if cpu else [])


if __name__ == "__main__":
    told = {"arch": DEFAULT_ARCH, "kernel": vmlinux().relative_to(ROOT)}
    if len(sys.argv) != 2 or sys.argv[1] not in told:
        sys.exit(__doc__)
    print(told[sys.argv[1]])
