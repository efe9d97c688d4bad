# SPDX-License-Identifier: GPL-2.0-or-later
"""`gdb-lmb core`: look at a dump of a guest, without the guest."""

from __future__ import annotations

import argparse
from pathlib import Path

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
from gdb_lmb.runner.core import CoreSession

_DESCRIPTION = f"""\
Open a dump of a guest's memory in gdb and run gdb commands on it. Each word after -- is one gdb command
(default: {", ".join(DEFAULT_COMMANDS)}). QEMU writes a dump, with -p or without, with its monitor's command:
dump-guest-memory FILE
"""
_EXAMPLES = """\
examples:
  gdb-lmb core guest.core vmlinux
  gdb-lmb core guest.core vmlinux -- lmb-attach 'lmb-dump reserved' bt
"""


def add_parser(commands: Subparsers) -> None:
    """Add this command to the command line."""
    parser = commands.add_parser(
        "core",
        help="check the allocator in a dump of a guest's memory",
        description=_DESCRIPTION,
        epilog=f"{_EXAMPLES}\n{STATUSES}",
        usage="gdb-lmb core FILE VMLINUX [options] [-- GDB-COMMAND ...]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("core", metavar="FILE", type=Path, help="an ELF dump, by dump-guest-memory")
    parser.add_argument("program", metavar="VMLINUX", help="the ELF of the kernel that ran there, or its name")
    add_gdb_options(parser)
    parser.set_defaults(run=_core)


def _core(arguments: argparse.Namespace) -> ExitStatus:
    """Open, look, and return the status."""
    progress(f"opening {arguments.core}")
    with CoreSession(
        arguments.core,
        program_of(arguments.program, arguments.gdb),
        gdb=arguments.gdb,
        timeout_s=arguments.timeout,
        notice=say,
        terminal=stdout_terminal(arguments.color),
    ) as dump:
        return run_commands(dump, commands_of(arguments), by_default=arguments.gdb_commands is None)
