# SPDX-License-Identifier: GPL-2.0-or-later
"""`lmb-dump`, `lmb-check` and `lmb-verdict`: the allocator's state, and what the commands found wrong with it."""

from __future__ import annotations

import time

from gdb_lmb.allocators.base import check
from gdb_lmb.analysis.replay import check_log
from gdb_lmb.commands.arguments import ALL, FLAG, JSON, OPTIONAL, Argument, Options
from gdb_lmb.commands.base import SESSION, LmbCommand, json_text, take_snapshot, terminal, write
from gdb_lmb.commands.names import history
from gdb_lmb.core.errors import UsageError
from gdb_lmb.core.memory import Meter
from gdb_lmb.core.words import FINDING, plural
from gdb_lmb.machine.current import current
from gdb_lmb.machine.symbols import name_at
from gdb_lmb.programs.base import image_ranges, role_ranges
from gdb_lmb.report.jsonio import VERDICT_SCHEMA, check_json, dumps, not_verified, roles_json, snapshot_json
from gdb_lmb.report.terminal import BAD
from gdb_lmb.report.text import DRAWN, PARTS, check_text, dump_text, kernel_text, stats_line
from gdb_lmb.report.who import owners_json, owners_lines


class LmbDump(LmbCommand):
    """Show the early-boot allocator's (LMB) lists of the stopped guest.

    Usage: lmb-dump [memory|reserved|free|blocks|firmware|all] [--entries]
                    [--owners [--trace FILE]] [--roles] [--all]
                    [--json | --kernel]

      memory     the RAM that exists
      reserved   what is taken
      free       the entries that store nothing now, in freelist order
      blocks     the blocks of memory that the entries lie in
      firmware   what the firmware said about memory
      all        memory, reserved, the freelist's length and blocks (the default)
      --entries  also show which entry stores each region, and its virtual address
      --owners   also who reserved what, piece by piece, by a saved trace (FILE),
                 the trace of this session, or the guest's operation log
      --roles    with --json: also what is known to lie where, without any history
      --all      every row (default: 200 of a table, 10,000 of a list in JSON)
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
        Argument("--roles", FLAG),
        ALL,
        JSON,
        Argument("--kernel", FLAG),
    )
    exclusive = ("--json", "--kernel")

    def run(self, options: Options) -> None:
        if options.kernel and options.owners:
            raise UsageError("--kernel prints what the kernel would, and no owners (see: help lmb-dump)")
        if options.trace is not None and not options.owners:
            raise UsageError("--trace goes with --owners (see: help lmb-dump)")
        if options.roles and not options.json:
            raise UsageError("--roles goes with --json (see: help lmb-dump)")
        snapshot = take_snapshot(with_log=options.owners)
        past = history(snapshot, options.trace) if options.owners else None
        findings = check(snapshot)
        SESSION.record(self.name, findings, not_verified(snapshot, None))
        if options.json:
            data = snapshot_json(snapshot, findings)
            if options.owners:
                data["owners"] = owners_json(snapshot, past)
            if options.roles:
                data["roles"] = roles_json(snapshot, role_ranges(current(), snapshot.firmware))
            write(json_text(data, options))
            return
        if options.kernel:
            write(kernel_text(snapshot))
            return
        shown = terminal(options)
        image = image_ranges(current()) if options.part in DRAWN else ()
        write(dump_text(snapshot, options.part, options.entries, image=image, terminal=shown))
        if options.owners:
            write("\n" + "\n".join(owners_lines(snapshot, past, shown)))
        faults = sum(finding.severity == FINDING for finding in findings)
        if faults:
            write("\n" + shown.paint(f"warning: {plural(faults, 'finding')}; lmb-check lists them", BAD))


class LmbCheck(LmbCommand):
    """Check the early-boot allocator (LMB) of the stopped guest.

    Usage: lmb-check [--json] [--no-log] [--all] [--stats]

      --json    the outcome as JSON, schema gdb-lmb/check/1
      --no-log  do not replay the guest's operation log on the reference model
      --all     list every finding (default: 100 of a code, 8 of a note)
      --stats   also tell how many requests, bytes and seconds it took

    Every invariant of the lists, the freelist and their storage is checked, and
    the guest's log of operations (CONFIG_LMB_LOG) is replayed on the reference
    model, which must end in the same state, entry for entry. All findings are
    listed, then one line that says what was verified. A stop inside an LMB
    function (torn) or a wrapped log is "not verified", never "verified".
    $lmb_status is 0 clean (notes allowed), 1 findings, 5 not verified.

    Example: lmb-check --no-log
    """

    name = "lmb-check"
    arguments = (JSON, Argument("--no-log", FLAG), ALL, Argument("--stats", FLAG))
    writers = (check_json, check_text)

    def run(self, options: Options) -> None:
        meter, start = Meter(), time.perf_counter()
        snapshot = take_snapshot(with_log=not options.no_log, meter=meter)
        findings = check(snapshot, everything=options.all)
        log = None if options.no_log else check_log(snapshot, lambda pc: name_at(pc) or hex(pc))
        if log is not None and log.divergence is not None:
            findings.append(log.divergence)
        SESSION.record(self.name, findings, not_verified(snapshot, log))
        self.show(options, snapshot, findings, log)
        if options.stats:
            write(stats_line(meter, time.perf_counter() - start))


class LmbVerdict(LmbCommand):
    """Print what the LMB commands found so far, as one line of JSON.

    Usage: lmb-verdict [--reset]

      --reset  forget what was found, after printing it

    Schema gdb-lmb/verdict/1: "checks" has one element for each lmb-dump and
    lmb-check, with the numbers of findings and notes, and "not_verified";
    "findings" counts what they found together, each finding once, "forgotten"
    the checks before --reset.

    Example: lmb-verdict
    """

    name = "lmb-verdict"
    arguments = (Argument("--reset", FLAG),)

    def run(self, options: Options) -> None:
        checks, found = SESSION.checks, SESSION.found
        verdict = {"checks": checks, "findings": found.total(), "forgotten": SESSION.forgotten}
        write(dumps({"schema": VERDICT_SCHEMA, **verdict}))
        if options.reset:
            SESSION.forgotten += len(checks)
            checks.clear()
            found.clear()
