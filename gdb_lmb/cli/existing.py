# SPDX-License-Identifier: GPL-2.0-or-later
"""`gdb-lmb attach` and `gdb-lmb core`: look at a guest that runs in another QEMU, or at a dump of one."""

from __future__ import annotations

import argparse
from pathlib import Path

from gdb_lmb.arches.registry import named
from gdb_lmb.cli.common import (
    DEFAULT_COMMANDS,
    GDB_OPTIONS,
    CommandLine,
    argument,
    commands_of,
    progress,
    run_commands,
    say,
    stdout_terminal,
)
from gdb_lmb.kernels.names import is_name, row_of
from gdb_lmb.kernels.stock import find_kernel
from gdb_lmb.report.statuses import STATUSES, ExitStatus
from gdb_lmb.runner.elf import find_gdb
from gdb_lmb.runner.endpoints import parse_endpoint
from gdb_lmb.runner.existing import AttachedSession, CoreSession

_ATTACH = f"""\
Connect to the gdbstub of a running QEMU, run gdb commands, and leave the guest as it was: running if it ran,
paused if it was paused. Each word after -- is one gdb command (default: {", ".join(DEFAULT_COMMANDS)}).
QEMU opens a stub with: -gdb unix:PATH,server=on,wait=off or -gdb tcp::PORT (-s is -gdb tcp::1234). STUB is what QEMU
was given, or what gdb's `target remote` takes: :1234, HOST:PORT, [::1]:1234, a socket's path. VMLINUX may be a name of
scripts/get-kernel. Where nothing tells whether the guest ran, it is left paused, and that is said.
"""
_ATTACH_EXAMPLES = """\
examples:
  gdb-lmb attach unix:/tmp/vm.sock vmlinux
  gdb-lmb attach :1234 vmlinux -- 'lmb-check --json'
  gdb-lmb attach tcp::1234 debian:6.1-cloud-amd64
"""
_CORE = f"""\
Open a dump of a guest's memory in gdb and run gdb commands on it. Each word after -- is one gdb command
(default: {", ".join(DEFAULT_COMMANDS)}). QEMU writes a dump, with -p or without, with its monitor's command:
dump-guest-memory FILE
"""
_CORE_EXAMPLES = """\
examples:
  gdb-lmb core guest.core vmlinux
  gdb-lmb core guest.core vmlinux -- lmb-attach 'lmb-dump reserved' bt
"""


def program_of(text: str, gdb: str | None) -> Path:
    """Return the ELF that `text` means: a file, or that of a kernel in the cache. Raises: UsageError."""
    if not is_name(text):
        return Path(text)
    # Before a long download, not after it.
    find_gdb(named(row_of(text).arch), gdb)
    return find_kernel(text, notice=say).vmlinux


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


COMMANDS = (
    CommandLine(
        "attach",
        _attach,
        "check the allocator in a QEMU that already runs, and leave it as it was",
        _ATTACH,
        f"{_ATTACH_EXAMPLES}\n{STATUSES}",
        (
            argument("endpoint", metavar="STUB", help="QEMU's gdbstub: unix:PATH, [tcp:][HOST]:PORT, or a path"),
            argument("program", metavar="VMLINUX", help="the ELF of the kernel that runs there, or its name"),
            argument("--leave", choices=("running", "paused"), help="how to leave the guest (default: as it was)"),
            *GDB_OPTIONS,
        ),
        "gdb-lmb attach STUB VMLINUX [options] [-- GDB-COMMAND ...]",
    ),
    CommandLine(
        "core",
        _core,
        "check the allocator in a dump of a guest's memory",
        _CORE,
        f"{_CORE_EXAMPLES}\n{STATUSES}",
        (
            argument("core", metavar="FILE", type=Path, help="an ELF dump, by dump-guest-memory"),
            argument("program", metavar="VMLINUX", help="the ELF of the kernel that ran there, or its name"),
            *GDB_OPTIONS,
        ),
        "gdb-lmb core FILE VMLINUX [options] [-- GDB-COMMAND ...]",
    ),
)
