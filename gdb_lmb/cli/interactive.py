# SPDX-License-Identifier: GPL-2.0-or-later
"""`gdb-lmb gdb` and `gdb-lmb gdbinit`: the lmb commands in a gdb of one's own."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from gdb_lmb.cli.common import GDB_OPTION, CommandLine, argument
from gdb_lmb.core.errors import InfrastructureError
from gdb_lmb.report.statuses import ExitStatus
from gdb_lmb.report.terminal import COUNT_VARIABLE, TERMINAL_VARIABLE
from gdb_lmb.runner.elf import find_gdb, machine_of, read_elf
from gdb_lmb.runner.gdb_process import PATH_VARIABLE, extension, python_path


def _gdb(arguments: argparse.Namespace) -> ExitStatus:
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
    # The lines are Python, whose string escapes keep any path on one line and in ASCII.
    sys.stdout.write(f'python import os; os.environ.setdefault("{PATH_VARIABLE}", {python_path()!a})\n')
    sys.stdout.write(f'python gdb.execute("source " + {str(extension())!a})\n')
    return ExitStatus.CLEAN


COMMANDS = (
    CommandLine(
        "gdb",
        _gdb,
        "open an interactive gdb with the lmb commands loaded",
        "Open an interactive gdb on VMLINUX with the lmb commands loaded (try: help lmb).",
        "example:\n  gdb-lmb gdb vmlinux -ex 'target remote /tmp/vm.sock'\n\nThe exit status is gdb's own.",
        (
            GDB_OPTION,
            argument("program", metavar="VMLINUX", type=Path, help="the kernel's ELF, with debug information"),
            argument("words", metavar="GDB-ARGUMENT", nargs=argparse.REMAINDER, help="for gdb, as they are"),
        ),
        "gdb-lmb gdb [--gdb BIN] VMLINUX [GDB-ARGUMENT ...]",
    ),
    CommandLine(
        "gdbinit",
        _gdbinit,
        "print the lines for ~/.gdbinit",
        "Print the lines that load the lmb commands in every gdb.",
        "example:\n  gdb-lmb gdbinit >> ~/.gdbinit",
        usage="gdb-lmb gdbinit",
    ),
)
