# SPDX-License-Identifier: GPL-2.0-or-later
"""Letting a kernel run until it is in its place: unpacked, and where KASLR puts it, physically and virtually."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

import gdb

from gdb_lmb.address import Placement
from gdb_lmb.errors import GuestError, LayoutError, NotReadyError, UsageError
from gdb_lmb.memory import BoundedMemory
from gdb_lmb.target.core import current_dump
from gdb_lmb.target.linux import Kernel
from gdb_lmb.target.physical import physical_memory
from gdb_lmb.target.place import place

SLICE_S = 0.02
"""How long the guest runs between two looks, in seconds: unpacking takes ten times that."""

RESET_S = 0.5
"""How long a guest at reset runs before all RAM is searched, in seconds: its firmware comes first."""

SEARCH_RATIO = 10
"""How many times as long as a search takes the guest runs before the next one: much RAM has many places."""

MAX_SLICE_S = 0.1
"""How long at most, where a look takes longer than that: much RAM has many places to look at."""


def run_to_entry(kernel: Kernel, timeout_s: float) -> Placement:
    """Let the guest run until the kernel is in its place; return where that is.

    A kernel that is there already is left where it stands. Raises: `GuestError` after `timeout_s`
    seconds or where the guest stops for another reason, `UsageError` for a dump, `LmbError`.
    """
    if current_dump() is not None:
        raise UsageError("this is a dump: nothing in it can be run, leave --wait out")
    deadline = time.monotonic() + timeout_s
    search_at = 0.0
    while True:
        looked_at = time.monotonic()
        cpu = kernel.arch.selected_cpu()
        placement, running = None, False
        with physical_memory() as physical:
            memory = BoundedMemory(physical)
            target = kernel.arch.quick_way_point(kernel, memory, cpu)
            if not search_at and kernel.arch.nothing_yet(kernel, memory, cpu):
                search_at = looked_at + RESET_S
            if target is None and looked_at >= search_at:
                with contextlib.suppress(NotReadyError):
                    placement = place(kernel, memory, cpu)
                    kernel.arch.require_running(kernel, placement, cpu)
                    running = placement.settled
                if placement is not None and running:
                    return placement
                target = kernel.arch.way_point(kernel, placement, memory, cpu)
                search_at = time.monotonic() + SEARCH_RATIO * (time.monotonic() - looked_at)
        if target is not None:
            _run_to(target, deadline)
            search_at = looked_at
            continue
        if time.monotonic() > deadline:
            raise GuestError(f"no kernel of the build of {kernel.own_file.name} came up within {timeout_s:g} s")
        _run_for(min(MAX_SLICE_S, max(SLICE_S, time.monotonic() - looked_at)))


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
    """Let the guest run to an address, as its CPU will address it there."""
    stop = gdb.Breakpoint(f"*{address:#x}", type=gdb.BP_HARDWARE_BREAKPOINT, internal=True, temporary=True)
    try:
        _run_for(max(0.1, deadline - time.monotonic()))
        if gdb.newest_frame().pc() != address:
            raise GuestError(f"the guest did not reach the kernel at {address:#x}")
    except gdb.error as error:
        raise LayoutError(f"cannot stop where the kernel comes to: {error}") from None
    finally:
        if stop.is_valid():
            stop.delete()
