# SPDX-License-Identifier: GPL-2.0-or-later
"""Letting a kernel run until it is in its place: unpacked, and where KASLR puts it, physically and virtually."""

from __future__ import annotations

import contextlib
import time

from gdb_lmb.address import Placement
from gdb_lmb.errors import GuestError, NotReadyError, UsageError
from gdb_lmb.memory import BoundedMemory
from gdb_lmb.target.core import current_dump
from gdb_lmb.target.linux import Kernel
from gdb_lmb.target.moments import run_by
from gdb_lmb.target.physical import physical_memory
from gdb_lmb.target.place import place
from gdb_lmb.target.registers import select_booting_cpu

RESET_S = 0.5
"""How long a guest at reset runs before all RAM is searched, in seconds: its firmware comes first."""

SEARCH_RATIO = 10
"""How many times as long as a search takes the guest runs before the next one: much RAM has many places."""

MAX_SLICE_S = 0.1
"""How long at most, where a look takes longer than that: much RAM has many places to look at."""


def run_to_entry(kernel: Kernel, timeout_s: float) -> Placement:
    """Let the guest run until the kernel is in its place; return where that is.

    A kernel that is there already is left where it stands. The CPU that boots is selected, unless the one that is
    selected runs the kernel too. Raises: `GuestError` after `timeout_s` seconds or where the guest stops for another
    reason, `UsageError` for a dump, `LmbError`.
    """
    if current_dump() is not None:
        raise UsageError("this is a dump: nothing in it can be run, leave --wait out")
    deadline = time.monotonic() + timeout_s
    linked = kernel.arch.linked_way_points(kernel)
    search_at, found = 0.0, linked
    while True:
        looked_at = time.monotonic()
        select_booting_cpu()
        cpu = kernel.arch.selected_cpu()
        placement, running = None, False
        with physical_memory() as physical:
            memory = BoundedMemory(physical)
            certain = kernel.arch.quick_way_points(kernel, memory, cpu)
            if not search_at and kernel.arch.nothing_yet(kernel, memory, cpu):
                search_at = looked_at + RESET_S
            if not certain and (looked_at >= search_at or kernel.arch.arrived(cpu)):
                with contextlib.suppress(NotReadyError):
                    placement = place(kernel, memory, cpu)
                    kernel.arch.require_running(kernel, placement, cpu)
                    running = placement.settled
                if placement is not None and running:
                    return placement
                way_point = kernel.arch.way_point(kernel, placement, memory, cpu)
                found = linked if way_point is None else (*linked, way_point)
                search_at = time.monotonic() + SEARCH_RATIO * (time.monotonic() - looked_at)
        if certain:
            if not run_by(certain, max(0.1, deadline - time.monotonic())):
                raise GuestError(f"the guest did not reach the kernel at {' or '.join(map(hex, certain))}")
            search_at = looked_at
            continue
        if time.monotonic() > deadline:
            raise GuestError(f"no kernel of the build of {kernel.own_file.name} came up within {timeout_s:g} s")
        slice_s = min(MAX_SLICE_S, max(kernel.arch.slice_s, time.monotonic() - looked_at))
        if run_by(found, slice_s):
            search_at, found = looked_at, linked
