# SPDX-License-Identifier: GPL-2.0-or-later
"""`gdb-lmb attach`: look at a QEMU that already runs, and leave it as it was."""

from __future__ import annotations

import argparse
from pathlib import Path

from gdb_lmb.cli.common import (
    DEFAULT_COMMANDS,
    STATUSES,
    Subparsers,
    add_gdb_options,
    commands_of,
    progress,
    run_commands,
    say,
    stdout_terminal,
)
from gdb_lmb.runner.attach import AttachedSession
from gdb_lmb.runner.endpoints import parse_endpoint
from gdb_lmb.runner.verdict import ExitStatus

_DESCRIPTION = f"""\
Connect to the gdbstub of a running QEMU, run gdb commands, and leave the guest as it was: running if it ran,
paused if it was paused. Each word after -- is one gdb command (default: {", ".join(DEFAULT_COMMANDS)}).
QEMU opens a stub with: -gdb unix:PATH,server=on,wait=off
"""
_EXAMPLES = """\
examples:
  gdb-lmb attach unix:/tmp/vm.sock vmlinux
  gdb-lmb attach tcp:localhost:1234 vmlinux -- 'lmb-check --json'
"""


def add_parser(commands: Subparsers) -> None:
    """Add this command to the command line."""
    parser = commands.add_parser(
        "attach",
        help="check the allocator in a QEMU that already runs, and leave it as it was",
        description=_DESCRIPTION,
        epilog=f"{_EXAMPLES}\n{STATUSES}",
        usage="gdb-lmb attach unix:PATH|tcp:HOST:PORT VMLINUX [options] [-- GDB-COMMAND ...]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("endpoint", metavar="STUB", help="QEMU's gdbstub: unix:PATH or tcp:HOST:PORT")
    parser.add_argument("program", metavar="VMLINUX", type=Path, help="the ELF of the kernel that runs there")
    parser.add_argument("--leave", choices=("running", "paused"), help="how to leave the guest (default: as it was)")
    add_gdb_options(parser)
    parser.set_defaults(run=_attach)


def _attach(arguments: argparse.Namespace) -> ExitStatus:
    """Attach, look, leave, and return the status."""
    endpoint = parse_endpoint(arguments.endpoint)
    progress(f"connecting to {endpoint}")
    with AttachedSession(
        endpoint,
        arguments.program,
        gdb=arguments.gdb,
        timeout_s=arguments.timeout,
        leave=arguments.leave,
        notice=say,
        terminal=stdout_terminal(arguments.color),
    ) as guest:
        return run_commands(guest, commands_of(arguments))
