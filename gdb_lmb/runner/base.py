# SPDX-License-Identifier: GPL-2.0-or-later
"""What every session can do once gdb is there: run commands, judge how they went, ask for the verdict."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from gdb_lmb.core.errors import InfrastructureError, OverdueError, UsageError
from gdb_lmb.core.numbers import LONGEST_S
from gdb_lmb.core.words import plural, printable
from gdb_lmb.report.progress import PROGRESS
from gdb_lmb.report.statuses import ExitStatus
from gdb_lmb.report.terminal import PLAIN, Terminal
from gdb_lmb.runner.gdb_process import COUNT_FILE, load_extension, open_program, start_gdb
from gdb_lmb.runner.process import RunFolder, read_file
from gdb_lmb.runner.results import D, Verdict, read

if TYPE_CHECKING:  # the conversation with gdb is imported while gdb starts
    from gdb_lmb.runner.mi import Mi
    from gdb_lmb.runner.mi_records import Reply, Sink


# gdb's own small steps: settings, symbols, breakpoints.
STEP_S = 30.0
# What is over sooner shows nothing of how far it is.
_SHOWN_AFTER_S = 1.0
_COMMAND_BYTES = 16384


class CommandError(UsageError):
    """Report that a gdb command of the user's failed: `command` and gdb's `message`, one line each.

    `status` is the exit status that the error of a command of ours has, None for any other.
    """

    def __init__(self, command: str, message: str, status: int | None = None) -> None:
        self.command = printable(command, 200)
        self.message = message
        self.status = status
        super().__init__(f"{self.command!r} failed: {message}")


S = TypeVar("S", bound="Session")


class Session:
    """A gdb with the lmb commands: execute commands, and read the verdict. The end of a `with` statement closes it.

    `folder` is its temporary folder, gone when it is closed; `mi` is the conversation with gdb.
    """

    mi: Mi

    def __init__(
        self, timeout_s: float, notice: Callable[[str], None] | None, terminal: Terminal | None = PLAIN
    ) -> None:
        """Take the deadline of each step, a receiver of messages for people, and what shows the commands' output.

        Without a `terminal` programs read it.
        """
        if not 0 < timeout_s <= LONGEST_S:
            raise UsageError(f"timeout {timeout_s:g} s: give a positive number of seconds")
        self.timeout_s = timeout_s
        self._notice = notice or ignore
        self._shown_by, self.terminal = terminal, terminal or PLAIN
        # Whether the guest was last seen to be one that nothing can wake any more.
        self.dead = False
        self._loaded = False
        self._folder = RunFolder()
        self.folder = self._folder.path

    def __enter__(self: S) -> S:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything that was started; a second call does nothing."""
        self._folder.close()

    def command(self, text: str, sink: Sink | None = None, timeout_s: float | None = None) -> str:
        """Execute one gdb command and return its output, or give it to `sink` as it comes.

        A command that sets the guest running is over when the guest stops.
        Raises: CommandError if it fails; InfrastructureError if gdb, QEMU or the connection died under it.
        """
        if "\n" in text or len(text.encode(errors="replace")) > _COMMAND_BYTES:
            raise UsageError("a gdb command is one line; put longer ones in a file and give 'source FILE'")
        self._load()
        limit_s = timeout_s or self.timeout_s
        output: list[str] = []
        take = sink or output.append
        was_connected = self.mi.connected
        stop_before = self.mi.last_stop
        self.dead = False
        with self.watched(printable(text, 60)):
            with _deadline_of(text, limit_s):
                reply = self.mi.console(text, limit_s, take)
            stopped = self.mi.wait_stopped(limit_s, take, self._is_dead)
        reply = reply._replace(log=reply.log + self.mi.take_late_log())
        background = text.rstrip().endswith("&")
        if not stopped and not self.mi.interrupt(WithoutInterrupt(take), background):
            raise OverdueError(f"after {printable(text, 200)!r} the guest cannot be interrupted")
        if reply.kind == "running" and self.mi.connected:
            # A script goes on after the guest stopped.
            with _deadline_of(text, limit_s):
                reply = reply._replace(log=reply.log + self.mi.drain(limit_s, take))
        self._judge(text, reply, was_connected)
        stop = self.mi.last_stop
        if not stopped:
            place = "" if stop is None else f" in {stop.place()}"
            why = "has halted for good" if self.dead else f"did not stop within {limit_s:g} s"
            raise CommandError(text, f"the guest {why} and was interrupted{place}")
        if stop is not None and stop is not stop_before and stop.signal == "SIGQUIT":
            self._notice(f"the guest {self._how_it_ended()} during {printable(text, 200)!r}")
        return "".join(output)

    def result(self, kind: type[D], text: str, timeout_s: float | None = None) -> D:
        """Execute an lmb command that writes JSON, and return that; see `command` and `results.read`."""
        return read(kind, self.command(text, None, timeout_s))

    @contextlib.contextmanager
    def watched(self, what: str) -> Iterator[None]:
        """Show on a terminal how long `what` has been going on, and how many operations a trace has recorded."""
        start = time.monotonic()

        def waiting() -> None:
            seconds = time.monotonic() - start
            if seconds >= _SHOWN_AFTER_S and PROGRESS.wanted():
                recorded = self.recorded
                told = f", {plural(recorded, 'operation')} recorded" if recorded else ""
                PROGRESS.show(f"gdb-lmb: {what}: {seconds:.0f} s{told}")
            self._waiting(seconds)

        self.mi.on_wait = waiting
        try:
            yield
        finally:
            self.mi.on_wait = None
            PROGRESS.clear()

    def _waiting(self, seconds: float) -> None:
        """Be called about every tenth of a second while gdb or the guest is waited for."""

    @property
    def recorded(self) -> int | None:
        """Return how many operations the running trace, or the last one, has recorded; None before any has begun."""
        count = self.folder / COUNT_FILE
        return int(read_file(count) or b"0") if count.exists() else None

    def verdict(self) -> Verdict:
        """Ask for the verdict on all lmb commands executed so far.

        Raises: InfrastructureError if there is none: then nothing is known, least of all that all is well.
        """
        self._load()
        reply = self.mi.console("lmb-verdict", self.timeout_s)
        self._check_alive()
        if reply.kind != "done" or reply.failed:
            raise InfrastructureError(f"no verdict from gdb: {reply.error or printable(reply.log)}")
        return read(Verdict, reply.console)

    # Raise if the command failed or lost the guest; pass its warnings on.
    def _judge(self, text: str, reply: Reply, was_connected: bool) -> None:
        self._check_alive()
        if self.mi.late_error and not reply.failed:
            reply = reply._replace(kind="error", payload={"msg": self.mi.late_error})
        failed, message = reply.failed, reply.error
        if reply.asked_for_more:
            failed, message = True, "it needs more lines; put them in a file and give 'source FILE'"
        # A guest that is not there any more may also be what the user asked for, as with `detach`.
        # After `kill` QEMU may still end, or stay without its guest: gdb says "done" or fails, by which comes first.
        ends_guest = text.split()[:1] in (["kill"], ["k"])
        lost = was_connected and (ends_guest or not self.mi.connected)
        if lost and (failed or ends_guest or reply.kind == "running" or text.lstrip().startswith("lmb")):
            raise InfrastructureError(f"the connection to QEMU was lost during {printable(text, 200)!r}")
        if failed:
            status = self._status() if text.lstrip().startswith("lmb") else None
            if status == ExitStatus.INFRASTRUCTURE:
                raise InfrastructureError(f"{printable(text, 200)!r} failed: {message}")
            raise CommandError(text, message, status)
        for line in reply.log.splitlines():
            self._notice(printable(line))

    # `$lmb_status`, in which a failed command of ours leaves the exit status that its error has.
    def _status(self) -> int | None:
        reply = self.mi.execute("-data-evaluate-expression $lmb_status", STEP_S)
        value = reply.payload.get("value")
        return int(value) if reply.kind == "done" and isinstance(value, str) and value.isdecimal() else None

    def _how_it_ended(self) -> str:
        """Return in a few words what became of a guest that does not run any more."""
        return "reset or powered off"

    def _is_dead(self) -> bool:
        """Tell of a running guest whether nothing can wake it any more."""
        return False

    def _check_alive(self) -> None:
        """Raise InfrastructureError if a QEMU of ours has died, which a failing command may just show."""

    def _open(self, program: Path, gdb: str) -> None:
        self.mi = start_gdb(self._folder, gdb, program, self._shown_by)
        # Half a gigabyte of debug information may take gdb a minute on a busy machine.
        open_program(self.mi, program, self.folder, max(STEP_S, self.timeout_s))
        # By now it has long had the time to start; before anything is connected it must have.
        self._folder.guarded()

    def _load(self) -> None:
        """Have gdb know the lmb commands, which it imports while it reads the program, and while a guest boots."""
        if not self._loaded:
            load_extension(self.mi, STEP_S)
            self._loaded = True


# Name the command in the error of one that does not end in time.
@contextlib.contextmanager
def _deadline_of(text: str, limit_s: float) -> Iterator[None]:
    try:
        yield
    except OverdueError as error:
        raise OverdueError(f"{printable(text, 200)!r} did not end within {limit_s:g} s (see --timeout)") from error


def ignore(_text: str) -> None:
    """Drop output."""


class WithoutInterrupt:
    """Passes console output on, but for what gdb prints of a stop that we have asked for: its signal and its place."""

    def __init__(self, sink: Callable[[str], None]) -> None:
        self._sink = sink
        self._told = False

    def __call__(self, text: str) -> None:
        # "Program received signal SIGINT, Interrupt." comes in pieces; a frame and a line of source follow. What our
        # commands say of the stop does not belong to it.
        self._told = self._told or text.startswith(("\nProgram", "\nThread "))
        if not self._told or text.startswith("lmb-"):
            self._sink(text)
