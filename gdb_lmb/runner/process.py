# SPDX-License-Identifier: GPL-2.0-or-later
"""The children of a run and its folder, and their certain end; text to and from them.

Three ways, each for where the one before fails: `close` ends children and removes the folder; the
kernel kills QEMU and gdb when their parent dies (`_started_by`); the reaper finds what is left after SIGKILL, such as
programs that gdb's `shell` started, and the folder.

Start runs from the main thread: the kernel takes the end of the *thread* that forked for the parent's death.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import gdb_lmb
from gdb_lmb.core.errors import InfrastructureError
from gdb_lmb.core.words import printable
from gdb_lmb.runner import reaper
from gdb_lmb.runner.rsp import Endpoint

SOCKET_PATH_BYTES = 107
# gdb takes a name with a colon for host and port, QEMU a comma for the next option.
_PLAIN = re.compile(r"[A-Za-z0-9._/+@=-]+")
_REAPER_START_S = 20.0
_REAPER_END_S = 15.0
_NAME_DIGITS = 12
_KILL_S = 5.0
_SIGNAL_NAMES = {number.value: number.name for number in signal.Signals}
_TAIL_BYTES = 4096
# setpriv has told the kernel before what to do when the parent dies; where that has happened already, no signal will
# come. QEMU and gdb ignore what Python does: a broken pipe and a full disk are errors of theirs, not their death.
_START = f"""trap '' PIPE XFSZ
[ "$PPID" = "$1" ] || exit {reaper.CANNOT_START}
shift
exec "$@"
"""
_OVER = "over"
# What waits for the parent's end is a shell, which starts in a millisecond: it becomes the reaper where there is
# something to do. It writes an empty line once it is ready; of the lines that it is given the last whole one counts.
_WATCH = f"""trap '' INT TERM HUP PIPE
echo
last=
while IFS= read -r line; do last=$line; done
[ "$last" = {_OVER} ] || exec "$@" "$last"
"""


class Child:
    """A program in a session and process group of its own, killed when its parent dies; the file `log` has its stderr.

    `grace_s` is what `end` lets it have between SIGTERM and SIGKILL, `unsaid` why it may fail without a word on stderr.
    """

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.process = process
        self.log = log
        self.grace_s = 0.0
        self.unsaid = ""

    def alive(self) -> bool:
        return self.process.poll() is None

    def ended(self, within_s: float) -> bool:
        """Wait at most `within_s` seconds for its end and tell whether it has ended."""
        return _ended(self.process, within_s)

    def how_it_ended(self) -> str:
        """Return how it ended and the end of its stderr, in one line."""
        said = " / ".join(tail(read_file(self.log), lines=3))
        match self.process.poll():
            case None:
                how = "still runs"
            case reaper.CANNOT_START:
                how = "could not be started"
            case status if status < 0:
                how = f"was killed by {_SIGNAL_NAMES.get(-status, f'signal {-status}')}"
            case status:
                how = f"ended with status {status}"
                said = said or (self.unsaid if status else "")
        return f"{self.name} {how}" + (f": {said}" if said else "")

    def ask_to_end(self) -> None:
        """Have it and its process group end, without waiting: SIGTERM if it has `grace_s` seconds, else SIGKILL."""
        self._signal_group(signal.SIGTERM if self.grace_s > 0 else signal.SIGKILL)

    def end(self) -> None:
        """End it and its process group: SIGTERM first if it has `grace_s` seconds, then SIGKILL."""
        self.ask_to_end()
        self.ended(self.grace_s)
        self._signal_group(signal.SIGKILL)
        self.ended(_KILL_S)
        _close_pipes(self.process)

    def _signal_group(self, number: signal.Signals) -> None:
        # While the leader is not waited for, its id, and so the group's, cannot be another's.
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)


class RunFolder:
    """The temporary folder of one run, its children, and the reaper that outlives them."""

    def __init__(self) -> None:
        """Start the reaper, and make the folder.

        The reaper is not waited for here: it gets ready while gdb starts (see `guarded`).
        Raises: InfrastructureError if there can be no folder.
        """
        self.children: list[Child] = []
        self.closing = contextlib.ExitStack()  # what else goes with it
        self._token = os.urandom(16).hex()
        self._asked = ""  # of the reaper
        try:
            base = folder_base(tempfile.gettempdir())
        except OSError as error:
            raise InfrastructureError(f"cannot make a temporary folder: {error}") from error
        self.path = Path(base, f"gdb-lmb-{self._token[:_NAME_DIGITS]}")
        # Before the folder, which the reaper removes if this process is killed from here on.
        try:
            self._reaper = subprocess.Popen(
                ["/bin/sh", "-c", _WATCH, "reaper", *_bare_python("reap", self._token, str(self.path))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                cwd="/",
                # In a run of many: what carries its token ends with that, and this is to clean up first.
                env={name: value for name, value in os.environ.items() if name != reaper.TOKEN_VARIABLE},
            )
        except OSError as error:
            raise InfrastructureError(f"cannot start /bin/sh: {error.strerror}") from error
        try:
            self.path.mkdir(mode=0o700)
        except OSError as error:
            self._reaper.kill()  # what has that name is not ours to remove
            self._end_reaper()
            raise InfrastructureError(f"cannot make a temporary folder: {error}") from error

    def spawn(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        pipes: bool = False,
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Child:
        """Start a program by its full path; with `pipes` its stdin and stdout are ours, else they are void.

        Raises: InfrastructureError if the system cannot.
        """
        log = self.path / f"{name}.log"
        variables = {**(os.environ if environment is None else environment), reaper.TOKEN_VARIABLE: self._token}
        try:
            with log.open("wb") as errors:
                process = subprocess.Popen(
                    [*_started_by(arguments[0]), *arguments],
                    stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                    stdout=subprocess.PIPE if pipes else errors,
                    stderr=errors,
                    bufsize=0,
                    env=variables,
                    start_new_session=True,
                    pass_fds=pass_fds,
                )
        except OSError as error:
            raise InfrastructureError(f"cannot start {name}: {error}") from error
        self.children.append(Child(name, process, log))
        return self.children[-1]

    def guarded(self) -> None:
        """See that the reaper is there.

        Raises: InfrastructureError if it could not start.
        """
        assert self._reaper.stdout is not None and self._reaper.stderr is not None
        if not (reaper.ready(self._reaper.stdout.fileno(), _REAPER_START_S) and self._reaper.stdout.readline()):
            self._reaper.kill()
            said = "".join(tail(self._reaper.stderr.read(), lines=1))
            raise InfrastructureError(said or "the clean-up process did not start")

    def restore_on_death(self, endpoint: Endpoint | None, running: bool = False) -> None:
        """Have the reaper leave the machine behind `endpoint` running or stopped if we cannot; None: there is no need.

        Raises: InfrastructureError if the reaper is gone.
        """
        self._asked = "" if endpoint is None else json.dumps([*endpoint, running])
        self._tell_reaper(self._asked)

    def _tell_reaper(self, line: str) -> None:
        assert self._reaper.stdin is not None
        try:
            self._reaper.stdin.write(line.encode() + b"\n")
            self._reaper.stdin.flush()
        except OSError as error:
            raise InfrastructureError(f"the clean-up process is gone: {error.strerror}") from error

    def close(self) -> None:
        """End all children and the reaper, and remove the folder; a second call does nothing."""
        self.closing.close()
        for child in reversed(self.children):
            child.ask_to_end()  # in parallel: a gdb with half a gigabyte of symbols takes some 0.1 s to exit
        for child in reversed(self.children):
            child.end()
        shutil.rmtree(self.path, ignore_errors=True)
        if self._reaper.returncode is None and not self._asked:
            reaper.kill_all(self._token)
            with contextlib.suppress(InfrastructureError):  # it is gone
                self._tell_reaper(_OVER)
        self._end_reaper()

    def _end_reaper(self) -> None:
        # The reaper waits for the end of file of its stdin.
        _close_pipes(self._reaper)
        if not _ended(self._reaper, _REAPER_END_S):
            self._reaper.kill()
            self._reaper.wait()


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for stream in filter(None, (process.stdin, process.stdout, process.stderr)):
        with contextlib.suppress(BrokenPipeError):
            stream.close()


# Wait at most `within_s` seconds for the end of `process` and tell whether it has ended.
# `Popen.wait` looks again after ever longer sleeps; here the kernel wakes us.
def _ended(process: subprocess.Popen[bytes], within_s: float) -> bool:
    if process.poll() is None:
        try:
            with os.fdopen(os.pidfd_open(process.pid), "rb", 0) as handle:
                reaper.ready(handle.fileno(), within_s)
        except OSError:  # a kernel or a sandbox without it
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(within_s)
    return process.poll() is not None


def folder_base(preferred: str) -> str:
    """Return `preferred`, or /tmp where a socket in a folder under it would get no usable name."""
    longest = f"{preferred}/gdb-lmb-{'0' * _NAME_DIGITS}/{'x' * 12}"
    usable = _PLAIN.fullmatch(preferred) and len(longest) <= SOCKET_PATH_BYTES
    return preferred if usable else "/tmp"


# The command that runs one of the programs in `reaper` in a bare interpreter.
def _bare_python(program: str, *arguments: str) -> list[str]:
    root = Path(gdb_lmb.__file__).resolve().parent.parent
    # Appended, for the folder may be a site-packages full of names that shadow the standard library's.
    code = f"import sys; sys.path.append({str(root)!r}); from gdb_lmb.runner.reaper import {program}; {program}()"
    return [sys.executable, "-I", "-S", "-c", code, *arguments]


# The command that starts `program` so that the kernel kills it when this process dies (`PR_SET_PDEATHSIG`), which
# execve(2) keeps, and the process keeps its id. util-linux's setpriv and a shell take 2 ms, a bare Python five times as
# long. But a shell takes for a script what the system cannot execute; and setpriv may be missing, or be Busybox's.
def _started_by(program: str) -> list[str]:
    parent = str(os.getpid())
    setpriv = shutil.which("setpriv")
    if setpriv is None or Path(setpriv).resolve().name != "setpriv" or _format(program) != _format(sys.executable):
        return _bare_python("become", parent)
    return [setpriv, "--pdeathsig", "KILL", "/bin/sh", "-c", _START, "start", parent]


# The executable format of a program in an ELF: its class, byte order and machine.
def _format(program: str) -> tuple[bytes, bytes]:
    with contextlib.suppress(OSError), open(program, "rb") as file:  # noqa: PTH123
        head = file.read(20)
        return head[:6], head[18:]
    return b"", b""


def read_file(path: Path) -> bytes:
    """Return the content of a file, none of one that cannot be read."""
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""


def tail(data: bytes, lines: int = 20) -> list[str]:
    """Return the last `lines` lines of `data`, as far as 4 KiB go, each safe to print."""
    text = data[-_TAIL_BYTES:].decode("utf-8", errors="surrogateescape").replace("\r\n", "\n")
    found = text.rstrip("\n").split("\n") if text.strip() else []
    return [printable(line) for line in found[-lines:]]


def quote(text: str) -> str:
    """Write `text` as a C string of MI; bytes that are not plain ASCII become octal escapes."""
    plain = (chr(b) if 0x20 <= b < 0x7F and b not in b'"\\' else f"\\{b:03o}" for b in os.fsencode(text))
    return '"' + "".join(plain) + '"'
