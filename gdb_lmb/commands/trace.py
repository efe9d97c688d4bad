# SPDX-License-Identifier: GPL-2.0-or-later
"""`lmb-trace`: its help and its arguments."""

from __future__ import annotations

from gdb_lmb.commands.arguments import FLAG, OPTIONAL, SOME, Argument, Options
from gdb_lmb.commands.base import LmbCommand


class LmbTrace(LmbCommand):
    """Record the early allocator's calls, with arguments, result and callers.

    Usage: lmb-trace start [--lockstep] [--every N] [--until SYMBOL] [--only KIND...]
                           [-o FILE] [--timeout SECONDS]
           lmb-trace stop
           lmb-trace show [--last N] [--caller REGEX] [--range A-B|A+SIZE]
                          [--failed] [--all] [--json]
           lmb-trace save FILE [--from-log]
           lmb-trace status [--json]

      start        record from this stop on; then let the guest run (continue).
                   A compressed kernel first runs to its first instruction
      --lockstep   run the reference model beside the kernel: the guest stops
                   after the first operation in which they differ
      --every N    with --lockstep: compare after every N operations (default 1)
      --until S    end there, and stop the guest (default: the hand-over)
      --only K     only operations of these kinds; such a trace cannot be replayed
      -o FILE      write each record to FILE at once (schema gdb-lmb/trace/1)
      --timeout S  how long unpacking a kernel may take, in seconds (default 60)
      stop         end now
      show         the records: the last N, those with a caller that matches REGEX
                   (inlined functions are callers too), those on physical addresses
                   from A up to B, or on SIZE bytes from A on; numbers as in
                   lmb-who; --failed: only calls that failed; --all: more than the
                   last 200 where N does not say so
      save         write the records to FILE; --from-log takes the kernel's own
                   log of operations instead, if it keeps one
      status       the progress of the trace, or its result

    `info breakpoints` does not list the breakpoints of the trace; your own still
    work. $lmb_status is 0 if kernel and model agree, 1 if they differ, 5 if
    nothing was compared.

    Example: lmb-trace start --lockstep -o boot.jsonl
    """

    name = "lmb-trace"
    arguments = (
        Argument("action", choices=("start", "stop", "show", "save", "status")),
        Argument("file", OPTIONAL, of=("save",)),
        Argument("--lockstep", FLAG, of=("start",)),
        Argument("--every", of=("start",)),
        Argument("--until", of=("start",)),
        Argument("--only", SOME, default=(), of=("start",)),
        Argument("-o", field="output", of=("start",)),
        Argument("--timeout", of=("start",)),
        Argument("--last", of=("show",)),
        Argument("--caller", of=("show",)),
        Argument("--range", of=("show",)),
        Argument("--failed", FLAG, of=("show",)),
        Argument("--all", FLAG, of=("show",)),
        Argument("--json", FLAG, of=("show", "status")),
        Argument("--from-log", FLAG, of=("save",)),
    )

    def run(self, options: Options) -> None:
        # With what records and compares: most sessions trace nothing.
        from gdb_lmb.commands import trace_actions

        getattr(trace_actions, options.action)(options)
