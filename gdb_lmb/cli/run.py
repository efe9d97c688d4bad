# SPDX-License-Identifier: GPL-2.0-or-later
"""`gdb-lmb run`: boot a kernel, stop it, look, and say the verdict."""

from __future__ import annotations

import argparse

from gdb_lmb.cli.boot import add_boot_options, booted
from gdb_lmb.cli.common import (
    DEFAULT_COMMANDS,
    Subparsers,
    add_gdb_options,
    commands_of,
    progress,
    run_commands,
)
from gdb_lmb.report.statuses import STATUSES, ExitStatus
from gdb_lmb.runner.session import DEFAULT_SYMBOL

_DESCRIPTION = f"""\
Boot KERNEL (an ELF with symbols) in QEMU, stop it at a symbol, and run gdb commands there.
Each word after -- is one gdb command (default: {", ".join(DEFAULT_COMMANDS)}).
Nothing of the run is left behind but, in the cache, gdb's index of a large program.
"""
_EXAMPLES = """\
examples:
  gdb-lmb run vmlinux
  gdb-lmb run debian:6.1-cloud-amd64 --memory 512M
  gdb-lmb run vmlinuz-6.1 --symbols vmlinux-6.1 --append console=ttyS0 --memory 512M
  gdb-lmb run Image --symbols vmlinux --append console=ttyAMA0
  gdb-lmb run vmlinux --append 'lmb.scenario=random lmb.ops=5000' --until lmb_scenario_done
  gdb-lmb run vmlinux --memory 1G --qemu-arg=-cpu --qemu-arg=max -- 'lmb-dump reserved' 'info registers'
"""


def add_parser(commands: Subparsers) -> None:
    """Add this command to the command line."""
    parser = commands.add_parser(
        "run",
        help="boot a kernel in QEMU, stop it at a symbol, and check its allocator",
        description=_DESCRIPTION,
        epilog=f"{_EXAMPLES}\n{STATUSES}",
        usage="gdb-lmb run KERNEL [options] [-- GDB-COMMAND ...]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_boot_options(parser)
    parser.add_argument(
        "--until",
        metavar="SYMBOL",
        help=f"where to stop: a symbol, FILE:LINE or *ADDRESS (default: {DEFAULT_SYMBOL}, else memblock_free_all)",
    )
    add_gdb_options(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> ExitStatus:
    """Boot, look, and return the status."""
    with booted(arguments) as guest:
        progress(f"booting {arguments.kernel} to {arguments.until or guest.default_symbol}")
        guest.run_until(arguments.until)
        return run_commands(guest, commands_of(arguments), by_default=arguments.gdb_commands is None)
