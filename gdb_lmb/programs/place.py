# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a Linux kernel lies in the guest, physically and virtually.

Everything is read physically, so that it works before paging, in user mode with the kernel's pages
unmapped, and with KASLR while gdb's symbols still stand at their linked addresses.
"""

from __future__ import annotations

import contextlib
from itertools import chain
from pathlib import Path

from gdb_lmb.arches.base import Cpu
from gdb_lmb.core.address import Placement, first_match
from gdb_lmb.core.errors import NotReadyError, ReadError
from gdb_lmb.core.memory import BoundedMemory
from gdb_lmb.machine import ram
from gdb_lmb.machine.core import current_dump
from gdb_lmb.machine.physical import physical_memory
from gdb_lmb.machine.registers import booting_cpu, selected_cpu
from gdb_lmb.programs.linux import Kernel, symbols_moved_by

NEAR_BYTES, CLUSTER_BYTES = 256, 2048
"""Variables this near to one another are read in one request, which fits into one packet of QEMU's stub."""

USUAL_REGIONS = 48
"""Regions of a static array that are read along with what lies beside it."""

_LAST: dict[Path, int] = {}
"""By how much each program's kernel was last found to be moved physically: looked at first."""


def place(kernel: Kernel, physical: BoundedMemory, cpu: Cpu) -> Placement:
    """Find where the kernel lies, physically and virtually, and prove it by its build id.

    `cpu` was taken before reads became physical. Raises: `NotReadyError` where no kernel of this build is in
    memory.
    """
    arch = kernel.arch
    base_va = arch.base_va(kernel.image)
    linked, build_id = kernel.identity.va - base_va, kernel.identity.data
    last = _LAST.get(kernel.own_file)
    tried = chain([] if last is None else [last], arch.deltas(kernel, cpu, ram))
    delta = first_match(physical, linked, build_id, tried)
    if delta is None:
        dump = current_dump()
        rest = "" if dump is None else ", or the dump lacks it"
        if dump is not None and dump.core.cut is not None:
            rest = f", or the dump lacks it, for its file is cut off {dump.core.cut}"
        raise NotReadyError(
            f"no kernel of the build of {kernel.own_file.name} is in memory: {arch.missing}, "
            f"or the guest runs another build{rest}"
        )
    image = Placement(delta, 0, kernel.image, base_va=base_va)
    # Whoever decodes wants these bytes again, and what lies beside them.
    for low, high in _clusters(kernel):
        with contextlib.suppress(ReadError):
            physical.preload(image.to_physical(low), high - low)
    placement = arch.settle(kernel, image, physical, cpu)
    _LAST[kernel.own_file] = delta
    return placement


def _clusters(kernel: Kernel) -> list[tuple[int, int]]:
    """Return the linked ranges worth reading at once: several variables near to each other, what is always read."""
    program = kernel.program
    wanted = [(at, at + 8) for at in kernel.symbols.values() if at]
    wanted += [(at, at + USUAL_REGIONS * program.region.size) for at in program.init_arrays.values() if at]
    pages = kernel.symbols["_totalram_pages"]
    always = {(program.memblock_va, program.memblock_va + program.memblock.size), (pages, pages + 8)}
    groups: list[list[tuple[int, int]]] = []
    for low, high in sorted({*wanted, *always}):
        if groups and low - groups[-1][-1][1] <= NEAR_BYTES and high - groups[-1][0][0] <= CLUSTER_BYTES:
            groups[-1].append((low, high))
        else:
            groups.append([(low, high)])
    return [(group[0][0], max(high for _, high in group)) for group in groups if len(group) > 1 or always & set(group)]


def locate(kernel: Kernel) -> tuple[Placement, int]:
    """Return where the running kernel lies, and by how much gdb's symbols are moved now."""
    with booting_cpu():
        cpu = selected_cpu(kernel.arch)
    with physical_memory() as physical:
        return place(kernel, BoundedMemory(physical), cpu), symbols_moved_by(kernel)
