# SPDX-License-Identifier: GPL-2.0-or-later
"""`gdb-lmb gdb` and `gdb-lmb gdbinit`: the lmb commands in a gdb of one's own."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from gdb_lmb.cli.common import Subparsers
from gdb_lmb.core.errors import InfrastructureError
from gdb_lmb.report.statuses import ExitStatus
from gdb_lmb.runner.elf import read_elf
from gdb_lmb.runner.gdb_process import COUNT_VARIABLE, PATH_VARIABLE, TERMINAL_VARIABLE, extension, python_path
from gdb_lmb.runner.machines import find_gdb, machine_of


def add_parser(commands: Subparsers) -> None:
    """Add these commands to the command line."""
    parser = commands.add_parser(
        "gdb",
        help="open an interactive gdb with the lmb commands loaded",
        description="Open an interactive gdb on VMLINUX with the lmb commands loaded (try: help lmb).",
        epilog="example:\n  gdb-lmb gdb vmlinux -ex 'target remote /tmp/vm.sock'\n\nThe exit status is gdb's own.",
        usage="gdb-lmb gdb [--gdb BIN] VMLINUX [GDB-ARGUMENT ...]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--gdb", metavar="BIN", help="the gdb to use (default: gdb or gdb-multiarch, by the ELF)")
    parser.add_argument("program", metavar="VMLINUX", type=Path, help="the kernel's ELF, with debug information")
    parser.add_argument("words", metavar="GDB-ARGUMENT", nargs=argparse.REMAINDER, help="for gdb, as they are")
    parser.set_defaults(run=_gdb)

    parser = commands.add_parser(
        "gdbinit",
        help="print the lines for ~/.gdbinit",
        description="Print the lines that load the lmb commands in every gdb.",
        epilog="example:\n  gdb-lmb gdbinit >> ~/.gdbinit",
        usage="gdb-lmb gdbinit",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=_gdbinit)


def _gdb(arguments: argparse.Namespace) -> ExitStatus:
    """Become gdb."""
    gdb = find_gdb(machine_of(read_elf(arguments.program)), arguments.gdb)
    os.environ[PATH_VARIABLE] = python_path()
    for name in (TERMINAL_VARIABLE, COUNT_VARIABLE):  # of a gdb that started this shell
        os.environ.pop(name, None)
    words = [gdb, "-ex", f"source {extension()}", os.fspath(arguments.program.absolute()), *arguments.words]
    try:
        os.execv(gdb, words)
    except OSError as error:
        raise InfrastructureError(f"cannot start {gdb}: {error.strerror}") from error


def _gdbinit(_arguments: argparse.Namespace) -> ExitStatus:
    """Print the lines; they are Python, whose string escapes keep any path on one line and in ASCII."""
    sys.stdout.write(f'python import os; os.environ.setdefault("{PATH_VARIABLE}", {python_path()!a})\n')
    sys.stdout.write(f'python gdb.execute("source " + {str(extension())!a})\n')
    return ExitStatus.CLEAN
