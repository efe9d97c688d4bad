# SPDX-License-Identifier: GPL-2.0-or-later
"""`lmb-attach`: find where the running kernel is, and put gdb's symbols there."""

from __future__ import annotations

from gdb_lmb.commands.arguments import FLAG, JSON, Argument, Options
from gdb_lmb.commands.base import LmbCommand, write
from gdb_lmb.commands.names import Names
from gdb_lmb.core.address import Phase, Placement
from gdb_lmb.core.errors import LayoutError, UsageError
from gdb_lmb.core.numbers import seconds
from gdb_lmb.machine.boot import move_symbols, run_to_entry
from gdb_lmb.machine.current import current
from gdb_lmb.machine.symbols import why_no_allocator
from gdb_lmb.programs.base import find_programs
from gdb_lmb.report.jsonio import dumps

ATTACH_SCHEMA = "gdb-lmb/attach/1"


class LmbAttach(LmbCommand):
    """Find where a Linux kernel lies and put gdb's symbols there.

    Usage: lmb-attach [--wait] [--timeout SECONDS] [--keep-symbols] [--json]

      --wait          first let the guest run until the kernel is where it
                      will stay: on x86-64 unpacked, on arm64 mapped (nothing
                      if it is beyond that)
      --timeout S     with --wait: how long at most, in seconds (default 60)
      --keep-symbols  only tell where the kernel is
      --json          tell it as JSON, schema gdb-lmb/attach/1

    With KASLR a kernel is moved physically and virtually, each by its own
    amount. Both are found by reading physical memory through QEMU's gdbstub,
    proved by the kernel's build id, and gdb's symbols are moved along, so that
    breakpoints, backtraces and variables work. The other lmb-* commands need
    no moved symbols. Without --wait the guest is not touched.

    Example: lmb-attach
    """

    name = "lmb-attach"
    arguments = (Argument("--wait", FLAG), Argument("--timeout"), Argument("--keep-symbols", FLAG), JSON)

    def run(self, options: Options) -> None:
        if options.timeout is not None and not options.wait:
            raise UsageError("--timeout says how long --wait may take: it needs --wait (see: help lmb-attach)")
        timeout_s = seconds(options.timeout, "--timeout", Names().value)
        machine = current()
        machine.require_stopped()
        programs = find_programs(machine)
        kernel = next(filter(None, (program.movable(machine) for program in programs)), None)
        if kernel is None:
            if programs:
                raise LayoutError("gdb's symbols have an LMB and no memblock: only Linux kernels are moved by KASLR")
            raise LayoutError(why_no_allocator())
        if options.wait:
            run_to_entry(machine, kernel, timeout_s)
        placement, moved, image = kernel.locate(), kernel.symbols_moved_by(), kernel.image
        to_move = placement.settled and placement.virtual != moved and not options.keep_symbols
        if options.json or options.wait:
            phase, beginning = kernel.boot_phase(placement)
        if to_move:
            move_symbols(image, placement)
        if options.json:
            told = {
                "schema": ATTACH_SCHEMA,
                "program": image.own_file.name,
                "build_id": image.identity.data.hex(),
                "physical": hex(placement.physical),
                "virtual": hex(placement.virtual),
                "settled": placement.settled,
                "symbols": hex(placement.virtual if to_move else moved),
                "phase": phase.value if phase else None,
                "at_first_instruction": beginning,
            }
            write(dumps(told))
            return
        write(f"kernel {image.own_file.name}, build id {image.identity.data.hex()}: {_where(placement)}")
        if not placement.settled:
            write("where it will be mapped is not decided yet at this stop: lmb-attach --wait leads to where it is")
        elif placement.virtual == moved:
            write("gdb's symbols are there already")
        elif not to_move:
            write(f"gdb's symbols were left moved by {moved:#x}")
        else:
            write(f"gdb's symbols are now moved by {placement.virtual:#x}, from {moved:#x}")
        if options.wait and phase in (Phase.HANDED_OVER, Phase.DISCARDED):
            write("the boot is beyond memblock's life: the page allocator has the memory")


def _where(placement: Placement) -> str:
    # Linked as if for physical 0 means for nowhere.
    if placement.base_va == placement.image[0]:
        return f"at {placement.physical:#x} physically, moved by {placement.virtual:#x} virtually"
    return f"moved by {placement.physical:#x} physically, by {placement.virtual:#x} virtually"
