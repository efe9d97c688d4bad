# SPDX-License-Identifier: GPL-2.0-or-later
"""`gdb-lmb run`: boot a kernel, stop it, look, and say the verdict; and the options that `trace` shares with it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gdb_lmb.arches.registry import NAMES, named
from gdb_lmb.cli.common import (
    DEFAULT_COMMANDS,
    GDB_OPTIONS,
    CommandLine,
    argument,
    commands_of,
    number_of,
    progress,
    run_commands,
    say,
    stdout_terminal,
)
from gdb_lmb.core.errors import UsageError
from gdb_lmb.kernels.names import is_name, row_of
from gdb_lmb.kernels.stock import find_kernel
from gdb_lmb.report.output import cannot_write, require_apart
from gdb_lmb.report.statuses import STATUSES, ExitStatus
from gdb_lmb.runner.elf import find_programs
from gdb_lmb.runner.qemu import DEFAULT_MEMORY, QemuOptions
from gdb_lmb.runner.session import DEFAULT_SYMBOL, GuestSession

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

BOOT_OPTIONS = (
    argument(
        "kernel", metavar="KERNEL", help="an unstripped ELF, an image (vmlinuz, Image), or a name of scripts/get-kernel"
    ),
    argument(
        "--symbols", metavar="VMLINUX", type=Path,
        help="the ELF with the debug information of an image (default: where distributions and kernel trees have it)",
    ),
    argument(
        "--arch", metavar="NAME",
        help=f"the architecture that the kernel must be of: {', '.join(NAMES)} (default: whatever the ELF says)",
    ),
    argument("--append", metavar="ARGS", help="the kernel's command line"),
    argument("--initrd", metavar="FILE", type=Path, help="an initial RAM disk"),
    argument("--memory", metavar="SIZE", default=DEFAULT_MEMORY, help="RAM (default: %(default)s)"),
    argument("--smp", metavar="N", type=number_of(1, 1 << 16), default=1, help="number of CPUs (default: 1)"),
    argument("--machine", metavar="M", help="QEMU's machine (default: by the ELF)"),
    argument("--qemu", metavar="BIN", help="the QEMU to use (default: by the ELF)"),
    argument("--qemu-arg", metavar="ARG", action="append", default=[], help="one more word for QEMU; may be repeated"),
    argument("--kvm", action="store_true", help="use KVM, with hardware breakpoints (default: TCG)"),
    argument("--console", metavar="FILE", type=Path, help="save the guest's serial console in FILE"),
)  # fmt: skip
"""The kernel and how to boot it, for `run` and `trace`."""


@contextmanager
def booted(arguments: argparse.Namespace) -> Iterator[GuestSession]:
    """Boot as the options say; whatever happens, the console is saved where it was asked for."""
    options = QemuOptions(
        append=arguments.append,
        initrd=arguments.initrd,
        memory=arguments.memory,
        smp=arguments.smp,
        machine=arguments.machine,
        binary=arguments.qemu,
        arguments=tuple(arguments.qemu_arg),
        kvm=arguments.kvm,
        arch=arguments.arch,
    )
    kernel, symbols = _kernel_of(arguments)
    console: Path | None = arguments.console
    if console is not None:
        require_apart(console, Path(arguments.kernel), arguments.symbols, arguments.initrd)
        _save(console, b"")  # whether it can be written is to be known before the boot
    with GuestSession(
        kernel,
        options,
        symbols=symbols,
        gdb=arguments.gdb,
        timeout_s=arguments.timeout,
        notice=say,
        terminal=stdout_terminal(arguments.color),
    ) as guest:
        try:
            yield guest
        finally:
            # Also after a failure: that is when it is wanted most.
            if console is not None:
                _save(console, guest.console(), "it holds a part of the guest's console at most")


def _kernel_of(arguments: argparse.Namespace) -> tuple[Path, Path | None]:
    """Return the kernel to boot and its symbols, from a file or from a name of the cache."""
    if not is_name(arguments.kernel):
        return Path(arguments.kernel), arguments.symbols
    if arguments.symbols is not None:
        raise UsageError(f"{arguments.kernel} brings its own symbols: leave --symbols out")
    row = row_of(arguments.kernel)
    # Before a long download, not after it.
    find_programs(named(row.arch), arguments.qemu, arguments.gdb)
    files = find_kernel(arguments.kernel, notice=say)
    return files.image, files.vmlinux


def _save(console: Path, content: bytes, left: str = "") -> None:
    """Write the console's file; `left` says what it holds where that fails. Raises: `OutputError`."""
    try:
        console.write_bytes(content)
    except OSError as error:
        raise cannot_write(console, error, left) from None


def _run(arguments: argparse.Namespace) -> ExitStatus:
    """Boot, look, and return the status."""
    with booted(arguments) as guest:
        progress(f"booting {arguments.kernel} to {arguments.until or guest.default_symbol}")
        guest.run_until(arguments.until)
        return run_commands(guest, commands_of(arguments), by_default=arguments.gdb_commands is None)


COMMANDS = (
    CommandLine(
        "run",
        _run,
        "boot a kernel in QEMU, stop it at a symbol, and check its allocator",
        _DESCRIPTION,
        f"{_EXAMPLES}\n{STATUSES}",
        (
            *BOOT_OPTIONS,
            argument(
                "--until", metavar="SYMBOL",
                help=f"where to stop: a symbol, FILE:LINE or *ADDRESS (default: {DEFAULT_SYMBOL}, else "
                "memblock_free_all)",
            ),
            *GDB_OPTIONS,
        ),
        "gdb-lmb run KERNEL [options] [-- GDB-COMMAND ...]",
    ),
)  # fmt: skip
