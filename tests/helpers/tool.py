# SPDX-License-Identifier: GPL-2.0-or-later
"""What the runner's tests share: guests of a few instructions, QMP, and a look for what a run left behind.

The guests are real PVH kernels, so that a hang, a panic or a triple fault needs no cooperation of a larger one.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any, ClassVar

from tests.helpers.json_log import own_python_path

ROOT = Path(__file__).resolve().parent.parent.parent
MARK = "GDB_LMB_TEST_MARK"
PATIENCE_S = 60.0
"""How long what must come is waited for: a machine may be busy."""

_FRAME = """
    .section .note.Xen,"a",@note
    .long 4, 4, 18          # XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long _start
    .macro function name
    .type \\name, @function
    .globl \\name
    \\name:
    .endm
    .text
    .code32
function puts
    movw $0x3f8, %dx
1:  lodsb
    testb %al, %al
    jz 2f
    outb %al, %dx
    jmp 1b
2:  ret
function spin
1:  incl counter
    jmp 1b
function never
    ret
function _start
    movl $stack_top, %esp
    movl $greeting, %esi
    call puts
{body}
    jmp spin
    .data
    .globl counter
    .type counter, @object
    .size counter, 4
counter:  .long 0
nothing:  .quad 0
greeting: .asciz "hello \\033[31mred\\r\\nsecond line\\n"
farewell: .asciz "Kernel panic: no cheese\\n"
    .bss
    .skip 4096
stack_top:
    .section .note.GNU-stack,"",@progbits
"""

BODIES = {
    "ready": "call lmb_ready\n call lmb_scenario_done\n jmp spin\n function lmb_ready\n nop\n incl counter\n ret\n"
    "function lmb_scenario_done\n nop\n ret",
    "spin": "",
    "halt": "call panic_halt\n function panic_halt\n 1: hlt\n jmp 1b",
    # Prints only after its entry, where the breakpoint is.
    "panic": "call panic\n function panic\n nop\n movl $farewell, %esi\n call puts\n cli\n 1: hlt\n jmp 1b",
    "fault": "lidt nothing\n ud2",
    "parked": "cli\n call park\n function park\n 1: hlt\n jmp 1b",
    "jumps": "cli\n call park\n function park\n 1: jmp 1b",
    # An interrupt may wake it; none comes, as all are masked at both of the PC's controllers.
    "sleeps": "movb $0xff, %al\n outb %al, $0x21\n outb %al, $0xa1\n call nap\n function nap\n sti\n 1: hlt\n jmp 1b",
    "resets": "movw $0xcf9, %dx\n movb $6, %al\n outb %al, %dx",
    "exit": "movw $0xf4, %dx\n movl $3, %eax\n outl %eax, %dx",
    "ready_exit": "call lmb_ready\n movw $0xf4, %dx\n movl $3, %eax\n outl %eax, %dx\n jmp spin\n"
    "function lmb_ready\n nop\n ret",
    # SLP_EN and the sleeping type of S5 to PM1a_CNT, which the firmware has put there on both PCs.
    "power_off": "movw $0x604, %dx\n movw $0x2000, %ax\n outw %ax, %dx",
}


def build_guest(folder: Path, kind: str) -> Path:
    """Assemble one of `BODIES` into an ELF in `folder`."""
    source, kernel = folder / f"{kind}.S", folder / kind
    source.write_text(_FRAME.replace("{body}", BODIES[kind].replace("function", "\nfunction")))
    subprocess.run(
        ["gcc", "-m64", "-g", "-nostdlib", "-static", "-no-pie", "-Wl,-Ttext=0x100000", "-Wl,--build-id=none",
         "-o", str(kernel), str(source)],
        check=True, timeout=60,
    )  # fmt: skip
    return kernel


class Qmp:
    """QEMU's own view of the machine, beside the gdbstub."""

    def __init__(self, path: Path) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            self._link = socket.socket(socket.AF_UNIX)
            self._link.settimeout(PATIENCE_S)
            try:
                self._link.connect(str(path))
                break
            except OSError:
                self._link.close()
                assert time.monotonic() < deadline, "no QMP socket"
                time.sleep(0.02)
        self._file = self._link.makefile("rw")
        self._file.readline()
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: object) -> Any:
        self._file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._file.flush()
        while True:
            answer = json.loads(self._file.readline())
            if "return" in answer or "error" in answer:
                return answer.get("return", answer)

    def status(self) -> str:
        return str(self.execute("query-status")["status"])

    def settled(self, wanted: str) -> str:
        """Return the status, waiting for `wanted`: QEMU acts on a detach a moment after gdb has gone."""
        deadline = time.monotonic() + PATIENCE_S
        while (now := self.status()) != wanted and time.monotonic() < deadline:
            time.sleep(0.02)
        return now

    def close(self) -> None:
        self._file.close()
        self._link.close()


def _as_in_the_foreground() -> None:
    """Have the signals that end a program do so, which a shell ignores for what it runs behind nohup or with `&`."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


class Tool:
    """The command line as a process of its own, whose offspring can be told from everybody else's."""

    _started: ClassVar[list[Tool]] = []

    def __init__(self, folder: Path, *arguments: str | Path, stdout: int | None = subprocess.PIPE) -> None:
        """Start it; `folder` becomes its TMPDIR and must be empty again afterwards."""
        self.folder = folder
        self.mark = uuid.uuid4().hex
        environment = {**os.environ, MARK: self.mark, "TMPDIR": str(folder), "PYTHONPATH": own_python_path(str(ROOT))}
        code = "import sys; from gdb_lmb.cli import main; sys.exit(main())"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
            preexec_fn=_as_in_the_foreground,
        )
        self._started.append(self)

    def finish(self, timeout_s: float = PATIENCE_S) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, (out or b"").decode(), err.decode()

    @classmethod
    def end_all(cls) -> None:
        """End every tool with all that it started, and remove what is left of their folders."""
        while cls._started:
            cls._started.pop()._end()

    def _end(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while left := self.relatives():
            assert time.monotonic() < deadline, f"cannot end {left}"
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        self.process.wait(timeout=PATIENCE_S)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        # A test that came to its end has removed it.
        shutil.rmtree(self.folder, ignore_errors=True)

    def relatives(self) -> list[int]:
        """Return every process that was started by it, by its children, and so on."""
        wanted = f"{MARK}={self.mark}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    if wanted in (entry / "environ").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found

    def left_behind(self, within_s: float = PATIENCE_S) -> list[str]:
        """Return what is left of the run after at most `within_s` seconds: processes and files."""
        deadline = time.monotonic() + within_s
        while True:
            left = [_name(pid) for pid in self.relatives()] + [str(path) for path in self.folder.rglob("*")]
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.02)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)


def program_of(pid: int) -> str:
    """Return the name of the program that a process runs, "" where it has gone."""
    try:
        return Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return ""


def _name(pid: int) -> str:
    try:
        return f"{pid}: " + Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return f"{pid}: gone"
