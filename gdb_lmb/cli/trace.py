# SPDX-License-Identifier: GPL-2.0-or-later
"""`gdb-lmb trace`: boot a kernel and record every call of its early allocator, beside the model if wanted."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from gdb_lmb.analysis.trace_options import TraceOptions
from gdb_lmb.cli.common import (
    GDB_OPTIONS,
    CommandLine,
    Once,
    argument,
    progress,
    run_commands,
    run_on_lost,
    say,
    show,
    typed,
)
from gdb_lmb.cli.guest import BOOT_OPTIONS, booted, require_outputs
from gdb_lmb.core.errors import InfrastructureError, LmbError, OutputError, UsageError
from gdb_lmb.core.numbers import whole_number
from gdb_lmb.core.words import FINDING, plural, printable
from gdb_lmb.report.statuses import STATUSES, ExitStatus
from gdb_lmb.report.trace_file import complete
from gdb_lmb.runner.base import ignore
from gdb_lmb.runner.results import TraceStatus
from gdb_lmb.runner.session import GuestSession

_DESCRIPTION = """\
Boot KERNEL in QEMU and record every operation of its early allocator, with arguments, result and callers, from
the first instruction to the hand-over. With --lockstep the reference model runs beside the kernel, and the boot
ends with a report at the first operation after which they differ. Each word after -- is one gdb command, run at
the end of the trace.
"""
_EXAMPLES = """\
examples:
  gdb-lmb trace vmlinux -o boot.jsonl
  gdb-lmb trace debian:6.1-cloud-amd64 --memory 512M --lockstep -o boot.jsonl
  gdb-lmb trace debian:6.1-cloud-amd64 --memory 512M -- 'lmb-dump reserved --owners' 'lmb-who 0x1f500000'
  gdb-lmb replay boot.jsonl
"""
_HAND_OVER = "the hand-over"
_STATUS = "lmb-trace status --json"


def _run(arguments: argparse.Namespace) -> ExitStatus:
    if arguments.output is None and not arguments.lockstep and not arguments.gdb_commands:
        raise UsageError("nothing to do: give -o FILE for the trace, --lockstep, or gdb commands after --")
    if arguments.kvm:
        raise UsageError("leave --kvm out: the breakpoints of a trace need TCG")
    TraceOptions(arguments.lockstep, arguments.every, arguments.until)
    require_outputs(arguments, [] if arguments.output is None else [arguments.output])
    until = arguments.until or _HAND_OVER
    recorded: int | None = None
    try:
        with booted(arguments) as guest:
            try:
                return _trace(guest, arguments, until)
            finally:
                recorded = guest.recorded
    except (KeyboardInterrupt, InfrastructureError) as error:
        # gdb may have ended the file, or have been killed itself.
        kept = _kept(arguments.output, recorded)
        if isinstance(error, KeyboardInterrupt):
            say(f"interrupted{kept}")
        raise


def _kept(output: Path | None, recorded: int | None) -> str:
    # Give the file its end, and say what is in it.
    kept = recorded
    if output is not None and recorded is not None:
        try:
            kept = complete(output)
        except (LmbError, OSError):  # it has been replaced
            return f": nothing is kept in {output}"
    if not kept:
        return " before an operation was recorded"
    if output is None:
        return f": {plural(kept, 'operation')} recorded, none kept (-o FILE keeps them)"
    return f": {plural(kept, 'operation')} kept in {output}"


def _trace(guest: GuestSession, arguments: argparse.Namespace, until: str) -> ExitStatus:
    progress(f"booting {arguments.kernel}, tracing to {until}")
    guest.unpack(before_hand_over=None if arguments.until else until)
    guest.command(_start(arguments), ignore)
    why_not = guest.run_on(until)
    status = guest.result(TraceStatus, _STATUS)
    if status.running:
        guest.command("lmb-trace stop", ignore)
        status = guest.result(TraceStatus, _STATUS)
    guest.command("lmb-trace status", show)
    if status.write_error is not None:
        raise OutputError(status.write_error)
    if status.divergence is None and not status.complete:
        if why_not is None:
            guest.let_print()
            why_not = f"{status.ended}, before it came to {until}{guest.panic_text()}"
        guest.on_lost = partial(run_on_lost, guest, arguments.gdb_commands)
        raise guest.not_reached(why_not)
    commands = arguments.gdb_commands or ()
    if not arguments.lockstep and not commands and not any(one.severity == FINDING for one in status.findings):
        return ExitStatus.CLEAN
    return run_commands(guest, commands)


def _start(arguments: argparse.Namespace) -> str:
    output = None if arguments.output is None else str(arguments.output.absolute())
    words = ["lmb-trace start", *["--lockstep"] * arguments.lockstep]
    for name, value in (("--every", arguments.every), ("--until", arguments.until), ("-o", output)):
        if value is not None:
            words.append(f"{name} {_quoted(value) if isinstance(value, str) else value}")
    return " ".join(words)


def _quoted(text: str) -> str:
    # One word for gdb's way of taking an argument apart.
    if "\n" in text:
        raise UsageError(f"{printable(text, 80)!r} has several lines")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


COMMANDS = (
    CommandLine(
        "trace",
        _run,
        "boot a kernel in QEMU and record every operation of its allocator",
        _DESCRIPTION,
        f"{_EXAMPLES}\n{STATUSES}",
        (
            *BOOT_OPTIONS,
            argument(
                "-o", "--output", metavar="FILE", type=Path, action=Once, help="the trace, schema gdb-lmb/trace/1"
            ),
            argument("--lockstep", action="store_true", help="compare with the reference model after each operation"),
            argument(
                "--every",
                metavar="N",
                type=typed(whole_number, least=1, most=(1 << 64) - 1),
                help="with --lockstep: compare after every N operations only",
            ),
            argument("--until", metavar="SYMBOL", help=f"where to end (default: {_HAND_OVER})"),
            *GDB_OPTIONS,
        ),
        "gdb-lmb trace KERNEL [-o FILE] [--lockstep] [options] [-- GDB-COMMAND ...]",
    ),
)
