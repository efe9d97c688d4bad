# SPDX-License-Identifier: GPL-2.0-or-later
"""A stock arm64 kernel in QEMU's virt machine."""

from __future__ import annotations

from gdb_lmb.kernels.cache import KernelFiles
from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import GuestSession

CONSOLE = "console=ttyAMA0 earlycon memblock=debug loglevel=8"
RAM = 1 << 30


def guest_of(
    kernel: KernelFiles, append: str = "", memory: str = "512M", smp: int = 1, words: tuple[str, ...] = ()
) -> GuestSession:
    options = QemuOptions(append=f"{CONSOLE} {append}", memory=memory, smp=smp, arguments=words)
    return GuestSession(kernel.image, options, symbols=kernel.vmlinux, timeout_s=120)
