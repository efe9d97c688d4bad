# SPDX-License-Identifier: GPL-2.0-or-later
"""`gdb-lmb attach`: look at a QEMU that already runs, and leave it as it was."""

from __future__ import annotations

import argparse

from gdb_lmb.cli.common import (
    DEFAULT_COMMANDS,
    Subparsers,
    add_gdb_options,
    commands_of,
    progress,
    run_commands,
    say,
    stdout_terminal,
)
from gdb_lmb.cli.program import program_of
from gdb_lmb.report.statuses import STATUSES, ExitStatus
from gdb_lmb.runner.attach import AttachedSession
from gdb_lmb.runner.endpoints import parse_endpoint

_DESCRIPTION = f"""\
Connect to the gdbstub of a running QEMU, run gdb commands, and leave the guest as it was: running if it ran,
paused if it was paused. Each word after -- is one gdb command (default: {", ".join(DEFAULT_COMMANDS)}).
QEMU opens a stub with: -gdb unix:PATH,server=on,wait=off or -gdb tcp::PORT (-s is -gdb tcp::1234). STUB is what QEMU
was given, or what gdb's `target remote` takes: :1234, HOST:PORT, [::1]:1234, a socket's path. VMLINUX may be a name of
scripts/get-kernel. Where nothing tells whether the guest ran, it is left paused, and that is said.
"""
_EXAMPLES = """\
examples:
  gdb-lmb attach unix:/tmp/vm.sock vmlinux
  gdb-lmb attach :1234 vmlinux -- 'lmb-check --json'
  gdb-lmb attach tcp::1234 debian:6.1-cloud-amd64
"""


def add_parser(commands: Subparsers) -> None:
    """Add this command to the command line."""
    parser = commands.add_parser(
        "attach",
        help="check the allocator in a QEMU that already runs, and leave it as it was",
        description=_DESCRIPTION,
        epilog=f"{_EXAMPLES}\n{STATUSES}",
        usage="gdb-lmb attach STUB VMLINUX [options] [-- GDB-COMMAND ...]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("endpoint", metavar="STUB", help="QEMU's gdbstub: unix:PATH, [tcp:][HOST]:PORT, or a path")
    parser.add_argument("program", metavar="VMLINUX", help="the ELF of the kernel that runs there, or its name")
    parser.add_argument("--leave", choices=("running", "paused"), help="how to leave the guest (default: as it was)")
    add_gdb_options(parser)
    parser.set_defaults(run=_attach)


def _attach(arguments: argparse.Namespace) -> ExitStatus:
    """Attach, look, leave, and return the status."""
    endpoint = parse_endpoint(arguments.endpoint)
    progress(f"connecting to {endpoint}")
    with AttachedSession(
        endpoint,
        program_of(arguments.program, arguments.gdb),
        gdb=arguments.gdb,
        timeout_s=arguments.timeout,
        leave=arguments.leave,
        notice=say,
        terminal=stdout_terminal(arguments.color),
    ) as guest:
        return run_commands(guest, commands_of(arguments), by_default=arguments.gdb_commands is None)
