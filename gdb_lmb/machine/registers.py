# SPDX-License-Identifier: GPL-2.0-or-later
"""The selected CPU's registers, as far as gdb or a dump's notes have them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import gdb

from gdb_lmb.machine.core import current_dump

_WORD = (1 << 64) - 1


@contextlib.contextmanager
def booting_cpu() -> Iterator[None]:
    """Look at the first CPU meanwhile where another is selected that is not in the kernel.

    The firmware has parked it, or it runs a user's program: its stack and its page tables tell nothing of the
    kernel's allocator. Kernels boot on the first, and are linked to the upper half of the addresses.
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
    if selected is None or selected.num == 1 or _in_upper_half(current_pc()):
        return None
    return min(gdb.selected_inferior().threads(), key=lambda thread: thread.num)


def _in_upper_half(address: int) -> bool:
    return bool(address >> (8 * int(gdb.parse_and_eval("sizeof(void *)")) - 1) & 1)


def register(name: str) -> int | None:
    """Return a register of the selected CPU as an unsigned number, None where gdb has none of that name."""
    try:
        return int(gdb.newest_frame().read_register(name)) & _WORD
    except (ValueError, gdb.error):
        return None


def current_pc() -> int:
    """Return the selected CPU's program counter, from a dump's own notes where gdb does not understand them."""
    dump = current_dump()
    noted = dump.cpu() if dump is not None else None
    return noted.pc if noted is not None else gdb.newest_frame().pc()
