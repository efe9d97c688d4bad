# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a Linux kernel lies in the guest, physically and virtually, and moving gdb's symbols there.

Everything is read physically, so that it works before paging, in user mode with the kernel's pages
unmapped, and with KASLR while gdb's symbols still stand at their linked addresses.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gdb

from gdb_lmb.address import X86_KERNEL_MAP_VA, Placement, find_physically
from gdb_lmb.errors import LayoutError, NotReadyError, ReadError
from gdb_lmb.layout.program_file import bytes_in_file
from gdb_lmb.memory import BoundedMemory
from gdb_lmb.target.linux import Kernel, symbols_moved_by
from gdb_lmb.target.physical import PhysicalMemory

MAX_PHYSICAL_BYTES = 64 << 30
"""How far the search for a moved kernel goes up."""

_LAST: dict[Path, Placement] = {}
"""Where each program's kernel was last found: looked at first."""


def physical_limit() -> int:
    """Return where the machine's RAM ends at the latest, a physical address."""
    try:
        text = gdb.execute("monitor info memory_size_summary", to_string=True) or ""
    except gdb.error:
        return MAX_PHYSICAL_BYTES
    sizes = [int(word) for word in text.replace(":", " ").split() if word.isdigit()]
    # The hole below 4 GiB moves what does not fit below it up: by 1.25 GiB at most.
    return min(MAX_PHYSICAL_BYTES, sum(sizes) + (5 << 28)) if sizes else MAX_PHYSICAL_BYTES


@dataclass(frozen=True)
class Cpu:
    """The selected CPU's program counter and CR0 (None where gdb has none).

    Taken before reads become physical: gdb looks at code and stack to make a frame, and keeps what it saw.
    """

    pc: int
    cr0: int | None


def selected_cpu() -> Cpu:
    """Return the selected CPU's registers."""
    frame = gdb.newest_frame()
    try:
        cr0: int | None = int(frame.read_register("cr0")) & ((1 << 64) - 1)
    except (ValueError, gdb.error):
        cr0 = None
    return Cpu(frame.pc(), cr0)


def place(kernel: Kernel, physical: BoundedMemory, cpu: Cpu | None = None) -> Placement:
    """Find where the kernel lies, physically and virtually, and prove it by its build id.

    With `cpu`, a kernel that is in memory, but that this CPU has not got to, counts as not there.
    Raises: `NotReadyError` where no kernel of this build is in memory.
    """
    linked = kernel.identity.va - X86_KERNEL_MAP_VA
    known = _LAST.get(kernel.own_file)
    delta = None
    if known is not None:
        try:
            if physical.read(linked + known.physical, len(kernel.identity.data)) == kernel.identity.data:
                delta = known.physical
        except ReadError:
            pass
    if delta is None:
        delta = find_physically(physical, linked, kernel.identity.data, physical_limit())
    if delta is None:
        raise NotReadyError(
            f"no kernel of the build of {kernel.own_file.name} is in memory: it is still compressed at this stop, "
            "or the guest runs another build"
        )
    image = Placement(delta, 0, kernel.image)
    # The pointer to the list's name is relocated with the image and never changed: it tells by how much.
    want = bytes_in_file(kernel.own_file, kernel.name_pointer_va, 8)
    if want is None:
        raise LayoutError(f"{kernel.own_file} does not hold the data of `memblock`")
    order = kernel.program.byte_order
    # The same bytes are wanted again by whoever decodes: one request for both.
    physical.preload(image.to_physical(kernel.program.memblock_va), kernel.program.memblock.size)
    got = physical.read(image.to_physical(kernel.name_pointer_va), 8)
    virtual = int.from_bytes(got, order) - int.from_bytes(want.data, order)
    if virtual % (2 << 20) or not 0 <= virtual < 1 << 30:
        raise NotReadyError("the kernel is in memory, but not relocated yet: continue a little")
    direct = 0
    if kernel.symbols["page_offset_base"]:
        direct = int.from_bytes(physical.read(image.to_physical(kernel.symbols["page_offset_base"]), 8), order)
    placement = Placement(delta, virtual, kernel.image, direct)
    if cpu is not None:
        require_running(kernel, placement, cpu)
    _LAST[kernel.own_file] = placement
    return placement


def require_running(kernel: Kernel, placement: Placement, cpu: Cpu) -> None:
    """Check that the CPU is not in the decompressor any more. Raises: `NotReadyError`.

    The decompressor has the image in its buffer before it is in its place, and leaves its own build id.
    """
    linked = cpu.pc + X86_KERNEL_MAP_VA - placement.physical
    if cpu.pc < 1 << 47 and not any(low <= linked < high for low, high in kernel.code):
        raise NotReadyError("the kernel is still compressed at this stop: continue, or use lmb-attach --wait")


def locate(kernel: Kernel) -> tuple[Placement, int]:
    """Return where the running kernel lies, and by how much gdb's symbols are moved now."""
    with PhysicalMemory() as physical:
        return place(kernel, BoundedMemory(physical)), symbols_moved_by(kernel.identity)


def move_symbols(kernel: Kernel, placement: Placement) -> None:
    """Load the kernel's symbols again where it runs; breakpoints are set anew by gdb."""
    quoted = str(kernel.own_file).replace("\\", "\\\\").replace('"', '\\"')
    try:
        gdb.execute(f'symbol-file -o {placement.virtual:#x} "{quoted}"', to_string=True)
    except gdb.error as error:
        raise LayoutError(f"gdb cannot move the symbols of {kernel.own_file}: {error}") from None
