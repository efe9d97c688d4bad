# SPDX-License-Identifier: GPL-2.0-or-later
"""`lmb-dump`: show the allocator's lists."""

from __future__ import annotations

from gdb_lmb.allocators.checks import check
from gdb_lmb.commands.arguments import FLAG, JSON, OPTIONAL, Argument, Options
from gdb_lmb.commands.base import LmbCommand, take_snapshot, terminal, write
from gdb_lmb.commands.history import history
from gdb_lmb.commands.session import SESSION
from gdb_lmb.core.errors import UsageError
from gdb_lmb.core.snapshot import FINDING
from gdb_lmb.core.words import plural
from gdb_lmb.machine.current import current
from gdb_lmb.programs.base import image_ranges
from gdb_lmb.report.jsonio import dumps, not_verified, snapshot_json
from gdb_lmb.report.kernel import kernel_text
from gdb_lmb.report.terminal import BAD
from gdb_lmb.report.text import DRAWN, PARTS, dump_text
from gdb_lmb.report.who import owners_json, owners_lines


class LmbDump(LmbCommand):
    """Show the early-boot allocator's (LMB) lists of the stopped guest.

    Usage: lmb-dump [memory|reserved|free|blocks|firmware|all] [--entries]
                    [--owners [--trace FILE]] [--json | --kernel]

      memory     the RAM that exists
      reserved   what is taken
      free       the entries that store nothing now, in freelist order
      blocks     the blocks of memory that the entries lie in
      firmware   what the firmware said about memory
      all        memory, reserved, the freelist's length and blocks (the default)
      --entries  also show which entry stores each region, and its virtual address
      --owners   also who reserved what, piece by piece, by a saved trace (FILE),
                 the trace of this session, or the guest's operation log
      --json     the whole state as JSON, schema gdb-lmb/snapshot/1
      --kernel   byte for byte what the guest's lmb_dump_all() prints

    memory, reserved and all begin with a picture of all memory, as wide as the
    terminal; lmb-map shows a part of it larger. Addresses are physical, "end" is
    the first address past a region, sizes are bytes. The lists are checked on the
    way: a last line tells of findings, which lmb-check lists. $lmb_status is 0
    clean, 1 findings, 5 not verified.

    Example: lmb-dump reserved --entries
    """

    name = "lmb-dump"
    arguments = (
        Argument("part", OPTIONAL, PARTS, "all"),
        Argument("--entries", FLAG),
        Argument("--owners", FLAG),
        Argument("--trace"),
        JSON,
        Argument("--kernel", FLAG),
    )
    exclusive = ("--json", "--kernel")

    def run(self, options: Options) -> None:
        """Take a snapshot, check it, write it."""
        if options.kernel and options.owners:
            raise UsageError("--kernel prints what the kernel would, and no owners (see: help lmb-dump)")
        if options.trace is not None and not options.owners:
            raise UsageError("--trace goes with --owners (see: help lmb-dump)")
        snapshot = take_snapshot(with_log=options.owners)
        past = history(snapshot, options.trace) if options.owners else None
        findings = check(snapshot)
        SESSION.record(self.name, findings, not_verified(snapshot, None))
        if options.json:
            data = snapshot_json(snapshot, findings)
            write(dumps(data | {"owners": owners_json(snapshot, past)} if options.owners else data))
            return
        if options.kernel:
            write(kernel_text(snapshot))
            return
        shown = terminal()
        image = image_ranges(current()) if options.part in DRAWN else ()
        write(dump_text(snapshot, options.part, options.entries, image=image, terminal=shown))
        if options.owners:
            write("\n" + "\n".join(owners_lines(snapshot, past, shown)))
        faults = sum(finding.severity == FINDING for finding in findings)
        if faults:
            write("\n" + shown.paint(f"warning: {plural(faults, 'finding')}; lmb-check lists them", BAD))
