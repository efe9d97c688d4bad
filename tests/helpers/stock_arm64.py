# SPDX-License-Identifier: GPL-2.0-or-later
"""A stock arm64 kernel in QEMU's virt machine."""

from __future__ import annotations

import struct
import subprocess
from functools import partial
from pathlib import Path

from gdb_lmb.kernels.cache import KernelFiles
from gdb_lmb.runner.session import GuestSession
from tests.helpers.initramfs import write_initrd, write_kexec_load_initrd
from tests.helpers.stock import boot

CONSOLE = "console=ttyAMA0 earlycon memblock=debug loglevel=8"
RAM = 1 << 30

guest_of = partial(boot, console=CONSOLE)


def guest_with_a_second(kernel: KernelFiles, folder: Path, smp: int, crash_on: int | None) -> GuestSession:
    """Start a kernel that starts itself again, in 256 MiB that are free for that."""
    low, size, mib = RAM + (512 << 20), 256 << 20, 1 << 20
    # Linux 6.12 cannot copy its page tables where the processor has more than 48 bits of virtual addresses.
    cpu = ("-cpu", "cortex-a57")
    disk, tree = write_initrd(folder / "second", "aarch64"), folder / "dtb"
    one, room = ("", "") if crash_on is None else ("nr_cpus=1", f"crashkernel={size >> 20}M@{low:#x}")
    line = f"{CONSOLE} nokaslr {one} initrdmem={low + 128 * mib:#x},{disk.stat().st_size}"
    words = ("-machine", f"virt,dumpdtb={tree}", *cpu, "-smp", str(smp), "-m", f"{size >> 20}M", "-append", line)
    command = ["qemu-system-aarch64", *words, "-kernel", kernel.image, "-display", "none"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    image, memory = kernel.image.read_bytes(), struct.pack(">QQ", RAM, size)
    assert tree.read_bytes().count(memory) == 1
    told = tree.read_bytes().replace(memory, struct.pack(">QQ", low, size))
    parts = {
        low: (b"", 0),
        low + 2 * mib: (image, struct.unpack_from("<Q", image, 16)[0]),  # `image_size` of its header
        low + 128 * mib: (disk.read_bytes(), disk.stat().st_size),
        low + 144 * mib: (told, len(told)),
    }
    initrd = write_kexec_load_initrd(folder / "initrd", low + 2 * mib, low + 144 * mib, parts, crash_on)
    return guest_of(kernel, f"nokaslr {room}", memory="1G", smp=smp, words=cpu, initrd=initrd)
