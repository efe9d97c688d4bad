# SPDX-License-Identifier: GPL-2.0-or-later
"""The selected CPU's registers, as far as gdb or a dump's notes have them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import gdb

from gdb_lmb.arches.base import Architecture, Cpu
from gdb_lmb.machine.core import current_dump
from gdb_lmb.machine.program import architecture


@contextlib.contextmanager
def booting_cpu() -> Iterator[None]:
    """Look at the first CPU meanwhile where another is selected that is not in the kernel.

    The firmware has parked it, or it runs a user's program: its stack and its page tables tell nothing of the
    kernel's allocator. Kernels boot on the first.
    """
    selected = gdb.selected_thread()
    first = _booting_cpu()
    if selected is None or first is None:
        yield
        return
    frame = gdb.selected_frame()
    first.switch()
    try:
        yield
    finally:
        with contextlib.suppress(gdb.error):
            selected.switch()
            frame.select()


def select_booting_cpu() -> None:
    """Select the first CPU where another is selected that is not in the kernel, as after an interrupt.

    QEMU reports an interrupt on the last of the CPUs that were running, since 8.1 or so: during early boot the firmware
    still has that one parked. Source: `gdb_handle_vcont()` of QEMU's gdbstub/gdbstub.c.
    """
    first = _booting_cpu()
    if first is not None:
        first.switch()


def _booting_cpu() -> gdb.InferiorThread | None:
    """Return the first CPU, None where it is selected or the selected one is in the kernel."""
    selected = gdb.selected_thread()
    # The list of threads costs requests: a guest with one CPU, or stopped by the first, is not asked for it.
    if selected is None or selected.num == 1:
        return None
    arch = architecture()
    if arch is not None and arch.is_kernel_address(current_pc()):
        return None
    return min(gdb.selected_inferior().threads(), key=lambda thread: thread.num)


def register(name: str) -> int | None:
    """Return a register of the selected CPU as an unsigned number, None where there is none of that name.

    QEMU's notes in a dump come first: gdb does not take all of them, or none.
    """
    dump = current_dump()
    noted = dump.cpu() if dump is not None else None
    if noted is not None and name in noted:
        return noted[name]
    try:
        value = gdb.newest_frame().read_register(name)
        return int(value) & ((1 << 8 * value.type.sizeof) - 1)
    except (ValueError, gdb.error):
        return None


def selected_cpu(arch: Architecture) -> Cpu:
    """Return the selected CPU's registers by role."""
    return arch.cpu_state(register)


def current_pc() -> int:
    """Return the selected CPU's program counter."""
    return register("pc") or 0
