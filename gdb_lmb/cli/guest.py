# SPDX-License-Identifier: GPL-2.0-or-later
"""`gdb-lmb run`, `attach` and `core`: look at a guest that is booted here, runs in another QEMU, or was dumped.

The options of booting are shared with `trace`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from gdb_lmb.arches.registry import NAMES, named
from gdb_lmb.cli.common import (
    DEFAULT_COMMANDS,
    GDB_OPTIONS,
    CommandLine,
    Once,
    argument,
    progress,
    run_commands,
    run_on_lost,
    say,
    stdout_terminal,
    typed,
)
from gdb_lmb.core.errors import UsageError
from gdb_lmb.core.numbers import whole_number
from gdb_lmb.kernels.cache import is_name, row_of
from gdb_lmb.kernels.stock import find_kernel
from gdb_lmb.report.output import require_all_apart, require_apart, require_writable, whole_file
from gdb_lmb.report.statuses import STATUSES, ExitStatus
from gdb_lmb.runner.elf import find_gdb, find_programs
from gdb_lmb.runner.qemu import DEFAULT_MEMORY, QemuOptions
from gdb_lmb.runner.session import DEFAULT_SYMBOL, GuestSession

_RUN = f"""\
Boot KERNEL (an ELF with symbols) in QEMU, stop it at a symbol, and run gdb commands there.
Each word after -- is one gdb command (default: {", ".join(DEFAULT_COMMANDS)}), run also where the guest panics, resets
or hangs before that, if given.
Nothing of the run is left behind but, in the cache, gdb's index of a large program.
"""
_RUN_EXAMPLES = """\
examples:
  gdb-lmb run vmlinux
  gdb-lmb run debian:6.1-cloud-amd64 --memory 512M
  gdb-lmb run vmlinuz-6.1 --symbols vmlinux-6.1 --append console=ttyS0 --memory 512M
  gdb-lmb run Image --symbols vmlinux --append console=ttyAMA0
  gdb-lmb run vmlinux --append 'lmb.scenario=random lmb.ops=5000' --until lmb_scenario_done
  gdb-lmb run vmlinux --memory 1G --qemu-arg=-cpu --qemu-arg=max -- 'lmb-dump reserved' 'info registers'
"""
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
    argument(
        "--smp", metavar="N", type=typed(whole_number, least=1, most=1 << 16), default=1,
        help="number of CPUs (default: 1)",
    ),
    argument("--machine", metavar="M", help="QEMU's machine (default: by the ELF)"),
    argument("--qemu", metavar="BIN", help="the QEMU to use (default: by the ELF)"),
    argument("--qemu-arg", metavar="ARG", action="append", default=[], help="one more word for QEMU; may be repeated"),
    argument("--kvm", action="store_true", help="use KVM, with hardware breakpoints (default: TCG)"),
    argument("--console", metavar="FILE", type=Path, action=Once, help="save the guest's serial console in FILE"),
)  # fmt: skip
"""The kernel and how to boot it, for `run` and `trace`."""


@contextmanager
def booted(arguments: argparse.Namespace, tables: bool = True) -> Iterator[GuestSession]:
    """Boot as the options say; whatever happens, the console is saved where it was asked for.

    Without `tables` only JSON is asked for.
    """
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
    with GuestSession(
        kernel,
        options,
        symbols=symbols,
        gdb=arguments.gdb,
        timeout_s=arguments.timeout,
        notice=say,
        terminal=stdout_terminal(arguments.color) if tables else None,
    ) as guest:
        for path in arguments.outputs if "outputs" in arguments else ():
            require_apart(path, guest.program)  # symbols that were not named, but found
        try:
            yield guest
        finally:
            # What explains a failure, for whoever wants to keep it.
            if "kept" in arguments:
                arguments.kept.update(guest.logs())
            # Also after a failure: that is when it is wanted most.
            if console is not None:
                with whole_file(console) as file:
                    file.write(guest.console())


def require_outputs(
    arguments: argparse.Namespace, outputs: Sequence[Path], read: Path | None = None, later: Sequence[Path] = ()
) -> None:
    """Check before anything long that `outputs` and the console can be written, each into a file of its own.

    None of them, nor what is written `later`, if at all, may be what is booted or `read`.
    Raises: `UsageError`, `OutputError`.
    """
    console: Path | None = arguments.console
    now = [*outputs, *([] if console is None else [console])]
    arguments.outputs = [*now, *later]
    kernel = None if is_name(arguments.kernel) else Path(arguments.kernel)
    require_all_apart(arguments.outputs, kernel, arguments.symbols, arguments.initrd, read)
    for path in now:
        require_writable(path)


def _kernel_of(arguments: argparse.Namespace) -> tuple[Path, Path | None]:
    if not is_name(arguments.kernel):
        return Path(arguments.kernel), arguments.symbols
    if arguments.symbols is not None:
        raise UsageError(f"{arguments.kernel} brings its own symbols: leave --symbols out")
    # Before a long download, not after it.
    find_programs(named(row_of(arguments.kernel).arch), arguments.qemu, arguments.gdb)
    files = find_kernel(arguments.kernel, notice=say)
    return files.image, files.vmlinux


def _run(arguments: argparse.Namespace) -> ExitStatus:
    require_outputs(arguments, [])
    with booted(arguments) as guest:
        progress(f"booting {arguments.kernel} to {arguments.until or guest.default_symbol}")
        guest.on_lost = partial(run_on_lost, guest, arguments.gdb_commands)
        guest.run_until(arguments.until)
        return run_commands(guest, arguments.gdb_commands)


def _program_of(text: str, gdb: str | None) -> Path:
    if not is_name(text):
        return Path(text)
    # Before a long download, not after it.
    find_gdb(named(row_of(text).arch), gdb)
    return find_kernel(text, notice=say).vmlinux


def _attach(arguments: argparse.Namespace) -> ExitStatus:
    from gdb_lmb.runner.endpoints import parse_endpoint
    from gdb_lmb.runner.existing import AttachedSession

    endpoint = parse_endpoint(arguments.endpoint)
    progress(f"connecting to {endpoint}")
    with AttachedSession(
        endpoint,
        _program_of(arguments.program, arguments.gdb),
        gdb=arguments.gdb,
        timeout_s=arguments.timeout,
        leave=arguments.leave,
        notice=say,
        terminal=stdout_terminal(arguments.color),
    ) as guest:
        return run_commands(guest, arguments.gdb_commands)


def _core(arguments: argparse.Namespace) -> ExitStatus:
    from gdb_lmb.runner.existing import CoreSession

    progress(f"opening {arguments.core}")
    with CoreSession(
        arguments.core,
        _program_of(arguments.program, arguments.gdb),
        gdb=arguments.gdb,
        timeout_s=arguments.timeout,
        notice=say,
        terminal=stdout_terminal(arguments.color),
    ) as dump:
        return run_commands(dump, arguments.gdb_commands)


COMMANDS = (
    CommandLine(
        "run",
        _run,
        "boot a kernel in QEMU, stop it at a symbol, and check its allocator",
        _RUN,
        f"{_RUN_EXAMPLES}\n{STATUSES}",
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
)  # fmt: skip
