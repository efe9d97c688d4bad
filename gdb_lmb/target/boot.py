# SPDX-License-Identifier: GPL-2.0-or-later
"""Letting a compressed kernel run to its first instruction, wherever KASLR puts it.

The decompressor unpacks the kernel's whole ELF at the place that it has chosen, then moves its segments
and jumps to the first. So the build id shows up at its offset in the *file* first, and from there the
entry follows before the kernel gets there. Mirrors arch/x86/boot/compressed/misc.c.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

import gdb

from gdb_lmb.address import Placement, find_physically
from gdb_lmb.errors import GuestError, LayoutError, NotReadyError
from gdb_lmb.memory import BoundedMemory
from gdb_lmb.target.linux import Kernel
from gdb_lmb.target.physical import PhysicalMemory
from gdb_lmb.target.place import physical_limit, place, selected_cpu

SLICE_S = 0.02
"""How long the guest runs between two looks, in seconds: unpacking takes ten times that."""


def run_to_entry(kernel: Kernel, timeout_s: float) -> Placement:
    """Let the guest run until the kernel is in its place; return where that is.

    A kernel that is there already is left where it stands. Raises: `GuestError` after `timeout_s`
    seconds or where the guest stops for another reason, `LmbError`.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        cpu = selected_cpu()
        with contextlib.suppress(NotReadyError), PhysicalMemory() as physical:
            return place(kernel, BoundedMemory(physical), cpu)
        output = _unpacked_at(kernel)
        if output is not None:
            _run_to(output + kernel.entry - kernel.image[0], deadline)
            continue
        if time.monotonic() > deadline:
            raise GuestError(f"no kernel of the build of {kernel.own_file.name} was unpacked within {timeout_s:g} s")
        _run_for(SLICE_S)


def _unpacked_at(kernel: Kernel) -> int | None:
    """Return where the decompressor is unpacking the kernel's ELF, a physical address, or None."""
    with PhysicalMemory() as physical:
        return find_physically(
            BoundedMemory(physical), kernel.identity.file_offset, kernel.identity.data, physical_limit()
        )


def _run_for(seconds: float) -> None:
    """Let the guest run for a moment."""
    timer = threading.Timer(seconds, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    try:
        gdb.execute("continue", to_string=True)
    except gdb.error as error:
        raise GuestError(f"the guest cannot be run: {error}") from None
    except KeyboardInterrupt:
        pass
    finally:
        timer.cancel()


def _run_to(address: int, deadline: float) -> None:
    """Let the guest run to a physical address of which the identity mapping is in force."""
    stop = gdb.Breakpoint(f"*{address:#x}", type=gdb.BP_HARDWARE_BREAKPOINT, internal=True, temporary=True)
    try:
        _run_for(max(0.1, deadline - time.monotonic()))
        if gdb.newest_frame().pc() != address:
            raise GuestError(f"the guest did not reach the kernel's first instruction at {address:#x}")
    except gdb.error as error:
        raise LayoutError(f"cannot stop at the kernel's first instruction: {error}") from None
    finally:
        if stop.is_valid():
            stop.delete()
