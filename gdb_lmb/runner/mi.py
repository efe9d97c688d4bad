# SPDX-License-Identifier: GPL-2.0-or-later
"""gdb's machine interface: commands in, records out, each wait under a deadline.

pygdbmi parses. Its own reading is not used: it waits until gdb writes nothing for a time, not for the result, and
formats every record for a log that is not kept. A command is over at the record with its own token, and, if it set
the guest running, at the stop that follows.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import select
import signal
import time
from collections.abc import Callable
from typing import IO

from gdb_lmb.core.errors import InfrastructureError, OverdueError
from gdb_lmb.core.words import printable
from gdb_lmb.runner.mi_records import PROMPTS, Record, Reply, Sink, Stop, parse, python_errors, read_stop, unglue
from gdb_lmb.runner.process import Child, quote
from gdb_lmb.runner.reaper import ready

# Short enough that the death of QEMU or gdb is seen at once, without handles to wait on.
_SLICE_S = 0.1
# How long gdb may go on writing after QEMU has exited.
_AFTER_EXIT_S = 1.0
# A ">" with nothing after it is gdb asking for more lines.
_PROMPT_S = 1.0
_INTERRUPT_S = 30.0
_ASK_S = 0.3
_POLL_S = 0.02
_INTERRUPTS = 10
# gdb takes a second one that comes before the guest could stop as a request to stop waiting for it; one that comes
# while gdb looks up where the guest has stopped ends that, and the stop is never told.
_AGAIN_S = 1.0
# How long to wait for gdb or QEMU, on a busy machine, before one is sent all the same.
_BUSY_S = 30.0
_WRITE_S = 3.0
_FIRST_TOKEN = 10_000_001
_PIPE_BYTES = 1 << 20
# gdb writes a line character by character: let some gather, more when it has been going on for a while.
_FILL_S = 0.0005
_SHORT_FILL_S = 0.00005
_SHORT_PIECES = 8


class Mi:
    """A conversation with one gdb, and what its notifications say of the guest."""

    def __init__(self, gdb: Child, peer: Child | None = None) -> None:
        """Talk to `gdb` by its pipes; `peer` is a QEMU of ours, whose death ends every wait."""
        assert gdb.process.stdin is not None and gdb.process.stdout is not None
        self.gdb = gdb
        self.peer = peer
        self.running = False
        self.connected = False
        self.last_stop: Stop | None = None
        # What went wrong after the guest had been set running: such a command has two results.
        self.late_error = ""
        self._pending: int | None = None
        # What gdb logged while no command was waited for: of a run that a result has been told of.
        self.late_log: list[str] = []
        # Called about every tenth of a second of waiting, for progress messages.
        self.on_wait: Callable[[], None] | None = None
        # Asked before a second interrupt whether QEMU has stopped the guest already, or has no time to say so.
        self.is_stopping: Callable[[], bool] = lambda: False
        self._lines = Lines(gdb.process.stdout)
        self._input = gdb.process.stdin
        os.set_blocking(self._input.fileno(), False)
        self._poll = select.poll()
        self._poll.register(gdb.process.stdout, select.POLLIN)
        self._tokens = itertools.count(_FIRST_TOKEN)
        # gdb has written its prompt since the last command: it may be done with that.
        self._ready = False
        self._peer_died_at: float | None = None

    def execute(self, command: str, timeout_s: float, sink: Sink | None = None) -> Reply:
        """Send one MI command and wait for its result, not for a stop that may follow.

        Console output goes to `sink` as it comes, or else into the reply.
        Raises: OverdueError after `timeout_s` seconds; InfrastructureError if gdb or its QEMU died.
        """
        token = next(self._tokens)
        probe: int | None = None
        console: list[str] = []
        log: list[str] = []
        take = sink or console.append
        self.late_error = ""
        self._write(f"{token}{command}")
        self._pending, self._ready = token, False
        deadline = time.monotonic() + timeout_s
        asked = gave_end = False
        result: Record | None = None
        while result is None:
            quiet_until = time.monotonic() + _PROMPT_S
            wants_lines = asked or self._lines.prompted
            doubtful = wants_lines or (self._ready and probe is None)
            records = self._receive(min(deadline, quiet_until) if doubtful else deadline)
            if not records and time.monotonic() >= deadline:
                raise OverdueError(f"gdb did not answer within {timeout_s:g} s")
            if not records and time.monotonic() >= quiet_until:  # else a prompt has just come
                if wants_lines:
                    self._write("end")  # gdb waits for the lines of a `define`, `python`, …
                    asked, gave_end = False, True
                else:
                    # gdb 18 gives the result to a script that wanted the output of a `continue`, only.
                    probe = next(self._tokens)
                    self._write(f"{probe}-gdb-show confirm")
            for record in (part for whole in records for part in unglue(whole, token)):
                if asked:
                    take(">")  # it was output after all
                asked = record["type"] == "console" and record["payload"] == ">"
                match record["type"], record.get("token"):
                    case "console", _ if asked:
                        pass
                    case "result", number if number == token:
                        result = record
                    case "result", number if number is not None and number == probe:
                        result = result or {"message": "done", "payload": None}
                    case "log", _:
                        log.append(record["payload"])
                    case _:
                        self._take(record, take)
        self._pending = None
        return Reply(str(result["message"]), result["payload"] or {}, "".join(console), "".join(log), gave_end)

    def console(self, command: str, timeout_s: float, sink: Sink | None = None) -> Reply:
        """Execute one command of gdb's command line, as `execute` does."""
        return self.execute(f"-interpreter-exec console {quote(command)}", timeout_s, sink)

    def wait_stopped(
        self, timeout_s: float, sink: Sink | None = None, give_up: Callable[[], bool] | None = None
    ) -> bool:
        """Wait until the guest does not run; tell whether that came within `timeout_s` seconds.

        Where nothing comes, `give_up` is asked now and then whether to wait no longer.
        """
        deadline = time.monotonic() + timeout_s
        while self.running:
            records = self._receive(deadline if give_up is None else min(deadline, time.monotonic() + _ASK_S))
            if not records and (time.monotonic() >= deadline or (give_up is not None and give_up())):
                return False
            for record in records:
                self._take(record, sink or (lambda _: None))
        return True

    def stop_of_thread(self, number: int, timeout_s: float) -> Stop | None:
        """Select the thread `number` and return where it stands, None where gdb cannot tell."""
        reply = self.execute(f"-thread-select {number}", timeout_s)
        return read_stop(reply.payload) if reply.kind == "done" else None

    def take_late_log(self) -> str:
        """Return what gdb logged while no result was waited for, and forget it."""
        log, self.late_log = "".join(self.late_log), []
        return log

    def take_python_errors(self) -> list[str]:
        """Return the exceptions that Python told of meanwhile, as `python_errors()` does, and forget them."""
        return python_errors(self.take_late_log())

    def drain(self, timeout_s: float, sink: Sink) -> str:
        """Wait until gdb has ended a command that set the guest running, and return what it logged meanwhile.

        A script goes on after the stop. What it prints goes to `sink`, an error of its own to `late_error`.
        Raises: OverdueError after `timeout_s` seconds; InfrastructureError if gdb or its QEMU died.
        """
        before = self.late_error
        # gdb looks at a command only when it has ended the one before.
        reply = self.execute("-gdb-show confirm", timeout_s, sink)
        self.late_error = self.late_error or before
        return reply.log

    def interrupt(self, sink: Sink | None = None, background: bool = False) -> bool:
        """Stop the running guest and tell whether it stopped."""
        if not self.running:
            return True
        # While gdb waits in the foreground only a signal reaches it; after `continue &` only a command does.
        # gdb loses one that comes when the guest has just stopped at a breakpoint: where that lets it run on,
        # QEMU has passed over the byte that gdb sent. Of a traced guest every second one can get lost.
        busy_until = time.monotonic() + _BUSY_S
        for attempt in range(0 if background else _INTERRUPTS):
            # A traced guest is stopped most of the time, and runs again in between.
            while attempt and self.is_stopping() and time.monotonic() < busy_until:
                if self.wait_stopped(_POLL_S, sink):
                    return True
            self.interrupt_gdb()
            if self.wait_stopped(_AGAIN_S, sink):
                return True
        reply = self.execute("-thread-info 1", _INTERRUPT_S, sink)
        for thread in reply.payload.get("threads", ()):
            if self.running and thread["state"] == "stopped":  # and gdb was interrupted before it could say so
                self.running, self.last_stop = False, read_stop(thread)
        if self.running:
            self.execute("-exec-interrupt --all", _INTERRUPT_S, sink)
        return self.wait_stopped(_INTERRUPT_S, sink)

    def abandon(self, timeout_s: float) -> bool:
        """Interrupt a command whose end was not waited for; tell whether gdb takes commands again."""
        deadline = time.monotonic() + timeout_s
        if self._pending is not None:
            self.interrupt_gdb()
        while self._pending is not None and time.monotonic() < deadline:
            if any(r["type"] == "result" and r["token"] == self._pending for r in self._receive(deadline)):
                self._pending = None
        return self._pending is None

    def interrupt_gdb(self) -> None:
        """Send SIGINT to gdb itself, not to its group."""
        if self.gdb.alive():
            os.kill(self.gdb.process.pid, signal.SIGINT)

    # Raises: OverdueError if gdb does not take the line; InfrastructureError if it is gone.
    def _write(self, line: str) -> None:
        data = line.encode() + b"\n"
        try:
            while data:
                if not ready(self._input.fileno(), _WRITE_S, select.POLLOUT):
                    raise OverdueError(f"gdb took no command for {_WRITE_S:g} s")
                data = data[os.write(self._input.fileno(), data) :]
        except ConnectionError as error:
            self.gdb.ended(_AFTER_EXIT_S)
            raise InfrastructureError(self.gdb.how_it_ended()) from error

    # The next records, or none at the deadline or at a prompt. Raises: InfrastructureError if gdb or its QEMU died.
    def _receive(self, deadline: float) -> list[Record]:
        while True:
            left = deadline - time.monotonic()
            events = self._poll.poll(max(0.0, min(left, _SLICE_S)) * 1000)
            # Anything but POLLIN is the end of file: with data left both are set.
            if events and events[0][1] & select.POLLIN:
                try:
                    parsed = [parse(line) for line in self._lines.read()]
                except ValueError as error:  # an escape that MI does not have
                    raise InfrastructureError(f"gdb said what is not MI: {printable(str(error), 200)}") from error
                self._ready = self._ready or None in parsed
                records = [record for record in parsed if record is not None]
                for record in records:
                    self._note(record)
                if records or self._lines.prompted or self._ready:
                    return records
                continue
            if events or not self.gdb.alive():
                self.gdb.ended(_AFTER_EXIT_S)
                self._require_peer()
                raise InfrastructureError(self.gdb.how_it_ended())
            if self.peer is not None and not self.peer.alive():
                self._peer_died_at = self._peer_died_at or time.monotonic()
                if time.monotonic() >= self._peer_died_at + _AFTER_EXIT_S:
                    self._require_peer()
            if self.on_wait is not None:
                self.on_wait()
            if left <= 0:
                return []

    # Where QEMU has exited gdb's errors follow from that.
    def _require_peer(self) -> None:
        if self.peer is not None and self.peer.ended(0):
            raise InfrastructureError(self.peer.how_it_ended())

    # Keep track of the guest's state.
    def _note(self, record: Record) -> None:
        payload = record["payload"]
        match record["type"], record["message"]:
            case "result" | "notify", "running":
                self.running = True
            case "result", "error" if record["token"] != self._pending:
                # Of a command that had its result when it set the guest running, and failed afterwards.
                self.running = False
                self.late_error = printable((payload or {}).get("msg") or "gdb does not say why")
            case "notify", "stopped":
                self.running = False
                self.last_stop = read_stop(payload or {})
            case "notify", "thread-group-started":
                self.connected = True
            case "notify", "thread-group-exited":
                self.running = self.connected = False

    # Pass output for the user on.
    def _take(self, record: Record, sink: Sink) -> None:
        payload = record["payload"]
        match record["type"]:
            case "console":
                sink(payload)
            case "log" if "KeyboardInterrupt" not in payload:  # of our own signals
                self.late_log.append(payload)
            case "target":  # what QEMU's monitor printed
                sink(payload.replace("\r\n", "\n"))
            case "output":  # what a program started by `shell` printed
                sink(payload + "\n")


class Lines:
    """The lines that gdb writes to a pipe, whole ones only, and without the empty ones.

    A snapshot of 100,000 regions is one line of megabytes in pieces of kilobytes; they are joined once.
    """

    def __init__(self, pipe: IO[bytes]) -> None:
        self._descriptor = pipe.fileno()
        self._begun: list[bytes] = []
        with contextlib.suppress(OSError):  # more than the user is allowed
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    @property
    def prompted(self) -> bool:
        """Tell whether gdb 18 waits for more lines: it writes the prompt for them as it is, with no end of line."""
        return PROMPTS.fullmatch(b"".join(self._begun[:8])) is not None

    def read(self) -> list[str]:
        """Return what has been completed by the next piece, which must be there or be the end of file."""
        piece = os.read(self._descriptor, _PIPE_BYTES)
        end = piece.rfind(b"\n") + 1
        if not end:
            self._begun.append(piece)
            time.sleep(_FILL_S if len(self._begun) > _SHORT_PIECES else _SHORT_FILL_S)
            return []
        whole = b"".join([*self._begun, piece[:end]])
        self._begun = [piece[end:]] if piece[end:] else []
        return [line for line in whole.decode(errors="replace").split("\n") if line]
