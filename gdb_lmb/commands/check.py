# SPDX-License-Identifier: GPL-2.0-or-later
"""`lmb-check`: check the allocator's state against its invariants and its history on the model."""

from __future__ import annotations

import time

from gdb_lmb.allocators.checks import check
from gdb_lmb.analysis.replay import check_log
from gdb_lmb.commands.arguments import FLAG, JSON, Argument, Options
from gdb_lmb.commands.base import LmbCommand, take_snapshot, write
from gdb_lmb.commands.session import SESSION
from gdb_lmb.core.memory import Meter
from gdb_lmb.machine.symbols import name_at
from gdb_lmb.report.jsonio import check_json, not_verified
from gdb_lmb.report.text import check_text, stats_line


class LmbCheck(LmbCommand):
    """Check the early-boot allocator (LMB) of the stopped guest.

    Usage: lmb-check [--json] [--no-log] [--stats]

      --json    the outcome as JSON, schema gdb-lmb/check/1
      --no-log  do not replay the guest's operation log on the reference model

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
    arguments = (JSON, Argument("--no-log", FLAG), Argument("--stats", FLAG))
    writers = (check_json, check_text)

    def run(self, options: Options) -> None:
        """Take a snapshot, check it, replay its log, write what was found."""
        meter, start = Meter(), time.perf_counter()
        snapshot = take_snapshot(with_log=not options.no_log, meter=meter)
        findings = check(snapshot)
        log = None if options.no_log else check_log(snapshot, lambda pc: name_at(pc) or hex(pc))
        if log is not None and log.divergence is not None:
            findings.append(log.divergence)
        SESSION.record(self.name, findings, not_verified(snapshot, log))
        self.show(options, snapshot, findings, log)
        if options.stats:
            write(stats_line(meter, time.perf_counter() - start))
