# SPDX-License-Identifier: GPL-2.0-or-later
"""Per-CPU variables of a stock kernel that KASLR moved, as Linux's own scripts/gdb reads them."""

from __future__ import annotations

import pytest

from gdb_lmb.kernels.stock import find_kernel
from tests.helpers.stock import AMD64, KERNEL_MAP_VA, boot, moved_by, words_at

pytestmark = pytest.mark.stock

CURRENT = {AMD64[0]: "current_task", AMD64[1]: "pcpu_hot.current_task", AMD64[2]: "current_task"}
"""The per-CPU variable behind `current`; the last kernel's is linked in its place, among the others."""


@pytest.mark.parametrize("name", CURRENT)
def test_current_is_found_as_linux_finds_it(name: str) -> None:
    kernel = find_kernel(name, notice=print)
    with boot(kernel) as guest:
        guest.run_until("memblock_free_all")
        physical, virtual = moved_by(guest)
        assert physical or virtual  # of some 500 places for either one is where it is linked

        # per_cpu() of scripts/gdb/linux/cpus.py: the variable's address plus the CPU's offset.
        def per_cpu(variable: str) -> str:
            return f"((unsigned long)&{variable} + __per_cpu_offset[0])"

        task = int(guest.command(f"output/x *(unsigned long *){per_cpu(CURRENT[name])}"), 16)
        assert task == int(guest.command("output/x (unsigned long)&init_task"), 16)
        assert guest.command(f"output ((struct task_struct *){task:#x})->pid") == "0"
        assert '"swapper' in guest.command(f"output ((struct task_struct *){task:#x})->comm")
        # What the CPU itself has for its offset, and what lies there by QEMU's monitor.
        assert guest.command("output/x $gs_base") == guest.command("output/x __per_cpu_offset[0]")
        raw = guest.command(f"monitor x /1gx {int(guest.command(f'output/x {per_cpu(CURRENT[name])}'), 16):#x}")
        assert int(raw.split()[-1], 16) == task
        # And that is where KASLR put the kernel's first task.
        comm = int(guest.command("output/x (unsigned long)&((struct task_struct *)0)->comm"), 16)
        assert bytes.fromhex(f"{words_at(guest, task - virtual - KERNEL_MAP_VA + physical + comm, 1)[0]:016x}")[
            ::-1
        ].startswith(b"swapper")

        # The lmb commands go on, their breakpoints too, and another move leaves nothing behind.
        assert "clean" in guest.command("lmb-check")
        assert guest.command("lmb-attach").endswith("gdb's symbols are there already\n")
        guest.run_until("kernel_init")
        assert guest.command(f"output ((struct task_struct *)*(unsigned long *){per_cpu(CURRENT[name])})->pid") == "1"
        assert "kernel_init" in guest.command("bt 1")
