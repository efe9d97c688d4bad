# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU with a kernel, a gdbstub on a unix socket, and the serial console in a file; usable without gdb."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from gdb_lmb.core.errors import InfrastructureError, UsageError
from gdb_lmb.core.numbers import literal
from gdb_lmb.runner.elf import ElfFile, find_qemu, machine_of
from gdb_lmb.runner.process import Child, RunFolder
from gdb_lmb.runner.rsp import Endpoint

DEFAULT_MEMORY = "256M"
_GRACE_S = 1.0


@dataclass(frozen=True)
class QemuOptions:
    """How to boot: `memory` as QEMU's `-m` (no suffix: MiB), `arguments` go to QEMU as they are, last.

    `arch` is a name of `machines`, for a kernel that must be of that architecture.
    """

    append: str | None = None
    initrd: Path | None = None
    memory: str = DEFAULT_MEMORY
    smp: int = 1
    machine: str | None = None
    binary: str | None = None
    arguments: tuple[str, ...] = ()
    kvm: bool = False
    paused: bool = True
    arch: str | None = None

    def __post_init__(self) -> None:
        """Refuse what QEMU would only refuse later, and less clearly. Raises: UsageError."""
        if not literal(self.memory):
            raise UsageError(f"memory size {self.memory!r}: give a number with K, M, G or T, such as 256M")
        if self.smp < 1:
            raise UsageError(f"{self.smp} CPUs: give at least 1")
        if self.initrd is not None and not (self.initrd.is_file() and os.access(self.initrd, os.R_OK)):
            raise UsageError(f"cannot read initrd {self.initrd}: no such file, or no permission")


def memory_size(text: str) -> str:
    """Return a size as QEMU's `-m` takes it: a bare number is MiB there, and a hexadecimal one has no suffix."""
    size = literal(text)
    if size is None or not text.lower().startswith("0x"):
        return text
    return f"{size >> 10}K" if text[-1].lower() in "kmgt" else f"{size}M"


class Qemu:
    """One running QEMU: `endpoint` is its gdbstub, which listens already."""

    def __init__(self, folder: RunFolder, elf: ElfFile, options: QemuOptions, image: Path | None = None) -> None:
        """Start it in `folder`; with `options.paused` the guest waits at reset for a debugger.

        What is booted is `image` (a bzImage or Image), with `elf` only saying for which machine; else `elf`.

        Raises: UsageError for an architecture not known; InfrastructureError if there is no QEMU.
        """
        machine = machine_of(elf, options.arch)
        binary = find_qemu(machine, options.binary)
        stub = folder.path / "gdb.sock"
        self.endpoint = Endpoint(str(stub))
        self._console = folder.path / "console"
        # Bound and listening before QEMU is: a client can connect at once.
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            try:
                listener.bind(str(stub))
                listener.listen(1)
            except OSError as error:
                raise InfrastructureError(f"cannot make the socket {stub}: {error.strerror}") from error
            arguments = [binary, "-nodefaults", "-display", "none", "-monitor", "none"]
            machine_name = options.machine or machine.machine
            if machine_name is not None:
                arguments += ["-machine", machine_name]
            if machine.cpu is not None:
                arguments += ["-cpu", "host" if options.kvm else machine.cpu]
            arguments += ["-accel", "kvm" if options.kvm else "tcg"]
            arguments += ["-m", memory_size(options.memory), "-smp", str(options.smp)]
            # A guest that resets (triple fault) or powers off stays to be looked at, and gdb sees a stop.
            arguments += ["-action", "reboot=shutdown,shutdown=pause"]
            arguments += ["-chardev", f"file,id=lmb-console,path={self._console}"]
            arguments += ["-serial", "chardev:lmb-console"]
            arguments += ["-chardev", f"socket,id=lmb-gdb,fd={listener.fileno()},server=on,wait=off"]
            arguments += ["-gdb", "chardev:lmb-gdb"] + (["-S"] if options.paused else [])
            arguments += ["-kernel", str((image or elf.path).absolute())]
            if options.initrd is not None:
                arguments += ["-initrd", str(options.initrd.absolute())]
            if options.append is not None:
                arguments += ["-append", options.append]
            arguments += options.arguments
            self.child: Child = folder.spawn("qemu", arguments, pass_fds=(listener.fileno(),))
        self.child.name = Path(binary).name
        # It may have to write out disk images that the user's arguments opened.
        self.child.grace_s = _GRACE_S

    def console(self) -> bytes:
        """Return what the guest has written on its serial console so far."""
        try:
            return self._console.read_bytes()
        except FileNotFoundError:  # QEMU has not got so far
            return b""
