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
from gdb_lmb.runner.process import Child, RunFolder, read_file
from gdb_lmb.runner.qmp import Monitor
from gdb_lmb.runner.rsp import Endpoint

DEFAULT_MEMORY = "256M"
_GRACE_S = 1.0
# `ShutdownCause` of qapi/run-state.json.
_ENDS = {"guest-reset": "reset", "guest-shutdown": "powered off", "guest-panic": "told QEMU that it panicked"}


@dataclass(frozen=True)
class QemuOptions:
    """How to boot: `memory` as QEMU's `-m` (no suffix: MiB), `arguments` go to QEMU as they are, last.

    `arch` is an architecture's name, for a kernel that must be of it. Raises: UsageError for what QEMU would refuse.
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
        # QEMU would refuse it only later, and less clearly.
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
    """One running QEMU: `endpoint` is its gdbstub, which listens already, and `monitor` its QMP."""

    def __init__(self, folder: RunFolder, elf: ElfFile, options: QemuOptions, image: Path | None = None) -> None:
        """Start it in `folder`; with `options.paused` the guest waits at reset for a debugger.

        What is booted is `image` (a bzImage or Image), with `elf` only saying for which machine; else `elf`.

        Raises: UsageError for an architecture not known; InfrastructureError if there is no QEMU.
        """
        machine = machine_of(elf, options.arch)
        binary = find_qemu(machine, options.binary)
        asked_for = None if options.machine is None else options.machine.partition(",")[0]
        cpu = machine.cpu_on(asked_for)
        stub, monitor = folder.path / "gdb.sock", folder.path / "qmp.sock"
        self.endpoint = Endpoint(str(stub))
        self.monitor = Monitor(monitor)
        self._console = folder.path / "console"
        self._resets = folder.path / "resets"
        with _listening(stub) as listener, _listening(monitor) as answers:
            rows = (
                ("-display", "none"),
                ("-monitor", "none"),
                ("-machine", options.machine or machine.machine),
                ("-cpu", "host" if options.kvm and cpu is not None else cpu),
                ("-accel", "kvm" if options.kvm else "tcg"),
                ("-m", memory_size(options.memory)),
                ("-smp", options.smp),
                # A guest that resets (triple fault) or powers off stays to be looked at, and gdb sees a stop.
                ("-action", "reboot=shutdown,shutdown=pause"),
                ("-chardev", f"file,id=lmb-console,path={self._console}"),
                ("-serial", "chardev:lmb-console"),
                ("-chardev", f"socket,id=lmb-gdb,fd={listener.fileno()},server=on,wait=off"),
                ("-gdb", "chardev:lmb-gdb"),
                ("-chardev", f"socket,id=lmb-qmp,fd={answers.fileno()},server=on,wait=off"),
                ("-qmp", "chardev:lmb-qmp"),
                # Nothing else tells a triple fault from any other reset. Source: `check_exception()` of target/i386.
                ("-d", "cpu_reset"),
                ("-D", self._resets),
                ("-kernel", (image or elf.path).absolute()),
                ("-initrd", None if options.initrd is None else options.initrd.absolute()),
                ("-append", options.append),
            )
            words = [str(word) for row in rows if row[1] is not None for word in row]
            words = [binary, "-nodefaults", *words, *(["-S"] if options.paused else []), *options.arguments]
            self.child: Child = folder.spawn("qemu", words, pass_fds=(listener.fileno(), answers.fileno()))
        self.child.name = Path(binary).name
        folder.closing.callback(self.monitor.close)
        # It may have to write out disk images that the user's arguments opened.
        self.child.grace_s = _GRACE_S
        if any("isa-debug-exit" in word for word in options.arguments):
            self.child.unsaid = "the guest ended it, by isa-debug-exit"

    def how_it_ended(self) -> str | None:
        """Return in a few words how the guest has come to its end, None where it has not, or QEMU does not tell."""
        self.monitor.ask("query-status")
        if self.monitor.ended == "guest-reset" and b"Triple fault" in read_file(self._resets):
            return "had a triple fault"
        return None if self.monitor.ended is None else _ENDS.get(self.monitor.ended)

    def console(self) -> bytes:
        return read_file(self._console)


# A socket that is bound, and listens before QEMU is there: a client can connect at once. Raises: InfrastructureError.
def _listening(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        listener.listen(1)
    except OSError as error:
        listener.close()
        raise InfrastructureError(f"cannot make the socket {path}: {error.strerror}") from error
    return listener
