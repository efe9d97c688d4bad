# SPDX-License-Identifier: GPL-2.0-or-later
"""How a kernel is booted: the options that `run` and `trace` share, and the session that follows from them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gdb_lmb.arches.registry import NAMES, named
from gdb_lmb.cli.common import number_of, say, stdout_terminal
from gdb_lmb.core.errors import UsageError
from gdb_lmb.kernels.names import is_name, row_of
from gdb_lmb.report.output import cannot_write, require_apart
from gdb_lmb.runner.machines import find_programs
from gdb_lmb.runner.qemu import DEFAULT_MEMORY, QemuOptions
from gdb_lmb.runner.session import GuestSession


def add_boot_options(parser: argparse.ArgumentParser) -> None:
    """Add the kernel and how to boot it."""
    parser.add_argument(
        "kernel", metavar="KERNEL", help="an unstripped ELF, an image (vmlinuz, Image), or a name of scripts/get-kernel"
    )
    parser.add_argument(
        "--symbols",
        metavar="VMLINUX",
        type=Path,
        help="the ELF with the debug information of an image (default: where distributions and kernel trees have it)",
    )
    parser.add_argument(
        "--arch",
        metavar="NAME",
        help=f"the architecture that the kernel must be of: {', '.join(NAMES)} (default: whatever the ELF says)",
    )
    parser.add_argument("--append", metavar="ARGS", help="the kernel's command line")
    parser.add_argument("--initrd", metavar="FILE", type=Path, help="an initial RAM disk")
    parser.add_argument("--memory", metavar="SIZE", default=DEFAULT_MEMORY, help="RAM (default: %(default)s)")
    parser.add_argument("--smp", metavar="N", type=number_of(1, 1 << 16), default=1, help="number of CPUs (default: 1)")
    parser.add_argument("--machine", metavar="M", help="QEMU's machine (default: by the ELF)")
    parser.add_argument("--qemu", metavar="BIN", help="the QEMU to use (default: by the ELF)")
    parser.add_argument(
        "--qemu-arg", metavar="ARG", action="append", default=[], help="one more word for QEMU; may be repeated"
    )
    parser.add_argument("--kvm", action="store_true", help="use KVM, with hardware breakpoints (default: TCG)")
    parser.add_argument("--console", metavar="FILE", type=Path, help="save the guest's serial console in FILE")


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
        _prepare(console)
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
                _save(console, guest.console())


def _kernel_of(arguments: argparse.Namespace) -> tuple[Path, Path | None]:
    """Return the kernel to boot and its symbols, from a file or from a name of the cache."""
    if not is_name(arguments.kernel):
        return Path(arguments.kernel), arguments.symbols
    if arguments.symbols is not None:
        raise UsageError(f"{arguments.kernel} brings its own symbols: leave --symbols out")
    row = row_of(arguments.kernel)
    # Before a long download, not after it.
    find_programs(named(row.arch), arguments.qemu, arguments.gdb)
    from gdb_lmb.kernels.stock import find_kernel

    files = find_kernel(arguments.kernel, notice=say)
    return files.image, files.vmlinux


def _prepare(console: Path) -> None:
    """See that the console's file can be written, before the boot and not after it."""
    try:
        console.write_bytes(b"")
    except OSError as error:
        raise cannot_write(console, error) from None


def _save(console: Path, content: bytes) -> None:
    """Write the console out."""
    try:
        console.write_bytes(content)
    except OSError as error:
        raise cannot_write(console, error, "it holds a part of the guest's console at most") from None
