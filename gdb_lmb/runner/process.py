# SPDX-License-Identifier: GPL-2.0-or-later
"""The children of a run and its folder, and their certain end; text to and from them.

Three ways, each for where the one before fails: `close` ends children and removes the folder; the
kernel kills QEMU and gdb when their parent dies (`pdeathsig`); the `reaper` finds what is left after SIGKILL,
such as programs that gdb's `shell` started, and the folder.

Start runs from the main thread: the kernel takes the end of the *thread* that forked for the parent's death.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import gdb_lmb
from gdb_lmb.core.errors import InfrastructureError
from gdb_lmb.core.words import printable
from gdb_lmb.runner import reaper
from gdb_lmb.runner.pdeathsig import CANNOT_START
from gdb_lmb.runner.rsp import Endpoint

SOCKET_PATH_BYTES = 107
# gdb takes a name with a colon for host and port, QEMU a comma for the next option.
_PLAIN = re.compile(r"[A-Za-z0-9._/+@=-]+")
_REAPER_START_S = 20.0
_REAPER_END_S = 15.0
_NAME_DIGITS = 12
_KILL_S = 5.0
TAIL_LINES = 20
TAIL_BYTES = 4096


class Closing:
    """What a `with` statement closes."""

    def close(self) -> None:
        """End everything that was started; a second call does nothing."""
        raise NotImplementedError

    def __enter__(self: C) -> C:
        """Return self."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()


C = TypeVar("C", bound=Closing)


class Child:
    """A program in a session and process group of its own, killed when its parent dies; its stderr is in a file."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        """Hold `process`; `log` is the file that takes its stderr."""
        self.name = name
        self.process = process
        self.log = log
        # What `end` lets it have between SIGTERM and SIGKILL.
        self.grace_s = 0.0

    def alive(self) -> bool:
        """Tell whether it still runs."""
        return self.process.poll() is None

    def ended(self, within_s: float) -> bool:
        """Wait at most `within_s` seconds for its end and tell whether it has ended."""
        return _ended(self.process, within_s)

    def how_it_ended(self) -> str:
        """Return how it ended and the end of its stderr, in one line."""
        status = self.process.poll()
        if status is None:
            how = "still runs"
        elif status < 0:
            how = f"was killed by {_signal_name(-status)}"
        elif status == CANNOT_START:
            how = "could not be started"
        else:
            how = f"ended with status {status}"
        try:
            said = tail(self.log.read_bytes(), lines=3)
        except OSError:
            said = []
        return f"{self.name} {how}" + (f": {' / '.join(said)}" if said else "")

    def ask_to_end(self) -> None:
        """Have it and its process group end, without waiting: SIGTERM if it has `grace_s` seconds, else SIGKILL."""
        # While the leader is not waited for, its id, and so the group's, cannot be another's.
        if self.process.returncode is None:
            self._signal_group(signal.SIGTERM if self.grace_s > 0 else signal.SIGKILL)

    def end(self) -> None:
        """End it and its process group: SIGTERM first if it has `grace_s` seconds, then SIGKILL."""
        self.ask_to_end()
        if self.grace_s > 0:
            self.ended(self.grace_s)
        if self.process.returncode is None:
            self._signal_group(signal.SIGKILL)
            self.ended(_KILL_S)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def _signal_group(self, number: signal.Signals) -> None:
        """Send a signal to the whole group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


class RunFolder(Closing):
    """The temporary folder of one run, its children, and the reaper that outlives them."""

    def __init__(self) -> None:
        """Start the reaper, and make the folder.

        The reaper is not waited for here: it gets ready while gdb starts (see `guarded`).
        Raises: InfrastructureError if there can be no folder.
        """
        self.children: list[Child] = []
        self._guarded = False
        self._token = os.urandom(16).hex()
        try:
            base = folder_base(tempfile.gettempdir())
        except OSError as error:
            raise InfrastructureError(f"cannot make a temporary folder: {error}") from error
        self.path = Path(base, f"gdb-lmb-{self._token[:_NAME_DIGITS]}")
        # Before the folder, which the reaper removes if this process is killed from here on.
        self._reaper = subprocess.Popen(
            _bare_python("gdb_lmb.runner.reaper", self._token, str(self.path)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            cwd="/",
        )
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
                    [*_bare_python("gdb_lmb.runner.pdeathsig", str(os.getpid())), *arguments],
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
        child = Child(name, process, log)
        self.children.append(child)
        return child

    def guarded(self) -> None:
        """See that the reaper is there.

        Raises: InfrastructureError if it could not start.
        """
        if self._guarded:
            return
        assert self._reaper.stdout is not None and self._reaper.stderr is not None
        ready, _, _ = select.select([self._reaper.stdout], [], [], _REAPER_START_S)
        if not (ready and self._reaper.stdout.readline()):
            self._reaper.kill()
            said = tail(self._reaper.stderr.read(), lines=1)
            raise InfrastructureError(said[0] if said else "the clean-up process did not start")
        self._guarded = True

    def restore_on_death(self, endpoint: Endpoint, running: bool) -> None:
        """Have the reaper leave the machine behind `endpoint` running or stopped if we cannot.

        Raises: InfrastructureError if the reaper is gone.
        """
        self.guarded()
        self._tell({**endpoint._asdict(), "running": running})

    def cancel_restore(self) -> None:
        """Tell the reaper that the machine has been left as it should be."""
        self._tell(None)

    def close(self) -> None:
        """End all children and the reaper, and remove the folder; a second call does nothing."""
        for child in reversed(self.children):
            child.ask_to_end()  # in parallel: a gdb with half a gigabyte of symbols takes some 0.1 s to exit
        for child in reversed(self.children):
            child.end()
        shutil.rmtree(self.path, ignore_errors=True)
        self._end_reaper()

    def _tell(self, message: object) -> None:
        """Send the reaper one line."""
        assert self._reaper.stdin is not None
        try:
            self._reaper.stdin.write(json.dumps(message).encode() + b"\n")
            self._reaper.stdin.flush()
        except OSError as error:
            raise InfrastructureError(f"the clean-up process is gone: {error.strerror}") from error

    def _end_reaper(self) -> None:
        """Close the pipe the reaper waits on, and wait for it."""
        for stream in (self._reaper.stdin, self._reaper.stdout, self._reaper.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        if not _ended(self._reaper, _REAPER_END_S):
            self._reaper.kill()
            self._reaper.wait()


def _ended(process: subprocess.Popen[bytes], within_s: float) -> bool:
    """Wait at most `within_s` seconds for the end of `process` and tell whether it has ended.

    `Popen.wait` looks again after ever longer sleeps; here the kernel wakes us.
    """
    if process.poll() is not None:
        return True
    try:
        handle = os.pidfd_open(process.pid)
    except OSError:  # a kernel or a sandbox without it
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(within_s)
    else:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        try:
            poll.poll(within_s * 1000)
        finally:
            os.close(handle)
    return process.poll() is not None


def folder_base(preferred: str) -> str:
    """Return `preferred`, or /tmp where a socket in a folder under it would get no usable name."""
    longest = f"{preferred}/gdb-lmb-{'0' * _NAME_DIGITS}/{'x' * 12}"
    usable = _PLAIN.fullmatch(preferred) and len(longest) <= SOCKET_PATH_BYTES
    return preferred if usable else "/tmp"


def _bare_python(module: str, *arguments: str) -> list[str]:
    """Return the command that runs `main` of one of our light modules in a bare interpreter."""
    root = Path(gdb_lmb.__file__).resolve().parent.parent
    # Appended, for the folder may be a site-packages full of names that shadow the standard library's.
    code = f"import sys; sys.path.append({str(root)!r}); from {module} import main; main()"
    return [sys.executable, "-I", "-S", "-c", code, *arguments]


def _signal_name(number: int) -> str:
    """Return the name of a signal, or its number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def tail(data: bytes, lines: int = TAIL_LINES, limit: int = TAIL_BYTES) -> list[str]:
    """Return the last `lines` lines within the last `limit` bytes of `data`, each safe to print."""
    text = data[-limit:].decode("utf-8", errors="surrogateescape").replace("\r\n", "\n")
    found = text.rstrip("\n").split("\n") if text.strip() else []
    return [printable(line) for line in found[-lines:]]


def quote(text: str) -> str:
    """Write `text` as a C string of MI; bytes that are not plain ASCII become octal escapes."""
    plain = (chr(b) if 0x20 <= b < 0x7F and b not in b'"\\' else f"\\{b:03o}" for b in os.fsencode(text))
    return '"' + "".join(plain) + '"'
